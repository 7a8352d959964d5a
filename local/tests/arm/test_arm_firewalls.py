"""Firewalls, policies and IP groups of the simulator, in the project's own words."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from local.tests.arm.place import SETTLE_SECONDS, Clock
from tests.firewalls import (
    ALICE,
    BOB,
    FIREWALL,
    FIREWALL_PREFIX,
    HUB,
    IP_GROUP,
    NET,
    NIC,
    POLICY,
    PUBLIC_ADDRESS,
    TABLE,
    VM,
    classic_collection,
    classic_nat,
    estate,
    firewall,
    group,
    ip_group,
    machine,
    nat_rule,
    network_rule,
    nic,
    nsg,
    policy_body,
    public_address,
    table,
)

GROUP = f"{POLICY}/ruleCollectionGroups/theirs"


@pytest.fixture(scope="module")
def hub_clock() -> Clock:
    """Give a clock that stands until it is moved."""
    return Clock()


@pytest.fixture(scope="module")
def hub_server(hub_clock: Clock) -> Iterator[ArmServer]:
    """Serve the hub and its spoke on that clock."""
    settings = Settings(settle=SETTLE_SECONDS)
    with ArmServer(estate(), settings=settings, clock=hub_clock) as running:
        yield running


@pytest.fixture
def arm(hub_server: ArmServer) -> Iterator[ArmClient]:
    """Connect to the simulator as it was at the start."""
    client = ArmClient(hub_server.url)
    client.control("reset")
    yield client
    client.close()


def edit(arm: ArmClient, *resources: dict[str, Any]) -> None:
    """Put resources in place as another writer would."""
    arm.control("edit", {"resources": list(resources)})


def reaches(arm: ArmClient, source: str = ALICE, **entry: Any) -> bool:
    """Tell whether the VM's port 22 is reached."""
    return bool(arm.ask("access", vm=VM, port=22, source=source, **entry)["allowed"])


def put_group(arm: ArmClient, clock: Clock, *rules: dict[str, Any], **options: Any) -> None:
    """Put a group and let it settle."""
    reply = arm.call("PUT", options.pop("group_id", GROUP), group(*rules, **options))
    assert reply.status in (200, 201), reply.body
    clock.pass_by(SETTLE_SECONDS)


def test_a_translation_opens_once_its_write_has_settled(arm: ArmClient, hub_clock: Clock) -> None:
    """Public address, DNAT, NSG: the source behind the firewall is the firewall's subnet."""
    edit(arm, nsg(FIREWALL_PREFIX))
    assert not reaches(arm)
    reply = arm.call("PUT", GROUP, group(nat_rule()))
    assert reply.body["properties"]["provisioningState"] == "Updating"
    assert not reaches(arm)
    hub_clock.pass_by(SETTLE_SECONDS)
    found = arm.ask("access", vm=VM, port=22, source=ALICE)
    assert found["allowed"]
    assert found["entry"] == {"address": PUBLIC_ADDRESS, "port": 20_001}
    assert not reaches(arm, BOB)
    assert reaches(arm, publicAddress=PUBLIC_ADDRESS, publicPort=20_001)
    assert not reaches(arm, publicAddress=PUBLIC_ADDRESS, publicPort=20_002)


def test_the_nsg_sees_the_firewalls_subnet(arm: ArmClient, hub_clock: Clock) -> None:
    """An NSG rule for the requestor, or for the firewall's own address alone, lets nothing in."""
    put_group(arm, hub_clock, nat_rule())
    for sources in ((ALICE,), ("10.0.0.4",)):
        edit(arm, nsg(*sources))
        assert not reaches(arm)


def test_private_sources_pass_network_rules_as_they_are(arm: ArmClient, hub_clock: Clock) -> None:
    """A VPN client needs a network allow, and the NSG sees its own address; a deny comes first."""
    edit(arm, nsg("10.9.0.0/16"))
    assert not reaches(arm, "10.9.0.5")
    put_group(arm, hub_clock, network_rule(), action="Allow")
    assert reaches(arm, "10.9.0.5")
    deny = f"{POLICY}/ruleCollectionGroups/first"
    put_group(arm, hub_clock, network_rule(), action="Deny", group_id=deny, priority=100)
    assert not reaches(arm, "10.9.0.5")


def test_a_deny_network_rule_does_not_close_a_translation(arm: ArmClient, hub_clock: Clock) -> None:
    """DNAT-matched traffic is not subject to network rules."""
    edit(arm, nsg(FIREWALL_PREFIX))
    put_group(arm, hub_clock, nat_rule())
    deny = network_rule(sourceAddresses=["*"])
    put_group(arm, hub_clock, deny, action="Deny", group_id=f"{GROUP}-deny", priority=100)
    assert reaches(arm)


