"""What the use cases need from the world outside, and how the world tells them it failed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from shared.domain import desired
from shared.domain.bastion import BastionReach
from shared.domain.model import Attachment, Principal
from shared.domain.notifications import Notification
from shared.domain.permissions import Action, Decision

Value = str | int | bool | float
Clock = Callable[[], datetime]
Sleep = Callable[[float], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


# --- tables ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One stored row; `version` is its etag."""

    partition: str
    key: str
    values: Mapping[str, Value]
    version: str = ""


class RowExistsError(Exception):
    """An insert found its place taken."""


class RowChangedError(Exception):
    """A write found the row changed, or gone, since it was read."""


class Table(Protocol):
    """A table of rows by partition and key. A failed or partial answer raises, always."""

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row; None only if the store says that there is none."""
        ...

    def query(
        self, partition: str, *, start: str = "", stop: str = "", limit: int = 0
    ) -> list[Row]:
        """Read a partition's rows with start <= key < stop, in key order; limit 0: all."""
        ...

    def scan(self, start: str, stop: str, *, limit: int = 0, **equal: Value) -> list[Row]:
        """Read the rows with start <= partition < stop whose values equal the given ones.

        They come by partition and key; limit 0: all.
        """
        ...

    def insert(self, row: Row) -> str:
        """Add a row and return its version; raises RowExistsError."""
        ...

    def replace(self, row: Row) -> str:
        """Write over the version that was read; raises RowChangedError."""
        ...

    def upsert(self, row: Row) -> str:
        """Write a row whatever was there."""
        ...

    def delete(self, row: Row) -> None:
        """Remove the version that was read; a row that is gone is fine. RowChangedError."""
        ...


class Tables(Protocol):
    """The tables of DESIGN section 5."""

    @property
    def policies(self) -> Table:
        """Policies and their VMs."""
        ...

    @property
    def requests(self) -> Table:
        """Requests, newest first within their policy."""
        ...

    @property
    def firewalls(self) -> Table:
        """Protections, grants and leases."""
        ...

    @property
    def due(self) -> Table:
        """What must be looked at by when."""
        ...

    @property
    def activity(self) -> Table:
        """Who did what."""
        ...


# --- queues ------------------------------------------------------------------------------------


