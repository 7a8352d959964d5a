"""The effective rules and routes of a network interface; asked of the provider by POST."""

from collections.abc import Mapping
from typing import Any

from local.arm import errors
from local.arm.nics import NIC_TYPE
from local.arm.nsg import written_defaults, written_rule
from local.arm.operations import RESULT_PATH
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import reference

# The routes of a network without own routes [recorded].
_ROUTES = (
    ("0.0.0.0/0", "Internet"),
    ("100.64.0.0/10", "None"),
    ("172.16.0.0/12", "None"),
    ("192.168.0.0/16", "None"),
)


def effective_groups(sim: Simulator, call: Call) -> Answer:
    """Return the groups in front of an interface; empty where there is none [recorded]."""
    nic = _running(sim, call, "effective security groups", "SecurityGroups")
    found = []
    for association, holder in (("networkInterface", nic), ("subnet", _subnet(sim, nic))):
        group_id = reference(holder, "networkSecurityGroup") if holder else None
        group = sim.store.group(group_id) if group_id else None
        if group is None or holder is None:
            continue
        rules = [written_rule(group, rule, call.api_version) for rule in group.settled.values()]
        rules += written_defaults(group, call.api_version)
        found.append(
            {
                "networkSecurityGroup": {"id": group.group_id},
                "association": {association: {"id": holder["id"]}},
                "effectiveSecurityRules": [_effective(rule) for rule in rules],
            }
        )
    return _result(sim, call, nic, found)


def effective_routes(sim: Simulator, call: Call) -> Answer:
    """Return the default routes and the subnet's own; own ones make default ones invalid."""
    nic = _running(sim, call, "effective routes", "Routes")
    subnet = _subnet(sim, nic)
    vnet = sim.store.get(subnet["id"].rsplit("/", 2)[0]) if subnet else None
    local = vnet["properties"]["addressSpace"]["addressPrefixes"] if vnet else []
    routes = [(prefix, "VnetLocal") for prefix in local] + list(_ROUTES)
    table_id = reference(subnet, "routeTable") if subnet else None
    table = sim.store.get(table_id) if table_id else None
    own = [
        each["properties"] for each in (table["properties"].get("routes") or () if table else ())
    ]
    overridden = {each["addressPrefix"] for each in own}
    return _result(
        sim,
        call,
        nic,
        [
            {
                "source": "Default",
                "state": "Invalid" if prefix in overridden else "Active",
                "addressPrefix": [prefix],
                "nextHopType": hop,
                "nextHopIpAddress": [],
            }
            for prefix, hop in routes
        ]
        + [
            {
                "source": "User",
                "state": "Active",
                "addressPrefix": [each["addressPrefix"]],
                "nextHopType": each["nextHopType"],
                "nextHopIpAddress": [
                    hop for hop in [each.get("nextHopIpAddress")] if hop is not None
                ],
            }
            for each in own
        ],
    )


def _running(sim: Simulator, call: Call, what: str, code: str) -> Mapping[str, Any]:
    nic = sim.store.get(call.path.parent_id)
    if nic is None:
        raise errors.resource_not_found(NIC_TYPE, call.path.parent_id)
    machine_id = reference(nic, "virtualMachine")
    machine = sim.store.get(machine_id) if machine_id else None
    if machine is None or not _is_on(machine):
        code = f"NicMustBeAttachedToRunningVmToGetEffective{code}"
        raise errors.provider(
            400,
            code,
            f"A network interface must be attached to a running virtual machine to get {what}. "
            f"The network interface {nic['id']} is not attached to a running virtual machine.",
        )
    return nic


def _is_on(machine: Mapping[str, Any]) -> bool:
    view = machine["properties"].get("instanceView") or {}
    codes = [status["code"] for status in view.get("statuses", [])]
    power = [code for code in codes if code.startswith("PowerState/")]
    return not power or power == ["PowerState/running"]


def _subnet(sim: Simulator, nic: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for configuration in nic["properties"].get("ipConfigurations") or []:
        return sim.store.get(configuration["properties"]["subnet"]["id"])
    return None


def _effective(rule: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("provisioningState", "description")
    shown = {name: item for name, item in rule["properties"].items() if name not in hidden}
    return {"name": rule["id"].split("/providers/Microsoft.Network/", 1)[-1], **shown}


def _result(sim: Simulator, call: Call, nic: Mapping[str, Any], found: list[Any]) -> Answer:
    operation = sim.at_once(call, "EffectiveOperation", nic["location"])
    location = operation.uri(call.base_url, RESULT_PATH, call.api_version)
    return Answer(200, {"value": found}, {"Location": location})
