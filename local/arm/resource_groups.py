"""Resource groups: creating them, listing what they hold, and removing them with everything in them.

Answers follow the documented API; none of these was recorded. A removal takes as long as a write.
"""

from typing import Any

from local.arm import ids, shapes
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import NSG, type_of


def put_resource_group(sim: Simulator, call: Call) -> Answer:
    """Create or change a resource group."""
    raw, _ = shapes.read_json(call.body)
    key = ids.key(call.raw_path)
    created = key not in sim.store.resource_groups
    sim.store.resource_groups.setdefault(key, call.raw_path.rstrip("/"))
    sim.store.group_tags[key] = dict(raw.get("tags") or {})
    body = resource_group(sim, sim.store.resource_groups[key])
    return Answer(201 if created else 200, body, indented=False)


def delete_resource_group(sim: Simulator, call: Call) -> Answer:
    """Begin to remove a resource group with everything in it."""
    key = ids.key(call.raw_path)
    sim.store.leaving_groups.setdefault(key, sim.clock() + sim.settings.settle)
    return Answer(202, None, {"Location": f"{call.base_url}{call.raw_path}"}, indented=False)


def resource_group(sim: Simulator, scope: str) -> dict[str, Any]:
    """Return a resource group as ARM writes it."""
    key = ids.key(scope)
    state = "Deleting" if key in sim.store.leaving_groups else "Succeeded"
    return {
        "id": scope,
        "name": ids.last_name(scope),
        "type": "Microsoft.Resources/resourceGroups",
        "location": "westeurope",
        **({"tags": sim.store.group_tags[key]} if key in sim.store.group_tags else {}),
        "properties": {"provisioningState": state},
    }


def list_resources(sim: Simulator, call: Call) -> Answer:
    """List what a resource group holds, by id and type."""
    prefix = ids.key(call.raw_path).rsplit("/", 1)[0] + "/"
    held = [(each["id"], type_of(each)) for each in sim.store.everything()]
    held += [(group.group_id, NSG) for group in sim.store.groups.values()]
    found = [
        {"id": each, "type": resource_type}
        for each, resource_type in held
        if ids.key(each).startswith(prefix)
    ]
    return Answer(200, {"value": found}, indented=False)
