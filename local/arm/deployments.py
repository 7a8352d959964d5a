"""Resources that a deployment creates and removes beside security groups, of a few plain types.

Answers follow the documented API; none of these was recorded. A write is over at once.
"""

import itertools
import uuid
from collections.abc import Mapping
from typing import Any

from local.arm import errors, ids, shapes
from local.arm.authorization import ASSIGNMENTS
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import NIC, VM, VNET, Resource, nics_of, type_of

PUBLIC_ADDRESS = "microsoft.network/publicipaddresses"
BASTION = "microsoft.network/bastionhosts"
PLAIN = (VNET, VM, PUBLIC_ADDRESS, BASTION)
APPLICATION = "microsoft.graph/applications"
_numbers = itertools.count(10)


def put_plain(sim: Simulator, call: Call) -> Answer:
    """Create or replace a network, public address, virtual machine or Bastion host."""
    raw, _ = shapes.read_json(call.body)
    present = sim.store.get(call.path.resource_id)
    _check_interfaces(sim, call, raw)
    properties = {**(raw.get("properties") or {}), "provisioningState": "Succeeded"}
    body: Resource = {
        **raw,
        "id": present["id"] if present else call.path.resource_id,
        "name": call.path.names[-1],
        "type": call.path.full_type,
        "properties": properties,
    }
    _complete(body, present)
    sim.store.replace(body)
    sim.store.link()
    return Answer(201 if present is None else 200, sim.store.get(body["id"]))


def delete_plain(sim: Simulator, call: Call) -> Answer:
    """Remove a resource, at once."""
    if sim.store.get(call.path.resource_id) is None:
        return Answer(204)
    sim.store.remove(call.path.resource_id)
    return Answer(200)


def delete_definition(sim: Simulator, call: Call) -> Answer:
    """Remove a custom role that is assigned nowhere."""
    name = call.path.names[-1].lower()
    assigned = [
        each
        for each in sim.store.everything()
        if type_of(each) == ASSIGNMENTS
        and ids.last_name(str(each["properties"].get("roleDefinitionId"))).lower() == name
    ]
    if assigned:
        raise errors.front_door(
            400,
            "RoleDefinitionHasAssignments",
            f"There are existing role assignments referencing role (code: {name}).",
        )
    return delete_plain(sim, call)


def answer_graph(sim: Simulator, method: str, unique_name: str) -> Answer:
    """Answer Microsoft Graph's read and deletion of an application by its unique name."""
    found = next(
        (
            each
            for each in sim.store.everything()
            if type_of(each) == APPLICATION and ids.last_name(each["id"]) == unique_name
        ),
        None,
    )
    if found is None:
        error = {"code": "Request_ResourceNotFound", "message": f"'{unique_name}' does not exist."}
        return Answer(404, {"error": error}, indented=False)
    if method == "DELETE":
        sim.store.remove(found["id"])
        return Answer(204)
    return Answer(200, {"uniqueName": unique_name, **found["properties"]}, indented=False)


def _check_interfaces(sim: Simulator, call: Call, raw: Mapping[str, Any]) -> None:
    """Refuse a virtual machine whose network interface does not exist."""
    if call.path.type_key != VM:
        return
    listed = (raw.get("properties") or {}).get("networkProfile", {}).get("networkInterfaces", [])
    if not all("id" in each for each in listed):
        message = "A network interface of the virtual machine has no id."
        raise errors.front_door(400, "InvalidParameter", message)
    for nic_id in nics_of({"properties": raw.get("properties") or {}}):
        found = sim.store.get(nic_id)
        if found is None or type_of(found) != NIC:
            raise errors.invalid_reference(nic_id, call.path.resource_id)


def _complete(body: Resource, present: Resource | None) -> None:
    """Add what the service adds: ids of subnets, and the address itself."""
    properties, resource_type = body["properties"], str(body["type"]).lower()
    if resource_type == VNET:
        for subnet in properties.get("subnets") or []:
            subnet["id"] = f"{body['id']}/subnets/{subnet['name']}"
            subnet.setdefault("properties", {})["provisioningState"] = "Succeeded"
    if resource_type == PUBLIC_ADDRESS:
        before = present["properties"].get("ipAddress") if present else None
        properties["ipAddress"] = before or f"192.0.2.{next(_numbers) % 240 + 10}"
    if resource_type == VM:
        properties.setdefault("vmId", str(uuid.uuid4()))
