"""Reads: single resources with their ETag header, lists with paging, poll addresses."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from local.arm import errors, ids
from local.arm.nsg import NSG_TYPE, Group, written_defaults, written_rule
from local.arm.nsg_writes import existing, shown
from local.arm.operations import pause_headers
from local.arm.resource_groups import resource_group
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import NSG, VM, Resource, subnets_of

VM_TYPE, VNET_TYPE = "Microsoft.Compute/virtualMachines", "Microsoft.Network/virtualNetworks"
SKIP_TOKEN = "$skipToken"  # noqa: S105 - the name of a query parameter


def list_groups(sim: Simulator, call: Call) -> Answer:
    """List network security groups of a subscription or a resource group, by name [recorded]."""
    groups = [sim.store.groups[key] for key in sorted(sim.store.groups)]
    return page(sim, call, [shown(sim, call, each) for each in groups if _within(call, each)])


def get_group(sim: Simulator, call: Call) -> Answer:
    """Return one network security group."""
    return _tagged(shown(sim, call, existing(sim, call)))


def list_rules(sim: Simulator, call: Call) -> Answer:
    """List the rules of a group, the default ones where the path says so."""
    group = _group_around(sim, call)
    if call.path.types[-1].lower() == "defaultsecurityrules":
        rules = written_defaults(group, call.api_version)
    else:
        rules = [written_rule(group, rule, call.api_version) for rule in group.rules.values()]
    return page(sim, call, rules)


def get_rule(sim: Simulator, call: Call) -> Answer:
    """Return one rule."""
    group = _group_around(sim, call)
    wanted = call.path.names[-1].lower()
    if call.path.types[-1].lower() == "defaultsecurityrules":
        for default in written_defaults(group, call.api_version):
            if default["name"].lower() == wanted:
                return _tagged(default)
    elif wanted in group.rules:
        return _tagged(written_rule(group, group.rules[wanted], call.api_version))
    raise errors.child_not_found(call.path.resource_id)


def list_resources(sim: Simulator, call: Call) -> Answer:
    """List resources of any other type."""
    found = [each for each in sim.store.of_type(call.path.type_key) if _has_scope(call, each["id"])]
    return page(sim, call, [_without_instance_view(each, call) for each in found])


def get_resource(sim: Simulator, call: Call) -> Answer:
    """Return one resource of any other type."""
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.resource_not_found(call.path.full_type, call.path.resource_id)
    return _tagged(_without_instance_view(found, call))


def list_subnets(sim: Simulator, call: Call) -> Answer:
    """List the subnets of a virtual network."""
    return page(sim, call, subnets_of(_resource_around(sim, call, VNET_TYPE)))


def list_peerings(sim: Simulator, call: Call) -> Answer:
    """List the peerings of a virtual network."""
    vnet = _resource_around(sim, call, VNET_TYPE)
    return page(sim, call, vnet["properties"].get("virtualNetworkPeerings") or [])


def get_subnet(sim: Simulator, call: Call) -> Answer:
    """Return one subnet."""
    _resource_around(sim, call, VNET_TYPE)
    subnet = sim.store.get(call.path.resource_id)
    if subnet is None:
        raise errors.child_not_found(call.path.resource_id)
    return _tagged(subnet)


def get_instance_view(sim: Simulator, call: Call) -> Answer:
    """Return the instance view of a virtual machine, its power state in it."""
    machine = _resource_around(sim, call, VM_TYPE)
    return Answer(200, machine["properties"].get("instanceView", {"statuses": []}))


def get_operation(sim: Simulator, call: Call) -> Answer:
    """Answer a poll of Azure-AsyncOperation."""
    operation = sim.operations.get(call.path.names[-1].lower())
    if operation is None:
        raise errors.provider(
            404, "OperationNotFound", f"Operation {call.path.names[-1]} not found."
        )
    now = sim.clock()
    waiting = operation.status(now) == "InProgress"
    return Answer(200, operation.body(now), pause_headers(sim.settings.settle) if waiting else {})


def get_operation_result(sim: Simulator, call: Call) -> Answer:
    """Answer a poll of Location: 202 while under way, then 204, both headers repeated."""
    waiting = get_operation(sim, call)
    operation = sim.operations[call.path.names[-1].lower()]
    headers = dict(waiting.headers) | {
        "Location": operation.uri(call.base_url, "operationResults", call.api_version),
        "Azure-AsyncOperation": operation.uri(call.base_url, "operations", call.api_version),
    }
    if operation.notified:
        headers["Azure-AsyncNotification"] = "Enabled"
    if operation.status(sim.clock()) == "InProgress":
        return Answer(202, None, headers)
    if operation.result is not None:
        return Answer(200, operation.result)
    return Answer(204, None, headers)


def list_subscriptions(sim: Simulator, call: Call) -> Answer:
    """List the subscriptions, which the estate only implies."""
    found = [_subscription(name) for name in sim.store.subscriptions.values()]
    return page(sim, call, found, indented=False)


def get_subscription(sim: Simulator, call: Call) -> Answer:
    """Return one subscription."""
    del sim
    return Answer(200, _subscription(ids.last_name(call.raw_path)), indented=False)


def list_resource_groups(sim: Simulator, call: Call) -> Answer:
    """List the resource groups of a subscription, which the estate only implies."""
    around = ids.key(call.raw_path).rsplit("/", 1)[0]
    found = [scope for key, scope in sim.store.resource_groups.items() if key.startswith(around)]
    return page(sim, call, [resource_group(sim, scope) for scope in found], indented=False)


def get_resource_group(sim: Simulator, call: Call) -> Answer:
    """Return one resource group."""
    scope = sim.store.resource_groups[ids.key(call.raw_path)]
    return Answer(200, resource_group(sim, scope), indented=False)


def page(
    sim: Simulator, call: Call, items: Iterable[Mapping[str, Any]], *, indented: bool = True
) -> Answer:
    """Cut a list into pages; every page but the last has a nextLink."""
    everything = list(items)
    given = {name.lower(): value for name, value in call.query.items()}
    start = int(given.get(SKIP_TOKEN.lower(), "0"))
    stop = start + sim.settings.page_size
    body: dict[str, Any] = {"value": everything[start:stop]}
    if stop < len(everything):
        query = {name: value for name, value in call.query.items() if name.lower() != "$skiptoken"}
        query[SKIP_TOKEN] = str(stop)
        path = quote(call.raw_path, safe="/%!$&'()*+,;=:@-._~")
        body["nextLink"] = f"{call.base_url}{path}?{urlencode(query, safe='$')}"
    # An empty list of groups comes from the front door, which does not indent [recorded].
    from_front_door = not everything and call.path.type_key == NSG
    return Answer(200, body, indented=indented and not from_front_door)


def _tagged(body: Mapping[str, Any]) -> Answer:
    headers = {"ETag": body["etag"]} if "etag" in body else {}
    return Answer(200, body, headers)


def _has_scope(call: Call, resource_id: str) -> bool:
    return ids.key(resource_id).startswith(ids.key(call.path.scope) + "/")


def _within(call: Call, group: Group) -> bool:
    return _has_scope(call, group.group_id)


def _group_around(sim: Simulator, call: Call) -> Group:
    group = sim.store.group(call.path.parent_id)
    if group is None:
        raise errors.resource_not_found(NSG_TYPE, call.path.parent_id)
    return group


def _resource_around(sim: Simulator, call: Call, full_type: str) -> Resource:
    found = sim.store.get(call.path.parent_id)
    if found is None:
        raise errors.resource_not_found(full_type, call.path.parent_id)
    return found


def _without_instance_view(resource: Resource, call: Call) -> Resource:
    """Leave the instance view out unless it was asked for, as compute does."""
    if call.path.type_key != VM or "instanceview" in call.query.get("$expand", "").lower():
        return resource
    shorter = copy.copy(resource)
    shorter["properties"] = {
        name: value for name, value in resource["properties"].items() if name != "instanceView"
    }
    return shorter


def _subscription(name: str) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{name}",
        "subscriptionId": name,
        "displayName": "Local",
        "state": "Enabled",
    }
