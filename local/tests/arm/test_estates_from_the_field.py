"""An estate from what people have: the output of az, ARM's own answers, several files or one."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from local.app_settings import Addresses, app_environment
from local.arm.client import ArmClient
from local.arm.estate import EstateError, read_estate
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client
from shared.firewalls.nsg.discovery import ArmInventory
from shared.firewalls.nsg.rules import Plan as Changes
from shared.ports import Machine
from tests.contract.firewall.grounds import AzureGround, allow, held

ROOT = Path(__file__).parents[3]
SUBSCRIPTION = "5b3c1d2e-0000-4000-8000-00000000000a"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/prod-rg"
NETWORK = f"{GROUP}/providers/Microsoft.Network"
VNET = f"{NETWORK}/virtualNetworks/prod-vnet"
SUBNET = f"{VNET}/subnets/apps"
WEB_NSG = f"{NETWORK}/networkSecurityGroups/web-nsg"
APPS_NSG = f"{NETWORK}/networkSecurityGroups/apps-nsg"
WEB_NIC = f"{NETWORK}/networkInterfaces/web-nic"
WEB = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/web"
Json = dict[str, Any]


def ref(resource_id: str) -> Json:
    """Refer to a resource as az prints it: the group stands beside the id."""
    return {"id": resource_id, "resourceGroup": "prod-rg"}


def rule(name: str, priority: int, **changes: Any) -> Json:
    """Make a security rule as az prints it, empty lists and nulls included."""
    return {
        "access": "Allow", "description": None, "destinationAddressPrefix": "*",
        "destinationAddressPrefixes": [], "destinationPortRange": "22",
        "destinationPortRanges": [], "direction": "Inbound", "etag": 'W/"1"',
        "id": f"{WEB_NSG}/securityRules/{name}", "name": name, "priority": priority,
        "protocol": "Tcp", "provisioningState": "Succeeded", "resourceGroup": "prod-rg",
        "sourceAddressPrefix": "203.0.113.0/24", "sourceAddressPrefixes": [],
        "sourcePortRange": "*", "sourcePortRanges": [],
        "type": "Microsoft.Network/networkSecurityGroups/securityRules", **changes,
    }  # fmt: skip


def group(group_id: str, *rules: Json, **changes: Any) -> Json:
    """Make a network security group as `az network nsg list` prints it."""
    return {
        "defaultSecurityRules": [rule("AllowVnetInBound", 65000)], "etag": 'W/"1"',
        "flushConnection": None, "id": group_id, "location": "westeurope",
        "name": group_id.rpartition("/")[2], "networkInterfaces": None,
        "provisioningState": "Succeeded", "resourceGroup": "prod-rg",
        "resourceGuid": "5b3c1d2e-0000-4000-8000-0000000000ff", "securityRules": [*rules],
        "subnets": None, "tags": {"resourceGroup": "kept", "publicIpOwner": "net"},
        "type": "Microsoft.Network/networkSecurityGroups", **changes,
    }  # fmt: skip


def nic(**changes: Any) -> Json:
    """Make a network interface as `az network nic list` prints it."""
    configuration = {
        "etag": 'W/"2"', "id": f"{WEB_NIC}/ipConfigurations/ipconfig1", "name": "ipconfig1",
        "applicationSecurityGroups": None, "loadBalancerBackendAddressPools": None,
        "primary": True, "privateIPAddress": "10.20.1.4", "privateIPAddressVersion": "IPv4",
        "privateIPAllocationMethod": "Dynamic", "provisioningState": "Succeeded",
        "publicIPAddress": None, "resourceGroup": "prod-rg", "subnet": ref(SUBNET),
        "type": "Microsoft.Network/networkInterfaces/ipConfigurations",
    }  # fmt: skip
    return {
        "auxiliaryMode": "None", "dnsSettings": {"dnsServers": [], "appliedDnsServers": []},
        "enableAcceleratedNetworking": False, "enableIPForwarding": False, "etag": 'W/"2"',
        "hostedWorkloads": [], "id": WEB_NIC, "ipConfigurations": [configuration],
        "location": "westeurope", "macAddress": "00-0D-3A-00-00-01", "name": "web-nic",
        "networkSecurityGroup": ref(WEB_NSG), "nicType": "Standard", "primary": True,
        "provisioningState": "Succeeded", "resourceGroup": "prod-rg", "tags": None,
        "tapConfigurations": [], "type": "Microsoft.Network/networkInterfaces",
        "virtualMachine": ref(WEB), **changes,
    }  # fmt: skip


def machine(**changes: Any) -> Json:
    """Make a virtual machine as `az vm list` prints it."""
    return {
        "additionalCapabilities": None, "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "id": WEB, "identity": None, "location": "westeurope", "name": "web",
        "networkProfile": {"networkApiVersion": None, "networkInterfaces": [
            {"deleteOption": "Detach", "id": WEB_NIC, "primary": None, "resourceGroup": "prod-rg"}
        ]},
        "osProfile": {"computerName": "web"}, "provisioningState": "Succeeded",
        "resourceGroup": "PROD-RG", "resources": None, "storageProfile": {
            "dataDisks": [], "osDisk": {"name": "web-os", "osType": "Linux"}},
        "tags": {}, "type": "Microsoft.Compute/virtualMachines", "vmId": "1", "zones": ["1"],
        **changes,
    }  # fmt: skip


def groups() -> list[Json]:
    """List the groups on the interface and on its subnet."""
    on_subnet = rule("allow-all", 400, destinationPortRange="*", sourceAddressPrefix="*")
    return [
        group(WEB_NSG, rule("allow-office", 300), networkInterfaces=[ref(WEB_NIC)]),
        group(APPS_NSG, on_subnet, subnets=[ref(SUBNET)]),
    ]


def older(value: Any) -> Any:
    """Spell members as az did before version 2.50."""
    if isinstance(value, list):
        return [older(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name.replace("IPA", "IpA").replace("IPF", "IpF"): older(v) for name, v in value.items()}


def unflattened(value: Any) -> Json:
    """Write a resource as ARM answers it."""
    beside = {"id", "name", "type", "location", "etag", "tags", "zones", "identity"}
    written = {name: each for name, each in value.items() if name in beside}
    rest = {name: each for name, each in value.items() if name not in {*beside, "resourceGroup"}}
    for member in ("securityRules", "ipConfigurations"):
        if member in rest:
            rest[member] = [unflattened(each) for each in rest[member]]
    return {**written, "properties": {name: v for name, v in rest.items() if v is not None}}


def save(folder: Path, **files: Any) -> list[Path]:
    """Write each file, as az prints it."""
    paths = []
    for name, content in files.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
        paths.append(path)
    return paths


FORMS: Mapping[str, Callable[[Path], list[Path]]] = {
    "three files": lambda at: save(at, vm=[machine()], nsg=groups(), nic=[nic()]),
    "one list": lambda at: save(at, all=[machine(), nic(), *groups()]),
    "a list of lists": lambda at: save(at, all=[groups(), [nic()], [machine()]]),
    "older az": lambda at: save(at, all=older([machine(), nic(), *groups()])),
    "az show": lambda at: save(at, vm=machine(), nic=nic(), one=groups()[0], two=groups()[1]),
    "answers of ARM": lambda at: save(
        at,
        vm={"value": [unflattened(machine())]},
        rest={"value": [unflattened(each) for each in (nic(), *groups())]},
    ),
    "resource graph": lambda at: save(
        at, all={"count": 4, "data": [unflattened(e) for e in (machine(), nic(), *groups())]}
    ),
    "the same twice": lambda at: save(at, one=[machine(), nic(), *groups()], two=groups()),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_estate_in_any_form_is_the_same_estate(tmp_path: Path, form: str) -> None:
    """The VM stands behind both groups, and who reaches its port is judged from them."""
    estate = read_estate(*FORMS[form](tmp_path))
    with ArmServer(estate, settings=Settings(settle=0)) as server:
        [web] = _machines(server)
        assert (web.id, web.system, web.unreadable) == (WEB, "linux", "")
        behind = {each.firewall_id: each.addresses for each in web.attachments}
        assert behind == {WEB_NSG: ("10.20.1.4",), APPS_NSG: ("10.20.1.4",)}
        arm = ArmClient(server.url, "local:tester")
        reached = [
            arm.ask("access", vm=WEB, port=port, source=source)["allowed"]
            for port, source in ((22, "203.0.113.9"), (22, "198.51.100.1"), (443, "203.0.113.9"))
        ]
        assert reached == [True, False, False]
        ground = AzureGround(arm)
        ground.firewall.write(ground.firewall.read(WEB_NSG), Changes(put=(allow(1),)))
        assert set(held(ground, WEB_NSG)) == {"allow-office", allow(1).name}
        tags = arm.call("GET", WEB_NSG).body["tags"]
        assert tags == {"resourceGroup": "kept", "publicIpOwner": "net"}
        arm.close()


def _machines(server: ArmServer) -> list[Machine]:
    reader = ArmReader(arm_client(server.url, LocalName("network")))
    return list(ArmInventory(reader).read((f"/subscriptions/{SUBSCRIPTION}",)).machines)


def test_flattened_resources_are_read_in_the_own_form_too(tmp_path: Path) -> None:
    """The output of az may be pasted into an estate; what else stands there is kept."""
    vnet = {"id": VNET, "properties": {"subnets": [{"id": SUBNET, "properties": {}}]}}
    other = {"id": f"{NETWORK}/privateDnsZones/x", "properties": {"a": None}}
    [path] = save(tmp_path, own={"resources": [vnet, machine(), nic(), *groups(), other]})
    estate = read_estate(path)
    assert estate["resources"][-1] == other
    with ArmServer(estate) as server:
        [web] = _machines(server)
        assert [each.firewall_id for each in web.attachments] == [WEB_NSG]


def test_a_network_that_is_saved_is_taken_as_it_is(tmp_path: Path) -> None:
    """Nothing is derived where `az network vnet list` says it."""
    subnet = {"addressPrefix": "10.20.0.0/16", "id": SUBNET, "name": "apps", "resourceGroup": "r",
              "networkSecurityGroup": ref(APPS_NSG), "delegations": []}  # fmt: skip
    vnet = {"addressSpace": {"addressPrefixes": ["10.20.0.0/16"]}, "id": VNET, "name": "prod-vnet",
            "location": "westeurope", "subnets": [subnet], "resourceGroup": "prod-rg",
            "type": "Microsoft.Network/virtualNetworks"}  # fmt: skip
    estate = read_estate(*save(tmp_path, a=[machine(), nic(), *groups()], vnet=[vnet]))
    [network] = [each for each in estate["resources"] if each["id"] == VNET]
    assert network["properties"]["addressSpace"]["addressPrefixes"] == ["10.20.0.0/16"]
    assert network["properties"]["subnets"][0]["properties"]["addressPrefix"] == "10.20.0.0/16"
    with ArmServer(estate) as server:
        [web] = _machines(server)
        assert {each.firewall_id for each in web.attachments} == {WEB_NSG, APPS_NSG}


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", b""), ("utf-8", b"\xef\xbb\xbf"), ("utf-16", b"")]
)
def test_a_file_that_powershell_wrote_is_read(tmp_path: Path, encoding: str, mark: bytes) -> None:
    """Windows PowerShell writes what is redirected to a file as UTF-16, or with a mark."""
    path = tmp_path / "all.json"
    text = json.dumps([machine(), nic(tags={"team": "Größe"}), *groups()], ensure_ascii=False)
    path.write_bytes(mark + text.encode(encoding))
    assert len(read_estate(path)["resources"]) == 5


def test_the_app_works_in_the_subscription_of_the_estate(tmp_path: Path) -> None:
    """The scopes follow from what was saved."""
    estate = read_estate(*FORMS["three files"](tmp_path))
    environment = app_environment(Addresses("storage", "arm", "issuer"), estate)
    assert environment["JIT_SCOPES"] == f"/subscriptions/{SUBSCRIPTION}"


def without(resource: Json, member: str) -> Json:
    """Return a resource that lacks a member."""
    return {name: value for name, value in resource.items() if name != member}


def configured(**changes: Any) -> Json:
    """Return an interface whose configuration says something else."""
    made = copy.deepcopy(nic())
    made["ipConfigurations"][0] |= changes
    return made


WRONG: dict[str, tuple[Any, str]] = {
    "a text": ("hello", "holds no resources"),
    "a number": (7, "holds no resources"),
    "an empty object": ({}, "holds no resources"),
    "a table of names": ([["web", "db"]], 'item 0: it is no object but "web"'),
    "a null": ([None], "item 0: it is no object"),
    "a query": ([{"name": "web-nsg", "rules": []}], "item 0 ('web-nsg'): it has no 'id'"),
    "a disk": (
        [{"id": f"{GROUP}/providers/Microsoft.Compute/disks/d", "name": "d"}],
        "item 0 ('d'): 'microsoft.compute/disks' is nothing that the simulator holds",
    ),
    "an id of nothing": ([{"id": "web", "name": "web"}], "nothing that the simulator holds"),
    "an id of another type": (
        [group(WEB_NIC)], "'microsoft.network/networksecuritygroups' is nothing"),
    "rules are an object": ([group(WEB_NSG, securityRules={})], "'securityRules' are no list"),
    "a rule is a text": ([group(WEB_NSG, "x")], "its rule 0 is no rule"),  # type: ignore[arg-type]
    "a rule without a priority": (
        [group(WEB_NSG, rule("a", 100), without(rule("b", 101), "priority"))],
        "('web-nsg'): its rule 1 ('b') has no 'priority'",
    ),
    "a priority is a text": ([group(WEB_NSG, rule("a", "100"))], "has no 'priority'"),  # type: ignore[arg-type]
    "an interface without configurations": (
        [without(nic(), "ipConfigurations")], "('web-nic'): it has no 'ipConfigurations'"),
    "an interface outside of subnets": (
        [configured(subnet=None), *groups()], "'ipconfig1' names no 'subnet'"),
    "an address with a length": (
        [configured(privateIPAddress="10.20.1.16/28"), *groups()],
        "('web-nic'): the 'privateIPAddress' of its ipConfiguration 'ipconfig1', '10.20.1.16/28'",
    ),
    "an address that is none": (
        [configured(privateIPAddress="10.20.1"), *groups()], "'10.20.1', is no address"),
    "a machine without a profile": (
        [without(machine(), "networkProfile")], "('web'): it has no 'networkProfile'"),
    "a machine with a broken profile": (
        [machine(networkProfile={"networkInterfaces": [{}]})], "('web'): it is no microsoft.comp"),
    "an interface that is not saved": (
        [machine(), *groups()], ("names the network interface 'web-nic', which is in no file; add "
        "the output of az network nic list")),
    "a group that is not saved": (
        [machine(), nic()], ("names the network security group 'web-nsg', which is in no file; add "
        "the output of az network nsg list")),
    "two states of one group": (
        [group(WEB_NSG), group(WEB_NSG, rule("a", 100))], "it is another state of"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path, wrong: str) -> None:
    """The sentence names the file, the resource and what is wrong, in one line."""
    content, told = WRONG[wrong]
    [path] = save(tmp_path, wrong=content)
    with pytest.raises(EstateError) as refused:
        read_estate(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("raw", "told"),
    [(b"", "not JSON"), (b"[", "not JSON"), (b"Name    Location\nweb", "not JSON"),
     (b"\xf6", "not UTF-8"), (b"[" * 100_000, "not JSON"), (b"\xff\xfe[", "not UTF-8"),
     (None, "cannot be read")],
)  # fmt: skip
def test_what_is_no_json_is_refused_with_a_sentence(
    tmp_path: Path, raw: bytes | None, told: str
) -> None:
    """A table, half a file, another encoding and a file that is not there."""
    path = tmp_path / "nsg.json"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(EstateError, match=told) as refused:
        read_estate(path)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize("command", ["local", "local.arm"])
def test_a_start_with_a_wrong_estate_is_one_line(tmp_path: Path, command: str) -> None:
    """The command ends with the sentence, and without a traceback."""
    [good, wrong] = save(tmp_path, nsg=groups(), vm=[machine()])
    verb = ["up", "--directory", str(tmp_path / "stack")] if command == "local" else []
    ended = subprocess.run(
        [sys.executable, "-m", command, *verb, "--estate", str(good), str(wrong)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    [line] = [each for each in ended.stderr.splitlines() if str(wrong) in each]
    assert "'web-nic', which is in no file" in line
