"""Judge one firewall: read its rows, sync them with their requests, and plan its changes.

A failure of one row stops the plan of no other. A grant that fails is not wanted; a
protection that fails keeps its block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from shared.domain.desired import (
    MAX_MEMORY,
    Change,
    Desired,
    Finding,
    Observed,
    Plan,
    allow_key,
    block_key,
    desired,
    impossible,
)
from shared.domain.grants import current_grants, other_vm_at, superseded
from shared.domain.ids import digest, key_of, name_of
from shared.domain.model import FirewallRows, Grant, Protection
from shared.ports import FirewallProvider, OutsideError, RowChangedError
from shared.use_cases.firewalls.failures import Failures, Subject
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.firewalls.sync_grants import GrantSync, SyncParts
from shared.use_cases.parts import HasFirewalls, HasRows


class PlanningParts(SyncParts, HasFirewalls, Protocol):
    """The parts for planning from stored rows and an observed state."""


@dataclass(frozen=True)
class Judged:
    """The desired state of one firewall by its rows, and the changes that lead there.

    `impossible` maps the keys of grants that must not be opened here to the reason.
    """

    rows: FirewallRows
    desired: Desired
    plan: Plan
    failures: Failures
    impossible: Mapping[str, str] = field(default_factory=dict)
    known: KnownRequests | None = None

    def key(self, subject: Subject) -> str:
        """Return the key of the intent of a grant or a protection."""
        return key_of_intent(subject)

    def finding(self, subject: Subject) -> Finding:
        """Return the finding on a grant or a protection."""
        key = key_of_intent(subject)
        if key in self.impossible:
            return impossible(self.impossible[key])
        return self.plan.finding(key)


def key_of_intent(subject: Subject) -> str:
    """Return the key of the intent of a grant or a protection."""
    if isinstance(subject, Grant):
        return allow_key(subject.request_id, subject.vm_id, subject.port)
    return block_key(subject.policy_id, subject.vm_id)


def judge(
    services: PlanningParts,
    observed: Observed,
    refused: Mapping[str, str],
    *,
    rows: FirewallRows | None = None,
    known: KnownRequests | None = None,
) -> Judged:
    """Judge a firewall by its rows. Raises what reading them raises, and what isolates no row.

    `rows` and `known` are rows and requests that were read or written a moment ago.
    """
    now = services.clock()
    rows = rows or services.rows.read(observed.firewall_id)
    judging = _Judging(services, observed, refused, now, known)
    try:
        return judging.judge(rows, Failures(services, observed.firewall_id))
    except OutsideError:
        raise
    except Exception as error:  # noqa: BLE001 - one row is to blame, and the others must close
        services.telemetry.fault("jit.plan.failed", error, firewall=observed.firewall_id)
    failures = Failures(services, observed.firewall_id)
    return judging.judge(judging.plannable(rows, failures), failures)


def intents(
    provider: FirewallProvider, observed: Observed, rows: FirewallRows, now: datetime
) -> tuple[Desired, dict[str, str]]:
    """Return a firewall's desired state by its rows, and the grants that must not be opened."""
    refused: dict[str, str] = {}
    current = []
    for grant in current_grants(rows, now):
        other = other_vm_at(rows, grant)
        if other:
            refused[key_of_intent(grant)] = (
                f"the address of '{name_of(grant.vm_id)}' also belongs to '{name_of(other)}' "
                f"behind the same {provider.label}; opening it would open both"
            )
        else:
            current.append(grant)
    wanted = desired(rows, current)
    if rows.undecoded:
        wanted = _keep_undecoded(provider, observed, rows, wanted)
    return wanted, refused


def remember(
    services: HasRows,
    provider: FirewallProvider,
    observed: Observed,
    judged: Judged,
    refused: Mapping[str, str],
) -> Judged:
    """Store the memory that a later restore needs, before anything is applied.

    A block whose memory could not be stored is not changed: changes that serve it are left out.
    """
    if not judged.plan.remember:
        return judged
    store = partial(_store_memory, services, judged)
    rows = replace(judged.rows, protections=tuple(map(store, judged.rows.protections)))
    memory = {key_of_intent(each): each.memory for each in rows.protections}
    blocks = (replace(b, memory=memory.get(b.key, b.memory)) for b in judged.desired.blocks)
    wanted = replace(judged.desired, blocks=tuple(blocks))
    planned = provider.plan(observed, wanted, refused)
    unsafe = planned.remember.keys()
    plan = replace(
        planned, changes=tuple(c for c in planned.changes if unsafe.isdisjoint(c.serves))
    )
    return replace(
        judged, rows=rows, desired=wanted, plan=withhold(rows, plan, judged.failures.withheld)
    )


def _store_memory(services: HasRows, judged: Judged, protection: Protection) -> Protection:
    key = key_of_intent(protection)
    memory = judged.plan.remember.get(key)
    if memory is None:
        return protection
    proven = judged.plan.finding(key).agrees and not protection.lifted
    if len(memory) > MAX_MEMORY:
        told = f"{len(memory)} characters to remember are too many"
        judged.failures.note(protection, ValueError(told))
        return protection
    try:
        return services.rows.replace_protection(
            replace(protection, memory=memory, proven=proven or protection.proven, blocked="")
        )
    except RowChangedError:
        return protection  # the next round reads it anew
    except Exception as error:  # noqa: BLE001 - its block waits, and the others go on
        judged.failures.note(protection, error)
        return protection


