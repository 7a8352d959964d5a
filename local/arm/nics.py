"""Network interfaces: creating, attaching and detaching a group, removing."""

import copy
import ipaddress
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from local.arm import errors, shapes
from local.arm.operations import RESULT_PATH, STATUS_PATH, pause_headers
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import NIC, Resource, new_etag, reference

PUT_NIC, DELETE_NIC = "PutNicOperation", "DeleteNicOperation"
NIC_TYPE = "Microsoft.Network/networkInterfaces"
# Azure keeps the first four addresses of a subnet; the first NIC recorded in one has .4.
FIRST_FREE_HOST = 4
# Members that the service owns; what a request says of them does not count.
_OWNED = ("resourceGuid", "macAddress", "virtualMachine")
# The first api-version seen to write these is 2019-11-01 [recorded].
_SINCE_2019 = ("hostedWorkloads", "tapConfigurations")


def _address(value: Any, path: str, source: shapes.Source) -> str:
    """Read an IP address (text from memory)."""
    address = shapes.text(value, path, source)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise errors.invalid_json(f"'{address}' is no IP address. Path '{path}'.") from None
    return address


_SUB_RESOURCE = shapes.Shape("SubResource", {"id": shapes.text}, keeps_others=True)
_IP_CONFIGURATION = shapes.Shape(
    "NetworkInterfaceIpConfiguration",
    {
        "name": shapes.text,
        "properties": shapes.Shape(
            "NetworkInterfaceIpConfigurationPropertiesFormat",
            {
                "subnet": _SUB_RESOURCE,
                "privateIPAddress": _address,
                "privateIPAllocationMethod": shapes.text,
                "privateIPAddressVersion": shapes.text,
                "primary": shapes.boolean,
            },
            keeps_others=True,
        ),
    },
    keeps_others=True,
)
_PROPERTIES = shapes.Shape(
    "NetworkInterfacePropertiesFormat",
    {
        "networkSecurityGroup": _SUB_RESOURCE,
        "ipConfigurations": shapes.many(_IP_CONFIGURATION),
        "dnsSettings": shapes.Shape(
            "NetworkInterfaceDnsSettings", {"dnsServers": shapes.many(_address)}, keeps_others=True
        ),
        "enableAcceleratedNetworking": shapes.boolean,
        "enableIPForwarding": shapes.boolean,
    },
    keeps_others=True,
)
BODY = shapes.Shape(
    "NetworkInterface",
    dict.fromkeys(("name", "id", "etag", "type", "location"), shapes.text)
    | dict.fromkeys(("extendedLocation", "kind", "sku", "zones"), shapes.anything)
    | {"tags": shapes.tags, "properties": _PROPERTIES},
)


def put_nic(sim: Simulator, call: Call) -> Answer:
    """Create or replace a network interface; Succeeded at once, no Retry-After [recorded]."""
    raw, source = shapes.read_json(call.body)
    body = BODY(raw, "", source)
    present = sim.store.get(call.path.resource_id)
    _match_etag(call, present)
    nic = _kept(sim, call, body, present)
    before = reference(present, "networkSecurityGroup") if present else None
    after = reference(nic, "networkSecurityGroup")
    _check_references(sim, call, nic)
    sim.store.add(nic)
    for group_id in {before, after} - {None} if before != after else ():
        _touch(sim, group_id)
    operation = sim.at_once(call, PUT_NIC, nic["location"])
    headers = {"Azure-AsyncOperation": operation.uri(call.base_url, STATUS_PATH, call.api_version)}
    if present is None and call.api_version >= "2019":
        headers["Azure-AsyncNotification"] = "Enabled"
    return Answer(201 if present is None else 200, nic, headers)


def delete_nic(sim: Simulator, call: Call) -> Answer:
    """Remove a network interface that no virtual machine uses."""
    nic = sim.store.get(call.path.resource_id)
    if nic is None:
        return Answer(204)
    machine = reference(nic, "virtualMachine")
    if machine is not None:  # code and text from memory
        raise errors.provider(
            400,
            "NicInUse",
            f"Network Interface {nic['id']} is used by existing resource {machine}. In order to "
            "delete the network interface, it must be dissociated from the resource.",
        )
    sim.store.remove(nic["id"])
    _touch(sim, reference(nic, "networkSecurityGroup"))
    operation = sim.start(call, DELETE_NIC, nic["location"])
    headers = {
        "Azure-AsyncOperation": operation.uri(call.base_url, STATUS_PATH, call.api_version),
        "Location": operation.uri(call.base_url, RESULT_PATH, call.api_version),
        **pause_headers(sim.settings.settle),
    }
    return Answer(202, None, headers)


def _match_etag(call: Call, present: Mapping[str, Any] | None) -> None:
    given = call.if_match
    if given is None:
        return
    if present is None:
        raise errors.missing_for_match(call.path.resource_id)
    if given not in ("*", present["etag"]):
        raise errors.etag_mismatch(given, present["etag"], call.path.resource_id)


