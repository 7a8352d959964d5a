"""Firewall providers: read, plan and apply; their registry, and the proof of guarded writes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain import desired
from shared.domain.model import Attachment
from shared.ports.errors import OutsideError
from shared.ports.machines import ListedMachines, Machine, PathNotes


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
    """Another writer was at work, or our write was cancelled: read again, plan again."""


class FirewallRefusedError(Exception):
    """The firewall turned a change down for good; `rule_name` says which, if one is to blame."""

    def __init__(self, message: str, *, code: str, rule_name: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.rule_name = rule_name


class SettlingError(OutsideError):
    """A firewall is busy with writes; what was last read of it, unsettled, may come with it."""

    def __init__(
        self,
        message: str,
        *,
        retry_after: float,
        snapshot: ReadFirewall | None = None,
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
        """Return the display name of this kind of firewall, as in 'Azure Firewall'."""
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
        """Tell whether this provider owns the firewall that an id names."""
        ...

    def guards(self, machine_id: str) -> bool:
        """Tell whether a firewall of this provider has to stand at a machine to close its ports."""
        ...

    def lane(self, firewall_id: str) -> str:
        """Return the lane of firewalls whose writes exclude each other; empty: it is alone."""
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
        """Return the exposures of a block's ports on this firewall, foreign and ours."""
        ...

    def attach(self, machines: Sequence[Machine]) -> Mapping[str, tuple[Attachment, ...]]:
        """Return the attachments of each machine by its id; complete, or raises OutsideError.

        `machines` come as the cloud's inventory describes them; where it does not know a type of
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
        """Return the present limits of this provider."""
        ...


@dataclass(frozen=True)
class WriteProof:
    """The last result of the probe: If-Match honoured, ignored or unknown; `at` None: never."""

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


class UnknownFirewallError(Exception):
    """No provider owns a firewall id: a version with another provider wrote it."""


class Firewalls(Protocol):
    """The providers of this installation."""

    def of(self, firewall_id: str) -> FirewallProvider:
        """Return the provider of a firewall; raises UnknownFirewallError."""
        ...

    def __iter__(self) -> Iterator[FirewallProvider]:
        """Iterate over the providers."""
        ...

    def label_at(self, machine_id: str) -> str:
        """Return the display name of the firewall that a machine needs."""
        ...

    @property
    def guard(self) -> WriteGuard:
        """Return the proof that the providers' guarded writes rest on."""
        ...

    def notes(self, machines: Sequence[Machine]) -> Mapping[str, PathNotes]:
        """Return by its id what is to be known of the path to a machine; raises OutsideError."""
        ...

    def machine_id(self, text: str) -> str:
        """Return the form of a machine's id that policies hold; another stays as it is."""
        ...

    def machines(self, subscription: str) -> ListedMachines:
        """Return the machines of a subscription that only a provider knows, and what is silent."""
        ...
