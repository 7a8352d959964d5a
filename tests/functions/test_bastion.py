"""Azure Bastion as a source over HTTP: both forms, their answers and what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.bastion import BastionHost, BastionReach
from shared.domain.ids import key_of
from shared.ports import OutsideError
from tests.functions.web_app import AS_ADMIN, AS_ALICE, WebApp, asking, policy_body
from tests.world import DB, GROUP, POLICY, WEB

HOST = f"{GROUP}/providers/Microsoft.Network/bastionHosts/own"
PREFIX = "10.0.9.0/26"
SHORT = {"virtualMachine": WEB, "ports": [22], "duration": "PT1H"}


@pytest.fixture
def bastion(web: WebApp) -> WebApp:
    """Return an app whose VM a Bastion host reaches, under a policy for Bastion alone."""
    web.world.bastions.known = BastionReach((BastionHost(HOST, "Standard", (PREFIX,)),))
    body = policy_body(conditions={"onlyThroughBastion": True})
    assert web.call("PUT", POLICY, body, who=AS_ADMIN).status == 200
    web.world.work()
    return web


@pytest.mark.parametrize("source", ["bastion", "Bastion", HOST])
def test_the_short_form_answers_the_prefix_and_the_host(bastion: WebApp, source: str) -> None:
    """The answer names the subnet's prefix as source, and the host that it belongs to."""
    answer = bastion.call("POST", "/api/requests", {**SHORT, "source": source}, who=AS_ALICE)
    assert answer.status == 202, answer.text
    port = answer.json["virtualMachines"][0]["ports"][0]
    assert (port["allowedSourceAddressPrefix"], port["bastion"]) == (PREFIX, HOST)


def test_initiate_takes_bastion_and_answers_in_defender_s_words(bastion: WebApp) -> None:
    """At Microsoft's path the answer holds the prefix and no field that is not Defender's."""
    body = asking(allowedSourceAddressPrefix=None, source="bastion")
    answer = bastion.call("POST", f"{POLICY}/initiate", body, who=AS_ALICE)
    assert answer.status == 202, answer.text
    port = answer.json["virtualMachines"][0]["ports"][0]
    assert port["allowedSourceAddressPrefix"] == PREFIX
    assert "bastion" not in port


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"source": "bastion", "allowedSourceAddressPrefix": PREFIX}, "InvalidInitiateInput"),
        ({"source": "my-bastion"}, "InvalidInitiateInput"),
        ({"source": WEB}, "InvalidInitiateInput"),
        ({"source": f"{HOST}-other"}, "BastionNotFound"),
        ({"allowedSourceAddressPrefix": PREFIX}, "SourceNotBastion"),
        ({}, "SourceNotBastion"),
    ],
)
def test_any_other_source_is_refused_with_its_reason(
    bastion: WebApp, source: dict[str, Any], code: str
) -> None:
    """A second source, another resource, another host, and every address are refused."""
    answer = bastion.call("POST", "/api/requests", {**SHORT, **source}, who=AS_ALICE)
    assert answer.status == 400
    assert [line["code"] for line in answer.error["details"]] == [code]
    assert not bastion.world.queues.visible()


def test_a_dry_run_says_the_same(bastion: WebApp) -> None:
    """A dry run resolves Bastion, and refuses where it finds none."""
    path = "/api/requests?dryRun=true"
    body = {**SHORT, "source": "bastion"}
    assert bastion.call("POST", path, body, who=AS_ALICE).json["allowed"]
    bastion.world.bastions.known = BastionReach()
    (reason,) = bastion.call("POST", path, body, who=AS_ALICE).json["reasons"]
    assert (reason["code"], reason["target"]) == (
        "BastionNotFound",
        "virtualMachines[0].ports[0].source",
    )


def place_in_network(web: WebApp, vm: str) -> None:
    """Let a VM stand in a virtual network."""
    machines = web.world.machines.machines
    network = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/net"
    machines[key_of(vm)] = replace(machines[key_of(vm)], networks=(network,))


def bastions_of(web: WebApp, vm: str) -> Any:
    """Return what `/api/machines` answers as the Bastion hosts of a VM."""
    found = web.call("GET", "/api/machines", who=AS_ADMIN)
    assert found.status == 200, found.text
    return next(each["bastions"] for each in found.json["value"] if each["id"] == vm)


def test_machines_names_the_hosts_that_reach_a_vm(bastion: WebApp) -> None:
    """Each host is answered with its id, name, SKU and whether native clients can use it."""
    place_in_network(bastion, WEB)
    named = {"id": HOST, "name": "own", "sku": "Standard", "enableTunneling": False}
    assert bastions_of(bastion, WEB) == [named]
    assert bastions_of(bastion, DB) == []


@pytest.mark.parametrize("reach", [BastionReach((), "needs x/read"), OutsideError("503")])
def test_machines_answers_null_where_bastion_could_not_be_read(
    bastion: WebApp, reach: BastionReach | OutsideError
) -> None:
    """A failure to read Bastion hosts hides no VM from the list, and denies no host."""
    place_in_network(bastion, WEB)
    if isinstance(reach, BastionReach):
        bastion.world.bastions.known = reach
    else:
        bastion.world.bastions.error = reach
    assert bastions_of(bastion, WEB) is None


def test_a_policy_cannot_ask_for_bastion_and_for_one_s_own_address(web: WebApp) -> None:
    """Two conditions that no request can meet together are refused at the PUT."""
    body = policy_body(conditions={"onlyThroughBastion": True, "ownAddressOnly": True})
    answer = web.call("PUT", POLICY, body, who=AS_ADMIN)
    assert answer.status == 400
    assert "contradict" in answer.error["message"]
