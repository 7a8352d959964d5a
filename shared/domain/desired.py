"""The desired state of a firewall, in intents for every provider, and the answers of plans.

desired(rows, now)            -> allow and block intents, each with a key
provider.plan(observed, ...)  -> changes, a finding for each key, memory to store
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import digest, key_of
from shared.domain.model import ANY, FirewallRows, Grant, Protection
from shared.domain.network import is_any, network
from shared.domain.source_sets import Box, Boxes, box_of, whole

MAX_MEMORY = 30_000
"""The most characters a provider may remember for one block: one column of a stored row."""


@dataclass(frozen=True)
class Pace:
    """How fast a provider is; every wait and every judgement of lateness follows it."""

    settle: timedelta = timedelta(seconds=60)  # how long a write may take until it is proven
    lease: timedelta = timedelta(seconds=30)
    run: timedelta = timedelta(minutes=5)  # how long one worker converges without a pause
    overdue: timedelta = timedelta(minutes=2)  # a close that takes longer is a problem
    batch: timedelta = timedelta(seconds=10)  # how long openings wait for each other; 0: never
    grace: timedelta = timedelta(minutes=15)  # longer than the longest stalled write
    margin: timedelta = timedelta(seconds=5)  # clocks that disagree with the text of a rule
    poll: timedelta = timedelta(0)  # how soon after a write it is read again; 0: after `settle`
    shortest: timedelta = timedelta(0)  # the shortest access that is worth the writes


@dataclass(frozen=True)
class Allow:
    """One grant: let `sources` reach one port of a VM until an end; not wanted: must be gone.

    `sources` are as this firewall sees them.
    """

    key: str
    vm_id: str
    port: int
    protocol: str
    sources: tuple[str, ...]
    addresses: tuple[str, ...]
    until: datetime
    wanted: bool = True
    request_id: str = ""
    memory: str = ""


@dataclass(frozen=True)
class Block:
    """One protection: nothing foreign reaches the ports; not wanted: restore the earlier state."""

    key: str
    vm_id: str
    ports: tuple[int, ...]
    addresses: tuple[str, ...]
    wanted: bool = True
    memory: str = ""
    ends_sessions: bool = False  # re-evaluate live sessions, where the provider can
    revoke_foreign: bool = False  # the policy allows to take foreign rules away (EC2, mode revoke)


@dataclass(frozen=True)
class Desired:
    """The intents for one firewall, and the own ids that must not be touched."""

    allows: tuple[Allow, ...] = ()
    blocks: tuple[Block, ...] = ()
    keep: frozenset[str] = frozenset()

    @property
    def intents(self) -> tuple[Allow | Block, ...]:
        """Return all intents."""
        return (*self.allows, *self.blocks)

    @property
    def keys(self) -> frozenset[str]:
        """Return the keys of all intents."""
        return frozenset(intent.key for intent in self.intents)

    def without(self, keys: Container[str]) -> "Desired":
        """Leave intents out."""
        return replace(
            self,
            allows=tuple(allow for allow in self.allows if allow.key not in keys),
            blocks=tuple(block for block in self.blocks if block.key not in keys),
        )

    def only(self, keys: Container[str]) -> "Desired":
        """Keep some intents."""
        return self.without(self.keys - {key for key in self.keys if key in keys})


@dataclass(frozen=True)
class Own:
    """Something on a firewall that bears our mark, by its own text or ledger.

    `keys` are the beginnings of the keys it serves, as far as the text tells them. `until` None
    means that the text holds no end that can be read.
    """

    id: str
    opens: bool
    keys: tuple[str, ...] = ()
    until: datetime | None = None
    memory: str = ""


@dataclass(frozen=True)
class Observed:
    """A firewall as one settled read showed it. `exists` False: the service says it is gone."""

    firewall_id: str
    version: str = ""
    body: object = field(default=None, repr=False, compare=False)
    exists: bool = True
    own: tuple[Own, ...] = ()


class Verdict(StrEnum):
    """A plan's verdict on an intent."""

    AGREES = "agrees"
    PENDING = "pending"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True)
class Entry:
    """The address and port to connect to, where they are not the VM's own."""

    address: str
    port: int


@dataclass(frozen=True)
class Finding:
    """Whether a firewall holds an intent, and where to connect."""

    verdict: Verdict
    reason: str = ""
    entry: Entry | None = None

    @property
    def agrees(self) -> bool:
        """Tell whether the firewall holds what is desired."""
        return self.verdict is Verdict.AGREES


AGREES = Finding(Verdict.AGREES)
PENDING = Finding(Verdict.PENDING)


def impossible(reason: str) -> Finding:
    """Return the finding for an intent that cannot be met."""
    return Finding(Verdict.IMPOSSIBLE, reason)


@dataclass(frozen=True)
class Change:
    """One change to a firewall; only its provider understands the body.

    The id is stable across rounds: it holds no version of a firewall and no place of a rule.
    """

    verb: str
    target: str  # what the service calls it
    meaning: str  # a digest of what is to be written
    serves: tuple[str, ...] = ()
    opens: bool = False
    body: object = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """Return the id by which a refusal is stored."""
        return f"{self.verb} {self.target} {self.meaning}"


