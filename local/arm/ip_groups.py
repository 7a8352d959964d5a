"""IP groups and route tables."""

import copy
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from local.arm import errors, ids
from local.arm.firewall_bodies import COLLECTIONS
from local.arm.firewalls import FIREWALLS, meaning, read_body
from local.arm.policies import GROUPS
from local.arm.prefixes import network
from local.arm.reads import page
from local.arm.simulator import Answer, Call, Simulator
from local.arm.slow import bare_etag
from local.arm.slow_writes import (
    NFV_PATH,
    begin,
    let_others_write,
    match_etag,
    operation_of,
    refuse_while_busy,
    result_headers,
)
from local.arm.store import Resource, Store, new_etag

IP_GROUP = "Microsoft.Network/IpGroups"
IP_GROUPS = "microsoft.network/ipgroups"
MAX_ADDRESSES = 5000


def put_ip_group(sim: Simulator, call: Call) -> Answer:
    """Create or replace an IP group; its etag is final at once [recorded]."""
    given = read_body(call)
    let_others_write(sim, call)
    present = sim.store.get(call.path.resource_id)
    match_etag(sim, call, present)
    refuse_while_busy(sim, call, call.path.resource_id)
    properties = dict(given.get("properties") or {})
    for owned in ("firewalls", "firewallPolicies", "provisioningState"):
        properties.pop(owned, None)
    addresses = list(properties.pop("ipAddresses", None) or [])
    _check_addresses(call.path.names[-1], addresses)
    body: Resource = {
        "properties": {
            **properties,
            "ipAddresses": addresses,
            "provisioningState": "Updating",
        },
        "id": present["id"] if present else call.path.resource_id,
        "name": call.path.names[-1],
        "type": IP_GROUP,
        "etag": bare_etag(),
        "location": given["location"],
    }
    body |= {k: v for k, v in given.items() if k not in body and v is not None}
    if present is not None and meaning(body) == meaning(present) and _settled(present):
        return Answer(200, shown_group(sim.store, present))
    headers = begin(sim, call, body, path=NFV_PATH)
    return Answer(201 if present is None else 200, shown_group(sim.store, body), headers)


def delete_ip_group(sim: Simulator, call: Call) -> Answer:
    """Remove an IP group that no rule uses."""
    present = sim.store.get(call.path.resource_id)
    if present is None:
        return Answer(204)
    match_etag(sim, call, present)
    if any(users_of(sim.store, present["id"])):  # code and text ours
        raise errors.provider(400, "IpGroupInUse", f"IP group {present['name']} is in use.")
    headers = begin(sim, call, present, path=NFV_PATH, removes=True)
    headers |= result_headers(call, operation_of(sim, present["id"]))
    return Answer(202, None, headers)


def get_ip_group(sim: Simulator, call: Call) -> Answer:
    """Return one IP group."""
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.resource_not_found(call.path.full_type, call.path.resource_id)
    body = shown_group(sim.store, found)
    return Answer(200, body, {"ETag": f'"{body["etag"]}"'})


def list_ip_groups(sim: Simulator, call: Call) -> Answer:
    """List the IP groups of a subscription or a resource group."""
    scope = ids.key(call.path.scope) + "/"
    found = [each for each in sim.store.of_type(IP_GROUPS) if ids.key(each["id"]).startswith(scope)]
    return page(sim, call, [shown_group(sim.store, each) for each in found])


def shown_group(store: Store, group: Resource) -> Resource:
    """Return an IP group with what uses it."""
    firewalls, policies = users_of(store, group["id"])
    properties = {
        "firewalls": [{"id": each} for each in firewalls],
        "firewallPolicies": [{"id": each} for each in policies],
        **copy.deepcopy(group["properties"]),
    }
    return {**group, "properties": properties}


def users_of(store: Store, group_id: str) -> tuple[list[str], list[str]]:
    """Return the firewalls and the policies whose rules name an IP group."""
    key = ids.key(group_id)
    firewalls = [
        each["id"]
        for each in store.of_type(FIREWALLS)
        if any(
            key in _named(rule)
            for member in COLLECTIONS
            for collection in each["properties"].get(member) or ()
            for rule in collection["properties"]["rules"]
        )
    ]
    policies = [
        each["id"].rsplit("/", 2)[0]
        for each in store.of_type(GROUPS)
        if any(
            key in _named(rule)
            for collection in each["properties"].get("ruleCollections") or ()
            for rule in collection.get("rules") or ()
        )
    ]
    return firewalls, list(dict.fromkeys(policies))


