"""Record what a settled read of a firewall proves: the request row first, the grant's mark last.

The mark is removed from the list of what is left to do only once the audit event is recorded, so
that a stop in between leads to the same event being recorded again, under the same id.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Protocol

from shared.domain.audit import Operation
from shared.domain.desired import Verdict
from shared.domain.grants import current_grants
from shared.domain.ids import key_of
from shared.domain.model import (
    AccessRequest,
    CloseReason,
    Front,
    Grant,
    PortRequest,
    Protection,
)
from shared.domain.request import change_port, mark_closed, mark_open
from shared.domain.texts import shorten
from shared.ports import Row, RowChangedError
from shared.store.audit import AuditEvent
from shared.use_cases.audit import rule_event
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


@dataclass(frozen=True)
class _Proof:
    """A grant that a read proves open or closed, and its place in its request as that is now."""

    grant: Grant
    request: AccessRequest | None
    port: PortRequest | None
    front: Front | None
    opening_told: bool  # its opening is on record

    @property
    def may_be_marked(self) -> bool:
        """Tell whether the request says what the read proves, or says nothing of the grant."""
        if not self.grant.is_sealed:  # else it was closed meanwhile; the next round seals it
            return self.front is not None and self.front.opened_at is not None
        known = self.front is not None and self.front.closed_at is not None
        # Without a reason, syncing gives it one first.
        return known or self.port is None or self.front is None or self.port.closing is not None

    @property
    def events(self) -> list[AuditEvent]:
        """Confirm grants by the read. A stop may have come between an opening and its record."""
        if self.request is None or self.port is None or self.front is None:
            return []
        opened = (Operation.OPENED, self.front.opened_at)
        closed = (Operation.CLOSED, self.front.closed_at)
        told = [opened]
        if self.grant.is_sealed:
            told = [closed] if self.opening_told or not self.front.closed_at else [opened, closed]
        return [
            rule_event(self.request, self.port, self.front, what, at) for what, at in told if at
        ]

    @property
    def is_closed(self) -> bool:
        """Tell whether this is a close that its request says was seen."""
        return self.grant.is_sealed and self.front is not None and self.front.closed_at is not None

    @property
    def ends_request(self) -> bool:
        """Tell whether this close is seen, and the last of its request."""
        return bool(self.is_closed and self.request and self.request.is_final)


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
        self.wrote = False  # rows that are not as they were judged any more
        self._known = judged.known or KnownRequests(services)

    def prove(self, ending: Row | None = None) -> bool:
        """Confirm every row that the read proves; one that fails holds up no other.

        `ending` is the row that gives the lease back. It is written with the last marks, where
        there are some; return whether it was.
        """
        now = self._services.clock()
        current = {grant.key for grant in current_grants(self._judged.rows, now)}
        rows = self._failures.leave_out(self._judged.rows)
        for protection in rows.protections:
            self._try(self._prove_protection, protection)
        proven = [grant for grant in rows.grants if self._is_proven(grant, current)]
        return self._prove_grants(proven, now, ending)

    def _is_proven(self, grant: Grant, current: Collection[tuple[str, str, int]]) -> bool:
        """Tell whether the read proves what no earlier read has proven about a grant."""
        wanted = grant.is_sealed or grant.key in current
        return not grant.proven and wanted and self._judged.finding(grant).agrees

    def _prove_grants(self, grants: list[Grant], now: datetime, ending: Row | None) -> bool:
        """Confirm grants together: their requests, then what is recorded, their marks last.

        A grant that fails in one step is left out of the next.
        """
        proofs = self._change_requests(grants, now)
        proofs = self._record_all(proofs)
        proofs = self._unlist_ended(proofs)
        for proof in proofs:
            if proof.request and proof.port and proof.is_closed:
                note_bastion_close(self._services, proof.request, proof.port)
        if not proofs:
            return False
        self.wrote = True
        marked, ended = self._services.rows.mark_grants(
            [replace(proof.grant, proven=True) for proof in proofs], ending
        )
        for proof, mark in zip(proofs, marked, strict=True):
            # One that was changed has more to be said about it; the next look confirms that.
            if isinstance(mark, Exception) and not isinstance(mark, RowChangedError):
                self._failures.note(proof.grant, mark)
        return ended is not None

    def _change_requests(self, grants: list[Grant], now: datetime) -> list[_Proof]:
        """Note on each request what is open and what is closed, with one write for each."""
        steps = {
            each[0].request_id: partial(self._mark_all, each, now) for each in by_request(grants)
        }
        changed = self._known.change_all(steps)
        proofs = []
        for grant in grants:
            request = changed[grant.request_id]
            if isinstance(request, Exception):
                self._failures.note(grant, request)
                continue
            told = grant.key in self._known.told
            proof = _Proof(grant, request, *self._place(request, grant), told)
            if proof.may_be_marked:
                proofs.append(proof)
        return proofs

    def _mark_all(self, grants: list[Grant], now: datetime, held: AccessRequest) -> AccessRequest:
        for grant in grants:
            held = change_port(held, grant.vm_id, grant.port, partial(self._mark_port, grant, now))
        return held

    def _mark_port(self, grant: Grant, now: datetime, port: PortRequest) -> PortRequest:
        if grant.is_sealed:
            return mark_closed(port, self._firewall_id, now)
        return mark_open(port, self._firewall_id, now, self._judged.finding(grant).entry)

    def _record_all(self, proofs: list[_Proof]) -> list[_Proof]:
        """Record what was seen; return the proofs of which everything is recorded."""
        events = [event for proof in proofs for event in proof.events]
        errors = iter(self._services.activity.record_all(events))
        recorded = []
        for proof in proofs:
            failed = [error for error in islice(errors, len(proof.events)) if error is not None]
            if failed:
                self._failures.note(proof.grant, failed[0])
                continue
            self._tell(proof)
            recorded.append(proof)
        return recorded

    def _unlist_ended(self, proofs: list[_Proof]) -> list[_Proof]:
        """Take requests that have ended off the lists; return the proofs of which none failed."""
        ended = {p.request.id: p.request for p in proofs if p.request and p.ends_request}
        if not ended:
            return proofs
        failed = self._unlist(list(ended.values()))
        for proof in proofs:
            if proof.grant.request_id in failed:
                self._failures.note(proof.grant, failed[proof.grant.request_id])
        return [proof for proof in proofs if proof.grant.request_id not in failed]

    def _unlist(self, requests: list[AccessRequest]) -> dict[str, Exception]:
        """Take requests off the lists; return by id why that failed.

        A port closed before its end makes room at once. An expired one keeps its part of its
        requestor's limit until its due row leads the sweep there, a minute later, or until that
        part is in the way.
        """
        store = self._services.requests
        expired = [request for request in requests if _has_expired(request)]
        early = [request for request in requests if not _has_expired(request)]
        errors = [
            *zip(early, store.unlist_all(early), strict=True),
            *zip(expired, store.unlist_from_vms(expired), strict=True),
        ]
        return {request.id: error for request, error in errors if error is not None}

    def _try(self, prove: Callable[[Protection], None], subject: Protection) -> None:
        try:
            prove(subject)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be settled
            self._failures.note(subject, error)

    def _place(
        self, request: AccessRequest | None, grant: Grant
    ) -> tuple[PortRequest | None, Front | None]:
        port = request.port(grant.vm_id, grant.port) if request else None
        key = key_of(self._firewall_id)
        fronts = port.fronts or () if port else ()
        return port, next((f for f in fronts if key_of(f.firewall_id) == key), None)

    def _tell(self, proof: _Proof) -> None:
        request, port, front = proof.request, proof.port, proof.front
        if request is None or port is None or front is None or not proof.events:
            return
        event = proof.events[-1]
        self._services.telemetry.event(
            f"jit.rule.{event.operation}",
            request=request.id,
            vm=port.vm_id,
            port=port.port,
            firewall=front.firewall_id,
            kind=self._services.label(front.firewall_id),
            reason=event.reason,
            lateness_seconds=event.lateness_seconds,
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
                    self.wrote = True
                    self._services.rows.delete_protection(protection)
            elif seen != protection and (finding.agrees or blocked):
                self.wrote = True
                self._services.rows.replace_protection(seen)
        except RowChangedError:
            return


def _has_expired(request: AccessRequest) -> bool:
    """Tell whether every port of a request was closed because it expired."""
    reasons = {port.closing.reason for port in request.ports if port.closing}
    return reasons == {CloseReason.EXPIRED}