@dataclass(frozen=True)
class Plan:
    """The changes that make a firewall hold what is desired, and what is found for each key."""

    changes: tuple[Change, ...] = ()
    findings: Mapping[str, Finding] = field(default_factory=dict)
    remember: Mapping[str, str] = field(default_factory=dict)  # key of a block -> memory
    strays: tuple[str, ...] = ()  # own ids that no intent accounts for and that stay

    @property
    def is_done(self) -> bool:
        """Tell whether there is nothing to change and nothing to remember."""
        return not self.changes and not self.remember

    @property
    def ids(self) -> frozenset[str]:
        """Return the ids of the changes."""
        return frozenset(change.id for change in self.changes)

    def only(self, ids: Container[str]) -> "Plan":
        """Keep some changes: any part of a plan may be applied alone."""
        return replace(self, changes=tuple(c for c in self.changes if c.id in ids))

    def finding(self, key: str) -> Finding:
        """Return the finding for a key; a key without one is pending."""
        return self.findings.get(key, PENDING)


def plan_without_firewall(desired: Desired, label: str) -> Plan:
    """Return the plan for a firewall that the service says is gone: nothing stands open there."""
    gone = impossible(f"the {label} no longer exists")
    return Plan(findings={i.key: gone if i.wanted else AGREES for i in desired.intents})


@dataclass(frozen=True)
class Opening:
    """Something on a firewall that lets sources reach a governed port of a VM.

    `boxes` are the sources exactly; None: those that `sources` spells. `doubtful` holds what
    something before it may stop: which sources, or whether any, is not known.
    """

    what: str
    port: int
    sources: tuple[str, ...] = ()
    ours: bool = False
    unresolved: str = ""  # what of it could not be resolved, so that it may open nothing
    address: str = ""  # of the VM; empty: every one
    protocol: str = ""  # tcp or udp; empty: both
    boxes: Boxes | None = None
    doubtful: Boxes = ()
    shown: Mapping[str, object] = field(default_factory=dict, compare=False)  # for reports

    def leads_to(self, address: str, port: int, protocol: str) -> bool:
        """Tell whether it is about an address, port and protocol."""
        same_protocol = self.protocol in {"", protocol}
        return self.port == port and same_protocol and self.address in {"", address}

    def sources_of(self, version: int) -> Boxes:
        """Return the sources of an address family that it lets through."""
        if self.boxes is not None:
            return self.boxes
        needs = frozenset({self.unresolved} if self.unresolved else ())
        spelled = self.sources or ((ANY,) if needs else ())
        found = (_box(text, version, needs) for text in spelled)
        return tuple(box for box in found if box is not None)


def _box(text: str, version: int, needs: frozenset[str]) -> Box | None:
    """Return the sources that a text spells; a name whose addresses are not known needs them."""
    if is_any(text):
        return replace(whole(version), needs=needs)
    found = network(text)
    if found is None:
        return replace(whole(version), needs=needs | {text})
    return replace(box_of(found), needs=needs) if found.version == version else None


def allow_key(request_id: str, vm_id: str, port: int) -> str:
    """Return the key of a grant's intent; it begins with the request's id."""
    return f"{request_id}|{digest(key_of(vm_id))}|{port}"


def block_key(policy_id: str, vm_id: str) -> str:
    """Return the key of a protection's intent."""
    return f"block|{digest(key_of(policy_id))}|{digest(key_of(vm_id))}"


def allow_of(grant: Grant, *, wanted: bool) -> Allow:
    """Return the intent of a grant."""
    return Allow(
        key=allow_key(grant.request_id, grant.vm_id, grant.port),
        vm_id=grant.vm_id,
        port=grant.port,
        protocol=grant.protocol,
        sources=grant.sources_here,
        addresses=grant.addresses,
        until=grant.expires_at,
        wanted=wanted,
        request_id=grant.request_id,
    )


def block_of(protection: Protection) -> Block:
    """Return the intent of a protection."""
    return Block(
        key=block_key(protection.policy_id, protection.vm_id),
        vm_id=protection.vm_id,
        ports=protection.ports,
        addresses=protection.addresses,
        wanted=not protection.lifted,
        memory=protection.memory,
        ends_sessions=protection.flush_connections,
        revoke_foreign=protection.revoke_foreign,
    )


def desired(rows: FirewallRows, wanted: Iterable[Grant]) -> Desired:
    """Return the intents for one firewall; `wanted` are the grants that may be open now."""
    keys = {grant.key for grant in wanted}
    return Desired(
        allows=tuple(allow_of(grant, wanted=grant.key in keys) for grant in rows.grants),
        blocks=tuple(block_of(protection) for protection in rows.protections),
    )


def desired_without_rows(
    observed: Observed, now: datetime, pace: Pace, longest: timedelta
) -> Desired:
    """Return the state to keep where a firewall's rows cannot be read at all.

    The rule itself is the last home of its end. Everything of ours stays, but what opens and has
    an end that is missing, has passed, or is further ahead than any grant may last.
    """
    return Desired(
        keep=frozenset(
            own.id
            for own in observed.own
            if not own.opens
            or (own.until is not None and now - pace.margin < own.until <= now + longest)
        )
    )
