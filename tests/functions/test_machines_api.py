"""GET /api/machines: every VM in scope, sorted."""

from dataclasses import replace

import pytest

from shared.domain.model import Attachment
from shared.firewalls.nsg.model import SecurityRule
from shared.ports import Machine
from tests.fakes import NAMES
from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    AS_BOB,
    AS_READER,
    HOST,
    MemoryInventory,
    WebApp,
    asking,
    policy_body,
    token,
)
from tests.samples import OTHER_POLICY, allow, deny
from tests.world import DB, GROUP, NSG_NIC, NSG_SUBNET, POLICY, SUBSCRIPTION, WEB, vm_id


def report(web: WebApp, vm: str) -> dict[str, object]:
    """Return what is said of one VM."""
    found = web.call("GET", "/api/machines", who=AS_READER).json["value"]
    return next(machine for machine in found if machine["id"] == vm)


def protect(web: WebApp) -> None:
    """Put both VMs under a policy."""
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()


def test_a_vm_in_no_policy_is_not_configured(web: WebApp) -> None:
    """And Defender would recommend it."""
    said = report(web, WEB)
    assert said["category"] == "Not configured"
    assert said["recommendation"] == {
        "state": "Unhealthy",
        "reason": "its management ports are not governed by just-in-time access",
    }
    assert (said["policies"], said["ports"], said["lastAccess"]) == ([], [], None)


def test_a_governed_vm_is_configured(web: WebApp) -> None:
    """With its policy, its ports, and who was last let in."""
    protect(web)
    web.call("POST", f"{POLICY}/initiate", asking(duration="PT10M"), who=AS_ALICE)
    web.world.pass_time(12)
    said = report(web, WEB)
    assert (said["category"], said["policies"]) == ("Configured", [POLICY])
    assert [port["number"] for port in said["ports"]] == [22, 3389]  # type: ignore[attr-defined]
    assert said["lastAccess"] == "2026-11-22T14:00:00Z"
    assert said["lastRequestor"] == "alice@contoso.example"
    assert report(web, DB)["lastRequestor"] is None


def test_access_that_is_open_now_is_no_exposure(web: WebApp) -> None:
    """It was asked for, and ends by itself."""
    protect(web)
    web.call("POST", f"{POLICY}/initiate", asking(DB), who=AS_ALICE)
    web.world.work()
    assert report(web, DB)["category"] == "Configured"


def test_a_rule_that_outranks_the_deny_exposes(web: WebApp) -> None:
    """It is named, with its firewall, priority, port and sources."""
    web.world.firewall.edit(NSG_SUBNET, allow(priority=1200, destinations=("10.0.0.5",)))
    protect(web)
    said = report(web, DB)
    assert said["category"] == "Exposed"
    assert said["exposedBy"] == [
        {
            "firewall": NSG_SUBNET,
            "rule": "somebodys-allow",
            "priority": 1200,
            "port": 22,
            "sources": ["*"],
        }
    ]
    assert "somebodys-allow" in str(said["reason"])
    assert said["recommendation"] == {"state": "Unhealthy", "reason": said["reason"]}


@pytest.mark.parametrize("policies", [(POLICY,), (POLICY, OTHER_POLICY), (OTHER_POLICY, POLICY)])
@pytest.mark.parametrize(("governed", "theirs"), [("UDP", "Tcp"), ("TCP", "Udp"), ("UDP", "*")])
def test_a_governed_port_is_exposed_by_any_protocol(
    web: WebApp, policies: tuple[str, ...], governed: str, theirs: str
) -> None:
    """This holds for each protocol of a policy, and for any order of several policies."""
    web.world.firewall.edit(NSG_SUBNET, allow(priority=300, protocol=theirs))
    for policy, protocol in zip(policies, (governed, "TCP"), strict=False):
        body = policy_body(DB)
        for port in body["properties"]["virtualMachines"][0]["ports"]:
            port["protocol"] = protocol
        assert web.call("PUT", policy, body, who=AS_ADMIN).status < 300
        web.world.work()
    assert report(web, DB)["category"] == "Exposed"
    web.world.firewall.edit(NSG_SUBNET, remove=["somebodys-allow"])
    assert report(web, DB)["category"] == "Configured"


