"""Reachability: inbound traffic judged as Azure judges it."""

from typing import Any

import pytest

from local.arm.client import ArmClient
from local.tests.arm.place import (
    NETWORK,
    OPS_SCOPE,
    SCOPE,
    SETTLE_SECONDS,
    WEB_NSG,
    Clock,
    child,
    machine,
    named,
    rule,
)

ANYWHERE = "203.0.113.7"
NSGS = f"{SCOPE}/{NETWORK}/networkSecurityGroups"
APP_NSG, APPS_SUBNET_NSG = f"{NSGS}/app-1-nsg", f"{NSGS}/apps-subnet-nsg"


def ask(arm: ArmClient, name: str, **question: Any) -> dict[str, Any]:
    """Ask whether a machine can be reached, by default on port 22 from the internet."""
    scope = question.pop("scope", SCOPE)
    asked = {"vm": machine(name, scope), "port": 22, "source": ANYWHERE, **question}
    answer: dict[str, Any] = arm.ask("access", **asked)
    return answer


def deciding(answer: dict[str, Any]) -> list[str]:
    """Return the names of the deciding rules."""
    return [each["rule"] for each in answer["rules"]]


def test_without_a_group_everything_gets_through(arm: ArmClient) -> None:
    """A machine behind no group is open, and no rule says so."""
    answer = ask(arm, "bare-1")
    assert (answer["allowed"], answer["rules"]) == (True, [])


def test_the_default_rules_decide_in_the_end(arm: ArmClient) -> None:
    """From outside the network denied, from inside it and from the load balancer allowed."""
    assert deciding(ask(arm, "web-1")) == ["DenyAllInBound"]
    assert deciding(ask(arm, "web-1", source="10.0.200.1")) == ["AllowVnetInBound"]
    assert deciding(ask(arm, "web-1", source="168.63.129.16")) == ["AllowAzureLoadBalancerInBound"]
    assert not ask(arm, "web-1", source="10.99.0.1")["allowed"]


def test_both_groups_must_allow(arm: ArmClient) -> None:
    """The subnet's group and the interface's are each asked, and each is named."""
    for nsg, expected in ((APP_NSG, False), (APPS_SUBNET_NSG, True)):
        arm.control("edit", {"nsg": nsg, "put": [named("jit", destinationAddressPrefix="*")]})
        answer = ask(arm, "app-1")
        assert answer["allowed"] is expected
        assert [each["firewall"] for each in answer["rules"]] == [APPS_SUBNET_NSG, APP_NSG]
    assert deciding(ask(arm, "app-1")) == ["jit", "jit"]


def test_a_write_filters_only_when_it_has_settled(arm: ArmClient, clock: Clock) -> None:
    """A rule that reads show already takes no caller in while it is Updating, and out likewise."""
    arm.call("PUT", child(WEB_NSG, "jit"), rule())
    assert not ask(arm, "web-1")["allowed"]
    clock.pass_by(SETTLE_SECONDS)
    assert deciding(ask(arm, "web-1")) == ["jit"]
    arm.call("DELETE", child(WEB_NSG, "jit"))
    assert ask(arm, "web-1")["allowed"]
    clock.pass_by(SETTLE_SECONDS)
    assert not ask(arm, "web-1")["allowed"]


@pytest.mark.parametrize(
    ("properties", "question", "allowed"),
    [
        ({}, {}, True),
        ({}, {"source": "203.0.113.8"}, False),
        ({}, {"port": 23}, False),
        ({}, {"protocol": "Udp"}, False),
        ({"protocol": "TCP"}, {"protocol": "tcp"}, True),
        ({"protocol": "*"}, {"protocol": "Udp"}, True),
        ({"access": "Deny"}, {}, False),
        ({"direction": "Outbound"}, {}, False),
        ({"destinationPortRange": "20-25"}, {"port": 25}, True),
        ({"destinationPortRange": "20-25"}, {"port": 26}, False),
        ({"destinationPortRange": None, "destinationPortRanges": ["80", "20-22"]}, {}, True),
        ({"sourcePortRange": "1-1023"}, {}, False),
        ({"sourcePortRange": "1-1023"}, {"sourcePort": 1000}, True),
        ({"sourceAddressPrefix": "203.0.113.0/28"}, {}, True),
        ({"sourceAddressPrefix": "Internet"}, {}, True),
        ({"sourceAddressPrefix": "INTERNET"}, {"source": "10.0.9.9", "port": 22}, True),
        ({"sourceAddressPrefix": "VirtualNetwork"}, {}, False),
        ({"sourceAddressPrefix": "Storage.WestEurope"}, {}, False),
        ({"sourceAddressPrefix": "*"}, {}, True),
        ({"sourceAddressPrefix": "0.0.0.0/0"}, {}, True),
        ({"sourceAddressPrefix": None, "sourceAddressPrefixes": ["192.0.2.1", ANYWHERE]}, {}, True),
        ({"destinationAddressPrefix": "10.0.1.5"}, {}, False),
        ({"destinationAddressPrefix": "VirtualNetwork"}, {}, True),
    ],
)
def test_a_rule_matches_as_in_azure(
    arm: ArmClient, properties: dict[str, Any], question: dict[str, Any], allowed: bool
) -> None:
    """Protocol, ports, prefixes and tags, each its own way."""
    arm.control("edit", {"nsg": WEB_NSG, "put": [named("jit", **properties)]})
    assert ask(arm, "web-1", **question)["allowed"] is allowed


