"""The rows of what is live: by requestor, by VM and by firewall, with how many ports each takes.

Live requests are listed apart, so that finding what a person holds, or what is open on a VM, does
not grow with the history. A request's rows come before it, and go once it has ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.domain.ids import digest, key_of
from shared.domain.model import AccessRequest
from shared.domain.policy import MAX_PORTS
from shared.domain.times import format_sortable, parse_instant
from shared.ports import Row, RowChangedError, RowExistsError, Table, Value
from shared.store.codec import UnreadableRowError, pack, unpack

LIVE = "live|"  # how the partitions of live requests begin
_LEDGER = "reserved"
_TRIES = 50
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Reserved:
    """What one request takes of a bound, and since when."""

    request_id: str
    ports: int
    at: datetime


@dataclass(frozen=True)
class Ledger:
    """All that one requestor has reserved: one row, so that two calls cannot both be the last."""

    held: tuple[Reserved, ...] = ()


class LiveRows:
    """What is live, in the table of requests."""

    def __init__(self, table: Table) -> None:
        self._table = table

    # --- lists ------------------------------------------------------------------------------------

    def note(self, request: AccessRequest, firewalls: Iterable[str] = ()) -> None:
        """List a request under its requestor and its VMs, and which firewalls it has reserved."""
        for row in live_rows_of(request, firewalls):
            self._table.upsert(row)

    def forget(self, request: AccessRequest) -> None:
        """Take a request that has ended off every list, and give back what it has reserved."""
        for subject in _vms(request):
            self._delete(f"{LIVE}{subject}", request.id)
        self.forget_unmade(request.requestor.key, request.id)

    def forget_unmade(self, requestor: str, request_id: str) -> None:
        """Give back what a call has reserved that stopped before its request was made."""
        row = self._table.get(f"{LIVE}{_requestor(requestor)}", request_id)
        noted = str(row.values.get("firewalls", "")) if row else ""
        for firewall in filter(None, noted.split(",")):
            self._delete(f"{LIVE}{firewall}", request_id)
        self.give_back_ports(requestor, request_id)
        if row is not None:
            self._table.delete(row)

    def of_vm(self, vm_id: str) -> list[str]:
        """List the ids of the requests that may be live on a VM."""
        return self._ids(digest("vm", key_of(vm_id)))

    def of_requestor(self, requestor: str) -> list[str]:
        """List the ids of the requests that may be live for a requestor."""
        return self._ids(_requestor(requestor))

    def _ids(self, subject: str) -> list[str]:
        return [row.key for row in self._table.query(f"{LIVE}{subject}")]

    def _delete(self, partition: str, key: str) -> None:
        row = self._table.get(partition, key)
        if row is not None:
            self._table.delete(row)

    # --- the ports of a requestor ---------------------------------------------------------------

    def reserved_ports(self, requestor: str) -> tuple[dict[str, Reserved], str]:
        """Read what a requestor holds by request, and the version to reserve more over.

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
        """Write what a requestor holds; False: another call was quicker, so count anew."""
        row = Row(*_ledger(requestor), pack(Ledger(tuple(held))), version)
        try:
            if version:
                self._table.replace(row)
            else:
                self._table.insert(row)
        except (RowChangedError, RowExistsError):
            return False
        return True

    def give_back_ports(self, requestor: str, request_id: str) -> None:
        """Take one request off what its requestor has reserved."""
        for _ in range(_TRIES):
            row = self._table.get(*_ledger(requestor))
            held = _held(row)
            left = [each for each in held if each.request_id != request_id]
            if row is None or len(left) == len(held) or self._write_left(requestor, left, row):
                return

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
        self._delete(f"{LIVE}{_firewall(firewall_id)}", request_id)


def live_rows_of(request: AccessRequest, firewalls: Iterable[str]) -> list[Row]:
    """Return the rows that list a request under its VMs and its requestor."""
    ports: dict[str, Value] = {"ports": len(request.ports)}
    mine = {**ports, "firewalls": ",".join(sorted(map(_firewall, firewalls)))}
    rows = [Row(f"{LIVE}{subject}", request.id, ports) for subject in _vms(request)]
    return [*rows, Row(f"{LIVE}{_requestor(request.requestor.key)}", request.id, mine)]


def merge_reserved(ledger: Row | None, listed: Iterable[Row]) -> tuple[dict[str, Reserved], str]:
    """Return what a requestor holds by request, and the version of its ledger."""
    found = {each.key: _reserved(each) for each in listed}
    held = {each.request_id: each for each in _held(ledger)}
    return found | held, ledger.version if ledger else ""


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
