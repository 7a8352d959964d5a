"""The simulator's resources, read from files: its own form, and what people have.

A file holds `{"resources": [...]}`, an answer of ARM (`{"value": [...]}`), the output of
`az ... list` or `az ... show`, or of `az graph query` (`{"data": [...]}`). What cannot be read is
refused with a sentence that names the file, the resource and what is wrong.
"""

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from local.arm import ids
from local.arm.az_forms import Json, arm_form
from local.arm.derived_networks import add_derived_networks
from local.arm.nsg import read_group
from local.arm.store import NIC, NSG, SUBNET, VM, VNET, type_of

_LISTS = ("resources", "value", "data")
_NETWORK = "microsoft.network/"
_HELD = frozenset(
    {NSG, NIC, VM, VNET, SUBNET}
    | {
        _NETWORK + resource_type
        for resource_type in (
            *("publicipaddresses", "loadbalancers", "applicationsecuritygroups"),
            *("bastionhosts", "azurefirewalls", "virtualnetworks/virtualnetworkpeerings"),
        )
    }
)
_OTHER_NAMESPACES = ("microsoft.authorization/", "microsoft.graph/")
_SCOPE = "/subscriptions/"
_RULE = {"name": str, "priority": int, "direction": str, "access": str, "protocol": str}


class EstateError(ValueError):
    """A file cannot be read as resources, in one sentence."""


@dataclass(frozen=True)
class _Item:
    """A resource, and where it was read."""

    where: str
    resource: Json


def read_estate(*paths: Path) -> dict[str, Any]:
    """Read the resources of some files into one estate; raises EstateError."""
    found: dict[str, _Item] = {}
    is_ours = True
    for path in paths:
        content = _read(path)
        is_ours = is_ours and _is_ours(content)
        for item in _items(path, content):
            _add(found, item)
    resources = [item.resource for item in found.values()]
    if is_ours:
        return {"resources": resources}
    _require_references(found)
    # A virtual network is added before the subnets that stand beside it.
    resources.sort(key=lambda each: type_of(each) == SUBNET)
    return {"resources": add_derived_networks(resources)}


