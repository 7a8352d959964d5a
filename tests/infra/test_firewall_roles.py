"""Least privilege for Azure Firewall: each role of its own against the calls that are made."""

import re
from typing import Any

import pytest

from tests import firewalls as hub
from tests.behind_hub import HubWorld
from tests.infra.bicep import INFRA, read
from tests.infra.hook_world import NETWORK, SUBSCRIPTION, Run
from tests.infra.test_roles import ROLES as NETWORK_ROLES
from tests.infra.test_roles import _action

_NET = "Microsoft.Network"
_RULE_GROUPS = f"{_NET}/firewallPolicies/ruleCollectionGroups"
# What ARM asks for when a body that is written names such a resource; it is no call of its own.
LINKED = {
    f"{_NET}/publicIPAddresses/join/action",
    f"{_NET}/virtualNetworks/subnets/join/action",
    f"{_NET}/ipGroups/join/action",
}
WRITES = {
    "policy": {f"{_RULE_GROUPS}/write", f"{_RULE_GROUPS}/delete"},
    "ip_group": {f"{_NET}/ipGroups/write"},
    "classic": {f"{_NET}/azureFirewalls/write"},
}
SYMBOLS = {"policy": "policy", "ip_group": "ipGroups", "classic": "classic"}
HUB = f"/subscriptions/{hub.HUB_SUBSCRIPTION}/resourceGroups/hub-rg"


def roles() -> dict[str, set[str]]:
    """Return the actions of each role by its symbol."""
    found = {}
    for each in read(INFRA / "modules" / "roles-firewall.bicep").resources:
        (permission,) = each.body["properties"]["permissions"]
        assert permission["notActions"] == []
        found[each.symbol] = set(permission["actions"])
    return found


def played(firewall_type: str) -> set[str]:
    """Open and close an access behind one type of firewall, and name the actions that the calls needed."""
    world = HubWorld(firewall_type)
    world.protect_vm()
    world.ask(hub.VM, minutes=20)
    world.pass_time(30)
    calls: list[dict[str, Any]] = world.client.ask("log")["calls"]
    used = {_action(c["method"], c["path"]) for c in calls if c["caller"] == "network"}
    return {_spelled(each) for each in used}


def _spelled(action: str) -> str:
    """Spell an action as a role does: ARM compares them without regard to case."""
    named = set().union(*roles().values(), NETWORK_ROLES["networkRules"].actions)
    return next((each for each in named if each.lower() == action.lower()), action)


@pytest.mark.parametrize("firewall_type", WRITES)
def test_each_type_needs_its_own_role_and_the_reads(firewall_type: str) -> None:
    """The network role, the reader role and a type's own role hold its calls, and no more writes."""
    held = roles()
    used = played(firewall_type)
    network = set(NETWORK_ROLES["networkRules"].actions)
    assert used - network - held["reader"] - held[SYMBOLS[firewall_type]] == set(), "missing"
    assert held[SYMBOLS[firewall_type]] - used - LINKED == set(), "spare"
    assert {each for each in used - network if not each.endswith("/read")} == WRITES[firewall_type]


def test_the_reader_role_reads_and_nothing_is_spare() -> None:
    """Every read of the reader role is made by some type of firewall."""
    reader = roles()["reader"]
    assert all(each.endswith("/read") for each in reader)
    assert reader - set().union(*map(played, WRITES)) == set()


def test_no_role_holds_a_wildcard() -> None:
    """The app's actions on firewalls are written out."""
    assert not any("*" in action for actions in roles().values() for action in actions)


def test_only_the_classic_role_writes_a_firewall() -> None:
    """The default takes no right on whole firewalls or policies."""
    for symbol, actions in roles().items():
        whole = {
            a for a in actions if re.fullmatch(r".*/(azureFirewalls|firewallPolicies)/write", a)
        }
        assert bool(whole) is (symbol == "classic")


def test_the_hook_assigns_firewall_roles_where_they_belong(run: Run) -> None:
    """Reads at VM scopes and hubs, groups of policies at hubs, whole firewalls at those named alone."""
    done, after = run(
        "rights",
        environment={
            "JIT_SCOPES": SUBSCRIPTION,
            "JIT_SCOPE_RIGHTS": f"{NETWORK}=network",
            "JIT_FIREWALL_SCOPES": HUB,
            "JIT_FIREWALL_CLASSIC_SCOPES": hub.FIREWALL,
            "JIT_FIREWALL_READS": f"{NETWORK}=reads",
            "JIT_FIREWALL_RIGHTS": f"{NETWORK}=groups",
            "JIT_FIREWALL_CLASSIC_RIGHTS": f"{NETWORK}=whole",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    held = {(scope, role.rpartition("/")[2]) for scope, _, role in after["assignments"]}
    assert held == {
        (SUBSCRIPTION, "network"),
        (SUBSCRIPTION, "reads"),
        (HUB, "reads"),
        (HUB, "groups"),
        (hub.FIREWALL, "reads"),
        (hub.FIREWALL, "whole"),
    }
