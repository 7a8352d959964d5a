"""The live sessions of Bastion hosts: ARM's two calls about them, and the control that begins some.

Both follow the documented API; neither was recorded. The list is a long-running operation whose
result address answers its first page; a GET of the next link answers the others.
"""

from collections.abc import Mapping
from typing import Any

from local.arm import errors, ids, shapes
from local.arm.operations import RESULT_PATH, pause_headers
from local.arm.reads import page
from local.arm.simulator import Answer, Call, Simulator

BASTION = "Microsoft.Network/bastionHosts"
Json = dict[str, Any]


def get_active_sessions(sim: Simulator, call: Call) -> Answer:
    """Begin to list the live sessions of a host."""
    host = _host(sim, call)
    operation = sim.start(call, "GetActiveSessions", host["location"])
    operation.result = page(sim, call, _sessions(sim, host["id"])).body
    location = operation.uri(call.base_url, RESULT_PATH, call.api_version)
    return Answer(202, None, {"Location": location, **pause_headers(sim.settings.settle)})


def more_sessions(sim: Simulator, call: Call) -> Answer:
    """Return a further page of the live sessions of a host."""
    return page(sim, call, _sessions(sim, _host(sim, call)["id"]))


def disconnect_active_sessions(sim: Simulator, call: Call) -> Answer:
    """End sessions by their ids, and say of each what became of it."""
    host = _host(sim, call)
    raw, _ = shapes.read_json(call.body)
    held = _sessions(sim, host["id"])
    live = {each["sessionId"] for each in held}
    asked = [str(each) for each in raw.get("sessionIds") or []]
    held[:] = [each for each in held if each["sessionId"] not in asked]
    states = [
        {"sessionId": each, "state": "Disconnected" if each in live else "NotFound"}
        for each in asked
    ]
    return Answer(200, {"value": states})


def begin_sessions(sim: Simulator, given: Mapping[str, Any]) -> Json:
    """Replace the live sessions of a host, as people who connect through it would."""
    if sim.store.get(given["bastion"]) is None:
        raise ValueError(f"bastion: no Bastion host {given['bastion']!r}")
    _sessions(sim, given["bastion"])[:] = [dict(each) for each in given["sessions"]]
    return show_sessions(sim, given)


def show_sessions(sim: Simulator, given: Mapping[str, Any]) -> Json:
    """Show the live sessions of a host."""
    return {"sessions": _sessions(sim, given["bastion"])}


def _sessions(sim: Simulator, host_id: str) -> list[Json]:
    return sim.bastion_sessions.setdefault(ids.key(host_id), [])


def _host(sim: Simulator, call: Call) -> Mapping[str, Any]:
    found = sim.store.get(call.path.parent_id)
    if found is None:
        raise errors.resource_not_found(BASTION, call.path.parent_id)
    return found