def _read(path: Path) -> Any:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EstateError(f"{path}: it cannot be read: {error.strerror}") from None
    # Windows PowerShell writes what is redirected to a file as UTF-16.
    is_wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return json.loads(raw.decode("utf-16" if is_wide else "utf-8-sig"))
    except UnicodeDecodeError:
        raise EstateError(f"{path}: it is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise EstateError(f"{path}: it is not JSON: {error}") from None


def _items(path: Path, content: Any) -> Iterator[_Item]:
    listed = _listed(content)
    if listed is None:
        raise EstateError(
            f"{path}: it holds no resources; save the output of az network nsg list, az network "
            "nic list and az vm list with -o json, as it is"
        )
    for number, resource in enumerate(listed):
        name = resource.get("name") if isinstance(resource, dict) else None
        where = f"{path}: item {number}" + (f" ('{name}')" if isinstance(name, str) else "")
        yield _Item(where, _checked(where, resource, is_ours=_is_ours(content)))


def _is_ours(content: Any) -> bool:
    """Tell whether a file is in the simulator's own form, which may hold anything with an id."""
    return isinstance(content, dict) and "resources" in content


def _listed(content: Any) -> list[Any] | None:
    """Return the resources in a file, however they are wrapped; None: it holds none."""
    if isinstance(content, list):
        # One file may hold the outputs of several commands, each a list.
        return [each for part in content for each in (part if isinstance(part, list) else [part])]
    if not isinstance(content, dict):
        return None
    for name in _LISTS:
        if isinstance(content.get(name), list):
            return list(content[name])
    return [content] if "id" in content else None


def _checked(where: str, resource: Any, *, is_ours: bool) -> Json:
    if not isinstance(resource, dict):
        raise EstateError(f"{where}: it is no object but {json.dumps(resource)[:60]}")
    if not isinstance(resource.get("id"), str):
        raise EstateError(f"{where}: it has no 'id'; save the whole output, without --query")
    resource_type = type_of(resource)
    if is_ours and resource_type not in _HELD:
        return resource
    if not isinstance(resource.get("type", ""), str) or not _is_held(resource["id"], resource_type):
        raise EstateError(
            f"{where}: '{resource_type or resource['id']}' is nothing that the simulator holds; leave it out"
        )
    if resource_type.startswith(_OTHER_NAMESPACES):
        return resource
    try:
        shaped = arm_form(resource)
        if resource_type in _CHECKS:
            _CHECKS[resource_type](shaped)
    except EstateError as error:
        raise EstateError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EstateError(
            f"{where}: it is no {resource_type} as ARM or az writes it ({error!r})"
        ) from None
    return shaped


def _is_held(resource_id: str, resource_type: str) -> bool:
    if resource_type.startswith(_OTHER_NAMESPACES):
        return True
    path = ids.parse(resource_id)
    return (
        resource_type in _HELD
        and resource_id.lower().startswith(_SCOPE)
        and path is not None
        and not path.is_collection
        and path.type_key == resource_type
        and ids.segment(resource_id, "resourceGroups") is not None
    )


def _check_group(group: Json) -> None:
    rules = group["properties"].get("securityRules", [])
    if not isinstance(rules, list):
        raise EstateError("its 'securityRules' are no list")
    for number, rule in enumerate(rules):
        _check_rule(number, rule)
    read_group(group, str, "")


def _check_rule(number: int, rule: Any) -> None:
    where = f"its rule {number}"
    if not isinstance(rule, dict) or not isinstance(rule.get("properties"), dict):
        raise EstateError(f"{where} is no rule")
    named = {**rule["properties"], "name": rule.get("name")}
    for member, resource_type in _RULE.items():
        if not isinstance(named.get(member), resource_type):
            raise EstateError(f"{where} ('{rule.get('name')}') has no '{member}'")


def _check_interface(nic: Json) -> None:
    configurations = nic["properties"].get("ipConfigurations")
    if not isinstance(configurations, list) or not configurations:
        raise EstateError("it has no 'ipConfigurations'")
    for each in configurations:
        _check_configuration(each)
    group = nic["properties"].get("networkSecurityGroup")
    if group is not None and not isinstance(group["id"], str):
        raise EstateError("its 'networkSecurityGroup' has no 'id'")


def _check_configuration(configuration: Json) -> None:
    properties = configuration["properties"]
    name = configuration.get("name", "")
    if not isinstance((properties.get("subnet") or {}).get("id"), str):
        raise EstateError(f"its ipConfiguration '{name}' names no 'subnet'")
    address = properties.get("privateIPAddress")
    if address is None:
        return
    try:
        ip_address(address)
    except ValueError:
        raise EstateError(
            f"the 'privateIPAddress' of its ipConfiguration '{name}', {address!r}, is no address"
        ) from None


def _check_machine(machine: Json) -> None:
    profile = machine["properties"].get("networkProfile")
    listed = profile.get("networkInterfaces") if isinstance(profile, dict) else None
    if not isinstance(listed, list):
        raise EstateError("it has no 'networkProfile' with 'networkInterfaces'")
    if not all(isinstance(each["id"], str) for each in listed):
        raise EstateError("an interface of its 'networkProfile' has no 'id'")


def _check_network(network: Json) -> None:
    for subnet in network["properties"].get("subnets", []):
        if not isinstance(subnet["id"], str) or not isinstance(subnet["properties"], dict):
            raise EstateError("a subnet of it is only referred to; save the whole output")


_CHECKS: Mapping[str, Callable[[Json], None]] = {
    NSG: _check_group,
    NIC: _check_interface,
    VM: _check_machine,
    VNET: _check_network,
}


def _add(found: dict[str, _Item], item: _Item) -> None:
    key = ids.key(item.resource["id"])
    before = found.setdefault(key, item)
    if before.resource != item.resource:
        raise EstateError(f"{item.where}: it is another state of {before.where}; keep one of them")


def _require_references(found: Mapping[str, _Item]) -> None:
    """Refuse interfaces and groups that are named and were not saved: they would be missing."""
    for item in found.values():
        for member, resource_id, command in _references(item.resource):
            if ids.key(resource_id) not in found:
                raise EstateError(
                    f"{item.where}: it names {member} '{ids.last_name(resource_id)}', which is in "
                    f"no file; add the output of {command}"
                )


def _references(resource: Json) -> Sequence[tuple[str, str, str]]:
    properties = resource["properties"]
    if type_of(resource) == VM:
        listed = properties["networkProfile"]["networkInterfaces"]
        return [("the network interface", each["id"], "az network nic list") for each in listed]
    holders = [properties]
    if type_of(resource) == VNET:
        holders = [each["properties"] for each in properties.get("subnets", [])]
    groups = [each.get("networkSecurityGroup") for each in holders]
    named = "the network security group"
    return [(named, each["id"], "az network nsg list") for each in groups if each]