def test_a_second_write_is_refused_while_the_first_is_under_way(
    arm: ArmClient, hub_clock: Clock
) -> None:
    """One change at a time for a policy, its parent and its children."""
    parent = f"{HUB}/firewallPolicies/base"
    edit(arm, policy_body(parent), policy_body(basePolicy={"id": parent}))
    arm.call("PUT", GROUP, group(nat_rule()))
    for policy in (POLICY, parent):
        reply = arm.call("PUT", f"{policy}/ruleCollectionGroups/other", group())
        assert (reply.status, reply.code) == (409, "AnotherOperationInProgress")
    arm.control("firewalls", {"busyCode": "FirewallPolicyUpdateNotAllowedWhenUpdatingOrDeleting"})
    assert "NotAllowed" in arm.call("DELETE", GROUP).code
    hub_clock.pass_by(SETTLE_SECONDS)
    assert arm.call("DELETE", GROUP).status == 202


def test_an_equal_put_answers_null(arm: ArmClient, hub_clock: Clock) -> None:
    """The service answers the literal null, without a poll address."""
    put_group(arm, hub_clock, nat_rule())
    reply = arm.call("PUT", GROUP, group(nat_rule()))
    assert (reply.status, reply.content) == (200, b"null")
    assert "azure-asyncoperation" not in reply.headers


def test_removing_a_group_twice_is_no_error(arm: ArmClient, hub_clock: Clock) -> None:
    """202 with the group as body, a result of null, then 204."""
    put_group(arm, hub_clock, nat_rule())
    reply = arm.call("DELETE", GROUP)
    assert (reply.status, reply.body["name"]) == (202, "theirs")
    hub_clock.pass_by(SETTLE_SECONDS)
    result = arm.call("GET", reply.headers["location"].removeprefix(arm.url))
    assert (result.status, result.content) == (200, b"null")
    assert arm.call("DELETE", GROUP).status == 204


def test_a_faulted_firewall_fails_the_policys_write(arm: ArmClient, hub_clock: Clock) -> None:
    """The poll tells Failed; some instances enforce the old rules, others the new ones."""
    edit(arm, nsg(FIREWALL_PREFIX))
    arm.control("firewalls", {"state": {"id": FIREWALL, "state": "Failed"}})
    reply = arm.call("PUT", GROUP, group(nat_rule()))
    hub_clock.pass_by(SETTLE_SECONDS)
    poll = arm.call("GET", reply.headers["azure-asyncoperation"].removeprefix(arm.url))
    assert poll.body["status"] == "Failed"
    assert poll.body["error"]["code"] == "FirewallPolicyUpdateFailed"
    assert arm.call("GET", GROUP).body["properties"]["provisioningState"] == "Failed"
    assert reaches(arm)
    arm.control("firewalls", {"state": {"id": FIREWALL, "state": "Succeeded"}})
    put_group(arm, hub_clock, nat_rule())
    assert arm.call("GET", GROUP).body["properties"]["provisioningState"] == "Succeeded"


def test_a_failed_close_leaves_some_instances_open(arm: ArmClient, hub_clock: Clock) -> None:
    """After a write that failed the port may still be open."""
    edit(arm, nsg(FIREWALL_PREFIX))
    put_group(arm, hub_clock, nat_rule())
    arm.control("firewalls", {"failNext": 1})
    arm.call("PUT", GROUP, group())
    hub_clock.pass_by(SETTLE_SECONDS)
    assert reaches(arm)
    put_group(arm, hub_clock)
    assert not reaches(arm)


def test_if_match_is_honoured_unless_switched_off(arm: ArmClient) -> None:
    """A stale etag is a 412; the service may also ignore the header."""
    body = arm.call("GET", FIREWALL).body
    stale = {"If-Match": 'W/"0"'}
    assert arm.call("PUT", FIREWALL, body, headers=stale).status == 412
    current = {"If-Match": body["etag"]}
    assert arm.call("PUT", FIREWALL, body, headers=current).status == 200
    arm.control("firewalls", {"ifMatch": False})
    assert arm.call("PUT", FIREWALL, body, headers=stale).status == 200


def test_a_foreign_write_can_come_between_read_and_write(arm: ArmClient) -> None:
    """The etag catches a write that another writer made in the gap."""
    edit(arm, firewall(policy=False))
    body = arm.call("GET", FIREWALL).body
    theirs = firewall(policy=False, tags={"by": "them"})
    arm.control(
        "firewalls", {"foreignWrite": {"path": "/azureFirewalls/hub-fw", "resource": theirs}}
    )
    reply = arm.call("PUT", FIREWALL, body, headers={"If-Match": body["etag"]})
    assert reply.status == 412


