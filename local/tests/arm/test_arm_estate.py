"""Resources, lists, paging, the log and the controls."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.mgmt.network import NetworkManagementClient

from local.arm.app import load_estate
from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.tests.arm.place import (
    EMPTY_NSG,
    GROUP,
    NETWORK,
    OPS_SCOPE,
    SCOPE,
    SUBSCRIPTION,
    WEB_NSG,
    child,
    machine,
    named,
)

COMPUTE = "providers/Microsoft.Compute"
ROOT = Path(__file__).parents[3]


def names(reply: Any) -> list[str]:
    """Return the names in a list."""
    return [each["name"] for each in reply.body["value"]]


def test_machines_are_listed_by_subscription_and_by_group(arm: ArmClient) -> None:
    """Ordered by id, whatever the letter case of the path."""
    everywhere = names(arm.call("GET", f"/subscriptions/{SUBSCRIPTION}/{COMPUTE}/virtualMachines"))
    here = names(arm.call("GET", f"{OPS_SCOPE.upper()}/{COMPUTE}/VIRTUALMACHINES"))
    assert here == ["jump-1", "stopped-1", "win-1"]
    assert set(here) < set(everywhere)
    assert everywhere == sorted(everywhere, key=lambda name: (name in here, name))


def test_the_power_state_comes_with_the_instance_view_only(arm: ArmClient) -> None:
    """Asked for by $expand, or by the resource below; left out otherwise."""
    path = machine("stopped-1", OPS_SCOPE)
    assert "instanceView" not in arm.call("GET", path).body["properties"]
    expanded = arm.call("GET", path, query={"$expand": "instanceView"}).body["properties"]
    view = arm.call("GET", f"{path}/instanceView").body
    assert expanded["instanceView"] == view
    assert view["statuses"][-1]["code"] == "PowerState/deallocated"


@pytest.mark.parametrize("listing", ["instanceView", "securityRules"])
def test_a_child_of_what_is_not_there_names_the_parent(arm: ArmClient, listing: str) -> None:
    """The front door knows the parent is missing."""
    parent = machine("none") if listing == "instanceView" else WEB_NSG.replace("web-nsg", "none")
    assert arm.call("GET", f"{parent}/{listing}").code == "ResourceNotFound"


def test_the_real_client_reads_every_type(network: NetworkManagementClient) -> None:
    """Groups, rules, interfaces, networks, subnets, addresses and load balancers."""
    group = network.network_security_groups.get(GROUP, "data-nsg")
    assert [each.id.rsplit("/", 1)[-1] for each in group.subnets or []] == ["data"]
    assert not group.network_interfaces
    assert len(list(network.default_security_rules.list(GROUP, "data-nsg"))) == 6
    nic = network.network_interfaces.get(GROUP, "edge-6-nic")
    versions = [each.private_ip_address_version for each in nic.ip_configurations or []]
    assert versions == ["IPv4", "IPv6"]
    subnet = network.subnets.get(GROUP, "app-vnet", "data")
    assert subnet.network_security_group
    assert subnet.network_security_group.id == group.id
    assert len(list(network.subnets.list(GROUP, "app-vnet"))) == 7
    assert network.public_ip_addresses.get(GROUP, "web-1-ip").ip_address == "20.50.10.4"
    balancer = network.load_balancers.get(GROUP, "sql-lb")
    assert (balancer.load_balancing_rules or [])[0].enable_floating_ip is True


def test_back_references_are_left_out_when_empty(arm: ArmClient) -> None:
    """A group attached to nothing has neither interfaces nor subnets."""
    assert not {"networkInterfaces", "subnets"} & set(arm.call("GET", EMPTY_NSG).body["properties"])
    attached = arm.call("GET", WEB_NSG).body["properties"]["networkInterfaces"]
    assert [each["id"].rsplit("/", 1)[-1] for each in attached] == ["web-1-nic", "web-2-nic"]


def test_long_lists_come_in_pages(arm: ArmClient, network: NetworkManagementClient) -> None:
    """Every page but the last has a nextLink; together they are the list, once each."""
    whole = [each.name for each in network.network_security_groups.list_all()]
    arm.control("settings", {"pageSize": 4})
    path = f"/subscriptions/{SUBSCRIPTION}/{NETWORK}/networkSecurityGroups"
    found, pages, reply = [], 1, arm.call("GET", path)
    while "nextLink" in reply.body:
        assert len(reply.body["value"]) == 4
        found += names(reply)
        pages, reply = pages + 1, arm.call("GET", reply.body["nextLink"])
    assert found + names(reply) == whole
    assert pages == -(-len(whole) // 4)
    assert [each.name for each in network.network_security_groups.list_all()] == whole


def test_a_page_that_is_full_is_the_last_when_nothing_follows(arm: ArmClient) -> None:
    """No nextLink to an empty page."""
    arm.control("settings", {"pageSize": 3})
    assert "nextLink" not in arm.call("GET", f"{OPS_SCOPE}/{COMPUTE}/virtualMachines").body


def test_scopes_exist_because_something_is_in_them(arm: ArmClient) -> None:
    """Subscription and resource groups follow from the estate."""
    assert arm.call("GET", "/subscriptions").body["value"][0]["subscriptionId"] == SUBSCRIPTION
    here = f"/subscriptions/{SUBSCRIPTION}"
    assert arm.call("GET", here).body["id"] == here
    assert names(arm.call("GET", f"{here}/resourceGroups")) == ["app-rg", "ops-rg"]
    assert arm.call("GET", f"{here}/resourcegroups/APP-RG").body["name"] == "app-rg"
    assert arm.call("GET", f"{here}/resourceGroups/none").code == "ResourceGroupNotFound"


def jwt(**claims: str) -> str:
    """Make an unsigned token."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{part}.c2ln"


