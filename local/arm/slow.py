"""Resources whose writes take minutes: what reads show, what traffic meets, writes under way."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from local.arm import ids
from local.arm.operations import Operation

Resource = dict[str, Any]


def bare_etag() -> str:
    """Return a fresh etag as the policy provider writes it into bodies: a bare guid."""
    return str(uuid.uuid4())


class Resources(Protocol):
    """Where the resources are."""

    def get(self, resource_id: str) -> Resource | None:
        """Return one."""
        ...

    def remove(self, resource_id: str) -> None:
        """Remove one."""
        ...


@dataclass
class Write:
    """One accepted write; `failure` is decided when it ends."""

    operation: Operation
    removes: bool = False
    failure: Mapping[str, Any] | None = None  # ordered by a switch
    judge: Callable[[Resources], Mapping[str, Any] | None] = lambda _store: None
    also: tuple[str, ...] = ()  # keys of resources that are Updating with it


@dataclass
class FirewallSwitches:
    """Settings of firewalls that can change while the simulator runs."""

    duration: float | None = None  # seconds a write takes; None: as long as every other write
    serial: bool = True  # 409 for a second write while the first is under way
    if_match: bool = True  # whether If-Match is honoured
    busy_code: str = "AnotherOperationInProgress"
    null_when_equal: bool = True  # a PUT equal to the stored group answers null [quoted]
    fail_next: int = 0  # so many accepted writes end as Failed, with mixed instances
    before_write: list[tuple[str, Resource]] = field(default_factory=list)


class SlowWrites:
    """The writes under way, and what is enforced where it is not what reads show."""

    def __init__(self) -> None:
        self.pending: dict[str, Write] = {}
        self.old: dict[str, Resource | None] = {}  # enforced until the write ends
        self.mixed: dict[str, Resource | None] = {}  # some instances still enforce this
        self.busy_until: dict[str, float] = {}
        self.drafts: dict[str, list[Resource]] = {}  # policy -> groups when its draft was made

    def settle(self, store: Resources, now: float) -> None:
        """End every write whose time has come."""
        for key, write in list(self.pending.items()):
            if now >= write.operation.ends_at:
                self._end(store, key, write)
        for key, until in list(self.busy_until.items()):
            if now >= until:
                del self.busy_until[key]
                set_state(store, key, "Succeeded")

    def _end(self, store: Resources, key: str, write: Write) -> None:
        del self.pending[key]
        failure = write.failure or write.judge(store)
        old = self.old.pop(key, None)
        if failure is not None:
            write.operation.error = failure
            write.operation.failed = True
            self.mixed[key] = old
        else:
            self.mixed.pop(key, None)
        if write.removes and failure is None:
            store.remove(key)
        else:
            set_state(store, key, "Failed" if failure else "Succeeded", fresh=True)
        for other in write.also:
            if other not in self.pending:
                set_state(store, other, "Succeeded", only_from="Updating")

    def enforced(self, store: Resources, resource_id: str, instance: int) -> Resource | None:
        """Return what one instance of a firewall enforces of a resource; None: nothing."""
        key = ids.key(resource_id)
        if key in self.old:
            return self.old[key]
        if key in self.mixed and instance == 0:
            return self.mixed[key]
        return store.get(key)


def set_state(
    store: Resources, key: str, state: str, *, fresh: bool = False, only_from: str = ""
) -> None:
    """Set the provisioning state of a resource and of its parts."""
    body = store.get(key)
    if body is None or (only_from and body["properties"].get("provisioningState") != only_from):
        return
    properties = body["properties"]
    properties["provisioningState"] = state
    if fresh and "/ipgroups/" not in key and not key.endswith(_policy_name(key)):
        touch(body)
    for member in ("networkRuleCollections", "applicationRuleCollections", "natRuleCollections"):
        for part in properties.get(member) or ():
            part["properties"]["provisioningState"] = state
    hub = properties.get("hubIPAddresses") or {}
    if state == "Succeeded" and hub and "privateIPAddress" not in hub:
        hub["privateIPAddress"] = "10.0.0.132"
        hub["publicIPs"]["addresses"] = [
            {"address": f"20.39.24.{98 + at}"} for at in range(hub["publicIPs"].get("count", 1))
        ]
    for part in properties.get("ipConfigurations") or ():
        if state == "Succeeded" and part["properties"].get("pendingAddress"):
            part["properties"]["privateIPAddress"] = part["properties"].pop("pendingAddress")


def _policy_name(key: str) -> str:
    """Return the end of a policy's key: its etag is final at once [recorded]."""
    tail = key.rpartition("/firewallpolicies/")[2]
    return tail if "/" not in tail and "/firewallpolicies/" in key else "\0"


def touch(body: Resource) -> None:
    """Give a resource a new etag, and its parts the same one."""
    weak = str(body.get("etag", "")).startswith("W/")
    body["etag"] = f'W/"{bare_etag()}"' if weak else bare_etag()
    for member in (
        "ipConfigurations",
        "networkRuleCollections",
        "applicationRuleCollections",
        "natRuleCollections",
        "routes",
    ):
        for part in body["properties"].get(member) or ():
            part["etag"] = body["etag"]
    management = body["properties"].get("managementIpConfiguration")
    if management:
        management["etag"] = body["etag"]
