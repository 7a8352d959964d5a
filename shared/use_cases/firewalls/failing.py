"""End the grants that cannot be opened, or give back the end of one that cannot be extended."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from shared.domain.desired import Observed, Verdict
from shared.domain.model import MINUTE, CloseReason, Grant, PortRequest
from shared.domain.request import change_ports
from shared.use_cases.audit import extension_refused
from shared.use_cases.closing_soon import note_closing_soon
from shared.use_cases.firewalls.planning import Judged, key_of_intent
from shared.use_cases.grants import CloseParts, close_early, copy_ends
from shared.use_cases.parts import (
    HasActivity,
    HasClosingSoon,
    HasFirewalls,
    HasNotifications,
    HasNotify,
)


class FailParts(
    CloseParts, HasActivity, HasClosingSoon, HasFirewalls, HasNotifications, HasNotify, Protocol
):
    """The parts for failing what is impossible."""


def fail_impossible(
    services: FailParts, observed: Observed, judged: Judged, refused: Mapping[str, str]
) -> bool:
    """End the grants that are impossible, each with its reason; return whether there were some."""
    failed = False
    for grant in judged.rows.grants:
        finding = judged.finding(grant)
        if grant.is_sealed or finding.verdict is not Verdict.IMPOSSIBLE or grant in judged.failures:
            continue
        try:
            _end(services, observed, judged, refused, grant)
            failed = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be ended
            judged.failures.note(grant, error)
    return failed


def _end(
    services: FailParts,
    observed: Observed,
    judged: Judged,
    refused: Mapping[str, str],
    grant: Grant,
) -> None:
    reason = judged.finding(grant).reason
    until = _standing_end(services, observed, judged, refused, grant)
    if until is not None and _give_back_end(services, grant, until, reason):
        return
    close_early(
        services,
        grant.request_id,
        lambda port: port.names(grant.vm_id, grant.port),
        CloseReason.FAILED,
        message=reason,
    )


def _standing_end(
    services: FailParts,
    observed: Observed,
    judged: Judged,
    refused: Mapping[str, str],
    grant: Grant,
) -> datetime | None:
    """Return the end in the text of what stands for a grant, where only its extension is refused.

    An extension counts as given once the text says so.
    """
    key = key_of_intent(grant)
    wanted = judged.desired.only({key})
    provider = services.firewalls.of(observed.firewall_id)
    changes = [change for change in provider.plan(observed, wanted).changes if key in change.serves]
    own = {each.id.lower(): each for each in observed.own if each.opens}
    standing = [own.get(change.target.lower()) for change in changes if change.id in refused]
    ends = [each.until for each in standing if each is not None and each.until is not None]
    if not ends or len(ends) != len(standing):
        return None
    until = min(ends)
    return until if services.clock() < until < grant.expires_at else None


def _give_back_end(services: FailParts, grant: Grant, until: datetime, reason: str) -> bool:
    """Move the end of a port request back, where a firewall refused its extension.

    The due rows and the audit event come first. False: the port request has no later end.
    """
    held = services.requests.get(grant.request_id)
    port = held.request.port(grant.vm_id, grant.port) if held else None
    if held is None or port is None or not _ends_after(port, until):
        return False
    now = services.clock()
    services.due.add(until + MINUTE, "request", grant.request_id, since=now)
    for front in port.fronts or ():
        services.due.add(until, "firewall", front.firewall_id, since=now)
    services.activity.record(
        extension_refused(held.request, port, grant.firewall_id, until, reason)
    )

    def give_back(each: PortRequest) -> PortRequest:
        chosen = each.names(grant.vm_id, grant.port) and _ends_after(each, until)
        return replace(each, end_at=until + each.close_lead) if chosen else each

    note_closing_soon(services, held.request, port, until + port.close_lead)
    request = services.requests.change(grant.request_id, lambda r: change_ports(r, give_back))
    copy_ends(services, request or held.request)
    return True


def _ends_after(port: PortRequest, until: datetime) -> bool:
    return not port.closing and port.closes_at is not None and port.closes_at > until
