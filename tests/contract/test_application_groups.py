"""Application security groups, resolved from the interfaces that ARM lists."""

import copy
import time
from typing import Any

import pytest

from local.arm.app import load_estate
from local.arm.client import ArmClient
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client, network_client
from shared.domain.ids import key_of
from shared.firewalls.nsg.client import NetworkSecurityGroups
from shared.firewalls.nsg.discovery import ArmInventory, read_membership
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, allow_rules, deny_rules, plan
from tests.fakes import NAMES
from tests.samples import grant, protection

Json = dict[str, Any]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
WHOLE = f"/subscriptions/{SUBSCRIPTION}"
APP = f"{WHOLE}/resourceGroups/app-rg"
NETWORK = f"{APP}/providers/Microsoft.Network"
ASG_VM = f"{APP}/providers/Microsoft.Compute/virtualMachines/asg-1"
GROUP = f"{NETWORK}/networkSecurityGroups/asg-nsg"
MEMBER, STRANGER = "10.0.1.11", "10.0.1.4"  # asg-1, of web-asg; web-1, of none


def asg(name: str) -> Json:
    """Name an application security group."""
    return {"id": f"{NETWORK}/applicationSecurityGroups/{name}"}


def groups(arm: ArmClient, scopes: tuple[str, ...] = ()) -> NetworkSecurityGroups:
    """Make the adapter as the app does."""
    reader = ArmReader(arm_client(arm.url, LocalName("network")))
    return NetworkSecurityGroups(
        lambda subscription: network_client(arm.url, LocalName("network"), subscription),
        NAMES,
        lambda seconds: time.sleep(seconds / 4),  # the simulator settles in its own time
        whole_writes=lambda: True,
        membership=lambda subscription: read_membership(reader, scopes, subscription),
    )


def put_rule(arm: ArmClient, **properties: Any) -> None:
    """Put a deny before every allow of ours that is about a group."""
    given = {
        "access": "Deny", "direction": "Inbound", "priority": 100, "protocol": "*",
        "sourcePortRange": "*", "destinationPortRange": "*", **properties,
    }  # fmt: skip
    if "sourceApplicationSecurityGroups" not in given:
        given["sourceAddressPrefix"] = "*"
    if "destinationApplicationSecurityGroups" not in given:
        given["destinationAddressPrefix"] = "*"
    arm.control("edit", {"nsg": GROUP, "put": [{"name": "theirs", "properties": given}]})


def join_group(arm: ArmClient, nic: str, *names: str, address: str = "") -> None:
    """Put an interface of the estate into groups."""
    resources = load_estate()["resources"]
    found = copy.deepcopy(
        next(r for r in resources if r["id"].endswith(f"/networkInterfaces/{nic}"))
    )
    held = found["properties"]["ipConfigurations"][0]["properties"]
    held["applicationSecurityGroups"] = [asg(name) for name in names]
    held["privateIPAddress"] = address or held["privateIPAddress"]
    arm.control("edit", {"resources": [found]})


def refusal(
    arm: ArmClient, address: str, source: str = "203.0.113.7", scopes: tuple[str, ...] = ()
) -> str:
    """Say why a grant to an address is refused; empty: it is placed."""
    asked = grant(vm_id=ASG_VM, sources=(source,), addresses=(address,))
    present = groups(arm, scopes).read(GROUP).rules
    return "".join(plan(present, allow_rules(asked, NAMES), NAMES, Band()).blocked.values())


@pytest.mark.parametrize("name", ["web-asg", "WEB-ASG"])
@pytest.mark.parametrize(("address", "refused"), [(MEMBER, True), (STRANGER, False)])
def test_a_deny_to_a_group_is_about_its_members(
    arm: ArmClient, name: str, address: str, refused: bool
) -> None:
    """Row B: the request for a VM that is in none is not refused."""
    put_rule(arm, destinationApplicationSecurityGroups=[asg(name)])
    assert ("'theirs' (priority 100) denies this port" in refusal(arm, address)) == refused


@pytest.mark.parametrize("access", ["Allow", "Deny"])
def test_a_rule_to_a_group_without_members_applies_to_no_machine(
    arm: ArmClient, access: str
) -> None:
    """A group that no interface names holds no address."""
    put_rule(arm, access=access, destinationApplicationSecurityGroups=[asg("ops-asg")])
    (rule,) = (r for r in groups(arm).read(GROUP).rules if r.name == "theirs")
    assert (rule.destinations, rule.unresolved_destinations) == ((), False)
    assert refusal(arm, MEMBER) == ""


@pytest.mark.parametrize(
    ("source", "refused"),
    [("203.0.113.7", False), ("10.0.1.5", True), ("10.0.1.6", False), ("192.168.0.1", False)],
)
def test_a_deny_from_a_group_is_about_its_members(
    arm: ArmClient, source: str, refused: bool
) -> None:
    """Row B: a public source is in none, a private one if an interface says so."""
    join_group(arm, "web-2-nic", "ops-asg")  # 10.0.1.5
    put_rule(arm, sourceApplicationSecurityGroups=[asg("ops-asg")])
    assert bool(refusal(arm, STRANGER, source)) == refused