def test_a_whole_put_replaces_everything_but_keeps_unknown_members(
    arm: ArmClient, hub_clock: Clock
) -> None:
    """Members left out are gone; a member of a newer version comes back as it was sent."""
    edit(arm, firewall(policy=False))
    body = arm.call("GET", FIREWALL).body
    body["properties"]["newer"] = {"member": [1, None]}
    body["properties"]["natRuleCollections"] = [classic_collection("nat", classic_nat())]
    arm.call("PUT", FIREWALL, body)
    hub_clock.pass_by(SETTLE_SECONDS)
    stored = arm.call("GET", FIREWALL).body
    assert stored["properties"]["newer"] == {"member": [1, None]}
    assert stored["properties"]["natRuleCollections"][0]["properties"]["rules"][0]["name"] == "ssh"
    del body["properties"]["natRuleCollections"]
    arm.call("PUT", FIREWALL, body)
    hub_clock.pass_by(SETTLE_SECONDS)
    assert arm.call("GET", FIREWALL).body["properties"]["natRuleCollections"] == []


def test_classic_rules_are_walked_too(arm: ArmClient, hub_clock: Clock) -> None:
    """A classic translation opens for its source alone."""
    edit(arm, firewall(policy=False), nsg(FIREWALL_PREFIX))
    body = arm.call("GET", FIREWALL).body
    body["properties"]["natRuleCollections"] = [classic_collection("nat", classic_nat())]
    arm.call("PUT", FIREWALL, body)
    assert not reaches(arm)
    hub_clock.pass_by(SETTLE_SECONDS)
    assert reaches(arm)
    assert not reaches(arm, BOB)


def test_an_ip_group_is_a_switch(arm: ArmClient, hub_clock: Clock) -> None:
    """The addresses of a group are the sources of every rule that names it."""
    edit(arm, nsg(FIREWALL_PREFIX), ip_group("192.0.2.1/32"))
    rule = nat_rule(sourceAddresses=[], sourceIpGroups=[IP_GROUP])
    put_group(arm, hub_clock, rule)
    assert not reaches(arm)
    shown = arm.call("GET", IP_GROUP).body
    assert shown["properties"]["firewallPolicies"] == [{"id": POLICY}]
    shown["properties"]["ipAddresses"] = [ALICE]
    assert arm.call("PUT", IP_GROUP, shown).status == 200
    assert not reaches(arm)
    hub_clock.pass_by(SETTLE_SECONDS)
    assert reaches(arm)


def test_a_draft_resurrects_what_was_removed_since(arm: ArmClient, hub_clock: Clock) -> None:
    """Deploying replaces the entire applied policy by what the draft copied."""
    edit(arm, nsg(FIREWALL_PREFIX))
    put_group(arm, hub_clock, nat_rule())
    arm.call("PUT", f"{POLICY}/firewallPolicyDrafts/default", {"properties": {}})
    arm.call("DELETE", GROUP)
    hub_clock.pass_by(SETTLE_SECONDS)
    assert not reaches(arm)
    assert arm.call("POST", f"{POLICY}/deploy").status == 202
    hub_clock.pass_by(SETTLE_SECONDS)
    assert reaches(arm)


BAD_RULES: dict[str, dict[str, Any]] = {
    "no source": {"sourceAddresses": []},
    "a range to translate to": {"translatedPort": "22-23"},
    "every port to translate to": {"translatedPort": "*"},
    "a reserved port": {"destinationPorts": ["64000"]},
    "not an address of the firewall": {"destinationAddresses": ["20.9.9.9"]},
    "not an address": {"sourceAddresses": ["clouddrive"]},
    "a bad name": {"name": "-ssh"},
}


@pytest.mark.parametrize("wrong", BAD_RULES)
def test_wrong_translations_are_refused(arm: ArmClient, wrong: str) -> None:
    """Policies and classic firewalls refuse the same mistakes with 400."""
    changes = BAD_RULES[wrong]
    assert arm.call("PUT", GROUP, group(nat_rule() | changes)).status == 400
    edit(arm, firewall(policy=False))
    body = arm.call("GET", FIREWALL).body
    classic = classic_nat() | changes
    body["properties"]["natRuleCollections"] = [classic_collection("nat", classic)]
    assert arm.call("PUT", FIREWALL, body).status == 400


