"""Dry runs where something stands in the way, or is not there yet."""

from shared.firewalls.nsg.model import Access
from tests.functions.web_app import AS_ADMIN, AS_ALICE, WebApp, asking, nothing_changes, policy_body
from tests.world import DB, NSG_NIC, NSG_SUBNET, POLICY, WEB

DRY = f"{POLICY}/initiate?dryRun=true"


def test_a_vm_that_cannot_be_opened_is_told_beside_one_that_can(web: WebApp) -> None:
    """Nothing stands in front of the one; the other's rules are told all the same."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()
    web.world.machines.add(WEB)
    both = {"virtualMachines": [*asking(WEB)["virtualMachines"], *asking(DB)["virtualMachines"]]}
    with nothing_changes(web.world):
        told = web.call("POST", DRY, both, who=AS_ALICE).json
    (problem,) = told["problems"]
    assert (problem["code"], problem["target"]) == ("CannotBeOpened", WEB)
    assert "no network security group" in problem["message"]
    (change,) = told["firewalls"]
    assert change["id"] == NSG_SUBNET
    assert [rule["properties"]["destinationAddressPrefix"] for rule in change["put"]] == [
        "10.0.0.5"
    ]


def test_what_is_not_protected_yet_gets_its_deny_with_the_grant(web: WebApp) -> None:
    """A policy that was just PUT: the grant is told together with the deny that comes first."""
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    with nothing_changes(web.world):
        told = web.call("POST", DRY, asking(), who=AS_ALICE).json
    for change in told["firewalls"]:
        rules = [rule["properties"] for rule in change["put"]]
        assert sorted(rule["access"] for rule in rules) == [Access.ALLOW, Access.DENY]
        (denied,) = [rule for rule in rules if rule["access"] == Access.DENY]
        assert denied["destinationPortRanges"] == ["22", "3389"]
    assert {change["id"] for change in told["firewalls"]} == {NSG_NIC, NSG_SUBNET}


def test_a_firewall_that_is_gone_is_told(web: WebApp) -> None:
    """A VM may name a network security group that was deleted just now."""
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    del web.world.firewall.groups[NSG_NIC.casefold()]
    told = web.call("POST", DRY, asking(), who=AS_ALICE).json
    changes = {change["id"]: change for change in told["firewalls"]}
    assert changes[NSG_NIC]["put"] == []
    assert "no longer exists" in str(changes[NSG_NIC]["blocked"])
    assert len(changes[NSG_SUBNET]["put"]) == 1
