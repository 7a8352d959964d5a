"""A whole access through Azure Bastion, from the command line to the rules on the firewall."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.arm.client import ArmClient
from tests.cli.terminal import Jit
from tests.e2e.playing import APP_RG, SOURCE, Play, Site
from tests.package import ROOT

RECORDINGS = ROOT.parent / "shared" / "recordings" / "bastion"
_RECORDED = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/"
_RECORDED_GROUP = "test_network_bastion_host000001"


def recorded(name: str, number: int) -> dict[str, Any]:
    """Return a recorded body as it would be in the resource group of the tests."""
    text = (RECORDINGS / f"network_bastion_host_{name}.json").read_text(encoding="utf-8")
    moved = text.replace(f"{_RECORDED}{_RECORDED_GROUP}", APP_RG)
    body: dict[str, Any] = json.loads(moved)["exchanges"][number]["response"]["body"]
    return body


@pytest.fixture(scope="module")
def guarded(play: Play) -> Iterator[Site]:
    """Put a VM under `onlyThroughBastion` into the recorded network, beside the recorded host."""
    if not RECORDINGS.exists():
        pytest.skip("no recordings beside the checkout")
    network, host = recorded("show", 0), recorded("show", 1)
    site = play.azure.build()
    client = ArmClient(play.azure.url, "local:cli")
    nic_id = f"{APP_RG}/providers/Microsoft.Network/networkInterfaces/{name_of(site)}"
    nic = client.call("GET", nic_id).body
    client.close()
    subnets = {each["name"]: each["id"] for each in network["properties"]["subnets"]}
    nic["properties"]["ipConfigurations"][0]["properties"]["subnet"]["id"] = subnets["vmSubnet"]
    play.azure.control("edit", {"resources": [network, host, nic]})
    conditions = {"onlyThroughBastion": True}
    properties = {"virtualMachines": site.listed(22), "conditions": conditions}
    play.admin.call("PUT", site.policy_id, {"kind": "Basic", "properties": properties})
    play.admin.wait_for_policy(site.policy_id)
    yield site
    play.azure.control("edit", {"remove": [host["id"]]})


def name_of(site: Site) -> str:
    """Return the name of the site's VM."""
    return site.vm.rpartition("/")[2]


def bastion_prefix() -> str:
    """Return the prefix of the recorded AzureBastionSubnet."""
    subnets = recorded("show", 0)["properties"]["subnets"]
    found = next(each for each in subnets if each["name"] == "AzureBastionSubnet")
    prefix: str = found["properties"]["addressPrefix"]
    return prefix


def test_the_security_group_allows_exactly_the_subnet(
    alice: Jit, play: Play, guarded: Site
) -> None:
    """From the request to its end the only allowed source is the recorded subnet's prefix."""
    opened = json.loads(alice.run("request", name_of(guarded), "--source", "bastion").out)

    (rule,) = play.azure.ours(guarded.nic_nsg, "Allow").values()
    assert rule["sourceAddressPrefix"] == bastion_prefix()
    assert not rule.get("sourceAddressPrefixes")
    assert rule["destinationPortRange"] == "22"
    inside = bastion_prefix().replace(".0/24", ".9")
    assert play.azure.allowed(guarded.vm, source=inside)
    assert not play.azure.allowed(guarded.vm, source=SOURCE)

    alice.run("end", opened["id"], "-q")
    assert play.azure.ours(guarded.nic_nsg, "Allow") == {}
    assert not play.azure.allowed(guarded.vm, source=inside)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("me", "SourceNotBastion"),
        (SOURCE, "SourceNotBastion"),
        (f"{SOURCE},203.0.113.9", "SourceNotBastion"),
        ("10.0.0.0/24", "SourceNotBastion"),
        ("10.0.0.9", "SourceNotBastion"),
        (f"{APP_RG}/providers/Microsoft.Network/bastionHosts/other", "BastionNotFound"),
    ],
)
def test_every_other_source_is_refused(
    alice: Jit, play: Play, guarded: Site, source: str, code: str
) -> None:
    """Own address, other addresses, the subnet's own prefix and other hosts: exit code 9."""
    before = len(play.azure.writes(guarded.nic_nsg))

    done = alice.within("request", name_of(guarded), "--source", source, code=9)

    assert code in done.err
    assert len(play.azure.writes(guarded.nic_nsg)) == before


def test_the_estate_has_a_host_and_other_networks_have_none(alice: Jit, play: Play) -> None:
    """The estate's host reaches app-1; a VM of a network without one is refused."""
    vm = f"{APP_RG}/providers/Microsoft.Compute/virtualMachines/app-1"
    (host,) = json.loads(alice.within("vm", "show", vm).out)["bastions"]
    assert (host["name"], host["sku"], host["enableTunneling"]) == ("app-bastion", "Standard", True)
    lonely = name_of(play.protected())
    refused = alice.within("request", lonely, "--source", "bastion", code=9)
    assert "BastionNotFound" in refused.err
