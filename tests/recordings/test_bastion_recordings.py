"""Recorded answers about Azure Bastion, as the adapter reads them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.arm import ArmReader
from shared.adapters.arm_bastion import ArmBastions
from shared.domain.bastion import BastionHost
from shared.domain.ids import key_of, name_of
from shared.ports import NotReadableError, OutsideError

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "bastion"
pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="no recordings beside the checkout")
SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-000000000000"
NETWORKS = (
    f"{SUBSCRIPTION}/resourceGroups/test_network_bastion_host000001/providers/"
    "Microsoft.Network/virtualNetworks"
)
VNET = f"{NETWORKS}/vnet"
SPOKE = f"{NETWORKS}/spoke"


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the bodies of a recording, in their order."""
    text = (RECORDINGS / f"network_bastion_host_{name}.json").read_text("utf-8")
    return [exchange["response"]["body"] for exchange in json.loads(text)["exchanges"]]


class RecordedArm(ArmReader):
    """Answers reads with recorded bodies; what a test names is not readable."""

    def __init__(self) -> None:
        network = recorded("show")[0]
        self.hosts: list[dict[str, Any]] = recorded("list")[0]["value"]
        self.networks = {key_of(network["id"]): network}
        self.forbidden: set[str] = set()
        self.calls: list[str] = []

    def get(self, path: str, api_version: str, **query: str) -> dict[str, Any] | None:
        """Return a network."""
        del api_version, query
        self.calls.append(path)
        self._require(path)
        return self.networks.get(key_of(path))

    def list(self, path: str, api_version: str, **query: str) -> Iterator[dict[str, Any]]:
        """List the Bastion hosts of the subscription."""
        del api_version, query
        self.calls.append(path)
        self._require(path)
        resource_type = path.removeprefix(f"{SUBSCRIPTION}/providers/Microsoft.Network/")
        return iter(
            {"bastionHosts": self.hosts, "virtualNetworks": self.networks.values()}[resource_type]
        )

    def add_spoke(self, **peering: object) -> None:
        """Add a network that is peered with the recorded one."""
        held = {
            "peeringState": "Connected",
            "allowVirtualNetworkAccess": True,
            "remoteVirtualNetwork": {"id": VNET},
            **peering,
        }
        properties = {"subnets": [], "virtualNetworkPeerings": [{"properties": held}]}
        self.networks[key_of(SPOKE)] = {"id": SPOKE, "properties": properties}

    def _require(self, path: str) -> None:
        if key_of(path) in self.forbidden:
            raise NotReadableError(path)


def hosts(arm: RecordedArm, network: str = VNET) -> tuple[BastionHost, ...]:
    """Return the hosts that reach a network."""
    return ArmBastions(arm).reach((network,)).hosts


def test_the_recorded_host_reaches_its_network_from_its_subnet() -> None:
    """Of three recorded hosts the one of the VM's network is found, with its subnet's prefix."""
    arm = RecordedArm()
    assert hosts(arm) == (BastionHost(arm.hosts[0]["id"], "Standard", ("10.0.0.0/24",)),)


def test_a_host_reaches_a_connected_peered_network() -> None:
    """A peering counts while it is connected and lets virtual network traffic in."""
    arm = RecordedArm()
    arm.add_spoke()
    assert [(each.prefixes, each.is_peered) for each in hosts(arm, SPOKE)] == [
        (("10.0.0.0/24",), True)
    ]
    for gone in (
        {"peeringState": "Disconnected"},
        {"allowVirtualNetworkAccess": False},
        {"remoteVirtualNetwork": None},
    ):
        arm.add_spoke(**gone)
        assert hosts(arm, SPOKE) == ()


def test_a_developer_host_uses_the_platform_address_in_its_own_network_alone() -> None:
    """A Developer host has no subnet and reaches no peered network."""
    arm = RecordedArm()
    arm.hosts[:] = [
        {
            "id": f"{NETWORKS}-dev",
            "sku": {"name": "Developer"},
            "properties": {"virtualNetwork": {"id": VNET}},
        }
    ]
    assert [each.prefixes for each in hosts(arm)] == [("168.63.129.16/32",)]
    arm.add_spoke()
    assert hosts(arm, SPOKE) == ()


