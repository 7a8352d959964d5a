"""Rows and rules to test with: each complete, each field to be replaced where a test is about it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.domain.model import FirewallRows, Grant, Protection
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, Plan, allow_rules, deny_rules, plan
from tests.fakes import NAMES, START
from tests.world import NSG_SUBNET, POLICY, SOURCE, WEB

MINUTE = timedelta(minutes=1)
OTHER_POLICY = POLICY.replace("/default", "/other")


def protection(
    vm_id: str = WEB,
    *addresses: str,
    ports: tuple[int, ...] = (22, 3389),
    policy_id: str = POLICY,
    lifted: bool = False,
) -> Protection:
    """Make the protection of a VM behind the subnet's NSG."""
    return Protection(
        NSG_SUBNET, policy_id, vm_id, ports, addresses or ("10.0.0.4",), lifted=lifted
    )


def grant(
    request_id: str = "id1",
    vm_id: str = WEB,
    *,
    port: int = 22,
    protocol: str = "TCP",
    sources: tuple[str, ...] = (SOURCE,),
    addresses: tuple[str, ...] = ("10.0.0.4",),
    policy_id: str = POLICY,
    requestor: str = "tenant/alice-id",
    requested_at: datetime = START,
    expires_at: datetime = START + 10 * MINUTE,
    sealed_at: datetime | None = None,
) -> Grant:
    """Make a grant that is wanted at the start of time for ten minutes."""
    return Grant(
        firewall_id=NSG_SUBNET,
        request_id=request_id,
        policy_id=policy_id,
        vm_id=vm_id,
        port=port,
        protocol=protocol,
        sources=sources,
        addresses=addresses,
        requestor=requestor,
        requested_at=requested_at,
        expires_at=expires_at,
        sealed_at=sealed_at,
    )


def rows(*held: Protection | Grant) -> FirewallRows:
    """Make the rows of one firewall; without a protection, the usual one."""
    protections = tuple(row for row in held if isinstance(row, Protection))
    grants = tuple(row for row in held if isinstance(row, Grant))
    return FirewallRows(protections or (protection(),), grants)


def allow(
    name: str = "somebodys-allow",
    priority: int = 300,
    *,
    sources: tuple[str, ...] = ("*",),
    destinations: tuple[str, ...] = ("*",),
    ports: tuple[str, ...] = ("22",),
    protocol: str = "Tcp",
) -> SecurityRule:
    """Make an allow rule of another writer, which meets the usual grant."""
    return SecurityRule(
        name, Access.ALLOW, protocol, sources, destinations, ports, "not ours", priority
    )


def deny(
    name: str = "somebodys-deny",
    priority: int = 100,
    *,
    sources: tuple[str, ...] = ("*",),
    destinations: tuple[str, ...] = ("*",),
    ports: tuple[str, ...] = ("22",),
    protocol: str = "*",
) -> SecurityRule:
    """Make a deny rule of another writer, which meets the usual grant."""
    return replace(
        allow(
            name,
            priority,
            sources=sources,
            destinations=destinations,
            ports=ports,
            protocol=protocol,
        ),
        access=Access.DENY,
    )


def carry_out(
    present: Sequence[SecurityRule], changes: Plan | Iterable[SecurityRule | str]
) -> list[SecurityRule]:
    """Change rules as a firewall does: by name, whatever its letter case."""
    if isinstance(changes, Plan):
        changes = (*changes.remove, *changes.put)
    held = {rule.name.lower(): rule for rule in present}
    for change in changes:
        if isinstance(change, str):
            del held[change.lower()]
        else:
            held[change.name.lower()] = change
    return list(held.values())


RULE = allow_rules(grant(), NAMES)[0]
DENY = deny_rules([protection()], NAMES)[0]
BAND = Band()


def plan_for(
    *present: SecurityRule,
    want: tuple[SecurityRule, ...] = (RULE,),
    band: Band = BAND,
    refused: dict[str, str] | None = None,
) -> Plan:
    """Plan a firewall that ought to hold one rule, unless told otherwise."""
    return plan(present, want, NAMES, band, refused)
