"""A hub on the ARM simulator, over HTTP and on the ground's own clock, for the three providers."""

import atexit
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from shared.adapters.arm_clients import LocalName, arm_client
from shared.adapters.arm_firewalls import ArmFirewalls
from shared.ports import RefusedError
from tests import firewalls as hub
from tests.fakes import Clock

WRITE = timedelta(minutes=4)
Body = dict[str, Any]


class CurrentClock:
    """The clock of whichever ground was made last."""

    def __init__(self) -> None:
        self.read: Callable[[], datetime] = Clock()

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.read().timestamp()


@functools.cache
def server() -> tuple[ArmServer, CurrentClock]:
    """Start the one simulator of the suite."""
    clock = CurrentClock()
    running = ArmServer({"resources": []}, clock=clock)
    atexit.register(running.stop)
    return running, clock


class Hub:
    """The simulator with a hub and a spoke, as others act on it."""

    def __init__(self, clock: Clock, *, policy: bool) -> None:
        running, current = server()
        current.read = clock
        self.client = ArmClient(running.url)
        self.clock = clock
        text = json.dumps(hub.estate(policy=policy))
        for old, new in (
            ("10.1.0.0/16", "10.0.1.0/24"),
            ("10.0.0.0/16", "10.0.0.0/24"),
            ("10.1.0.", "10.0.1."),
        ):
            text = text.replace(old, new)
        estate = json.loads(text)
        for resource in estate["resources"]:
            resource["properties"].pop("networkSecurityGroup", None)
        self.client.control("reset", estate)
        self.client.control("firewalls", {"duration": WRITE.total_seconds()})
        self.cloud = ArmFirewalls(arm_client(running.url, LocalName("jit")))

    def get(self, resource_id: str) -> Body | None:
        """Return a resource as it reads; None: there is none."""
        reply = self.client.call("GET", resource_id)
        return reply.body if reply.status == 200 else None

    def edit(self, *resources: Body) -> None:
        """Put resources in place as another writer would, at once."""
        self.client.control("edit", {"resources": list(resources)})

    def settle(self) -> None:
        """Let the longest write pass."""
        self.clock.now += WRITE + timedelta(minutes=1)

    def be_busy(self, resource_id: str, seconds: float) -> None:
        """Have another writer's write under way for so long."""
        self.client.control("firewalls", {"busy": {"id": resource_id, "seconds": seconds}})

    def reaches(self, source: str, port: int, protocol: str) -> bool:
        """Tell whether packets from a source reach the VM's port."""
        asked = {"vm": hub.VM, "port": port, "source": source, "protocol": protocol}
        return bool(self.client.ask("access", **asked)["allowed"])


class GuardedCloud:
    """The real adapter, whose writes may be refused by what they do, or never happen."""

    def __init__(
        self,
        hub_: Hub,
        before_call: Callable[[], None],
        own: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    ) -> None:
        self._hub, self._cloud = hub_, hub_.cloud
        self._before_call = before_call
        self._own = own  # the entries of ours in a body that still open, and all their names
        self.refused: frozenset[str] = frozenset()
        self.writes: list[str] = []

    def get(self, resource_id: str) -> Body | None:
        """Read."""
        return self._cloud.get(resource_id)

    def list(self, path: str) -> Iterable[Body]:
        """Read a list."""
        return self._cloud.list(path)

    def put(self, resource_id: str, body: Body, etag: str = "") -> None:
        """Write, unless that is refused."""
        self._check(self._own(self._hub.get(resource_id) or {}), self._own(body))
        self._before_call()
        self.writes.append(f"PUT {resource_id}")
        self._cloud.put(resource_id, body, etag)

    def delete(self, resource_id: str, etag: str = "") -> None:
        """Remove, unless that is refused."""
        self._check({"all": ""}, {})
        self._before_call()
        self.writes.append(f"DELETE {resource_id}")
        self._cloud.delete(resource_id, etag)

    def _check(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        opened = {name for name, rule in after.items() if rule and before.get(name) != rule}
        removed = before.keys() - after.keys()
        if ("put" in self.refused and opened) or ("remove" in self.refused and removed):
            raise RefusedError("RequestDisallowedByPolicy: disallowed by policy")