@pytest.mark.parametrize(
    ("token", "caller"),
    [
        (None, "anonymous"),
        ("local:jit-app", "jit-app"),
        ("local:", "anonymous"),
        (jwt(appid="app", oid="object"), "app"),
        (jwt(azp="party", oid="object"), "party"),
        (jwt(oid="object"), "object"),
        (jwt(sub="absent"), "anonymous"),
        ("a.%%%.c", "anonymous"),
        ("opaque", "anonymous"),
    ],
)
def test_the_log_names_the_caller(arm: ArmClient, token: str | None, caller: str) -> None:
    """By the token, unverified: the simulator writes down who came, it is no gate."""
    client = ArmClient(arm.url, token)
    client.call("GET", WEB_NSG)
    client.close()
    assert [call["caller"] for call in arm.ask("log")["calls"]] == [caller]


def test_the_log_has_every_call_to_arm_and_none_of_the_controls(arm: ArmClient) -> None:
    """The log has operation, time, caller, result and id of each call; unknown calls are marked."""
    reply = arm.call("GET", WEB_NSG)
    arm.call("GET", f"{SCOPE}/{NETWORK}/privateEndpoints/none")
    arm.ask("settings")
    known, unknown = arm.ask("log")["calls"]
    assert {key: known[key] for key in known if key != "at"} == {
        "method": "GET",
        "path": WEB_NSG,
        "status": 200,
        "caller": "tester",
        "requestId": reply.headers["x-ms-request-id"],
    }
    assert re.fullmatch(r"2025-06-15T15:0\d:\d\d\.\d{3}\+00:00|20.*\+00:00", known["at"])
    assert (unknown["status"], unknown["unknown"]) == (404, True)


def test_reset_brings_everything_back(arm: ArmClient) -> None:
    """Resources, log, faults, settings and quotas are as at the start."""
    arm.call("DELETE", child(WEB_NSG, "allow-http"))
    arm.control("faults", {"faults": [{"kind": "serverError", "times": None}]})
    arm.control("settings", {"settle": 77, "concurrency": "locked", "pageSize": 1})
    arm.control("quotas", {"enabled": True})
    arm.control("reset")
    assert arm.ask("log")["calls"] == []
    assert arm.ask("faults")["faults"] == []
    assert arm.ask("settings") == {
        "settle": 5.0,
        "concurrency": "accept",
        "pageSize": 100,
        "normalise": False,
    }
    assert arm.ask("quotas") == {"enabled": False}
    assert arm.call("GET", child(WEB_NSG, "allow-http")).status == 200


def test_reset_takes_an_estate(arm: ArmClient) -> None:
    """The body replaces everything; what was is gone, its scopes too."""
    only = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n"
    arm.control("reset", {"resources": [{"id": only, "location": "northeurope"}]})
    assert arm.call("GET", only).body["location"] == "northeurope"
    assert arm.call("GET", WEB_NSG).code == "SubscriptionNotFound"


