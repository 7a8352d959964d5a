"""Bound what one caller holds and what one firewall holds: reserve, count, and give back.

Nothing is counted that was not reserved before, so calls at the same instant see each other. A
requestor's ports stand in one row, and of two calls that want the last ones exactly one gets them.
A firewall's grants stand in a row for each request; calls that find it full withdraw.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from shared.domain.errors import TooManyRequestsError
from shared.domain.ids import key_of, name_of
from shared.domain.model import GRACE, AccessRequest
from shared.ports import OutsideError, RowChangedError
from shared.store.keys import asked_before
from shared.store.live import Reserved, merge_reserved
from shared.use_cases.parts import (
    HasCapacity,
    HasClock,
    HasMostLivePorts,
    HasPolicies,
    HasRequests,
    HasRows,
    HasSideBySide,
    HasWorkers,
)

_TRIES = 50
_A_MINUTE = 60
_NEAR = 2  # where this many times the reservations pass a firewall's limit, its grants are counted


Fronts = Mapping[str, tuple[str, ...]]  # firewalls by key of the VM in front of which they stand
Held = tuple[dict[str, Reserved], str]  # what a requestor holds by request, and its version


class HeldParts(HasRequests, HasSideBySide, Protocol):
    """The parts for reading what a caller holds."""


class ReserveParts(
    HeldParts, HasCapacity, HasClock, HasMostLivePorts, HasRows, HasWorkers, Protocol
):
    """The parts for reserving a place in a caller's and a firewall's limits."""


class FrontParts(HasPolicies, HasWorkers, Protocol):
    """The parts for reading which firewalls stand in front of VMs."""


def read_held(services: HeldParts, requestor: str) -> Held:
    """Read a requestor's reservations, from the ledger and the list side by side."""
    live = services.requests.live_rows
    ledger, listed = services.side_by_side(
        partial(live.ledger, requestor), partial(live.listed, requestor)
    )
    return merge_reserved(ledger, listed)


def read_fronts(services: FrontParts, policy_id: str, vm_ids: Iterable[str]) -> Fronts:
    """Read on which firewalls a policy was applied for some VMs, each VM's row once."""
    keys = sorted(set(map(key_of, vm_ids)))
    rows = services.workers(partial(services.policies.vm_row, policy_id), keys)
    return {key: row.firewalls if row else () for key, row in zip(keys, rows, strict=True)}


def grants_asked(vm_ids: Iterable[str], fronts: Fronts) -> dict[str, int]:
    """Count the grants that ports of VMs lead to on each firewall, one VM id for each port."""
    asked: Counter[str] = Counter()
    for vm_id in vm_ids:
        asked.update(fronts[key_of(vm_id)])
    return dict(asked)


def reserve(
    services: ReserveParts,
    request: AccessRequest,
    grants: Mapping[str, int],
    held: Held | None = None,
) -> bool:
    """Reserve a request's ports and grants; raises TooManyRequestsError, with nothing kept.

    `held` is what the requestor was just read to hold; another call since then shows by its
    version. Return whether the requestor holds nothing else: of two calls at the same instant, at
    least one is told that there is another.
    """
    reserve_all = partial(
        services.workers, partial(_reserve_grants, services, request.id), sorted(grants.items())
    )
    is_only, refused = services.side_by_side(
        partial(_try, partial(_reserve_ports, services, request, held)), partial(_try, reserve_all)
    )
    if isinstance(is_only, Exception):
        _give_back_grants(services, request, grants)
        raise is_only
    if isinstance(refused, Exception):
        give_back(services, request, grants)
        raise refused
    return bool(is_only)


