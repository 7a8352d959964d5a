"""Worlds whose policy asks people, and the people who decide."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import (
    JitError,
)
from shared.domain.model import AccessRequest, Principal
from shared.firewalls.nsg.model import Access
from shared.store.audit import AuditEvent
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import one_by_one
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, WEB, World

APPROVER = Principal("tenant", "carol-id", "carol@x", roles=frozenset({"Jit.Approve"}))
SECOND = Principal("tenant", "dave-id", "dave@x", roles=frozenset({"Jit.Approve"}))
ADMIN = Principal("tenant", "erin-id", "erin@x", roles=frozenset({"Jit.Admin"}))
RELAY = Principal("tenant", "relay-id", is_app=True, app_id="relay", roles=frozenset({"Jit.Relay"}))
BOTH = replace(ALICE, roles=frozenset({"Jit.Request", "Jit.Approve"}))


@pytest.fixture
def world() -> World:
    """Make a world whose policy asks one person, for the opening and for a longer end."""
    return asking(1)


def asking(needed: int, **more: Any) -> World:
    """Make a world whose policy asks so many people."""
    world = World(workers=one_by_one)
    put(world, approvers_needed=needed, approve_extensions=True, **more)
    return world


def put(world: World, **conditions: Any) -> None:
    """Change the policy's conditions."""
    policy = world.protect(WEB, DB)
    changed = replace(policy, conditions=replace(policy.conditions, **conditions))
    protection.put_policy(world.services, changed)
    world.work()


def opened(world: World, minutes: float = 10) -> AccessRequest:
    """Ask, agree and open."""
    request = world.ask(minutes=minutes)
    decide(world, request, APPROVER)
    world.work()
    return world.request(request.id)


def decide(
    world: World,
    request: AccessRequest,
    who: Principal,
    *,
    yes: bool = True,
    by: Principal | None = None,
) -> AccessRequest:
    """Have an approver decide."""
    return approval.decide(
        world.services, request.id, Caller(who, by), approved=yes, comment="said"
    )


def extend(
    world: World, request: AccessRequest, minutes: float, who: Principal = ALICE
) -> AccessRequest:
    """Ask for a longer end."""
    duration = timedelta(minutes=minutes)
    return approval.extend_access(world.services, request.id, Caller(who), duration=duration)


def events(world: World, *operations: str) -> list[AuditEvent]:
    """Read what is on record."""
    found = [event for _, event in world.services.activity.on(world.clock())]
    return [event for event in found if not operations or event.operation in operations]


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anybody in."""
    return any(world.firewall.ours(nsg, Access.ALLOW) for nsg in (NSG_NIC, NSG_SUBNET))


def code_of(work: Callable[[], object]) -> str:
    """Return the code of a refusal."""
    with pytest.raises(JitError) as raised:
        work()
    return raised.value.code
