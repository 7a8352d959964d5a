"""The contract of the inventory, kept by the one in memory and by Azure Resource Manager."""

import copy
import json
from functools import cache
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.arm.app import load_estate
from local.arm.client import ArmClient
from local.serving import BackgroundServer
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client
from shared.domain.model import Attachment
from shared.firewalls.nsg.discovery import VirtualMachines
from shared.ports import Machine, Machines, OutsideError, ThrottledError
from tests.fakes import MemoryMachines

Json = dict[str, Any]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
APP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/providers"
OPS = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ops-rg/providers"
VMS = "Microsoft.Compute/virtualMachines"
WEB_1 = f"{APP}/{VMS}/web-1"
WEB_1_NIC = f"{APP}/Microsoft.Network/networkInterfaces/web-1-nic"
NONE: dict[str, tuple[str, ...]] = {}

# Every VM of the estate: its system, and its addresses behind each group in front of it.
ESTATE: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "app-rg/web-1": ("linux", {"web-nsg": ("10.0.1.4",)}),
    "app-rg/web-2": ("linux", {"web-nsg": ("10.0.1.5",)}),
    "app-rg/db-1": ("linux", {"data-nsg": ("10.0.2.4",)}),
    "app-rg/app-1": ("linux", {"app-1-nsg": ("10.0.3.4",), "apps-subnet-nsg": ("10.0.3.4",)}),
    "app-rg/bare-1": ("linux", NONE),
    "app-rg/router-1": (
        "linux",
        {"router-inside-nsg": ("10.0.5.4",), "router-outside-nsg": ("10.0.1.6",)},
    ),
    "app-rg/edge-6": ("linux", {"edge-nsg": ("10.0.6.4", "fd00:10:0:6::4")}),
    "app-rg/legacy-1": ("linux", {"legacy-nsg": ("10.0.1.7",)}),
    "app-rg/open-1": ("linux", {"open-nsg": ("10.0.1.8",)}),
    "app-rg/guarded-1": ("windows", {"guarded-nsg": ("10.0.1.9",)}),
    "app-rg/strict-1": ("linux", {"strict-nsg": ("10.0.1.10",)}),
    "app-rg/asg-1": ("linux", {"asg-nsg": ("10.0.1.11",)}),
    "app-rg/sql-1": ("windows", {"sql-nsg": ("10.0.5.10",)}),
    "ops-rg/jump-1": ("linux", {"jump-subnet-nsg": ("10.1.1.4",)}),
    "ops-rg/win-1": ("windows", {"win-nsg": ("10.1.2.4",)}),
    "ops-rg/stopped-1": ("linux", {"stopped-nsg": ("10.1.2.5",)}),
}


def vm_id(place: str) -> str:
    """Return the id of a VM of the estate."""
    group, name = place.split("/")
    return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{VMS}/{name}"


def attachments(place: str) -> dict[str, tuple[str, ...]]:
    """Return what stands in front of a VM of the estate, by lower-cased id."""
    network = vm_id(place).partition("/providers/")[0] + "/providers/Microsoft.Network"
    return {
        f"{network}/networkSecurityGroups/{name}".casefold(): addresses
        for name, addresses in ESTATE[place][1].items()
    }


def found(machine: Machine) -> dict[str, tuple[str, ...]]:
    """Return a machine's attachments by lower-cased id."""
    return {each.firewall_id.casefold(): each.addresses for each in machine.attachments}


@pytest.fixture
def reader(arm: ArmClient) -> ArmReader:
    """Read ARM as the app does."""
    return _reader(arm.url)


@cache
def _reader(url: str) -> ArmReader:
    return ArmReader(arm_client(url, LocalName("network")))


@pytest.fixture
def real(reader: ArmReader) -> VirtualMachines:
    """Give the real inventory."""
    return VirtualMachines(reader)


@pytest.fixture(params=["memory", "azure"])
def machines(request: pytest.FixtureRequest) -> Machines:
    """Give an inventory with the estate's VMs, in memory and simulated."""
    if request.param == "azure":
        real: VirtualMachines = request.getfixturevalue("real")
        return real
    memory = MemoryMachines()
    for place, (system, _) in ESTATE.items():
        behind = [Attachment(nsg, held) for nsg, held in attachments(place).items()]
        memory.add(vm_id(place), *behind, system=system)
    return memory


def resource(resource_id: str) -> Json:
    """Return a copy of a resource of the estate."""
    held = (each for each in load_estate()["resources"] if each["id"] == resource_id)
    return copy.deepcopy(next(held))


# --- what both keep ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ESTATE)
def test_every_firewall_in_front_of_a_vm_is_found(machines: Machines, place: str) -> None:
    """On the interface and on the subnet, for every interface and family; and the system."""
    machine = machines.find(vm_id(place))
    assert machine is not None
    assert machine.id.casefold() == vm_id(place).casefold()
    assert found(machine) == attachments(place)
    assert (machine.system, machine.location) == (ESTATE[place][0], "westeurope")