def withhold(rows: FirewallRows, plan: Plan, withheld: set[tuple[str, str, int]]) -> Plan:
    """Leave out the openings that serve only grants whose requests did not answer."""
    keys = {key_of_intent(grant) for grant in rows.grants if grant.key in withheld}

    def is_withheld(change: Change) -> bool:
        return change.opens and bool(change.serves) and keys.issuperset(change.serves)

    return replace(plan, changes=tuple(c for c in plan.changes if not is_withheld(c)))


class _Judging:
    """Judges one observed state, of all rows or of those that can be planned."""

    def __init__(
        self,
        services: PlanningParts,
        observed: Observed,
        refused: Mapping[str, str],
        now: datetime,
        known: KnownRequests | None = None,
    ) -> None:
        self._services = services
        self._known = known
        self._provider = services.firewalls.of(observed.firewall_id)
        self._observed = observed
        self._refused = refused
        self._now = now

    def judge(self, rows: FirewallRows, failures: Failures) -> Judged:
        """Sync rows with their requests, and plan."""
        firewall_id = self._observed.firewall_id
        grant_sync = GrantSync(self._services, firewall_id, failures, self._known)
        synced = grant_sync.sync(rows, self._now)
        for protection in synced.protections:
            if protection.lifted and _is_undecoded(synced, protection):
                failures.note(protection, ValueError("another row of its VM cannot be decoded"))
        wanted, refused = intents(self._provider, self._observed, synced, self._now)
        planned = self._provider.plan(self._observed, wanted, self._refused)
        plan = withhold(synced, planned, failures.withheld)
        return Judged(synced, wanted, plan, failures, refused, grant_sync.known)

    def plannable(self, rows: FirewallRows, failures: Failures) -> FirewallRows:
        """Keep the rows that can be planned, found by halves; raises what is no row's fault.

        A grant that cannot be planned is tried once more as one that must be gone.
        """
        self._attempt(FirewallRows())
        sound = self._add(FirewallRows(), rows.protections, failures)
        kept = {key_of_intent(each) for each in sound.protections}
        unsound = {
            digest(key_of(p.vm_id)) for p in rows.protections if key_of_intent(p) not in kept
        }
        return self._add(replace(sound, undecoded=rows.undecoded | unsound), rows.grants, failures)

    def _add(
        self, base: FirewallRows, subjects: Sequence[Subject], failures: Failures
    ) -> FirewallRows:
        if not subjects:
            return base
        error = self._why_not(_with(base, subjects))
        if error is None:
            return _with(base, subjects)
        if len(subjects) > 1:
            middle = len(subjects) // 2
            base = self._add(base, subjects[:middle], failures)
            return self._add(base, subjects[middle:], failures)
        failures.note(subjects[0], error)
        closed = [_sealed(each, self._now) for each in subjects if isinstance(each, Grant)]
        return _with(base, closed) if self._why_not(_with(base, closed)) is None else base

    def _why_not(self, rows: FirewallRows) -> Exception | None:
        try:
            self._attempt(rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are planned
            return error
        return None

    def _attempt(self, rows: FirewallRows) -> None:
        superseded(current_grants(rows, self._now))
        wanted, _ = intents(self._provider, self._observed, rows, self._now)
        self._provider.plan(self._observed, wanted, {})


def _with(rows: FirewallRows, subjects: Sequence[Subject]) -> FirewallRows:
    return replace(
        rows,
        protections=(*rows.protections, *(s for s in subjects if isinstance(s, Protection))),
        grants=(*rows.grants, *(s for s in subjects if isinstance(s, Grant))),
    )


def _sealed(grant: Grant, now: datetime) -> Grant:
    return grant if grant.is_sealed else replace(grant, sealed_at=now, proven=False)


def _keep_undecoded(
    provider: FirewallProvider, observed: Observed, rows: FirewallRows, wanted: Desired
) -> Desired:
    """Keep everything of ours that closes, as wide as it is, unless it belongs to a removed block.

    A protection that cannot be decoded may stand behind it.
    """
    doubtful = {key_of_intent(p) for p in rows.protections if p.lifted and _is_undecoded(rows, p)}
    wanted = wanted.without(doubtful)
    removed = tuple(block for block in wanted.blocks if not block.wanted)
    keys = {block.key for block in removed}
    removes: Callable[[Change], bool] = lambda change: not keys.isdisjoint(change.serves)  # noqa: E731
    changes = provider.plan(observed, Desired(blocks=removed)).changes if removed else ()
    going = {change.target.lower() for change in changes if removes(change)}
    kept = (own for own in observed.own if not own.opens and keys.isdisjoint(own.keys))
    return replace(wanted, keep=frozenset(own.id for own in kept if own.id.lower() not in going))


def _is_undecoded(rows: FirewallRows, protection: Protection) -> bool:
    return digest(key_of(protection.vm_id)) in rows.undecoded
