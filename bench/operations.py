"""How many calls one access takes, step by step, at the SDKs' transport."""

import json
import os
import subprocess
import sys

from bench.people import People
from bench.place import Cloud, Json, Place
from bench.stacks import bench_stack
from local.stack import ROOT, Stack

_CASES = {"one NSG": Place("single", 1, 2), "NIC and subnet NSG": Place("double", 1, 2)}


def run(settle: float) -> Json:
    """Count for a VM behind one NSG, and for a VM behind two."""
    return {name: _run(name, place, settle) for name, place in _CASES.items()}


def _run(name: str, place: Place, settle: float) -> Json:
    with bench_stack(settle=0.05) as stack:
        cloud, people = Cloud(stack.arm), People(stack)
        cloud.build_all(_resources(place, on_subnet="subnet" in name))
        people.put_policy(place)
        stack.stop_host()
        cloud.settle_in(settle)
        return _counted(stack, place)


def _resources(place: Place, *, on_subnet: bool) -> list[Json]:
    """Write a place, with an NSG on the subnet as well if asked for."""
    resources = place.resources()
    if not on_subnet:
        return resources
    (first,) = (each for each in resources if each["id"] == place.nsgs[0])
    second = {**first, "id": f"{place.nsgs[0]}-subnet"}
    for resource in resources:
        for subnet in resource["properties"].get("subnets", ()):
            subnet["properties"]["networkSecurityGroup"] = {"id": second["id"]}
    return [second, *resources]


def _counted(stack: Stack, place: Place) -> Json:
    """Let a fresh interpreter handle two accesses; the second is counted, the first warms it."""
    given = {
        "policy": place.policy_id,
        "vms": [vm for vm, _, _, _ in place.vms()],
        "token": stack.token("operator", ("Jit.Request",)),
    }
    done = subprocess.run(  # noqa: S603 - this interpreter, on this package
        [sys.executable, "-m", "bench.operating", json.dumps(given)],
        cwd=ROOT,
        env={**os.environ, **stack.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: Json = json.loads(done.stdout.splitlines()[-1])
    return found