def test_the_lowest_priority_number_decides(arm: ArmClient) -> None:
    """The first match by priority ends the matter."""
    rules = [named("late", priority=300), named("early", priority=150, access="Deny")]
    arm.control("edit", {"nsg": WEB_NSG, "put": rules})
    assert deciding(ask(arm, "web-1")) == ["early"]


def test_the_default_estate_is_as_its_names_say(arm: ArmClient) -> None:
    """Open is open, strict is strict, quarantine holds, Defender's port is open for one."""
    assert deciding(ask(arm, "open-1")) == ["allow-ssh-for-all"]
    assert deciding(ask(arm, "strict-1", source="10.0.9.9")) == ["deny-all"]
    assert deciding(ask(arm, "legacy-1", source="198.51.100.7")) == ["quarantine-botnet"]
    assert ask(arm, "guarded-1", source="192.0.2.77", port=3389)["allowed"]
    assert not ask(arm, "guarded-1", port=3389)["allowed"]
    assert not ask(arm, "db-1")["allowed"]
    assert not ask(arm, "win-1", scope=OPS_SCOPE, port=3389)["allowed"]


def test_each_address_of_a_machine_is_judged_by_its_own_groups(arm: ArmClient) -> None:
    """Two interfaces, two groups: one open address is enough, and one may be asked for."""
    inside = f"{NSGS}/router-inside-nsg"
    arm.control("edit", {"nsg": inside, "put": [named("jit", destinationAddressPrefix="*")]})
    answer = ask(arm, "router-1")
    assert (answer["allowed"], answer["address"]) == (True, "10.0.5.4")
    assert [each["allowed"] for each in answer["addresses"]] == [False, True]
    assert not ask(arm, "router-1", address="10.0.1.6")["allowed"]


def test_families_do_not_meet(arm: ArmClient) -> None:
    """An IPv6 source reaches the IPv6 address, by its own rules, and none where there is none."""
    answer = ask(arm, "edge-6", source="2001:db8::7", port=443)
    assert (answer["allowed"], answer["address"]) == (True, "fd00:10:0:6::4")
    assert not ask(arm, "edge-6", source="2001:db8::7")["allowed"]
    unreachable = ask(arm, "web-1", source="2001:db8::7", port=443)
    assert (unreachable["allowed"], unreachable["rules"]) == (False, [])


def test_application_security_groups_are_resolved_through_interfaces(arm: ArmClient) -> None:
    """A rule from one group to another holds for the addresses that are members."""
    asgs = f"{SCOPE}/{NETWORK}/applicationSecurityGroups"
    assert deciding(ask(arm, "asg-1")) == ["DenyAllInBound"]
    nic = f"{SCOPE}/{NETWORK}/networkInterfaces/web-2-nic"
    body = arm.call("GET", nic).body
    member = body["properties"]["ipConfigurations"][0]["properties"]
    member["applicationSecurityGroups"] = [{"id": f"{asgs}/OPS-ASG"}]
    arm.control("edit", {"resources": [body]})
    assert deciding(ask(arm, "asg-1", source="10.0.1.5")) == ["allow-ops-to-web"]
    assert deciding(ask(arm, "asg-1", source="10.0.1.4")) == ["AllowVnetInBound"]


def test_a_peered_network_belongs_to_the_virtual_network(arm: ArmClient) -> None:
    """The VirtualNetwork tag covers the spaces of the peerings."""
    vnet_id = f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet"
    vnet = arm.call("GET", vnet_id).body
    assert not ask(arm, "web-1", source="10.1.1.9")["allowed"]
    remote = {"remoteAddressSpace": {"addressPrefixes": ["10.1.0.0/16"]}}
    vnet["properties"]["virtualNetworkPeerings"] = [{"name": "ops", "properties": remote}]
    arm.control("edit", {"resources": [vnet]})
    assert ask(arm, "web-1", source="10.1.1.9")["allowed"]
    assert len(arm.call("GET", f"{vnet_id}/virtualNetworkPeerings").body["value"]) == 1


@pytest.mark.parametrize(
    "question",
    [{"name": "absent"}, {"source": "here"}, {"port": "ssh"}, {"address": "?"}],
)
def test_a_question_that_makes_no_sense_is_refused(
    arm: ArmClient, question: dict[str, Any]
) -> None:
    """A typing error must not pass for a closed port."""
    with pytest.raises(ValueError, match=r"."):
        ask(arm, question.pop("name", "web-1"), **question)


@pytest.mark.parametrize("address", ["10.20.1.16/28", "web-1", "", "10.0.0.256"])
def test_a_malformed_address_breaks_no_other_answer(arm: ArmClient, address: str) -> None:
    """An interface of an estate may hold anything; its VM is not reached, others are judged."""
    nic = {
        "id": f"{SCOPE}/{NETWORK}/networkInterfaces/odd-nic",
        "location": "westeurope",
        "properties": {
            "ipConfigurations": [
                {"name": "a", "properties": {"privateIPAddress": address}},
                {"name": "b", "properties": {"privateIPAddress": "10.0.1.99"}},
            ]
        },
    }
    nics = [{"id": nic["id"]}]
    odd = {"id": machine("odd-1"), "properties": {"networkProfile": {"networkInterfaces": nics}}}
    arm.control("edit", {"resources": [nic, odd]})
    assert deciding(ask(arm, "web-1")) == ["DenyAllInBound"]
    answer = ask(arm, "odd-1")
    assert (answer["allowed"], answer["address"]) == (False, None)
