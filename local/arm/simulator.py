"""The state of the simulator, and what a call and its answer are."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from local.arm.ids import Path
from local.arm.operations import Operation
from local.arm.quotas import Quotas
from local.arm.slow import FirewallSwitches
from local.arm.store import Store

Concurrency = Literal["accept", "locked", "conflict", "supersede"]
CONCURRENCY: tuple[Concurrency, ...] = ("accept", "locked", "conflict", "supersede")
DEFAULT_SETTLE_SECONDS = 0.5
DEFAULT_PAGE_SIZE = 100


@dataclass
class Settings:
    """Settings that can change while the simulator runs.

    `concurrency` is what a second write to a group meets while the first is under way: no record
    settles which of the four the service does when, so it is a switch. `normalise` writes protocol
    and prefixes of a rule in one spelling, which no record shows and none rules out.
    """

    settle: float = DEFAULT_SETTLE_SECONDS
    concurrency: Concurrency = "accept"
    page_size: int = DEFAULT_PAGE_SIZE
    normalise: bool = False


@dataclass(frozen=True)
class Call:
    """One request to ARM."""

    method: str
    raw_path: str
    path: Path
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    caller: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    faults: frozenset[str] = frozenset()

    @property
    def api_version(self) -> str:
        """Return the api-version asked for."""
        return self.query.get("api-version", "")

    @property
    def if_match(self) -> str | None:
        """Return the etag the caller insists on, unless a fault makes ARM overlook it."""
        return None if "ignoreIfMatch" in self.faults else self.headers.get("if-match")


class JsonNull:
    """The JSON literal null as a body."""


@dataclass
class Answer:
    """One answer of ARM. The network and compute providers indent with CRLF; ARM does not."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    indented: bool = True

    def content(self) -> bytes:
        """Return the bytes as the service would write them."""
        if self.body is None:
            return b""
        if isinstance(self.body, JsonNull):
            return b"null"
        if not self.indented:
            return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()
        return json.dumps(self.body, indent=2, ensure_ascii=False).replace("\n", "\r\n").encode()


class Simulator:
    """Everything that changes from call to call."""

    def __init__(
        self, estate: Mapping[str, Any], clock: Callable[[], float], settings: Settings
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.quotas = Quotas(clock)
        self.load(estate)

    def load(self, estate: Mapping[str, Any]) -> None:
        """Replace everything by an estate."""
        resources: Iterable[Mapping[str, Any]] = estate["resources"]
        self.store = Store(resources)
        self.operations: dict[str, Operation] = {}
        self.switches = FirewallSwitches()
        self.bastion_sessions: dict[str, list[dict[str, Any]]] = {}  # by the key of their host
        self.quotas.refill()

    def settle(self) -> None:
        """Bring everything up to now."""
        self.store.settle(self.clock())

    def concurrency(self) -> Concurrency:
        """Return the mode in force: real quotas bring one write at a time per group."""
        serial = self.quotas.enabled and self.settings.concurrency == "accept"
        return "locked" if serial else self.settings.concurrency

    def start(self, call: Call, name: str, location: str) -> Operation:
        """Begin the operation of a write; its guid is the write's request id [recorded]."""
        operation = self.at_once(call, name, location)
        operation.ends_at += self.settings.settle
        return operation

    def at_once(self, call: Call, name: str, location: str) -> Operation:
        """Record the operation of a write that is over already."""
        subscription = call.path.scope.strip("/").split("/")[1]
        operation = Operation(call.request_id, name, subscription, location, self.clock())
        self.operations[operation.operation_id] = operation
        return operation
