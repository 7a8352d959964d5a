"""Tell repairs from ordinary work: what somebody else did to rules of ours goes on record."""

from collections.abc import Iterable
from dataclasses import replace

from shared.domain.audit import Operation
from shared.domain.ids import RuleNames
from shared.domain.model import FirewallRows, Grant, Protection
from shared.domain.rules import Plan, allow_rules, deny_rules
from shared.ports import Snapshot
from shared.store.audit import Fact
from shared.use_cases.services import Services


class Repairs:
    """What was found on one firewall, recorded once a fresh read shows it mended."""

    def __init__(self, services: Services, firewall_id: str) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._found: dict[str, Fact] = {}

    def look(self, snapshot: Snapshot, rows: FirewallRows, changes: Plan) -> None:
        """Note each rule that had been seen in place and is not as it should be any more.

        What cannot be recorded now is kept for the next round: a close waits for no record.
        """
        try:
            self._look(snapshot, rows, changes)
        except Exception as error:  # noqa: BLE001 - whatever it is, the firewall is converged
            self._services.telemetry.fault(
                "jit.repair.unrecorded", error, firewall=self._firewall_id
            )

    def _look(self, snapshot: Snapshot, rows: FirewallRows, changes: Plan) -> None:
        unsettled = changes.names | changes.blocked.keys()
        for name in sorted(self._found.keys() - unsettled):
            self._record(name)
        for name, what in drifted(self._services, snapshot, rows, changes).items():
            self._found.setdefault(name, self._fact(name, what, snapshot.version))

    def _fact(self, name: str, what: str, version: str) -> Fact:
        return Fact(
            id=f"{self._firewall_id}|{name}|{version}|repaired",
            at=self._services.clock(),
            operation=Operation.REPAIRED,
            firewall_id=self._firewall_id,
            reason=f"{name}: {what}",
        )

    def _record(self, name: str) -> None:
        fact = self._found[name]
        self._services.activity.record(fact)
        self._services.telemetry.event(
            "jit.rule.repaired", firewall=self._firewall_id, rule=name, what=fact.reason
        )
        del self._found[name]


def drifted(
    services: Services, snapshot: Snapshot, rows: FirewallRows, changes: Plan
) -> dict[str, str]:
    """Name the rules of ours that drifted, and say how."""
    names = services.names
    seen_open = {
        rule.name
        for grant in rows.grants
        if grant.proven and not grant.is_sealed
        for rule in allow_rules(grant, names)
    }
    seen_closed = {p for p in rows.protections if p.proven and not p.lifted}
    settled = seen_open | {rule.name for rule in deny_rules(seen_closed, names)}
    present = {rule.name.lower() for rule in snapshot.rules}
    found = {
        rule.name: "edited" if rule.name.lower() in present else "deleted"
        for rule in changes.put
        if rule.name in settled
    }
    ended = _rules_of((g for g in rows.grants if g.is_sealed and g.proven), names)
    known = _rules_of((g for g in rows.grants if not (g.is_sealed and g.proven)), names)
    known |= {rule.name.lower() for rule in deny_rules(_unlifted(rows), names)}
    for name in changes.remove:
        if name.lower() not in known:
            found[name] = "back after its end" if name.lower() in ended else "an orphan"
    return found


def _rules_of(grants: Iterable[Grant], names: RuleNames) -> set[str]:
    return {rule.name.lower() for grant in grants for rule in allow_rules(grant, names)}


def _unlifted(rows: FirewallRows) -> list[Protection]:
    return [replace(each, lifted=False) for each in rows.protections]
