"""Findings that need a person: policies that failed, governed ports that are open.

Applying a policy finds it, and reconciling compares every policy again. A row for each finding of
a policy lets the health report read them all with one short query, and no list of ARM's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.desired import Observed
from shared.domain.ids import digest, key_of, name_of
from shared.domain.model import Attachment
from shared.domain.notifications import EventType, Notification
from shared.domain.times import format_sortable
from shared.ports import Row, Value
from shared.store.keys import policy_key
from shared.use_cases.firewalls.paths import find_exposures
from shared.use_cases.parts import (
    HasClock,
    HasFirewalls,
    HasNotifications,
    HasNotify,
    HasTables,
    HasTelemetry,
)

MOST_READ = 100
_PARTITION = "findings"
_LONGEST_TEXT = 500
_WARNINGS, _LONGEST_WARNING = "warnings", 2000


class WarningParts(HasFirewalls, HasTables, HasTelemetry, Protocol):
    """The parts for recording what the firewalls warn of."""


class FindingParts(HasClock, HasNotifications, HasNotify, HasTables, HasTelemetry, Protocol):
    """The parts for recording a finding."""


class ExposureParts(FindingParts, HasFirewalls, Protocol):
    """The parts for judging and recording exposures."""


class FindingType(StrEnum):
    """The type of a finding on a policy."""

    FAILED = "failed"
    EXPOSED = "exposed"


def note_warnings(services: WarningParts) -> None:
    """Store the limits of each kind of firewall, as this worker's reads have just shown them.

    Another worker answers the health report.
    """
    for provider in services.firewalls:
        row = services.tables.firewalls.get(_WARNINGS, provider.label)
        text = "; ".join(provider.warnings())[:_LONGEST_WARNING]
        if text and (row is None or row.values.get("text") != text):
            services.tables.firewalls.upsert(Row(_WARNINGS, provider.label, {"text": text}))
            services.telemetry.event("jit.firewall.warning", kind=provider.label, what=text)
        if row is not None and not text:
            services.tables.firewalls.delete(row)


def read_warnings(services: HasTables) -> list[str]:
    """Return the limits of each type of firewall."""
    rows = services.tables.firewalls.query(_WARNINGS)
    return [f"{row.key}: {row.values['text']}" for row in rows]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a policy, and for how many of its VMs."""

    finding_type: FindingType
    policy_id: str
    text: str
    count: int = 1


@dataclass(frozen=True)
class Governed:
    """A VM of a policy as it was found: its ports, and the firewalls in front of it."""

    vm_id: str
    ports: tuple[int, ...]
    attachments: tuple[Attachment, ...]


def note_finding(services: FindingParts, finding: Finding) -> None:
    """Store a finding, unless it stands there as it is."""
    partition, key = _place(finding.finding_type, finding.policy_id)
    said: dict[str, Value] = {
        "policy": finding.policy_id,
        "text": finding.text[:_LONGEST_TEXT],
        "count": finding.count,
    }
    row = services.tables.firewalls.get(partition, key)
    if row is not None and {name: row.values.get(name) for name in said} == said:
        return
    since = row.values["since"] if row is not None else format_sortable(services.clock())
    if finding.finding_type is FindingType.EXPOSED and services.notify:
        services.notifications.note(_exposed(finding, services.clock()))
    services.tables.firewalls.upsert(Row(partition, key, {**said, "since": since}))
    services.telemetry.event(
        f"jit.policy.{finding.finding_type}", policy=finding.policy_id, what=finding.text
    )


def _exposed(finding: Finding, now: datetime) -> Notification:
    """Return the notification of a finding. A change of the finding has a notification of its own."""
    data: dict[str, str | int | float] = {
        "policyId": finding.policy_id,
        "reason": finding.text[:_LONGEST_TEXT],
        "machines": finding.count,
    }
    sent_as = digest("exposed", key_of(finding.policy_id), format_sortable(now))
    return Notification(sent_as, EventType.EXPOSED, now, finding.policy_id, data)


def clear_finding(services: HasTables, finding_type: FindingType, policy_id: str) -> None:
    """Delete a finding that is mended."""
    row = services.tables.firewalls.get(*_place(finding_type, policy_id))
    if row is not None:
        services.tables.firewalls.delete(row)


def read_findings(
    services: HasTables, finding_type: FindingType, *, limit: int = MOST_READ
) -> list[Finding]:
    """Read the findings of one type, the first `limit` of them; limit 0: all."""
    rows = services.tables.firewalls.query(
        _PARTITION, start=f"{finding_type}|", stop=f"{finding_type}}}", limit=limit
    )
    return [
        Finding(
            finding_type,
            str(row.values["policy"]),
            str(row.values["text"]),
            int(row.values["count"]),
        )
        for row in rows
    ]


def note_exposure(
    services: ExposureParts,
    policy_id: str,
    governed: Iterable[Governed],
    observed: Mapping[str, Observed],
    *,
    complete: bool,
) -> None:
    """Store whether governed ports of a policy stand open, as settled reads show it.

    Where not every VM and firewall could be read, what was found before is not taken back.
    """
    found, judged_all = judge_exposure(services, policy_id, governed, observed)
    if found:
        note_finding(services, found)
    elif complete and judged_all:
        clear_finding(services, FindingType.EXPOSED, policy_id)


def judge_exposure(
    services: HasFirewalls,
    policy_id: str,
    governed: Iterable[Governed],
    observed: Mapping[str, Observed],
) -> tuple[Finding | None, bool]:
    """Find governed ports of a policy that stand open, and tell whether every VM was judged."""
    reasons = []
    complete = True
    for vm in governed:
        if any(key_of(each.firewall_id) not in observed for each in vm.attachments):
            complete = False
            continue
        reason = _why_exposed(services, vm, observed)
        if reason:
            reasons.append(reason)
    if not reasons:
        return None, complete
    return Finding(FindingType.EXPOSED, policy_id, min(reasons), len(reasons)), complete


def _why_exposed(services: HasFirewalls, vm: Governed, observed: Mapping[str, Observed]) -> str:
    """Name the rules that leave a port of a VM open; empty: none."""
    found = find_exposures(services.firewalls, vm.vm_id, vm.attachments, observed, vm.ports)
    return next(
        (
            f"port {each.port} of '{name_of(vm.vm_id)}' is left open by {each.opening.what} "
            f"of '{name_of(each.firewall_id)}'"
            for each in found
        ),
        "",
    )


def _place(finding_type: FindingType, policy_id: str) -> tuple[str, str]:
    return _PARTITION, f"{finding_type}|{policy_key(policy_id)}"