def _named(rule: Mapping[str, Any]) -> Iterator[str]:
    for field in ("sourceIpGroups", "destinationIpGroups"):
        yield from (ids.key(each) for each in rule.get(field) or ())


def _check_addresses(name: str, addresses: list[str]) -> None:
    if len(addresses) > MAX_ADDRESSES:  # the limit is documented, the code ours
        raise errors.provider(400, "IpGroupsLimit", f"{name} has more than {MAX_ADDRESSES}.")
    for address in addresses:
        if "-" not in address and network(address) is None:
            raise errors.provider(
                400, "IpGroupsInvalidAddress", f"IP group {name}: '{address}' is no address."
            )


def _settled(body: Resource) -> bool:
    return bool(body["properties"]["provisioningState"] == "Succeeded")


# --- route tables


def put_route_table(sim: Simulator, call: Call) -> Answer:
    """Create or replace a route table with its routes."""
    given = read_body(call)
    present = sim.store.get(call.path.resource_id)
    match_etag(sim, call, present)
    refuse_while_busy(sim, call, call.path.resource_id)
    etag = new_etag()
    properties = dict(given.get("properties") or {})
    properties.pop("subnets", None)
    routes = [_route(call, each, etag) for each in properties.pop("routes", None) or ()]
    body: Resource = {
        "name": call.path.names[-1],
        "id": present["id"] if present else call.path.resource_id,
        "etag": etag,
        "type": "Microsoft.Network/routeTables",
        "location": given["location"],
        "properties": {
            "provisioningState": "Updating",
            "resourceGuid": str(uuid.uuid4()),
            "disableBgpRoutePropagation": False,
            **properties,
            "routes": routes,
        },
    }
    body |= {k: v for k, v in given.items() if k not in body and v is not None}
    headers = begin(sim, call, body)
    for route in body["properties"]["routes"]:
        route["properties"]["provisioningState"] = "Updating"
    return Answer(201 if present is None else 200, shown_table(sim.store, body), headers)


def _route(call: Call, given: Mapping[str, Any], etag: str) -> dict[str, Any]:
    properties = given.get("properties") or {}
    return {
        "name": given.get("name"),
        "id": f"{call.path.resource_id}/routes/{given.get('name')}",
        "etag": etag,
        "properties": {
            **properties,
            "provisioningState": "Succeeded",
            "hasBgpOverride": False,
        },
        "type": "Microsoft.Network/routeTables/routes",
    }


def get_route_table(sim: Simulator, call: Call) -> Answer:
    """Return one route table."""
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.resource_not_found(call.path.full_type, call.path.resource_id)
    return Answer(200, shown_table(sim.store, found), {"ETag": found["etag"]})


def list_route_tables(sim: Simulator, call: Call) -> Answer:
    """List the route tables of a subscription or a resource group."""
    scope = ids.key(call.path.scope) + "/"
    tables = sim.store.of_type("microsoft.network/routetables")
    found = [each for each in tables if ids.key(each["id"]).startswith(scope)]
    return page(sim, call, [shown_table(sim.store, each) for each in found])


def shown_table(store: Store, table: Resource) -> Resource:
    """Return a route table with the subnets that refer to it."""
    key = ids.key(table["id"])
    subnets = [
        {"id": each["id"]}
        for each in store.subnets()
        if ids.key((each["properties"].get("routeTable") or {}).get("id", "")) == key
    ]
    properties = copy.deepcopy(table["properties"]) | ({"subnets": subnets} if subnets else {})
    return {**table, "properties": properties}


def delete_route_table(sim: Simulator, call: Call) -> Answer:
    """Remove a route table, at once."""
    present = sim.store.get(call.path.resource_id)
    if present is None:
        return Answer(204)
    sim.store.remove(present["id"])
    return Answer(200)