def _try(work: Callable[[], object]) -> object:
    """Return what some work returns, or the error that it raises."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - raised once what was reserved beside it is given back
        return error


def give_back(services: HasRequests, request: AccessRequest, grants: Mapping[str, int]) -> None:
    """Give back what a request has reserved that will not be stored.

    A row that cannot be written counts until the grace is over. Then it is given back, once in the
    way.
    """
    _give_back_grants(services, request, grants)
    with suppress(OutsideError, RowChangedError):
        services.requests.remove_live(request)


def _give_back_grants(services: HasRequests, request: AccessRequest, grants: Iterable[str]) -> None:
    with suppress(OutsideError):
        for firewall_id in grants:
            services.requests.live_rows.give_back_grants(firewall_id, request.id)


# --- a requestor's ports -------------------------------------------------------------------------


def _reserve_ports(services: ReserveParts, request: AccessRequest, known: Held | None) -> bool:
    """Reserve a request's ports; return whether its requestor holds nothing else."""
    live, requestor = services.requests.live_rows, request.requestor.key
    mine = Reserved(request.id, len(request.ports), services.clock())
    cleared = False
    for _ in range(_TRIES):
        held, version = known or read_held(services, requestor)
        known = None
        held[mine.request_id] = mine
        if sum(each.ports for each in held.values()) > services.most_live_ports:
            if cleared:
                raise TooManyRequestsError(
                    f"You hold or await as many ports as one caller may, "
                    f"{services.most_live_ports}; revoke what you no longer need.",
                    retry_after=_A_MINUTE,
                )
            cleared = True
            del held[mine.request_id]
            _give_back_ended(services, requestor, held)
        elif live.reserve_ports(requestor, held.values(), version):
            return len(held) == 1
    raise RowChangedError(f"the ports of {requestor} are being reserved by others")


def _give_back_ended(services: ReserveParts, requestor: str, held: Mapping[str, Reserved]) -> None:
    """Give back what ended requests hold, and calls that stopped before their request was made."""

    def give_back_unmade(each: Reserved) -> None:
        if _is_unmade(services, each):
            services.requests.remove_unmade(requestor, each.request_id)

    services.workers(give_back_unmade, held.values())


def _is_unmade(services: ReserveParts, reserved: Reserved) -> bool:
    """Tell whether a reservation has no request, and is too old for one to come.

    One whose request has ended is given back at once.
    """
    stored = services.requests.get(reserved.request_id)
    if stored is not None and stored.request.is_final:
        services.requests.remove_live(stored.request)
    before = services.clock() - GRACE
    old = reserved.at < before and asked_before(reserved.request_id, before)
    return stored is None and old


# --- a firewall's grants -------------------------------------------------------------------------


def _reserve_grants(services: ReserveParts, request_id: str, asked: tuple[str, int]) -> None:
    live, (firewall_id, grants) = services.requests.live_rows, asked
    mine = Reserved(request_id, grants, services.clock())
    live.reserve_grants(firewall_id, mine)
    most = services.capacity(firewall_id)
    if _count(services, firewall_id, most) <= most:
        return
    _give_back_unused(services, firewall_id, mine.request_id)
    if _count(services, firewall_id, most) > most:
        raise TooManyRequestsError(
            f"'{name_of(firewall_id)}' holds as many temporary rules as it may, "
            f"{most}; come again when some have ended.",
            retry_after=_A_MINUTE,
        )


def _count(services: ReserveParts, firewall_id: str, most: int) -> int:
    """Count the grants that are open or reserved on a firewall; what is sealed is given back.

    NB. Far from the limit the reservations alone are counted. Grants without one, on firewalls that
    were found as their request was opened, count near it; what is beyond a firewall's capacity is
    refused when it is opened.
    """
    reserved = services.requests.live_rows.reserved_grants(firewall_id)
    total = sum(each.ports for each in reserved)
    if _NEAR * total <= most:
        return total
    wanted, sealed = services.rows.grants_by_request(firewall_id)
    for each in reserved:
        left = each.ports - sealed[each.request_id]
        wanted[each.request_id] = max(wanted[each.request_id], left)
    return int(sum(wanted.values()))


def _give_back_unused(services: ReserveParts, firewall_id: str, mine: str) -> None:
    """Give back what nothing stands behind any more: no open grant, no request that waits."""
    live = services.requests.live_rows
    wanted, _ = services.rows.grants_by_request(firewall_id)

    def give_back_unmade(each: Reserved) -> None:
        if _is_unmade(services, each):
            live.give_back_grants(firewall_id, each.request_id)

    reserved = live.reserved_grants(firewall_id)
    services.workers(
        give_back_unmade, [r for r in reserved if not wanted[r.request_id] and r.request_id != mine]
    )
