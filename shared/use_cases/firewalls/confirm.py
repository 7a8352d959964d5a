"""Record what a settled read of a firewall proves: the request row first, the grant's mark last.

The mark is removed from the list of what is left to do only once the audit event is recorded, so
that a stop in between leads to the same event being recorded again, under the same id.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from shared.domain.audit import Operation
from shared.domain.desired import Verdict
from shared.domain.grants import current_grants
from shared.domain.ids import key_of
from shared.domain.model import (
    AccessRequest,
    Front,
    Grant,
    PortRequest,
    Protection,
)
from shared.domain.request import change_port, mark_closed, mark_open
from shared.domain.texts import shorten
from shared.ports import RowChangedError
from shared.use_cases.audit import rule_fact
from shared.use_cases.bastion_closes import BastionCloseParts, note_bastion_close
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.firewalls.planning import Judged, key_of_intent
from shared.use_cases.firewalls.sync_grants import by_request
from shared.use_cases.parts import (
    HasActivity,
    HasClock,
    HasLabel,
    HasPace,
    HasRequests,
    HasRows,
    HasWorkers,
)

_Subject = TypeVar("_Subject", Grant, Protection)


class ConfirmParts(
    BastionCloseParts,
    HasActivity,
    HasClock,
    HasLabel,
    HasPace,
    HasRequests,
    HasRows,
    HasWorkers,
    Protocol,
):
    """The parts for recording what a read proves."""


class Prover:
    """Compares the findings of one plan with the rows that it was made from."""

    def __init__(self, services: ConfirmParts, firewall_id: str, judged: Judged) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._judged = judged
        self._failures = judged.failures
        self._known = judged.known or KnownRequests(services)

    def prove(self) -> None:
        """Confirm every row that the read proves; one that fails holds up no other."""
        now = self._services.clock()
        current = {grant.key for grant in current_grants(self._judged.rows, now)}

        def prove_those_of(request: list[Grant]) -> None:
            for grant in request:
                if not self._judged.finding(grant).agrees:
                    continue
                if grant.is_sealed:
                    self._try(lambda held: self._prove_closed(held, now), grant)
                elif grant.key in current:
                    self._try(lambda held: self._prove_open(held, now), grant)

        rows = self._failures.leave_out(self._judged.rows)
        unproven = by_request(grant for grant in rows.grants if not grant.proven)
        self._services.workers(prove_those_of, unproven)
        for protection in rows.protections:
            self._try(self._prove_protection, protection)

    def _try(self, prove: Callable[[_Subject], None], subject: _Subject) -> None:
        try:
            prove(subject)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be settled
            self._failures.note(subject, error)

    def _prove_open(self, grant: Grant, now: datetime) -> None:
        entry = self._judged.finding(grant).entry
        request = self._known.change(
            grant.request_id,
            lambda held: change_port(
                held, grant.vm_id, grant.port, lambda p: mark_open(p, self._firewall_id, now, entry)
            ),
        )
        port, front = self._place(request, grant)
        if request is None or port is None or front is None or front.opened_at is None:
            return  # closed meanwhile; the next round seals it
        self._record(request, port, front, Operation.OPENED, front.opened_at)
        self._mark(grant)

    def _prove_closed(self, grant: Grant, now: datetime) -> None:
        request = self._known.change(
            grant.request_id,
            lambda held: change_port(
                held, grant.vm_id, grant.port, lambda p: mark_closed(p, self._firewall_id, now)
            ),
        )
        port, front = self._place(request, grant)
        if request and port and front and front.closed_at:
            if front.opened_at:  # who noted that may have stopped before telling it
                opened = rule_fact(request, port, front, Operation.OPENED, front.opened_at)
                self._services.activity.record(opened)
            self._record(request, port, front, Operation.CLOSED, front.closed_at)
            if request.is_final:
                self._services.requests.forget_live(request)
            note_bastion_close(self._services, request, port)
        elif port is not None and front is not None and not port.closing:
            return  # sealed without a reason: syncing gives it one first
        self._mark(grant)

    def _place(
        self, request: AccessRequest | None, grant: Grant
    ) -> tuple[PortRequest | None, Front | None]:
        port = request.port(grant.vm_id, grant.port) if request else None
        key = key_of(self._firewall_id)
        fronts = port.fronts or () if port else ()
        return port, next((f for f in fronts if key_of(f.firewall_id) == key), None)

    def _mark(self, grant: Grant) -> None:
        try:
            self._services.rows.replace_grant(replace(grant, proven=True))
        except RowChangedError:
            return  # another writer has more to say about it; the next look confirms that

    def _record(
        self, request: AccessRequest, port: PortRequest, front: Front, what: Operation, at: datetime
    ) -> None:
        fact = rule_fact(request, port, front, what, at)
        self._services.activity.record(fact)
        self._services.telemetry.event(
            f"jit.rule.{what}",
            request=request.id,
            vm=port.vm_id,
            port=port.port,
            firewall=front.firewall_id,
            kind=self._services.label(front.firewall_id),
            reason=fact.reason,
            lateness_seconds=fact.lateness_seconds,
            allowed_seconds=self._services.pace(front.firewall_id).overdue.total_seconds(),
        )

    def _prove_protection(self, protection: Protection) -> None:
        if key_of_intent(protection) not in self._judged.plan.findings:
            return
        finding = self._judged.finding(protection)
        blocked = shorten(finding.reason) if finding.verdict is Verdict.IMPOSSIBLE else ""
        seen = replace(protection, proven=finding.agrees, blocked=blocked)
        try:
            if protection.lifted:
                if finding.agrees:
                    self._services.rows.delete_protection(protection)
            elif seen != protection and (finding.agrees or blocked):
                self._services.rows.replace_protection(seen)
        except RowChangedError:
            return
