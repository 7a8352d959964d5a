"""The control of firewalls: what goes wrong with them, and how long writes take."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from local.arm import ids
from local.arm.simulator import Simulator
from local.arm.slow import FirewallSwitches, set_state

Json = dict[str, Any]
_PLAIN = {
    "duration": "duration",
    "serial": "serial",
    "ifMatch": "if_match",
    "busyCode": "busy_code",
    "nullWhenEqual": "null_when_equal",
    "failNext": "fail_next",
}


def show(sim: Simulator) -> Json:
    """Return the switches as they stand."""
    return {name: getattr(sim.switches, member) for name, member in _PLAIN.items()}


def set_switches(sim: Simulator, given: Mapping[str, Any]) -> Json:
    """Set switches; `busy`, `state` and `foreignWrite` act at once.

    busy: {id, seconds} has another writer's write under way. state: {id, state} sets a
    provisioning state. foreignWrite: {path, resource} is written just before the next write to
    a resource whose id ends in path.
    """
    known = {*_PLAIN, "busy", "state", "foreignWrite"}
    unknown = set(given) - known
    if unknown:
        raise ValueError(f"unknown switches: {', '.join(sorted(unknown))}")
    plain = {_PLAIN[name]: value for name, value in given.items() if name in _PLAIN}
    sim.switches = replace(sim.switches, **plain)
    if "busy" in given:
        _be_busy(sim, given["busy"]["id"], float(given["busy"]["seconds"]))
    if "state" in given:
        set_state(sim.store, ids.key(given["state"]["id"]), given["state"]["state"])
    if "foreignWrite" in given:
        ordered = given["foreignWrite"]
        sim.switches.before_write.append((ordered["path"], ordered["resource"]))
    return show(sim)


def _be_busy(sim: Simulator, resource_id: str, seconds: float) -> None:
    key = ids.key(resource_id)
    if sim.store.get(key) is None:
        raise ValueError(f"busy: no resource {resource_id!r}")
    if seconds:
        set_state(sim.store, key, "Updating")
    sim.store.slow.busy_until[key] = sim.clock() + seconds


def reset(sim: Simulator) -> None:
    """Bring the switches back to where they stood at the start."""
    sim.switches = FirewallSwitches()
