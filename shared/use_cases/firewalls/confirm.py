"""Note what a settled read of a firewall proves: the request row first, the grant's mark last.

The mark is removed from the list of what is left to do only once the fact is recorded, so that a
stop in between leads to the same fact being recorded again, under the same id.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from shared.domain.audit import Operation
from shared.domain.ids import key_of
from shared.domain.model import (
    AccessRequest,
    FirewallRows,
    Front,
    Grant,
    PortRequest,
    Protection,
)
from shared.domain.request import change_port, mark_closed, mark_open
from shared.domain.rules import Plan, allow_rules, current_grants, deny_rules
from shared.domain.texts import shorten
from shared.ports import RowChangedError, Snapshot
from shared.use_cases.audit import rule_fact
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.sync_grants import by_request
from shared.use_cases.services import Services

_Subject = TypeVar("_Subject", Grant, Protection)


class Prover:
    """Compares one snapshot with the rows that were read after it."""

    def __init__(
        self,
        services: Services,
        firewall_id: str,
        snapshot: Snapshot,
        rows: FirewallRows,
        changes: Plan,
        failures: Failures | None = None,
    ) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._rows = rows
        self._failures = Failures(services, firewall_id) if failures is None else failures
        self._present = {rule.name.lower(): rule.priority for rule in snapshot.rules}
        self._unsettled = {rule.name.lower() for rule in changes.put} | {
            name.lower() for name in changes.blocked
        }
        self._blocked = {name.lower(): why for name, why in changes.blocked.items()}

    def prove(self) -> None:
        """Settle every row that the snapshot proves; one that fails holds up no other."""
        now = self._services.clock()
        current = {grant.key for grant in current_grants(self._rows, now)}

        def prove_those_of(request: list[Grant]) -> None:
            for grant in request:
                if grant.is_sealed:
                    self._try(lambda held: self._prove_closed(held, now), grant)
                elif grant.key in current:
                    self._try(lambda held: self._prove_open(held, now), grant)

        rows = self._failures.leave_out(self._rows)
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
        names = [rule.name.lower() for rule in allow_rules(grant, self._services.names)]
        if not all(self._stands(name) for name in names):
            return
        request = self._services.requests.change(
            grant.request_id,
            lambda held: change_port(
                held, grant.vm_id, grant.port, lambda p: mark_open(p, self._firewall_id, now)
            ),
        )
        port, front = self._place(request, grant)
        if request is None or port is None or front is None or front.opened_at is None:
            return  # closed meanwhile; the next round seals it
        self._record(request, port, front, Operation.OPENED, front.opened_at)
        self._mark(grant)

    def _prove_closed(self, grant: Grant, now: datetime) -> None:
        if not self._names_of(grant).isdisjoint(self._present):
            return
        request = self._services.requests.change(
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
        elif port is not None and front is not None and not port.closing:
            return  # sealed without a reason: aligning gives it one first
        self._mark(grant)

    def _names_of(self, grant: Grant) -> set[str]:
        """Name the rules of a grant in both families, whatever its row says of addresses."""
        name = self._services.names.allow
        return {
            name(grant.request_id, grant.vm_id, grant.port, family).lower() for family in (4, 6)
        }

    def _stands(self, name: str) -> bool:
        return name in self._present and name not in self._unsettled

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
            return  # somebody has more to say about it; whoever looks next settles that

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
            reason=fact.reason,
            lateness_seconds=fact.lateness_seconds,
        )

    def _prove_protection(self, protection: Protection) -> None:
        same_vm = [
            each
            for each in self._rows.protections
            if key_of(each.vm_id) == key_of(protection.vm_id)
        ]
        wanted = {rule.name.lower() for rule in deny_rules(same_vm, self._services.names)}
        blocked = shorten(next((self._blocked[n] for n in wanted if n in self._blocked), ""))
        lifted = replace(protection, lifted=False)
        unwanted = {r.name.lower() for r in deny_rules([lifted], self._services.names)} - wanted
        stands = all(self._stands(name) for name in wanted) and unwanted.isdisjoint(self._present)
        seen = replace(protection, proven=stands, blocked=blocked)
        if stands:
            seen = replace(
                seen,
                priority_v4=protection.priority_v4 or self._priority(protection, 4),
                priority_v6=protection.priority_v6 or self._priority(protection, 6),
            )
        try:
            if protection.lifted:
                if stands:
                    self._services.rows.delete_protection(protection)
            elif seen != protection and (stands or blocked):
                self._services.rows.replace_protection(seen)
        except RowChangedError:
            return

    def _priority(self, protection: Protection, family: int) -> int:
        name = self._services.names.deny(protection.vm_id, family)
        return self._present.get(name.lower(), 0)
