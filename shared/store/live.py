"""The rows of what is live: by requestor, by VM and by firewall, with how many ports each takes.

Live requests are listed apart, so that finding what a person holds, or what is open on a VM, does
not grow with the history. A request's rows come before it, and go once it has ended.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from shared.domain.ids import digest, key_of
from shared.domain.model import AccessRequest
from shared.domain.policy import MAX_PORTS
from shared.domain.times import format_sortable, parse_instant
from shared.ports import (
    Row,
    RowChangedError,
    RowExistsError,
    Table,
    Value,
    Verb,
    Workers,
    Write,
)
from shared.store.codec import UnreadableRowError, pack, unpack
from shared.store.together import (
    Written,
    call,
    in_turn,
    raise_first,
    remove,
    upsert,
    write_together,
)

LIVE = "live|"  # how the partitions of live requests begin
_LEDGER = "reserved"
_TRIES = 50
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Reserved:
    """One request's share of a limit, and the time of its reservation."""

    request_id: str
    ports: int
    at: datetime


@dataclass(frozen=True)
class Ledger:
    """All that one requestor has reserved: one row, so that two calls cannot both be the last."""

    held: tuple[Reserved, ...] = ()


class LiveRows:
    """The rows of live requests, in the table of requests."""

    def __init__(self, table: Table, workers: Workers = in_turn) -> None:
        self._table = table
        self._workers = workers

    # --- lists ------------------------------------------------------------------------------------

    def note(self, request: AccessRequest, firewalls: Iterable[str] = ()) -> None:
        """List a request under its requestor and its VMs, and which firewalls it has reserved."""
        rows = live_rows_of(request, firewalls)
        raise_first(write_together(self._table, map(upsert, rows), self._workers))

    def remove(self, requests: Iterable[AccessRequest]) -> list[Exception | None]:
        """Take requests that have ended off every list, and give back what they have reserved.

        Return for each why that failed; it stays on its requestor's list then, to be tried again.
        """
        ended = list(requests)
        failed = self._try_remove_from_vms(ended)
        requestors: dict[str, list[str]] = {}
        for request in ended:
            if request.id not in failed:
                requestors.setdefault(request.requestor.key, []).append(request.id)
        for each in self._workers(self._give_back, requestors.items()):
            failed |= each
        return [failed.get(request.id) for request in ended]

    def remove_from_vms(self, requests: Sequence[AccessRequest]) -> list[Exception | None]:
        """Take requests that have ended off the lists of their VMs; return for each why that failed."""
        failed = self._try_remove_from_vms(requests)
        return [failed.get(request.id) for request in requests]

    def _try_remove_from_vms(self, requests: Iterable[AccessRequest]) -> dict[str, Exception]:
        return self._remove_each(
            (request.id, f"{LIVE}{subject}") for request in requests for subject in _vms(request)
        )

    def remove_unmade(self, requestor: str, request_id: str) -> None:
        """Give back what a call has reserved that stopped before its request was made."""
        raise_first(self._give_back((requestor, [request_id])).values())

    def _give_back(self, of_requestor: tuple[str, list[str]]) -> dict[str, Exception]:
        """Give back what requests of one requestor have reserved, their rows on its list last."""
        requestor, ids = of_requestor
        try:
            reads: list[Callable[[], Any]] = [
                partial(self._noted, requestor, ids),
                partial(self.ledger, requestor),
            ]
            noted, ledger = self._workers(call, reads)
        except Exception as error:  # noqa: BLE001 - it holds up no other requestor
            return dict.fromkeys(ids, error)
        reserved = [
            (row.key, f"{LIVE}{firewall}")
            for row in noted
            for firewall in filter(None, str(row.values.get("firewalls", "")).split(","))
        ]
        steps = [
            partial(self._remove_each, reserved),
            partial(self._try_give_back, requestor, ids, ledger),
        ]
        failed: dict[str, Exception] = {}
        for each in self._workers(call, steps):
            failed |= each
        gone = [row for row in noted if row.key not in failed]
        written = write_together(self._table, [Write(Verb.DELETE, row) for row in gone])
        return failed | _failed([row.key for row in gone], written)

    def _noted(self, requestor: str, ids: Sequence[str]) -> list[Row]:
        """Read the rows of requests on their requestor's list; several by one query."""
        if len(ids) > 1:
            return [row for row in self.listed(requestor) if row.key in ids]
        row = self._table.get(f"{LIVE}{_requestor(requestor)}", ids[0])
        return [row] if row is not None else []

    def _try_give_back(
        self, requestor: str, ids: Sequence[str], ledger: Row | None
    ) -> dict[str, Exception]:
        try:
            self._give_back_ports(requestor, ids, ledger)
        except Exception as error:  # noqa: BLE001 - the lists stay, and lead back here
            return dict.fromkeys(ids, error)
        return {}

    def _remove_each(self, places: Iterable[tuple[str, str]]) -> dict[str, Exception]:
        """Remove rows by request and partition; return why the rows of a request stayed."""
        chosen = list(places)
        rows = [Row(partition, request_id, {}) for request_id, partition in chosen]
        written = write_together(self._table, map(remove, rows), self._workers)
        return _failed([request_id for request_id, _ in chosen], written)

    def of_vm(self, vm_id: str) -> list[str]:
        """List the ids of the requests that may be live on a VM."""
        return self._ids(digest("vm", key_of(vm_id)))

    def of_requestor(self, requestor: str) -> list[str]:
        """List the ids of the requests that may be live for a requestor."""
        return self._ids(_requestor(requestor))

    def _ids(self, subject: str) -> list[str]:
        return [row.key for row in self._table.query(f"{LIVE}{subject}")]

    # --- the ports of a requestor ---------------------------------------------------------------

    def reserved_ports(self, requestor: str) -> tuple[dict[str, Reserved], str]:
        """Read a requestor's reservations by request, and the version to reserve more over.

        Requests that the version before took in stand in the list alone.
        """
        return merge_reserved(self.ledger(requestor), self.listed(requestor))

    def ledger(self, requestor: str) -> Row | None:
        """Read the row of what a requestor has reserved."""
        return self._table.get(*_ledger(requestor))

    def listed(self, requestor: str) -> list[Row]:
        """Read the list of a requestor's live requests."""
        return self._table.query(f"{LIVE}{_requestor(requestor)}")

    def reserve_ports(self, requestor: str, held: Iterable[Reserved], version: str) -> bool:
        """Write a requestor's reservations; False: another call was quicker, so count anew."""
        row = Row(*_ledger(requestor), pack(Ledger(tuple(held))), version)
        try:
            if version:
                self._table.replace(row)
            else:
                self._table.insert(row)
        except (RowChangedError, RowExistsError):
            return False
        return True

    def _give_back_ports(self, requestor: str, ids: Sequence[str], row: Row | None) -> None:
        """Take requests off what their requestor was read to have reserved."""
        for _ in range(_TRIES):
            held = _held(row)
            left = [each for each in held if each.request_id not in ids]
            if row is None or len(left) == len(held) or self._write_left(requestor, left, row):
                return
            row = self.ledger(requestor)

    def _write_left(self, requestor: str, left: list[Reserved], row: Row) -> bool:
        if left:
            return self.reserve_ports(requestor, left, row.version)
        try:
            self._table.delete(row)
        except RowChangedError:
            return False
        return True

    # --- the grants of a firewall ---------------------------------------------------------------

    def reserve_grants(self, firewall_id: str, mine: Reserved) -> None:
        """Reserve room for a request's grants on a firewall."""
        values: dict[str, Value] = {"ports": mine.ports, "at": format_sortable(mine.at)}
        self._table.upsert(Row(f"{LIVE}{_firewall(firewall_id)}", mine.request_id, values))

    def reserved_grants(self, firewall_id: str) -> list[Reserved]:
        """Read which requests have reserved room on a firewall."""
        rows = self._table.query(f"{LIVE}{_firewall(firewall_id)}")
        return [_reserved(row) for row in rows]

    def give_back_grants(self, firewall_id: str, request_id: str) -> None:
        """Give back what a request has reserved on a firewall."""
        self._table.remove(Row(f"{LIVE}{_firewall(firewall_id)}", request_id, {}))


