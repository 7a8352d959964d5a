"""ARM's front door: what is checked before a provider is asked, and who answers."""

import logging
from collections.abc import Callable, Mapping

from local.arm import (
    authorization,
    bastion_sessions,
    deployments,
    effective,
    errors,
    firewall_routes,
    ids,
    nics,
    nsg_writes,
    reads,
    resource_groups,
)
from local.arm.simulator import Answer, Call, Simulator

Handler = Callable[[Simulator, Call], Answer]
LOGGER = logging.getLogger("local.arm")
NOT_SIMULATED = "NotSimulated"

_NSG = "microsoft.network/networksecuritygroups"
_NIC = "microsoft.network/networkinterfaces"
_BASTION = "microsoft.network/bastionhosts"
_DIAGNOSTICS = "microsoft.insights/diagnosticsettings"
_LOCATION = "microsoft.network/locations"
_READ_ONLY = (
    "microsoft.compute/virtualmachines",
    "microsoft.network/virtualnetworks",
    "microsoft.network/publicipaddresses",
    "microsoft.network/loadbalancers",
    "microsoft.network/applicationsecuritygroups",
    _BASTION,
    "microsoft.network/azurefirewalls",
)

COLLECTIONS: Mapping[tuple[str, str], Handler] = {
    ("GET", _NSG): reads.list_groups,
    ("GET", f"{_NSG}/securityrules"): reads.list_rules,
    ("GET", f"{_NSG}/defaultsecurityrules"): reads.list_rules,
    ("GET", _NIC): reads.list_resources,
    ("GET", "microsoft.network/virtualnetworks/subnets"): reads.list_subnets,
    ("GET", "microsoft.network/virtualnetworks/virtualnetworkpeerings"): reads.list_peerings,
    ("GET", "microsoft.compute/virtualmachines/instanceview"): reads.get_instance_view,
    ("POST", f"{_BASTION}/getactivesessions"): bastion_sessions.get_active_sessions,
    ("GET", f"{_BASTION}/getactivesessions"): bastion_sessions.more_sessions,
    ("POST", f"{_BASTION}/disconnectactivesessions"): bastion_sessions.disconnect_active_sessions,
    ("POST", f"{_NIC}/effectivenetworksecuritygroups"): effective.effective_groups,
    ("POST", f"{_NIC}/effectiveroutetable"): effective.effective_routes,
    **{("GET", resource_type): reads.list_resources for resource_type in _READ_ONLY},
    **{
        ("GET", resource_type): authorization.list_at_scope for resource_type in authorization.TYPES
    },
    **firewall_routes.COLLECTIONS,
}
RESOURCES: Mapping[tuple[str, str], Handler] = {
    ("GET", _NSG): reads.get_group,
    ("PUT", _NSG): nsg_writes.put_group,
    ("PATCH", _NSG): nsg_writes.patch_group,
    ("DELETE", _NSG): nsg_writes.delete_group,
    ("GET", f"{_NSG}/securityrules"): reads.get_rule,
    ("PUT", f"{_NSG}/securityrules"): nsg_writes.put_rule,
    ("DELETE", f"{_NSG}/securityrules"): nsg_writes.delete_rule,
    ("GET", f"{_NSG}/defaultsecurityrules"): reads.get_rule,
    ("GET", _NIC): reads.get_resource,
    ("PUT", _NIC): nics.put_nic,
    ("DELETE", _NIC): nics.delete_nic,
    ("GET", "microsoft.network/virtualnetworks/subnets"): reads.get_subnet,
    ("GET", f"{_LOCATION}/operations"): reads.get_operation,
    ("GET", f"{_LOCATION}/operationresults"): reads.get_operation_result,
    **{("GET", resource_type): reads.get_resource for resource_type in _READ_ONLY},
    **{("GET", resource_type): authorization.get_by_id for resource_type in authorization.TYPES},
    **{("PUT", resource_type): deployments.put_plain for resource_type in deployments.PLAIN},
    **{("DELETE", resource_type): deployments.delete_plain for resource_type in deployments.PLAIN},
    ("DELETE", authorization.DEFINITIONS): deployments.delete_definition,
    ("GET", _DIAGNOSTICS): reads.get_resource,
    ("DELETE", _DIAGNOSTICS): deployments.delete_plain,
    **firewall_routes.RESOURCES,
}
# Paths without a provider: method, the words in them, and how many parts there are.
SCOPES: Mapping[tuple[object, ...], Handler] = {
    ("GET", "subscriptions", 1): reads.list_subscriptions,
    ("GET", "subscriptions", 2): reads.get_subscription,
    ("GET", "subscriptions", "resourcegroups", 3): reads.list_resource_groups,
    ("GET", "subscriptions", "resourcegroups", 4): reads.get_resource_group,
    ("PUT", "subscriptions", "resourcegroups", 4): resource_groups.put_resource_group,
    ("DELETE", "subscriptions", "resourcegroups", 4): resource_groups.delete_resource_group,
    ("GET", "subscriptions", "resourcegroups", "resources", 5): resource_groups.list_resources,
}


def handle(sim: Simulator, call: Call) -> Answer:
    """Answer one call as ARM would, or raise the error it would answer."""
    if not call.api_version:  # text from memory
        raise errors.front_door(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    handler = _handler(call)
    if handler is None:
        raise unknown(call)
    if handler is not resource_groups.put_resource_group:
        _check_scope(sim, call)
    return handler(sim, call)


def unknown(call: Call) -> errors.ArmError:
    """Refuse what is not simulated: never pretend."""
    LOGGER.warning("not simulated: %s %s", call.method, call.raw_path)
    return errors.front_door(
        404,
        NOT_SIMULATED,
        f"The ARM simulator does not know {call.method} {call.raw_path}. Real ARM may.",
    )


def _handler(call: Call) -> Handler | None:
    if not call.path.namespace:
        parts = call.raw_path.strip("/").lower().split("/")
        shape = (call.method, *parts[0::2], len(parts))
        return SCOPES.get(shape)
    table = COLLECTIONS if call.path.is_collection else RESOURCES
    return table.get((call.method, call.path.type_key))


def _check_scope(sim: Simulator, call: Call) -> None:
    """Refuse an unknown subscription or resource group."""
    subscription = ids.segment(call.raw_path, "subscriptions")
    if subscription is None:
        return
    if subscription.lower() not in sim.store.subscriptions:
        raise errors.subscription_not_found(subscription)
    name = ids.segment(call.raw_path, "resourceGroups")
    scope = f"/subscriptions/{subscription}/resourceGroups/{name}"
    if name is not None and ids.key(scope) not in sim.store.resource_groups:
        raise errors.group_not_found(name)