def test_the_table_names_every_vm_of_the_estate() -> None:
    """No VM of the estate is left out above."""
    ids = {r["id"] for r in load_estate()["resources"] if r["type"].endswith("/virtualMachines")}
    assert ids == {vm_id(place) for place in ESTATE}


def test_a_vm_is_found_in_any_letter_case(machines: Machines) -> None:
    """ARM ids are compared without case."""
    machine = machines.find(WEB_1.replace("app-rg", "APP-RG").replace("web-1", "Web-1"))
    assert machine is not None
    assert found(machine) == attachments("app-rg/web-1")


def test_a_vm_that_is_not_there_is_none(machines: Machines) -> None:
    """Only where the cloud says so."""
    assert machines.find(f"{APP}/{VMS}/nowhere") is None


# --- Azure Resource Manager --------------------------------------------------------------------


def test_a_vm_with_no_firewall_shows_its_bare_addresses(real: VirtualMachines) -> None:
    """The report names the bare addresses."""
    machine = real.find(vm_id("app-rg/bare-1"))
    assert machine is not None
    assert machine.bare_addresses == ("10.0.4.4",)


def test_a_vm_of_a_group_that_went_is_none(real: VirtualMachines) -> None:
    """A deleted resource group took its VMs along."""
    assert real.find(WEB_1.replace("app-rg", "gone-rg")) is None


def test_an_unknown_subscription_proves_nothing(real: VirtualMachines) -> None:
    """It may be one that we are not let into."""
    with pytest.raises(OutsideError):
        real.find(WEB_1.replace(SUBSCRIPTION, "00000000-0000-4000-8000-00000000dead"))


@pytest.mark.parametrize("what", ["networkInterfaces", "subnets/", "virtualMachines"])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "serverError", "status": 500},
        {"kind": "serverError", "status": 503},
        {"kind": "throttle", "retryAfter": 1},
        {"kind": "throttle", "by": "arm", "retryAfter": 1},
        {"kind": "linkedAuthorizationFailed", "method": "GET"},
        {"kind": "dropBefore"},
        {"kind": "dropAfter"},
    ],
    ids=lambda fault: "-".join(str(part) for part in fault.values()),
)
def test_a_failed_read_proves_nothing(
    arm: ArmClient, real: VirtualMachines, fault: Json, what: str
) -> None:
    """Whichever read fails, the VM is neither gone nor without firewalls; it is tried once."""
    arm.control("faults", {"faults": [{**fault, "path": what, "times": None}]})
    with pytest.raises(OutsideError):
        real.find(WEB_1)
    struck = [call for call in arm.ask("log")["calls"] if "faults" in call]
    assert len(struck) == 1


def _patient(arm: ArmClient, slept: list[float]) -> VirtualMachines:
    client = arm_client(arm.url, LocalName("network"))
    return VirtualMachines(ArmReader(client, patience=7, sleep=slept.append))


@pytest.mark.parametrize("what", ["networkInterfaces", "subnets/", "virtualMachines"])
def test_a_read_waits_for_its_turn(arm: ArmClient, what: str) -> None:
    """A quota that fills up soon delays a read, as long as ARM says, and loses none."""
    slept: list[float] = []
    fault = {"kind": "throttle", "by": "arm", "retryAfter": 3, "path": what, "times": 2}
    arm.control("faults", {"faults": [fault]})
    assert _patient(arm, slept).find(WEB_1)
    assert slept == [3, 3]


def test_patience_ends_and_says_when_to_come_back(arm: ArmClient) -> None:
    """A wait that would exceed the total patience is not begun."""
    slept: list[float] = []
    fault = {"kind": "throttle", "by": "arm", "retryAfter": 4, "path": "virtualMachines"}
    arm.control("faults", {"faults": [{**fault, "times": None}]})
    with pytest.raises(ThrottledError, match="429 SubscriptionRequestsThrottled") as raised:
        _patient(arm, slept).find(WEB_1)
    assert raised.value.retry_after == 4
    assert slept == [4]


def test_an_interface_that_is_named_and_missing_proves_nothing(
    arm: ArmClient, real: VirtualMachines
) -> None:
    """A change is under way; what is half seen is not believed."""
    arm.control("edit", {"remove": [WEB_1_NIC]})
    with pytest.raises(OutsideError, match="web-1-nic"):
        real.find(WEB_1)


def test_a_deleted_vm_is_none(arm: ArmClient, real: VirtualMachines) -> None:
    """Its interface may still be there."""
    arm.control("edit", {"remove": [WEB_1]})
    assert real.find(WEB_1) is None


