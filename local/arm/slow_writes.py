"""Accept writes that take minutes, and refuse the second while the first is under way."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from local.arm import errors, ids
from local.arm.operations import STATUS_PATH, Operation
from local.arm.simulator import Call, Simulator
from local.arm.slow import Resource, Resources, Write, set_state, touch

NFV_PATH = "nfvOperations"
# The signature of poll addresses since 2023: about 3.4 kB [recorded, cut in the recordings].
_SIGNATURE = f"&t=638944000000000000&c={'C' * 2900}&s={'S' * 342}&h={'H' * 43}"


def begin(  # noqa: PLR0913 - each is one trait of a write
    sim: Simulator,
    call: Call,
    body: Resource,
    *,
    path: str = STATUS_PATH,
    removes: bool = False,
    judge: Callable[[Resources], Mapping[str, Any] | None] = lambda _store: None,
    also: tuple[str, ...] = (),
    result: Any = None,
) -> dict[str, str]:
    """Accept a write: reads show it at once as Updating, traffic meets it when it has ended."""
    slow, key = sim.store.slow, ids.key(body["id"])
    before = sim.store.get(key)
    slow.old.setdefault(key, copy.deepcopy(before))
    operation = sim.at_once(call, "PutFirewallOperation", body["location"])
    operation.ends_at += duration(sim)
    operation.path, operation.result = path, result
    failure = failed(body) if sim.switches.fail_next > 0 else None
    sim.switches.fail_next -= int(failure is not None)
    slow.pending[key] = Write(operation, removes, failure, judge, also)
    if not removes:
        sim.store.add(body)
    set_state(sim.store, key, "Deleting" if removes else "Updating")
    for other in also:
        set_state(sim.store, other, "Updating", only_from="Succeeded")
    headers = poll_headers(call, operation)
    return headers | ({"Retry-After": "10"} if sim.switches.duration != 0 else {})


def failed(body: Resource) -> dict[str, Any]:
    """Return the error of a write that some instances did not take (text ours)."""
    return {
        "code": "InternalServerError",
        "message": f"An error occurred while {body.get('name')} was updated.",
        "details": [],
    }


def duration(sim: Simulator) -> float:
    """Return how many seconds a write takes."""
    given = sim.switches.duration
    return sim.settings.settle if given is None else given


def poll_headers(call: Call, operation: Operation) -> dict[str, str]:
    """Return the poll address of a write."""
    uri = operation.uri(call.base_url, operation.path, call.api_version)
    return {"Azure-AsyncOperation": uri + _SIGNATURE}


def result_headers(call: Call, operation: Operation) -> dict[str, str]:
    """Return the address of a write's result."""
    path = "nfvOperationResults" if operation.path == NFV_PATH else "operationResults"
    return {"Location": operation.uri(call.base_url, path, call.api_version) + _SIGNATURE}


def operation_of(sim: Simulator, resource_id: str) -> Operation:
    """Return the operation of the write under way."""
    return sim.store.slow.pending[ids.key(resource_id)].operation


def refuse_while_busy(sim: Simulator, call: Call, *resource_ids: str) -> None:
    """Refuse a write while one of the resources is Updating or Deleting."""
    for resource_id in resource_ids:
        found = sim.store.get(resource_id)
        state = found["properties"].get("provisioningState") if found else ""
        if sim.switches.serial and state in ("Updating", "Deleting"):
            raise busy(sim, call, resource_id)


def busy(sim: Simulator, call: Call, resource_id: str) -> errors.ArmError:
    """Return the refusal of a second write; its status beside 409 is not known."""
    if sim.switches.busy_code == "AnotherOperationInProgress":
        write = sim.store.slow.pending.get(ids.key(resource_id))
        guid = write.operation.operation_id if write else call.request_id
        subscription = ids.segment(resource_id, "subscriptions")
        uri = (
            f"{call.base_url}/subscriptions/{subscription}/providers/Microsoft.Network/locations/"
            f"westeurope/operations/{guid}?api-version={call.api_version}"
        )
        return errors.another_operation(uri)
    return errors.provider(  # the code is quoted; status and text are ours
        400,
        sim.switches.busy_code,
        f"{ids.last_name(resource_id)} is updating or being deleted.",
    )


def match_etag(sim: Simulator, call: Call, present: Resource | None) -> None:
    """Refuse a write whose If-Match is not the etag of the resource."""
    given = call.if_match
    if given is None or not sim.switches.if_match:
        return
    if present is None:
        raise errors.missing_for_match(call.path.resource_id)
    current = str(present["etag"])
    if given not in ("*", current, f'"{current}"'):
        raise errors.etag_mismatch(given, current, call.path.resource_id)


def let_others_write(sim: Simulator, call: Call) -> None:
    """Carry out the writes of others that were ordered for just before this one."""
    waiting, sim.switches.before_write = sim.switches.before_write, []
    for path, resource in waiting:
        if ids.key(call.path.resource_id).endswith(path.lower()):
            sim.store.replace(resource)
            stored = sim.store.get(resource["id"])
            if stored is not None:
                touch(stored)
        else:
            sim.switches.before_write.append((path, resource))