def test_several_groups_on_both_sides(arm: ArmClient) -> None:
    """A rule is about the members of any group on each side."""
    join_group(arm, "web-2-nic", "ops-asg")
    both = [asg("ops-asg"), asg("web-asg")]
    put_rule(arm, sourceApplicationSecurityGroups=both, destinationApplicationSecurityGroups=both)
    (rule,) = (r for r in groups(arm).read(GROUP).rules if r.name == "theirs")
    assert rule.sources == rule.destinations == ("10.0.1.11", "10.0.1.5")


def test_an_address_that_does_not_tell_a_member_leaves_the_group_unresolved(arm: ArmClient) -> None:
    """Two networks may use one address: for a member, and for a VM that is in no group."""
    put_rule(arm, destinationApplicationSecurityGroups=[asg("web-asg")])
    join_group(arm, "web-1-nic", address=MEMBER)
    (rule,) = (r for r in groups(arm).read(GROUP).rules if r.name == "theirs")
    assert rule.unresolved_destinations
    assert refusal(arm, MEMBER)


def test_a_part_of_the_subscription_tells_destinations_and_not_sources(arm: ArmClient) -> None:
    """Every VM that the app works on is listed; sources may be anywhere."""
    put_rule(arm, destinationApplicationSecurityGroups=[asg("web-asg")])
    assert refusal(arm, MEMBER, scopes=(APP,))
    assert not refusal(arm, STRANGER, scopes=(APP,))
    put_rule(arm, sourceApplicationSecurityGroups=[asg("ops-asg")])
    assert refusal(arm, STRANGER, "10.0.1.6", scopes=(APP,))
    assert not refusal(arm, STRANGER, "203.0.113.7", scopes=(APP,))


def test_interfaces_that_may_not_be_listed_leave_groups_unresolved(arm: ArmClient) -> None:
    """A refusal says nothing of who is a member."""
    put_rule(arm, destinationApplicationSecurityGroups=[asg("web-asg")])
    fault = {"kind": "linkedAuthorizationFailed", "method": "GET", "path": "networkInterfaces"}
    arm.control("faults", {"faults": [{**fault, "times": None}]})
    assert refusal(arm, STRANGER)


def test_interfaces_are_listed_only_where_a_group_is_named(arm: ArmClient) -> None:
    """Reads are scarce."""
    groups(arm).read(f"{NETWORK}/networkSecurityGroups/web-nsg")
    assert [c for c in arm.ask("log")["calls"] if "networkInterfaces" in c["path"]] == []


def test_lists_and_single_reads_resolve_alike(arm: ArmClient) -> None:
    """The machines report and the plan use the same resolved groups."""
    join_group(arm, "web-2-nic", "ops-asg")
    put_rule(arm, sourceApplicationSecurityGroups=[asg("ops-asg")])
    listed = ArmInventory(ArmReader(arm_client(arm.url, LocalName("network")))).read((WHOLE,))
    assert listed.firewalls[key_of(GROUP)].rules == groups(arm).read(GROUP).rules


def test_a_whole_write_leaves_application_security_groups_untouched(arm: ArmClient) -> None:
    """They are resolved to judge by, and written back as they were read."""
    put_rule(
        arm,
        sourceApplicationSecurityGroups=[asg("ops-asg")],
        destinationApplicationSecurityGroups=[asg("web-asg"), asg("ops-asg")],
    )
    adapter = groups(arm)

    def raw() -> list[Json]:
        held: Json = adapter.read(GROUP).raw  # type: ignore[assignment]
        rules = held["properties"]["securityRules"]
        return [
            {k: v for k, v in r["properties"].items() if k != "provisioningState"}
            for r in rules
            if not NAMES.is_ours(r["name"])
        ]

    before = raw()
    shield = deny_rules([protection(ASG_VM, MEMBER)], NAMES)
    want: list[SecurityRule] = [
        *shield, *allow_rules(grant(vm_id=ASG_VM, addresses=(STRANGER,)), NAMES)
    ]  # fmt: skip
    snapshot = adapter.read(GROUP)
    changes = plan(snapshot.rules, want, NAMES, Band())
    assert len(changes.put) == 2
    adapter.write(snapshot, changes)
    after = adapter.read(GROUP).rules
    assert {r.access for r in after if NAMES.is_ours(r.name)} == {Access.ALLOW, Access.DENY}
    assert raw() == before


@pytest.mark.parametrize(
    "fault", [{"kind": "serverError", "status": 503}, {"kind": "throttle", "retryAfter": 9}]
)
def test_a_list_of_interfaces_that_fails_keeps_no_rule_from_being_closed(
    arm: ArmClient, fault: Json
) -> None:
    """The group is read all the same, its application security groups unresolved."""
    put_rule(arm, destinationApplicationSecurityGroups=[asg("web-asg")])
    arm.control("faults", {"faults": [{**fault, "path": "networkInterfaces", "times": None}]})
    (rule,) = (r for r in groups(arm).read(GROUP).rules if r.name == "theirs")
    assert rule.unresolved_destinations
