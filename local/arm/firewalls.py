"""Azure firewalls: reads, the PUT that replaces everything, and removal."""

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from local.arm import errors, ids, shapes
from local.arm.firewall_bodies import FIREWALL, check_firewall, written_firewall
from local.arm.nics import addresses_of
from local.arm.reads import page
from local.arm.simulator import Answer, Call, Simulator
from local.arm.slow_writes import (
    begin,
    let_others_write,
    match_etag,
    operation_of,
    refuse_while_busy,
    result_headers,
)
from local.arm.store import NIC, Resource, Store, new_etag

FIREWALLS = "microsoft.network/azurefirewalls"
IP_GROUPS = "microsoft.network/ipgroups"
FIRST_FREE_HOST = 4


def put_firewall(sim: Simulator, call: Call) -> Answer:
    """Replace a whole firewall; what the body leaves out is gone [recorded]."""
    given = read_body(call)
    let_others_write(sim, call)
    present = sim.store.get(call.path.resource_id)
    match_etag(sim, call, present)
    refuse_while_busy(sim, call, call.path.resource_id)
    body = written_firewall(call, given, present, new_etag())
    check_firewall(sim.store, body)
    _allocate(sim.store, body)
    same = present is not None and meaning(body) == meaning(
        written_firewall(call, present, present, str(present["etag"]))
    )
    if present is not None and same and _is_settled(present):
        return Answer(200, shown(present))
    headers = begin(sim, call, body)
    if call.api_version >= ("2020" if present is None else "2021"):  # [recorded]
        headers["Azure-AsyncNotification"] = "Enabled"
    stored = sim.store.get(body["id"])
    return Answer(201 if present is None else 200, shown(stored or body), headers)


def delete_firewall(sim: Simulator, call: Call) -> Answer:
    """Remove a firewall; the result address answers 204 in the end [recorded]."""
    present = sim.store.get(call.path.resource_id)
    if present is None:
        return Answer(204)
    match_etag(sim, call, present)
    refuse_while_busy(sim, call, call.path.resource_id)
    headers = begin(sim, call, present, removes=True)
    operation = operation_of(sim, present["id"])
    operation.notified = True
    headers |= result_headers(call, operation)
    return Answer(202, None, headers | {"Azure-AsyncNotification": "Enabled"})


def get_firewall(sim: Simulator, call: Call) -> Answer:
    """Return one firewall."""
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.resource_not_found(call.path.full_type, call.path.resource_id)
    return Answer(200, shown(found), {"ETag": found["etag"]})


def list_firewalls(sim: Simulator, call: Call) -> Answer:
    """List the firewalls of a subscription or a resource group."""
    scope = ids.key(call.path.scope) + "/"
    found = [each for each in sim.store.of_type(FIREWALLS) if ids.key(each["id"]).startswith(scope)]
    return page(sim, call, [shown(each) for each in found])


def read_body(call: Call) -> dict[str, Any]:
    """Read a body with a location."""
    raw, _ = shapes.read_json(call.body)
    if not isinstance(raw, dict):
        raise errors.invalid_json("An object is wanted.")
    if not raw.get("location"):  # text from memory
        message = "The location property is required for this definition."
        raise errors.front_door(400, "LocationRequired", message)
    return raw | {"location": str(raw["location"]).replace(" ", "").lower()}


def meaning(body: Mapping[str, Any]) -> Any:
    """Return a body without what the service owns, to compare."""
    return stripped(
        body, {"etag", "provisioningState", "privateIPAddress", "pendingAddress", "size"}
    )


def stripped(value: Any, members: Iterable[str]) -> Any:
    """Leave members out of a body, at any depth."""
    if isinstance(value, list):
        return [stripped(each, members) for each in value]
    if isinstance(value, dict):
        return {k: stripped(each, members) for k, each in value.items() if k not in members}
    return value


def shown(body: Resource) -> Resource:
    """Return a firewall as a read shows it: an address on its way is not told."""
    return stripped(body, {"pendingAddress"})  # type: ignore[no-any-return]


def _is_settled(firewall: Resource) -> bool:
    return bool(firewall["properties"]["provisioningState"] == "Succeeded")


def _allocate(store: Store, body: Resource) -> None:
    """Give the first configuration a private address, told when the write has ended."""
    for configuration in (body["properties"].get("ipConfigurations") or ())[:1]:
        properties = configuration["properties"]
        subnet = store.get((properties.get("subnet") or {}).get("id", ""))
        if subnet is None or "privateIPAddress" in properties:
            continue
        prefix = prefixes_of(subnet)[0]
        taken = {address for nic in store.of_type(NIC) for address in addresses_of(nic)}
        hosts = (str(ipaddress.ip_network(prefix)[n]) for n in range(FIRST_FREE_HOST, 250))
        properties["pendingAddress"] = next(host for host in hosts if host not in taken)


def prefixes_of(subnet: Mapping[str, Any]) -> list[str]:
    """Return the prefixes of a subnet."""
    properties = subnet["properties"]
    single = [properties["addressPrefix"]] if properties.get("addressPrefix") else []
    return [*single, *(properties.get("addressPrefixes") or ())]


__all__ = [
    "FIREWALL",
    "FIREWALLS",
    "delete_firewall",
    "get_firewall",
    "list_firewalls",
    "meaning",
    "prefixes_of",
    "put_firewall",
    "read_body",
    "stripped",
]