def test_an_edit_is_a_strangers_and_settled_at_once(arm: ArmClient) -> None:
    """Rules come and go without operation, and resources as well."""
    answer = arm.control(
        "edit", {"nsg": WEB_NSG, "put": [named("stranger")], "delete": ["ALLOW-HTTP"]}
    )
    read = arm.call("GET", WEB_NSG).body
    assert answer["etag"] == read["etag"]
    assert read["properties"]["provisioningState"] == "Succeeded"
    rules = [each["name"] for each in read["properties"]["securityRules"]]
    assert rules == ["allow-https", "stranger"]
    arm.control("edit", {"remove": [machine("web-1")]})
    nic = arm.call("GET", f"{SCOPE}/{NETWORK}/networkInterfaces/web-1-nic").body
    assert "virtualMachine" not in nic["properties"]
    assert arm.call("GET", machine("web-1")).code == "ResourceNotFound"


@pytest.mark.parametrize(
    ("control", "given"),
    [
        ("edit", {"nsg": "absent"}),
        ("settings", {"concurrency": "wild"}),
        ("settings", {"settel": 1}),
        ("settings", {"settle": "soon"}),
        ("quotas", {}),
        ("nothing", {}),
    ],
)
def test_a_wrong_control_is_refused(arm: ArmClient, control: str, given: dict[str, Any]) -> None:
    """The answer names the wrong member."""
    with pytest.raises(ValueError, match=r".+"):
        arm.control(control, given)


@pytest.mark.parametrize("listing", ["effectiveNetworkSecurityGroups", "effectiveRouteTable"])
def test_effective_rules_want_a_running_machine(arm: ArmClient, listing: str) -> None:
    """A deallocated machine has none, a running one has those of both groups."""
    stopped = f"{OPS_SCOPE}/{NETWORK}/networkInterfaces/stopped-1-nic/{listing}"
    refused = arm.call("POST", stopped)
    assert refused.status == 400
    assert refused.code.startswith("NicMustBeAttachedToRunningVmToGetEffective")
    found = arm.call("POST", f"{SCOPE}/{NETWORK}/networkInterfaces/app-1-nic/{listing}")
    assert len(found.body["value"]) == (2 if listing.startswith("effectiveNet") else 6)


def test_the_default_estate_is_whole() -> None:
    """Every id that a resource refers to is there, and a dozen machines of every shape are."""
    resources = load_estate()["resources"]
    present = {each["id"].lower() for each in resources}
    present |= {
        subnet["id"].lower()
        for each in resources
        for subnet in (each.get("properties") or {}).get("subnets", [])
    }
    referred = set(re.findall(r'\{"id": "([^"]+)"', json.dumps(resources)))
    wanted = {each.lower() for each in referred if each.count("/") == 8}
    types = ("networkinterfaces", "networksecuritygroups", "subnets", "virtualmachines")
    missing = {each for each in wanted - present if each.split("/")[-2] in types}
    assert missing == set()
    machines = [each for each in resources if each["type"].endswith("/virtualMachines")]
    assert len(machines) >= 12
    assert {each["properties"]["storageProfile"]["osDisk"]["osType"] for each in machines} == {
        "Linux",
        "Windows",
    }


def test_every_group_of_the_default_estate_may_be_put_back_as_read(arm: ArmClient) -> None:
    """Its foreign rules pass the provider's checks, so a whole write can succeed."""
    path = f"/subscriptions/{SUBSCRIPTION}/{NETWORK}/networkSecurityGroups"
    for body in arm.call("GET", path).body["value"]:
        done = arm.call("PUT", body["id"], body)
        assert (done.status, done.body["properties"]["provisioningState"]) == (200, "Succeeded")


def test_two_simulators_serve_side_by_side() -> None:
    """Each takes a free port, and stopping one leaves the other."""
    with ArmServer() as one:
        with ArmServer(ROOT / "local" / "estate.json") as two:
            assert one.url != two.url
        client = ArmClient(one.url)
        assert client.call("GET", WEB_NSG).status == 200
        client.close()


def test_it_runs_as_a_process_of_its_own() -> None:
    """The first line on stdout is the address; SIGTERM ends it."""
    command = [sys.executable, "-m", "local.arm", "--settle", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        client = ArmClient(process.stdout.readline().strip())
        try:
            status = client.call("GET", WEB_NSG).status
        finally:
            process.terminate()
        assert status == 200