def live_rows_of(request: AccessRequest, firewalls: Iterable[str]) -> list[Row]:
    """Return the rows that list a request under its VMs and its requestor."""
    ports: dict[str, Value] = {"ports": len(request.ports)}
    mine = {**ports, "firewalls": ",".join(sorted(map(_firewall, firewalls)))}
    rows = [Row(f"{LIVE}{subject}", request.id, ports) for subject in _vms(request)]
    return [*rows, Row(f"{LIVE}{_requestor(request.requestor.key)}", request.id, mine)]


def merge_reserved(ledger: Row | None, listed: Iterable[Row]) -> tuple[dict[str, Reserved], str]:
    """Return a requestor's reservations by request, and the version of its ledger."""
    found = {each.key: _reserved(each) for each in listed}
    held = {each.request_id: each for each in _held(ledger)}
    return found | held, ledger.version if ledger else ""


def _failed(ids: Iterable[str], written: Iterable[Written]) -> dict[str, Exception]:
    """Return why rows of requests were not written, by request."""
    return {
        request_id: each
        for request_id, each in zip(ids, written, strict=True)
        if isinstance(each, Exception)
    }


def _held(row: Row | None) -> tuple[Reserved, ...]:
    """Read a ledger; one that cannot be decoded says nothing, and the lists still count."""
    try:
        return unpack(Ledger, row.values).held if row else ()
    except UnreadableRowError:
        return ()


def _reserved(row: Row) -> Reserved:
    """Read a list's row; what it does not say counts as the most that it can."""
    ports, at = row.values.get("ports"), row.values.get("at")
    try:
        since = parse_instant(str(at)) if at else _LONG_AGO
    except ValueError:
        since = _LONG_AGO
    return Reserved(row.key, ports if isinstance(ports, int) else MAX_PORTS, since)


def _requestor(key: str) -> str:
    return digest("requestor", key)


def _firewall(firewall_id: str) -> str:
    return digest("firewall", key_of(firewall_id))


def _ledger(requestor: str) -> tuple[str, str]:
    return f"{LIVE}ports|{_requestor(requestor)}", _LEDGER


def _vms(request: AccessRequest) -> list[str]:
    return sorted({digest("vm", key_of(port.vm_id)) for port in request.ports})