def test_a_subnet_may_list_several_prefixes() -> None:
    """A subnet with `addressPrefixes` opens to each of them."""
    arm = RecordedArm()
    subnet = arm.networks[key_of(VNET)]["properties"]["subnets"][0]["properties"]
    del subnet["addressPrefix"]
    subnet["addressPrefixes"] = ["10.0.0.0/26", "10.0.0.64/26"]
    assert hosts(arm)[0].prefixes == ("10.0.0.0/26", "10.0.0.64/26")


def test_a_host_without_a_subnet_reaches_nothing() -> None:
    """A host whose configuration names no subnet, as while it is made, is passed over."""
    arm = RecordedArm()
    arm.hosts[0]["properties"]["ipConfigurations"][0]["properties"].pop("subnet")
    assert hosts(arm) == ()


def test_what_may_not_be_read_is_told_with_its_action() -> None:
    """A hub or a list that the app may not read names the missing action and hides no host."""
    arm = RecordedArm()
    arm.add_spoke()
    arm.forbidden = {key_of(VNET)}
    answer = ArmBastions(arm).reach((SPOKE,))
    assert answer.hosts == ()
    assert "Microsoft.Network/virtualNetworks/read" in answer.unreadable
    arm.forbidden = {key_of(SPOKE)}
    assert SPOKE in ArmBastions(arm).reach((SPOKE,)).unreadable
    arm.forbidden = {key_of(f"{SUBSCRIPTION}/providers/Microsoft.Network/bastionHosts")}
    answer = ArmBastions(arm).reach((VNET,))
    assert "Microsoft.Network/bastionHosts/read" in answer.unreadable


def test_many_networks_take_one_list_of_each_type() -> None:
    """Networks and hosts are listed once for a subscription; no listed network is read again."""
    arm = RecordedArm()
    arm.add_spoke()
    found = ArmBastions(arm).reach_each((SPOKE, VNET.upper()))
    assert {key: [host.name for host in answer.hosts] for key, answer in found.items()} == {
        key_of(SPOKE): [name_of(arm.hosts[0]["id"])],
        key_of(VNET): [name_of(arm.hosts[0]["id"])],
    }
    assert sorted(arm.calls) == [
        f"{SUBSCRIPTION}/providers/Microsoft.Network/{resource_type}"
        for resource_type in ("bastionHosts", "virtualNetworks")
    ]


def test_networks_that_may_not_be_listed_are_read_one_by_one() -> None:
    """Without the right to list networks each is read by itself."""
    arm = RecordedArm()
    arm.forbidden = {key_of(f"{SUBSCRIPTION}/providers/Microsoft.Network/virtualNetworks")}
    found = ArmBastions(arm).reach_each((VNET,))
    assert [host.prefixes for host in found[key_of(VNET)].hosts] == [("10.0.0.0/24",)]
    assert VNET in arm.calls


@pytest.mark.parametrize(("exchange", "takes_tunnels"), [(1, True), (2, False)])
def test_the_recorded_host_says_whether_native_clients_can_use_it(
    exchange: int, takes_tunnels: bool
) -> None:
    """Before and after the recorded update `enableTunneling` decides; a missing field is a no."""
    arm = RecordedArm()
    arm.hosts[:] = [recorded("show")[exchange]]
    assert [host.takes_tunnels for host in hosts(arm)] == [takes_tunnels]
    del arm.hosts[0]["properties"]["enableTunneling"]
    assert [host.takes_tunnels for host in hosts(arm)] == [False]


def test_a_network_that_is_named_and_missing_proves_nothing() -> None:
    """A missing network is an error of the moment, not the absence of a Bastion host."""
    with pytest.raises(OutsideError):
        hosts(RecordedArm(), SPOKE)