@pytest.mark.parametrize("priority", [99, 65_001])
def test_priorities_have_a_range(arm: ArmClient, priority: int) -> None:
    """100 to 65000."""
    assert arm.call("PUT", GROUP, group(nat_rule(), priority=priority)).status == 400


def test_one_entry_serves_no_two_rules_with_overlapping_sources(arm: ArmClient) -> None:
    """On an attached policy the same address and port twice is refused where sources meet."""
    twice = group(nat_rule("a"), nat_rule("b"))
    assert arm.call("PUT", GROUP, twice).status == 400
    apart = group(nat_rule("a"), nat_rule("b", sourceAddresses=[BOB]))
    assert arm.call("PUT", GROUP, apart).status == 201


def test_no_more_than_250_translations_and_addresses(arm: ArmClient) -> None:
    """Public addresses and unique destinations count together."""
    rules = [nat_rule(f"r{at}", 20_000 + at) for at in range(250)]
    assert arm.call("PUT", GROUP, group(*rules)).status == 400
    assert arm.call("PUT", GROUP, group(*rules[:249])).status == 201


def test_classic_rules_beside_a_policy_are_refused(arm: ArmClient) -> None:
    """A firewall with a policy takes no rules of its own."""
    body = arm.call("GET", FIREWALL).body
    body["properties"]["natRuleCollections"] = [classic_collection("nat", classic_nat())]
    assert arm.call("PUT", FIREWALL, body).status == 400


def test_a_busy_firewall_reads_updating(arm: ArmClient, hub_clock: Clock) -> None:
    """Another writer's write under way ends by itself."""
    arm.control("firewalls", {"busy": {"id": POLICY, "seconds": 600}})
    assert arm.call("GET", POLICY).body["properties"]["provisioningState"] == "Updating"
    assert arm.call("PUT", GROUP, group(nat_rule())).status == 409
    hub_clock.pass_by(600)
    assert arm.call("PUT", GROUP, group(nat_rule())).status == 201


def test_a_stopped_vm_has_no_effective_routes(arm: ArmClient) -> None:
    """The route table shows on a running VM only; its own route beats the default one."""
    reply = arm.call("POST", f"{NIC}/effectiveRouteTable")
    user = [each for each in reply.body["value"] if each["source"] == "User"]
    assert user[0]["nextHopIpAddress"] == ["10.0.0.4"]
    assert [e["state"] for e in reply.body["value"] if e["addressPrefix"] == ["0.0.0.0/0"]] == [
        "Invalid",
        "Active",
    ]
    edit(arm, machine("deallocated"))
    reply = arm.call("POST", f"{NIC}/effectiveRouteTable")
    assert reply.code == "NicMustBeAttachedToRunningVmToGetEffectiveRoutes"


def test_an_own_public_address_behind_the_route_is_asymmetric(arm: ArmClient) -> None:
    """The firewall drops the reply to a request it never saw."""
    own = f"{NET}/publicIPAddresses/own"
    edit(arm, public_address(own, "20.9.9.9"), nic(publicIPAddress={"id": own}), nsg(ALICE))
    found = arm.ask("access", vm=VM, port=22, source=ALICE)
    assert not found["allowed"]
    assert found["asymmetric"]
    edit(arm, table("10.7.7.7"))
    assert reaches(arm)


def test_a_deallocated_firewall_carries_nothing(arm: ArmClient, hub_clock: Clock) -> None:
    """Its PUT succeeds and protects nothing."""
    edit(arm, nsg(FIREWALL_PREFIX))
    put_group(arm, hub_clock, nat_rule())
    edit(arm, firewall(ipConfigurations=[]))
    assert not reaches(arm)


def test_route_tables_and_addresses_are_listed_with_references(arm: ArmClient) -> None:
    """Lists of a subscription hold them, and a table names its subnets."""
    found = arm.call("GET", TABLE).body
    assert [each["id"] for each in found["properties"]["subnets"]] == [
        f"{NET}/virtualNetworks/spoke/subnets/web"
    ]
    scope = NET.split("/resourceGroups")[0]
    listed = arm.call("GET", f"{scope}/providers/Microsoft.Network/routeTables").body["value"]
    assert [each["id"] for each in listed] == [TABLE]


def test_throttling_strikes_firewalls_as_well(arm: ArmClient) -> None:
    """A 429 of the network provider has its Retry-After."""
    arm.control("faults", {"faults": [{"kind": "throttle", "path": "ruleCollectionGroups"}]})
    reply = arm.call("PUT", GROUP, group(nat_rule()))
    assert (reply.status, reply.headers["retry-after"]) == (429, "1")