def test_an_interface_without_an_address_is_in_front_of_nothing(
    arm: ArmClient, real: VirtualMachines
) -> None:
    """A deallocated dynamic address is no destination, and no bare one."""
    nic = resource(WEB_1_NIC)
    del nic["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
    arm.control("edit", {"resources": [nic]})
    machine = real.find(WEB_1)
    assert machine is not None
    assert (machine.attachments, machine.bare_addresses) == ((), ())


def test_firewalls_are_told_apart_without_letter_case(
    arm: ArmClient, real: VirtualMachines
) -> None:
    """One group spelled two ways in front of one VM is one attachment with both addresses."""
    nic = resource(WEB_1_NIC)
    first = nic["properties"]["ipConfigurations"][0]
    second = copy.deepcopy(first)
    second["name"] = "ipconfig2"
    second["id"] = second["id"].replace("ipconfig1", "ipconfig2")
    second["properties"] |= {"privateIPAddress": "10.0.1.44", "primary": False}
    nic["properties"]["ipConfigurations"].append(second)
    vnet = resource(f"{APP}/Microsoft.Network/virtualNetworks/app-vnet")
    group = nic["properties"]["networkSecurityGroup"]["id"]
    vnet["properties"]["subnets"][0]["properties"]["networkSecurityGroup"] = {"id": group.upper()}
    arm.control("edit", {"resources": [vnet, nic]})
    machine = real.find(WEB_1)
    assert machine is not None
    assert found(machine) == {group.casefold(): ("10.0.1.4", "10.0.1.44")}


@pytest.mark.parametrize("missing", ["storageProfile", "osProfile", "osType"])
def test_a_vm_of_unknown_system_is_still_found(
    arm: ArmClient, real: VirtualMachines, missing: str
) -> None:
    """The fields that a VM made from a bare disk lacks are not needed."""
    vm = resource(WEB_1)
    if missing == "osType":
        del vm["properties"]["storageProfile"]["osDisk"]["osType"]
    else:
        del vm["properties"][missing]
    arm.control("edit", {"resources": [vm]})
    machine = real.find(WEB_1)
    assert machine is not None
    assert found(machine) == attachments("app-rg/web-1")
    assert machine.system == ("linux" if missing == "osProfile" else "")


@pytest.mark.parametrize("name", ["a b", "it's", "100%25", "x&y=z", "gr\u00fcn", "a+b", "%2e%2e"])
def test_odd_names_are_only_names(arm: ArmClient, real: VirtualMachines, name: str) -> None:
    """A name is sent as it is: it never becomes another path or a query."""
    try:
        assert real.find(f"{APP}/{VMS}/{name}") is None
    except ValueError:
        assert "%" in name  # refused before anything is asked
        return
    (call,) = arm.ask("log")["calls"]
    assert call["path"] == f"{APP}/{VMS}/{name}"


@pytest.mark.parametrize("path", ["..", "../../x", "a/../b", "a?b", "a#b", "a\\b", "a\nb"])
def test_path_tricks_are_refused_before_anything_is_asked(
    arm: ArmClient, real: VirtualMachines, path: str
) -> None:
    """An id that would lead elsewhere is no id."""
    with pytest.raises(ValueError, match="id"):
        real.find(f"{APP}/{VMS}/{path}")
    assert arm.ask("log")["calls"] == []


@pytest.mark.parametrize("page_size", [1, 3, 100])
def test_a_list_is_read_to_its_end(arm: ArmClient, reader: ArmReader, page_size: int) -> None:
    """Page by page, whatever their size."""
    arm.control("settings", {"pageSize": page_size})
    path = f"/subscriptions/{SUBSCRIPTION}/providers/{VMS}"
    names = [each["name"] for each in reader.list(path, "2024-07-01")]
    assert sorted(names) == sorted(place.partition("/")[2] for place in ESTATE)


def test_a_list_cut_short_is_an_error(arm: ArmClient, reader: ArmReader) -> None:
    """A page that fails fails the list."""
    arm.control("settings", {"pageSize": 3})
    arm.control("faults", {"faults": [{"kind": "serverError", "skip": 2}]})
    with pytest.raises(OutsideError):
        list(reader.list(f"/subscriptions/{SUBSCRIPTION}/providers/{VMS}", "2024-07-01"))


def test_a_link_to_another_host_is_not_followed_there() -> None:
    """Our token goes to the configured ARM only, whatever the next link says."""
    seen: dict[str, list[str]] = {"arm": [], "evil": []}

    def host(name: str, pages: list[str]) -> Starlette:
        async def answer(request: Request) -> JSONResponse:
            seen[name].append(str(request.url.path))
            return JSONResponse(json.loads(pages.pop(0)))

        return Starlette(routes=[Route("/{path:path}", answer)])

    with BackgroundServer(host("evil", [])) as evil:
        first = json.dumps({"value": [{"id": 1}], "nextLink": f"{evil.url}/next?page=2"})
        with BackgroundServer(host("arm", [first, '{"value": [{"id": 2}]}'])) as arm:
            found = list(_reader(arm.url).list("/first", "2024-07-01"))
    assert [each["id"] for each in found] == [1, 2]
    assert seen == {"arm": ["/first", "/next"], "evil": []}
