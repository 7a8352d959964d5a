"""A waiting request is judged again when it opens, by the present policy."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.model import ANY, Conditions, PolicyVm, PortRule, Status
from shared.domain.policy import check_extension, narrow_protocol
from shared.firewalls.nsg.model import Access
from shared.use_cases.policies import apply as protection
from tests.unit.approving import APPROVER, decide
from tests.world import NSG_NIC, WEB, World


def _put(world: World, rule: PortRule, **conditions: Any) -> None:
    policy = world.protect(WEB)
    changed = replace(policy, vms=(PolicyVm(WEB, (rule,)),), conditions=Conditions(**conditions))
    protection.put_policy(world.services, changed)
    world.work()


def _asked_under(rule: PortRule, now: PortRule) -> tuple[World, str]:
    """Ask under one rule, and have it approved under another."""
    world = World()
    _put(world, rule, approvers_needed=1)
    request = world.ask()
    _put(world, now, approvers_needed=1)
    decide(world, request, APPROVER)
    world.work()
    return world, request.id


@pytest.mark.parametrize(
    ("asked", "now", "opens"),
    [
        (ANY, "TCP", "TCP"),
        ("TCP", "TCP", "TCP"),
        ("TCP", ANY, "TCP"),
        (ANY, ANY, ANY),
        ("TCP", "UDP", ""),
        (ANY, "UDP", "UDP"),
    ],
)
def test_the_protocol_is_narrowed_to_what_the_policy_allows_by_now(
    asked: str, now: str, opens: str
) -> None:
    """No rule opens a protocol that the policy has given up, and none one that was not asked for."""
    world, request_id = _asked_under(PortRule(22, asked), PortRule(22, now))
    rules = world.firewall.ours(NSG_NIC, Access.ALLOW)
    assert {rule.protocol.upper() for rule in rules} == ({opens} if opens else set())
    port = world.request(request_id).ports[0]
    if opens:
        assert (port.status, port.protocol) == (Status.INITIATED, opens)
    else:
        assert port.status is Status.FAILED
        assert port.closing is not None
        assert "the policy allows UDP by now" in port.closing.message


@pytest.mark.parametrize(
    "now",
    [
        PortRule(22, "TCP", max_duration=timedelta(minutes=5)),
        PortRule(22, "TCP", ("198.51.100.0/24",)),
        PortRule(3389, "TCP"),
    ],
)
def test_what_the_policy_refuses_by_now_does_not_open(now: PortRule) -> None:
    """A shorter length, other sources, another port: the approval opens nothing."""
    world, request_id = _asked_under(PortRule(22, "TCP"), now)
    assert world.status(request_id) is Status.FAILED
    assert not world.firewall.ours(NSG_NIC, Access.ALLOW)


def test_an_extension_is_refused_after_the_protocol_was_narrowed() -> None:
    """A rule that opens more protocols than the policy allows by now gets no later end."""
    world = World()
    _put(world, PortRule(22, ANY))
    request = world.request(world.ask().id)
    until = world.clock() + timedelta(hours=1)
    narrow = replace(world.policy(), vms=(PolicyVm(WEB, (PortRule(22, "TCP"),)),))
    (reason,) = check_extension(narrow, request, request.ports, until)
    assert reason.code == "ProtocolNotInPolicy"
    gone = replace(world.policy(), vms=())
    assert list(check_extension(gone, request, request.ports, until)) == []
    assert narrow_protocol(gone, request.ports[0]) == (request.ports[0], "")