def test_an_exposure_by_an_unresolved_tag_names_it(web: WebApp) -> None:
    """The addresses of a service's tag are not known, and the reason says so."""
    web.world.firewall.edit(NSG_SUBNET, allow(priority=300, sources=("Sql.WestEurope",)))
    protect(web)
    said = report(web, DB)
    assert said["category"] == "Exposed"
    assert str(said["reason"]).endswith(
        "leaves port 22 open; the addresses are not known of service tag 'sql', "
        "service tag 'sql.westeurope'"
    )
    web.world.firewall.edit(NSG_SUBNET, allow("certain", priority=400))
    assert str(report(web, DB)["reason"]).endswith("leaves port 22 open")


PROBES = allow("probes", 4095, sources=("AzureLoadBalancer",), protocol="*")
TAKEN = [deny(f"taken-{at}", at, ports=("443",)) for at in range(1000, 4096)]


@pytest.mark.parametrize(
    ("rules", "state", "category"),
    [
        ((PROBES, deny("rest", 4096)), "Succeeded", "Configured"),
        ((deny("first", 100), allow(priority=4096)), "Succeeded", "Configured"),
        ((allow(priority=4096, protocol="Icmp", ports=("*",)),), "Succeeded", "Configured"),
        ((allow(priority=4096),), "Failed", "Exposed"),
        ((allow(priority=4096, sources=("VirtualNetwork",)),), "Failed", "Exposed"),
        ((deny("first", 999, ports=("*",)),), "Succeeded", "Configured"),
        ((deny("first", 999, ports=("*",), sources=("Internet",)),), "Failed", "Exposed"),
        ((deny("first", 999, ports=("*",), protocol="Tcp"),), "Failed", "Exposed"),
    ],
)
def test_the_policy_and_the_machines_give_one_answer(
    web: WebApp, rules: tuple[SecurityRule, ...], state: str, category: str
) -> None:
    """Row K: a port that is proven closed is closed, by whichever writer; an open one is reported."""
    full = (
        []
        if any(rule.priority > 999 for rule in rules)
        else [*TAKEN, deny("x", 4096, ports=("1",))]
    )
    web.world.firewall.edit(NSG_SUBNET, *rules, *full)
    web.call("PUT", POLICY, policy_body(DB), who=AS_ADMIN)
    web.world.work()
    policy = web.call("GET", POLICY, who=AS_READER).json["properties"]
    assert (policy["provisioningState"], report(web, DB)["category"]) == (state, category)


def test_a_deny_that_one_group_refuses_is_not_missed_where_the_other_closes(web: WebApp) -> None:
    """Web stands behind two groups: closed by one, it is Configured and the policy is applied."""
    web.world.firewall.whole = False
    web.world.firewall.refuse[NAMES.deny(WEB, 4)] = "RequestDisallowedByPolicy"
    web.world.firewall.edit(NSG_NIC, deny("theirs", 100, ports=("*",)))
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    policy = web.call("GET", POLICY, who=AS_READER).json["properties"]
    assert (policy["provisioningState"], report(web, WEB)["category"]) == (
        "Succeeded",
        "Configured",
    )
    web.world.firewall.edit(NSG_NIC, remove=["theirs"])
    web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN)
    web.world.work()
    policy = web.call("GET", POLICY, who=AS_READER).json["properties"]
    assert (policy["provisioningState"], report(web, WEB)["category"]) == ("Failed", "Exposed")


def test_a_port_that_another_firewall_closes_is_not_exposed(web: WebApp) -> None:
    """Web stands behind two: an allow on one of them opens nothing."""
    web.world.firewall.edit(NSG_SUBNET, allow(priority=300))
    protect(web)
    assert report(web, WEB)["category"] == "Configured"
    web.world.firewall.edit(NSG_NIC, allow(priority=300, sources=("10.0.0.0/8",)))
    assert report(web, WEB)["category"] == "Exposed"


def test_a_deny_that_another_writer_removed_exposes(web: WebApp) -> None:
    """Until it is put back, the virtual network gets through."""
    protect(web)
    (deny,) = [r for r in web.world.firewall.ours(NSG_SUBNET) if r.destinations == ("10.0.0.5",)]
    web.world.firewall.edit(NSG_SUBNET, remove=[deny.name])
    said = report(web, DB)
    assert (said["category"], said["reason"]) == (
        "Exposed",
        "rule 'AllowVnetInBound' (priority 65000) of 'subnet-nsg' leaves port 22 open",
    )