def _kept(
    sim: Simulator, call: Call, body: Mapping[str, Any], present: Mapping[str, Any] | None
) -> Resource:
    """Return the interface as the provider keeps it, members in its order."""
    given = copy.deepcopy(body.get("properties") or {})
    owned = (
        {name: present["properties"][name] for name in _OWNED if name in present["properties"]}
        if present
        else {}
    )
    etag = new_etag()
    kept: dict[str, Any] = {
        "provisioningState": "Succeeded",
        "resourceGuid": owned.pop("resourceGuid", str(uuid.uuid4())),
        "ipConfigurations": _ip_configurations(sim, call, given, etag),
        "dnsSettings": _dns_settings(given),
        "enableAcceleratedNetworking": bool(given.get("enableAcceleratedNetworking")),
        "enableIPForwarding": bool(given.get("enableIPForwarding")),
    }
    known = {*kept, *_OWNED, *_SINCE_2019}
    kept |= {
        name: value for name, value in given.items() if name not in known and value is not None
    }
    if call.api_version >= "2019":
        kept |= {name: [] for name in _SINCE_2019}
    nic: Resource = {
        "name": call.path.names[-1],
        "id": present["id"] if present else call.path.resource_id,
        "etag": etag,
        "location": body.get("location") or (present["location"] if present else "westeurope"),
    }
    if body.get("tags") is not None:
        nic["tags"] = body["tags"]
    return nic | {"properties": kept | owned, "type": NIC_TYPE}


def _dns_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    asked = given.get("dnsSettings") or {}
    return {
        "dnsServers": asked.get("dnsServers") or [],
        "appliedDnsServers": [],
        "internalDomainNameSuffix": "local.ax.internal.cloudapp.net",
    }


def _ip_configurations(
    sim: Simulator, call: Call, given: Mapping[str, Any], etag: str
) -> list[dict[str, Any]]:
    written = []
    for at, asked in enumerate(given.get("ipConfigurations") or []):
        properties = dict(asked.get("properties") or {})
        subnet = (properties.get("subnet") or {}).get("id", "")
        if sim.store.get(subnet) is None:
            raise errors.invalid_reference(subnet, call.path.resource_id)
        address = properties.get("privateIPAddress") or _free_address(
            sim, subnet, call.path.resource_id
        )
        properties |= {
            "provisioningState": "Succeeded",
            "privateIPAddress": address,
            "privateIPAllocationMethod": properties.get("privateIPAllocationMethod") or "Dynamic",
            "primary": properties.get("primary", at == 0),
            "privateIPAddressVersion": properties.get("privateIPAddressVersion") or "IPv4",
        }
        entry = {
            "name": asked.get("name"),
            "id": f"{call.path.resource_id}/ipConfigurations/{asked.get('name')}",
            "etag": etag,
        }
        if call.api_version >= "2019":
            entry["type"] = f"{NIC_TYPE}/ipConfigurations"
        entry["properties"] = {name: item for name, item in properties.items() if item is not None}
        written.append(entry)
    return written


def addresses_of(nic: Mapping[str, Any]) -> Iterator[str]:
    """Return the private addresses of a network interface."""
    for configuration in nic["properties"].get("ipConfigurations") or []:
        address = configuration["properties"].get("privateIPAddress")
        if address:
            yield address


def _free_address(sim: Simulator, subnet_id: str, nic_id: str) -> str:
    subnet = sim.store.get(subnet_id) or {}
    properties = subnet.get("properties", {})
    prefixes = [properties.get("addressPrefix"), *(properties.get("addressPrefixes") or ())]
    prefix = next(filter(None, prefixes), None)
    if prefix is None:  # a resource, but no subnet
        raise errors.invalid_reference(subnet_id, nic_id)
    taken = {address for nic in sim.store.of_type(NIC) for address in addresses_of(nic)}
    network = ipaddress.ip_network(prefix)
    for host in range(FIRST_FREE_HOST, network.num_addresses - 1):
        if str(network[host]) not in taken:
            return str(network[host])
    raise errors.provider(400, "SubnetIsFull", f"Subnet {subnet_id} has no free address.")


def _check_references(sim: Simulator, call: Call, nic: Mapping[str, Any]) -> None:
    """Refuse a group that is not there, or one that is Updating where writes are serialised."""
    group_id = reference(nic, "networkSecurityGroup")
    if group_id is None:
        return
    group = sim.store.group(group_id)
    if group is None:
        raise errors.invalid_reference(group_id, nic["id"])
    if not group.pending:
        return
    under_way = group.pending[-1].operation
    if sim.concurrency() == "locked":
        raise errors.not_provisioned(group.group_id, nic["id"], under_way.name)
    if sim.concurrency() == "conflict":
        uri = under_way.uri(call.base_url, STATUS_PATH, call.api_version)
        raise errors.another_operation(uri)


def _touch(sim: Simulator, group_id: str | None) -> None:
    """Attaching changes the etag of the group and so of all its rules [recorded]."""
    group = sim.store.group(group_id) if group_id else None
    if group is not None:
        group.touch()
