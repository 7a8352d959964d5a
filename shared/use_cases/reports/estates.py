"""The cloud's lists of each subscription, kept for some seconds for reports.

An estate holds what the app read, for no caller in particular: each report filters it by what its
own caller can read. Reports alone use it. Nothing that opens or closes a port is decided by a kept
estate, which may be older than the last change of a firewall: that always takes a read of its own,
and a test of the architecture holds other use cases away from this file.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from threading import Lock
from typing import Protocol

from shared.domain.bastion import BastionReach
from shared.domain.desired import Observed
from shared.domain.ids import key_of, name_of, places_in
from shared.domain.model import Policy
from shared.ports import Inventory, Listed, Machine, OutsideError, SettlingError, Unanswered
from shared.use_cases.firewalls.paths import describe_instances, observed_of
from shared.use_cases.parts import HasBastions, HasFirewalls, HasScopes, HasSideBySide, HasWorkers
from shared.use_cases.reports.answering import attach_answering


class EstateParts(HasBastions, HasFirewalls, HasScopes, HasSideBySide, HasWorkers, Protocol):
    """The parts that read an estate."""


PAGES_SECONDS = 30.0  # for how long the pages of a listing share the estate of the first
MOST_MACHINES = 60_000  # in all estates that are kept, some kilobytes each


@dataclass(frozen=True)
class Seen:
    """The firewalls that were read, and the reason for each that was not, by key of id."""

    observed: Mapping[str, Observed]
    doubts: Mapping[str, str]


@dataclass(frozen=True)
class Estate:
    """The machines of one subscription, by key and in its order, and what stands before them.

    Firewalls that no list holds, and Bastion hosts, are read once, when the first report asks.
    """

    services: EstateParts
    machines: Mapping[str, Machine]
    unanswered: tuple[Unanswered, ...]
    policies: tuple[Policy, ...]  # as they were stored when the lists were read
    _observed: dict[str, Observed]
    _doubts: dict[str, str] = field(default_factory=dict)
    _reach: dict[str, BastionReach] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def see(self, machines: Iterable[Machine]) -> Seen:
        """Return every firewall in front of some machines; those that no list holds are read."""
        with self._lock:
            unread = self._unread(machines)
            keys = sorted(unread)
            read = self.services.workers(self._read, [unread[key] for key in keys])
            for key, found in zip(keys, read, strict=True):
                if isinstance(found, str):
                    self._doubts[key] = found
                else:
                    self._observed[key] = found
            return Seen(dict(self._observed), dict(self._doubts))

    def _unread(self, machines: Iterable[Machine]) -> dict[str, str]:
        """Return the firewalls that were not read yet, by key."""
        named = {
            key_of(each.firewall_id): each.firewall_id
            for machine in machines
            if not machine.unreadable
            for each in machine.attachments
        }
        known = self._observed.keys() | self._doubts.keys()
        return {key: named[key] for key in named if key not in known}

    def _read(self, firewall_id: str) -> Observed | str:
        """Read one firewall, or return why it is not known what it holds."""
        name = name_of(firewall_id)
        try:
            return self.services.firewalls.of(firewall_id).read(firewall_id)
        except SettlingError:
            return f"'{name}' is being written; ask again in some minutes"
        except OutsideError as error:
            return f"'{name}' did not answer: {error}"

    def reach(self, networks: Iterable[str]) -> Mapping[str, BastionReach]:
        """Return the Bastion hosts that reach some networks of the estate; raises OutsideError."""
        with self._lock:
            if not {key_of(each) for each in networks} <= self._reach.keys():
                every = chain.from_iterable(each.networks for each in self.machines.values())
                wanted = {key_of(each): each for each in every}
                found = self.services.bastions.reach_each([wanted[key] for key in sorted(wanted)])
                self._reach.update(found)
            return dict(self._reach)


@dataclass(eq=False)
class _Kept:
    """The last read of a subscription; a failure is kept for the calls that waited."""

    lock: Lock = field(default_factory=Lock)
    began: float = 0.0
    estate: Estate | None = None
    error: Exception | None = None


class Estates:
    """The estates of this process: one read at a time for each subscription, shared by callers."""

    def __init__(
        self,
        services: EstateParts,
        inventory: Inventory,
        *,
        seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        most_machines: int = MOST_MACHINES,
    ) -> None:
        self._services = services
        self._inventory = inventory
        self._seconds = seconds
        self._clock = clock
        self._most = most_machines
        self._lock = Lock()
        self._kept: dict[str, _Kept] = {}

    def of(
        self, subscription: str, policies: Sequence[Policy], *, is_next_page: bool = False
    ) -> Estate:
        """Return the estate of a subscription, read anew where the kept one is too old.

        It is too old after so many seconds, and once the policies are no longer the same: then
        their denies have been written, or soon will be.
        """
        seconds = max(PAGES_SECONDS, self._seconds) if is_next_page else self._seconds
        called = self._clock()
        kept = self._slot(subscription)
        try:
            with kept.lock:
                estate = kept.estate
                if kept.error is not None and kept.began > called:
                    raise kept.error
                if estate and kept.began > called - seconds and estate.policies == tuple(policies):
                    return estate
                return self._renew(kept, subscription, policies)
        finally:
            self._drop_oldest(subscription)

    def _slot(self, subscription: str) -> _Kept:
        with self._lock:
            return self._kept.setdefault(key_of(subscription), _Kept())

    def _renew(self, kept: _Kept, subscription: str, policies: Sequence[Policy]) -> Estate:
        kept.began, kept.estate, kept.error = self._clock(), None, None
        try:
            kept.estate = self._read(subscription, policies)
        except Exception as error:
            kept.error = error
            raise
        return kept.estate

    def _read(self, subscription: str, policies: Sequence[Policy]) -> Estate:
        services = self._services
        places = places_in(services.scopes, subscription)
        listed, others = services.side_by_side(
            partial(self._inventory.read, places),
            partial(services.firewalls.machines, subscription),
        )
        found = attach_answering(
            services.firewalls,
            listed.machines,
            _instances(others.machines, policies),
            others.unanswered,
        )
        machines = {key_of(each.id): each for each in found}
        return Estate(
            services,
            {key: machines[key] for key in sorted(machines)},
            others.unanswered,
            tuple(policies),
            _observed_in(listed),
        )

    def _drop_oldest(self, newest: str) -> None:
        """Drop what is too old for every caller, then the oldest estates beyond the bound."""
        longest = max(PAGES_SECONDS, self._seconds)
        with self._lock:
            by_age = sorted(self._kept, key=lambda key: self._kept[key].began)
            total = sum(_size(each) for each in self._kept.values())
            for key in by_age:
                each = self._kept[key]
                is_old = self._clock() - each.began >= longest
                is_in_use = key == key_of(newest) or each.lock.locked()
                if is_in_use or not (is_old or total > self._most):
                    continue
                total -= _size(each)
                del self._kept[key]


def _size(kept: _Kept) -> int:
    return len(kept.estate.machines) if kept.estate else 0


def _observed_in(listed: Listed) -> dict[str, Observed]:
    return {key: observed_of(snapshot) for key, snapshot in listed.firewalls.items()}


def _instances(listed: Iterable[Machine], policies: Iterable[Policy]) -> list[Machine]:
    """Describe the EC2 instances that AWS or policies list; ARM's lists hold none."""
    described = {key_of(each.id): each for each in listed}
    governed = (vm.id for policy in policies for vm in policy.vms)
    named = {key_of(each.id): each for each in describe_instances(governed)}
    return list((named | described).values())