def test_a_vm_with_no_firewall_is_unsupported(web: WebApp) -> None:
    """With the reason; and the recommendation does not apply."""
    web.world.machines.add(vm_id("bare"))
    said = report(web, vm_id("bare"))
    assert said["category"] == "Unsupported"
    assert "no network security group" in str(said["reason"])
    assert said["recommendation"] == {"state": "NotApplicable", "reason": said["reason"]}


def test_what_cannot_be_read_is_unknown_and_never_configured(web: WebApp) -> None:
    """A VM that cannot be read is unknown, with any rules."""
    protect(web)
    held = web.world.machines.machines
    for key, machine in held.items():
        held[key] = replace(machine, unreadable="a floating IP")
    assert report(web, WEB)["category"] == "Unknown"
    assert report(web, WEB)["recommendation"] == {
        "state": "NotApplicable",
        "reason": "a floating IP",
    }


def test_a_vm_of_unknown_system_is_not_recommended(web: WebApp) -> None:
    """Defender recommends Linux and Windows."""
    web.world.machines.add(WEB, Attachment(NSG_NIC, ("10.0.0.4",)), system="")
    assert report(web, WEB)["recommendation"]["state"] == "NotApplicable"  # type: ignore[index]


def test_the_lists_are_read_once_however_many_vms(web: WebApp) -> None:
    """And a large answer comes in pages that meet each VM once."""
    for number in range(1100):
        name = vm_id(f"many-{number:04}")
        web.world.machines.machines[name.casefold()] = Machine(name, "westeurope", "linux", ())
    assert isinstance(web.inventory, MemoryInventory)
    link, seen, pages = f"{HOST}/api/machines", [], 0
    while link:
        page = web.call("GET", link, who=AS_READER).json
        seen += [machine["id"] for machine in page["value"]]
        link, pages = page.get("nextLink", ""), pages + 1
    assert len(seen) == len(set(seen)) == 1102
    assert pages == 3
    assert len(web.inventory.reads) == 1


def test_a_scope_narrows_the_list(web: WebApp) -> None:
    """To a resource group or a VM, within what the app works in."""
    found = web.call("GET", f"/api/machines?scope={DB}", who=AS_READER).json["value"]
    assert [machine["id"] for machine in found] == [DB]
    assert web.call("GET", f"/api/machines?scope={GROUP}x", who=AS_READER).json["value"] == []
    for scope in (f"/subscriptions/{SUBSCRIPTION}/../x", "/", "/subscriptions/other"):
        assert web.call("GET", f"/api/machines?scope={scope}", who=AS_READER).status == 400


def test_who_may_read_no_vm_gets_no_list(web: WebApp) -> None:
    """The refusal names the action."""
    refused = web.call("GET", "/api/machines", who=token("norole"))
    assert refused.status == 403
    assert "Microsoft.Compute/virtualMachines/read" in refused.error["message"]


def test_foreign_rules_are_the_same_for_any_spelling(web: WebApp) -> None:
    """A rule on a range of ports and a wide prefix exposes like an exact one."""
    wide: SecurityRule = allow(priority=400, destinations=("10.0.0.0/16",), ports=("1-4000",))
    web.world.firewall.edit(NSG_SUBNET, wide)
    protect(web)
    assert len(report(web, DB)["exposedBy"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("newer_in", [POLICY, OTHER_POLICY])
def test_of_two_policies_the_newest_access_is_told(web: WebApp, newer_in: str) -> None:
    """Whichever of them let a requestor in last."""
    for policy in (POLICY, OTHER_POLICY):
        web.call("PUT", policy, policy_body(WEB), who=AS_ADMIN)
        web.world.work()
    older_in = OTHER_POLICY if newer_in == POLICY else POLICY
    web.call("POST", f"{older_in}/initiate", asking(), who=AS_ALICE)
    web.world.work()
    web.world.clock.advance(60)
    web.call("POST", f"{newer_in}/initiate", asking(), who=AS_BOB)
    web.world.work()
    said = report(web, WEB)
    assert said["lastAccess"] == "2026-11-22T14:01:00Z"
    assert said["lastRequestor"] == "bob@contoso.example"
