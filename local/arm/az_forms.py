"""Resources as the az command line prints them, turned into the form in which ARM answers.

`az network nsg list` and its kin move the members of `properties` one level up, name the
resource group beside each id, and write null for what ARM leaves out.
"""

import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

# What stands beside `properties`; `az` prints `resourceGroup` there, and ARM does not.
_BESIDE = frozenset(
    {"id", "name", "type", "location", "tags", "etag", "zones", "sku", "identity", "plan", "kind",
     "extendedLocation", "managedBy", "resources", "properties"}
)  # fmt: skip
# Lists of what is itself a resource, with properties of its own.
_CHILDREN = frozenset(
    {"securityRules", "defaultSecurityRules", "ipConfigurations", "subnets",
     "virtualNetworkPeerings", "frontendIPConfigurations", "backendAddressPools",
     "loadBalancingRules", "inboundNatRules", "inboundNatPools", "outboundRules", "probes"}
)  # fmt: skip
# A reference to an interface of a VM says whether it is the primary one.
_BESIDE_REFERENCE = frozenset({"id", "properties"})
# Older versions of az wrote these with small letters.
_SPELLED = re.compile(r"(?<=[a-z])Ip(?=[A-Z]|$)")


def arm_form(resource: Mapping[str, Any]) -> Json:
    """Return a resource as ARM answers it; one that is in that form already keeps its content."""
    return _flattened(_tidy(resource), _BESIDE)


def _flattened(resource: Json, beside: frozenset[str]) -> Json:
    kept = {name: value for name, value in resource.items() if name in beside}
    given = kept.get("properties")
    moved = {name: value for name, value in resource.items() if name not in beside}
    properties = {**moved, **(given if isinstance(given, dict) else {})}
    return {**kept, "properties": {n: _member(n, value) for n, value in properties.items()}}


def _member(name: str, value: Any) -> Any:
    if name in _CHILDREN and isinstance(value, list):
        return [_child(each) for each in value]
    if name == "networkProfile" and isinstance(value, dict):
        listed = value.get("networkInterfaces")
        if isinstance(listed, list):
            return {**value, "networkInterfaces": [_reference(each) for each in listed]}
    return value


def _child(value: Any) -> Any:
    """Give a child its properties; one that is only referred to has none."""
    if not isinstance(value, dict) or set(value) == {"id"}:
        return value
    return _flattened(value, _BESIDE)


def _reference(value: Any) -> Any:
    if not isinstance(value, dict) or set(value) == {"id"}:
        return value
    return _flattened(value, _BESIDE_REFERENCE)


def _tidy(value: Any) -> Any:
    """Leave out nulls and the resource groups that az adds, and spell members as ARM does."""
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        _SPELLED.sub("IP", name): each if name == "tags" else _tidy(each)
        for name, each in value.items()
        if each is not None and not (name == "resourceGroup" and "id" in value)
    }
