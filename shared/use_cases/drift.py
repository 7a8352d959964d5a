"""Tell repairs from ordinary work: what somebody else did to rules of ours goes on record."""

from dataclasses import replace

from shared.domain.model import FirewallRows, Protection
from shared.domain.rules import Plan, allow_rules, deny_rules
from shared.use_cases.interfaces import Snapshot
from shared.use_cases.rows import Fact
from shared.use_cases.services import Services


def record_repairs(
    services: Services, firewall_id: str, snapshot: Snapshot, rows: FirewallRows, changes: Plan
) -> None:
    """Record each rule that had been seen in place and was not as it should be any more."""
    for name, what in drifted(services, snapshot, rows, changes).items():
        fact = Fact(
            id=f"{firewall_id}|{name}|{snapshot.version}|repaired",
            at=services.clock(),
            operation="repaired",
            firewall_id=firewall_id,
            reason=f"{name}: {what}",
        )
        services.activity.record(fact)
        services.telemetry.event("jit.rule.repaired", firewall=firewall_id, rule=name, what=what)


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
    known = {rule.name.lower() for g in rows.grants for rule in allow_rules(g, names)}
    known |= {rule.name.lower() for rule in deny_rules(_unlifted(rows), names)}
    found |= {name: "an orphan" for name in changes.remove if name.lower() not in known}
    return found


def _unlifted(rows: FirewallRows) -> list[Protection]:
    return [replace(each, lifted=False) for each in rows.protections]