class Queues(Protocol):
    """Messages carry keys only; whoever reads one trusts nothing but the rows behind it."""

    def send_request(self, request_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for open_access on jit-requests."""
        ...

    def send_firewall(self, firewall_id: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for converge_firewall on jit-firewalls; a delay may end up to a second early."""
        ...

    def send_policy(self, policy_key: str, *, delay: timedelta = timedelta(0)) -> None:
        """Ask for apply_policy on jit-policies."""
        ...

    def send_notice(self, request_id: str) -> None:
        """Have approvers told, on jit-notices; never waited for."""
        ...

    def requested(self) -> int:
        """Count the messages on jit-requests about, those that are being handled with them."""
        ...

    def poisoned(self) -> int:
        """Count the messages that nobody could handle."""
        ...


# --- the exported audit record -------------------------------------------------------------------


class PositionError(Exception):
    """A file does not end where it was to be appended to, or takes no more."""


class AuditBlobs(Protocol):
    """Append-only files. A failed answer raises OutsideError, and then nothing is known."""

    def create(self, name: str) -> None:
        """Create an empty file; one that exists stays as it is."""
        ...

    def append(self, name: str, offset: int, content: bytes) -> None:
        """Append to a file that is `offset` bytes long; raises PositionError."""
        ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read bytes of a file, fewer where it ends before; none where it does not exist."""
        ...


class RejectedEventError(Exception):
    """A subscriber rejects the content of a notification; others may still be accepted."""


class NotificationChannel(Protocol):
    """Where notifications are sent. A failed answer raises OutsideError; repeats do no harm."""

    @property
    def batch_size(self) -> int:
        """Return how many notifications one call sends at most."""
        ...

    def send(self, notifications: Sequence[Notification]) -> None:
        """Send notifications in one call; raises RejectedEventError."""
        ...


# --- firewalls ---------------------------------------------------------------------------------


class NamedRule(Protocol):
    """A rule of a firewall; its provider alone knows what it does."""

    @property
    def name(self) -> str:
        """Return its name, which may bear our mark."""
        ...


class ReadFirewall(Protocol):
    """A firewall as one read or one list showed it; its provider alone knows what it holds."""

    @property
    def rules(self) -> Sequence[NamedRule]:
        """Return the rules that it holds."""
        ...

    @property
    def firewall_id(self) -> str:
        """Return its id."""
        ...

    @property
    def version(self) -> str:
        """Return the version that was read."""
        ...

    @property
    def exists(self) -> bool:
        """Return False where the service says that it is gone."""
        ...


class FirewallChangedError(Exception):
    """Somebody else was writing, or our write was cancelled: read again, plan again."""


class FirewallRefusedError(Exception):
    """The firewall turned a change down for good; `rule_name` says which, if one is to blame."""

    def __init__(self, message: str, *, code: str, rule_name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.rule_name = rule_name


class OutsideError(Exception):
    """An outside system failed or did not answer. It proves nothing, least of all absence."""


class ThrottledError(OutsideError):
    """A quota is used up; `retry_after` is in seconds. Asking earlier is not processed."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SettlingError(OutsideError):
    """A firewall is busy with writes; what was last read of it, unsettled, may come with it."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float,
        snapshot: "ReadFirewall | None" = None,
        observed: desired.Observed | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.snapshot = snapshot
        self.observed = observed


class RefusedError(Exception):
    """The firewall refused changes for good. `changes` holds their ids; empty: it blames none."""

    def __init__(self, message: str, changes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.changes = frozenset(changes)


class FirewallProvider(Protocol):
    """One kind of firewall: read, plan, apply. Only a fresh read proves what was applied."""

    @property
    def label(self) -> str:
        """Return what people call this kind of firewall, as in 'Azure Firewall'."""
        ...

    @property
    def capacity(self) -> int:
        """Return how many grants may be open on one firewall."""
        ...

    @property
    def pace(self) -> desired.Pace:
        """Return how fast this kind of firewall is."""
        ...

    def owns(self, firewall_id: str) -> bool:
        """Tell whether an id names a firewall of this kind."""
        ...

    def guards(self, machine_id: str) -> bool:
        """Tell whether a firewall of this kind has to stand at a machine to close its ports."""
        ...

    def lane(self, firewall_id: str) -> str:
        """Return what firewalls share whose writes exclude each other; empty: it is alone."""
        ...

    def batches(self) -> bool:
        """Tell whether one write carries several openings, so that they may wait together."""
        ...

    def read(self, firewall_id: str) -> desired.Observed:
        """Read a settled state; raises SettlingError, ThrottledError or OutsideError.

        An odd foreign rule never raises: it counts as unresolved.
        """
        ...

    def plan(
        self,
        observed: desired.Observed,
        wanted: desired.Desired,
        refused: Mapping[str, str] | None = None,
    ) -> desired.Plan:
        """Compare and return changes, closes first; pure. `refused` maps change ids to reasons."""
        ...

    def apply(self, observed: desired.Observed, plan: desired.Plan) -> None:
        """Start the write of a plan or of its first part, and do not wait for it.

        Raises FirewallChangedError where the version is stale, RefusedError, ThrottledError,
        SettlingError or OutsideError.
        """
        ...

    def exposures(
        self, observed: desired.Observed, block: desired.Block
    ) -> tuple[desired.Opening, ...]:
        """Return what reaches the ports of a block on this firewall, foreign and ours."""
        ...

    def attach(self, machines: Sequence["Machine"]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the attachments of each machine by its id; complete, or raises OutsideError.

        `machines` come as the cloud's inventory describes them; where it does not know a kind of
        machine, they have an id and nothing else.
        """
        ...

    def find_ours(self, scope: str) -> list[str]:
        """Return the firewalls in a scope that bear our mark, from the service itself."""
        ...

    def render(self, change: desired.Change) -> dict[str, object]:
        """Return a change as JSON, for dry runs and the audit record."""
        ...

    def warnings(self) -> tuple[str, ...]:
        """Return what limits this provider at present."""
        ...


class UnknownFirewallError(Exception):
    """No provider owns a firewall id: it was written by a version that knew another kind."""


class Firewalls(Protocol):
    """The providers of this installation."""

    def of(self, firewall_id: str) -> FirewallProvider:
        """Return the provider of a firewall; raises UnknownFirewallError."""
        ...

    def __iter__(self) -> Iterator[FirewallProvider]:
        """Iterate over the providers."""
        ...

    def label_at(self, machine_id: str) -> str:
        """Return what people call the firewall that has to stand at a machine."""
        ...

    @property
    def guard(self) -> "WriteGuard":
        """Return the proof that the providers' guarded writes rest on."""
        ...

    def notes(self, machines: "Sequence[Machine]") -> Mapping[str, "PathNotes"]:
        """Return by its id what is to be known of the path to a machine; raises OutsideError."""
        ...

    def machine_id(self, text: str) -> str:
        """Return the form of a machine's id that policies hold; another stays as it is."""
        ...

    def machines(self, subscription: str) -> "Sequence[Machine]":
        """Return the machines of a subscription that only a provider knows; raises OutsideError."""
        ...


@dataclass(frozen=True)
class WriteProof:
    """What was last found of guarded writes: honoured, ignored or unknown; `at` None: never."""

    state: str = "unknown"
    at: datetime | None = None
    warning: str = ""  # what an administrator should know of it


class WriteGuard(Protocol):
    """Proves that a service refuses a guarded write whose precondition fails."""

    def renew(self) -> bool:
        """Prove it again where the last proof is old; return whether it is proven."""
        ...

    def proof(self) -> WriteProof:
        """Return the last proof, as stored."""
        ...


# --- machines ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PathNotes:
    """What an administrator should know of the path to a VM, beside its attachments."""

    unknown: str = ""  # something on the path whose rules are not known
    unsupported: str = ""  # a firewall that this app cannot open
    remark: str = ""  # what limits callers although every firewall is known


@dataclass(frozen=True)
class Machine:
    """A VM as the cloud describes it, with the firewalls in front of it."""

    id: str
    location: str
    system: str  # linux, windows or ""
    attachments: tuple[Attachment, ...]
    unreadable: str = ""  # why its way in cannot be judged, e.g. a floating-IP front end
    bare_addresses: tuple[str, ...] = ()  # addresses with no firewall in front
    interfaces: tuple[str, ...] = ()  # ids of its network interfaces
    notes: PathNotes = PathNotes()
    networks: tuple[str, ...] = ()  # ids of the virtual networks that its interfaces stand in


class Machines(Protocol):
    """The cloud's inventory."""

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM and its way in; None only if the cloud says that it does not exist."""
        ...

    def shared_address(self, machine: Machine) -> str:
        """Say what else has an address of a VM behind the same firewall; empty: nothing has."""
        ...


@dataclass(frozen=True)
class Listed:
    """The VMs that were listed with what stands in front of each; snapshots by key of id.

    `unsettled` names the firewalls that were busy with a write when they were listed, by key.
    """

    machines: tuple[Machine, ...] = ()
    firewalls: Mapping[str, ReadFirewall] = field(default_factory=dict)
    unsettled: frozenset[str] = frozenset()


class Inventory(Protocol):
    """The cloud's lists."""

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read a subscription or some groups of one, in so many lists however many VMs."""
        ...


class Bastions(Protocol):
    """The Bastion hosts of the cloud."""

    def reach(self, networks: Sequence[str]) -> BastionReach:
        """Return the hosts that reach some virtual networks; raises OutsideError."""
        ...

    def reach_each(self, networks: Sequence[str]) -> Mapping[str, BastionReach]:
        """Return the hosts that reach each of many virtual networks, by key; raises OutsideError."""
        ...


# --- people ------------------------------------------------------------------------------------


class Authorizer(Protocol):
    """Decide whether somebody may do something at a scope."""

    def __call__(self, principal: Principal, action: Action, scope: str) -> Decision:
        """Return a decision with reasons; a check that could not be made is a refusal."""
        ...


# --- telling -----------------------------------------------------------------------------------


class Telemetry(Protocol):
    """One structured event per state change, by a stable name; never a token."""

    def event(self, name: str, **facts: Value | None) -> None:
        """Log an event."""
        ...

    def fault(self, name: str, error: BaseException, **facts: Value | None) -> None:
        """Log something that failed and will be tried again or looked at."""
        ...


class Workers(Protocol):
    """Run independent pieces of work side by side."""

    def __call__(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Return the results in order; each piece handles its own errors."""
        ...
