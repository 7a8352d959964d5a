"""The rows of requests, firewalls and what is due: their keys, and how the use cases use them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.ids import digest, key_of, row_key
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    FirewallRows,
    Grant,
    Protection,
)
from shared.domain.texts import as_json
from shared.domain.times import format_sortable
from shared.ports import (
    Clock,
    Row,
    RowChangedError,
    RowExistsError,
    Table,
    Telemetry,
)
from shared.store.codec import UnreadableRowError, encode, pack, pack_json, unpack
from shared.store.index import IndexRows
from shared.store.live import LiveRows
from shared.store.room import pack_request, unpack_request

_LATEST_MS = 9_999_999_999_999
_POLICY_KEY = 24
_TRIES = 50
_LAST_SLOT = datetime.max.replace(tzinfo=UTC) - MINUTE
_ALMOST = MINUTE - timedelta(microseconds=1)  # what is due already belongs to the minute before
LEASE = timedelta(seconds=30)  # a killed holder must not keep a door open past the next sweep
_SKEW = timedelta(seconds=10)  # between the clocks of two workers


def policy_key(policy_id: str) -> str:
    """Return the short key of a policy, from which request ids begin."""
    return digest(key_of(policy_id), length=_POLICY_KEY).lower()


def new_request_id(policy_id: str, now: datetime, random: str) -> str:
    """Make a request id that sorts newest first within its policy."""
    return f"{policy_key(policy_id)}-{age_key(now)}{random[-8:]}"


def age_key(at: datetime) -> str:
    """Write an instant so that text order is newest first."""
    return f"{_LATEST_MS - int(at.timestamp() * 1000):013d}"


def asked_before(request_id: str, at: datetime) -> bool:
    """Tell from a request's id whether it was made before an instant."""
    return request_id.partition("-")[2] > age_key(at)


def is_request_id(text: str) -> bool:
    """Tell whether a text has the form of a request id."""
    policy, dash, order = text.partition("-")
    plain = text.isascii() and (policy + order).isalnum()
    return plain and dash == "-" and len(policy) == _POLICY_KEY and len(order) == 13 + 8


# --- requests ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RequestRow:
    """A request and the version of its row."""

    request: AccessRequest
    version: str


class RequestRows:
    """Requests by id; a policy's newest come first."""

    def __init__(self, table: Table, telemetry: Telemetry | None = None) -> None:
        self._table = table
        self._telemetry = telemetry

    @property
    def index(self) -> IndexRows:
        """Return the rows by which requests are found."""
        return IndexRows(self._table, self._telemetry)

    def get(self, request_id: str) -> RequestRow | None:
        """Read a request."""
        row = self._table.get(*_request_place(request_id))
        return _request_row(row) if row else None

    def insert(self, request: AccessRequest) -> None:
        """List a new request and record it; raises RowExistsError."""
        self.index.note(request)
        self._table.insert(_encode_request(request))

    def change(
        self, request_id: str, step: Callable[[AccessRequest], AccessRequest]
    ) -> AccessRequest | None:
        """Apply one step of the lifecycle with one If-Match write; None: there is no such row.

        The step is a pure function and is applied anew to what another writer left there.
        """
        for _ in range(_TRIES):
            held = self.get(request_id)
            if held is None:
                return None
            changed = step(held.request)
            if changed == held.request:
                return changed
            row = replace(_encode_request(changed), version=held.version)
            left = self.index.prepare_move(held.request, changed)
            try:
                self._table.replace(row)
            except RowChangedError:
                continue
            self.index.remove(left)
            return changed
        raise RowChangedError(f"request {request_id} changed {_TRIES} times while being written")

    @property
    def live_rows(self) -> LiveRows:
        """Return the rows of what is live."""
        return LiveRows(self._table)

    def note_live(self, request: AccessRequest, firewalls: Iterable[str] = ()) -> None:
        """List a request under its requestor and its VMs; the note comes before the request."""
        self.live_rows.note(request, firewalls)

    def forget_live(self, request: AccessRequest) -> None:
        """Take a request that has ended off the lists, and give back what it has reserved."""
        self.live_rows.forget(request)

    def forget_unmade(self, requestor: str, request_id: str) -> None:
        """Take off a requestor's list what stopped between the note and its request."""
        self.live_rows.forget_unmade(requestor, request_id)

    def live(self, *, vm_id: str = "", requestor: str = "") -> list[str]:
        """List the ids of the requests that may be live on a VM, or for a requestor."""
        return self.live_rows.of_vm(vm_id) if vm_id else self.live_rows.of_requestor(requestor)

    def newest(self, policy_id: str, limit: int) -> list[AccessRequest]:
        """List a policy's newest requests."""
        rows = self._table.query(policy_key(policy_id), limit=limit)
        return [_request_row(row).request for row in rows]

    def page(
        self, policy_id: str, start: str, stop: str, limit: int
    ) -> list[tuple[str, AccessRequest | None]]:
        """Read a policy's requests with start <= key < stop by id, newest first.

        A row that cannot be decoded counts as one without a request, and is reported.
        """
        rows = self._table.query(policy_key(policy_id), start=start, stop=stop, limit=limit)
        return [(f"{row.partition}-{row.key}", self._decoded(row)) for row in rows]

    def _decoded(self, row: Row) -> AccessRequest | None:
        try:
            return _request_row(row).request
        except UnreadableRowError as error:
            if self._telemetry is not None:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
            return None


def _request_place(request_id: str) -> tuple[str, str]:
    partition, _, key = request_id.partition("-")
    return partition, key


def _encode_request(request: AccessRequest) -> Row:
    partition, key = _request_place(request.id)
    return Row(partition, key, {"requestor": request.requestor.key, **pack_request(request)})


def _request_row(row: Row) -> RequestRow:
    return RequestRow(unpack_request(row.values), row.version)


# --- firewalls ---------------------------------------------------------------------------------


class FirewallStore:
    """Protections, grants and the lease of each firewall, a partition each."""

    def __init__(self, table: Table, telemetry: Telemetry) -> None:
        self._table = table
        self._telemetry = telemetry

    def read(self, firewall_id: str) -> FirewallRows:
        """Read everything kept for a firewall, in one query.

        A row that cannot be decoded is reported. A grant is left out: it is not wanted, so its
        rule goes. Of a protection the VM is named, so that its deny is kept.
        """
        return self._decode(self._table.query(row_key(firewall_id)))

    def read_all(self, subscription: str) -> dict[str, FirewallRows]:
        """Read what is kept for every firewall of a subscription, page by page, by row key."""
        start = row_key(f"/subscriptions/{subscription}/")
        partitions: dict[str, list[Row]] = {}
        for row in self._table.scan(start, start + "\x7e"):
            partitions.setdefault(row.partition, []).append(row)
        return {key: self._decode(rows) for key, rows in partitions.items()}

    def _decode(self, rows: Iterable[Row]) -> FirewallRows:
        protections: list[Protection] = []
        undecoded: set[str] = set()
        grants: list[Grant] = []
        for row in rows:
            try:
                if row.key.startswith("protection|"):
                    protections.append(protection_of(row))
                elif row.key.startswith("grant|"):
                    grants.append(replace(unpack(Grant, row.values), version=row.version))
            except UnreadableRowError as error:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
                if row.key.startswith("protection|"):
                    undecoded.add(row.key.rpartition("|")[2])
        return FirewallRows(tuple(protections), tuple(grants), frozenset(undecoded))

    def insert_grant(self, grant: Grant) -> bool:
        """Add a grant, wanted or sealed; False: its place is taken."""
        try:
            self._table.insert(_grant_row(grant))
        except RowExistsError:
            return False
        return True

    def get_grant(self, firewall_id: str, request_id: str, vm_id: str, port: int) -> Grant | None:
        """Read one grant."""
        row = self._table.get(row_key(firewall_id), _grant_key(request_id, vm_id, port))
        return replace(unpack(Grant, row.values), version=row.version) if row else None

    def grants_by_request(self, firewall_id: str) -> tuple[Counter[str], Counter[str]]:
        """Count the wanted and the sealed grants that each request has on a firewall."""
        wanted: Counter[str] = Counter()
        sealed: Counter[str] = Counter()
        for row in self._table.query(row_key(firewall_id), start="grant|", stop="grant}"):
            counted = sealed if row.values.get("sealed") else wanted
            counted[row.key.split("|")[1]] += 1
        return wanted, sealed

    def replace_grant(self, grant: Grant) -> Grant:
        """Write over the version that was read; raises RowChangedError."""
        return replace(grant, version=self._table.replace(_grant_row(grant)))

    def delete_grant(self, grant: Grant) -> None:
        """Remove the version that was read; raises RowChangedError."""
        self._table.delete(_grant_row(grant))

    def get_protection(self, firewall_id: str, policy_id: str, vm_id: str) -> Protection | None:
        """Read one protection."""
        row = self._table.get(row_key(firewall_id), _protection_key(policy_id, vm_id))
        return protection_of(row) if row else None

    def put_protection(self, protection: Protection) -> None:
        """Write a protection whatever was there."""
        self._table.upsert(_protection_row(protection))

    def replace_protection(self, protection: Protection) -> Protection:
        """Write over the version that was read; raises RowChangedError."""
        return replace(protection, version=self._table.replace(_protection_row(protection)))

    def delete_protection(self, protection: Protection) -> None:
        """Remove the version that was read; raises RowChangedError."""
        self._table.delete(_protection_row(protection))

    # The lease is advice only: it saves writes, and correctness never rests on it.

    def take_lease(
        self,
        firewall_id: str,
        owner: str,
        now: datetime,
        until: datetime,
        *,
        unless: Callable[[Row, datetime], bool] | None = None,
        longest: timedelta = LEASE,
    ) -> Row | None:
        """Try for the lease of a firewall; None: another worker holds it, or `unless` forbids.

        A write that loses a race is tried once more: the row may have changed and be free. Raises
        RowChangedError where it is free and still cannot be written.
        """
        try:
            return self._try_lease(firewall_id, owner, now, until, unless, longest)
        except (RowExistsError, RowChangedError):
            return self._try_lease(firewall_id, owner, now, until, unless, longest)

    def _try_lease(
        self,
        firewall_id: str,
        owner: str,
        now: datetime,
        until: datetime,
        unless: Callable[[Row, datetime], bool] | None,
        longest: timedelta,
    ) -> Row | None:
        row = self._table.get(row_key(firewall_id), "lease")
        if row is not None and (
            _is_believable(row, now, longest) or (unless is not None and unless(row, now))
        ):
            return None
        before = row.values if row else {}
        values = {**before, "owner": owner, "until": format_sortable(until)}
        wanted = Row(row_key(firewall_id), "lease", values, row.version if row else "")
        if row is None:
            return replace(wanted, version=self._table.insert(wanted))
        return self._write_lease(wanted)

    def keep_lease(self, lease: Row, until: datetime) -> Row:
        """Hold a lease for longer; one that was lost stays lost."""
        wanted = replace(lease, values={**lease.values, "until": format_sortable(until)})
        try:
            return self._write_lease(wanted)
        except RowChangedError:
            return lease

    def drop_lease(self, lease: Row, now: datetime) -> None:
        """Give back one's own lease, and nobody else's."""
        self.keep_lease(lease, now)

    def _write_lease(self, lease: Row) -> Row:
        return replace(lease, version=self._table.replace(lease))


def _is_believable(lease: Row, now: datetime, longest: timedelta) -> bool:
    """Tell whether a lease is held: it has not ended, and is no longer than a lease can be."""
    ends = str(lease.values.get("until", ""))
    return format_sortable(now) < ends <= format_sortable(now + longest + _SKEW)


def _grant_key(request_id: str, vm_id: str, port: int) -> str:
    return f"grant|{request_id}|{digest(key_of(vm_id))}|{port}"


def _grant_row(grant: Grant) -> Row:
    key = _grant_key(grant.request_id, grant.vm_id, grant.port)
    values = {
        "expires_at": format_sortable(grant.expires_at),
        "sealed": grant.is_sealed,
        **pack(replace(grant, version="")),
    }
    return Row(row_key(grant.firewall_id), key, values, grant.version)


def _protection_key(policy_id: str, vm_id: str) -> str:
    return f"protection|{policy_key(policy_id)}|{digest(key_of(vm_id))}"


_PROTECTION_FIELDS = frozenset(each.name for each in fields(Protection))


def protection_of(row: Row) -> Protection:
    """Read a protection. Fields of its own that it does not know are its provider's memory.

    The version before kept what its provider remembered in fields of their own.
    """
    held = unpack(Protection, row.values, restore=_memory_of_the_version_before)
    return replace(held, version=row.version)


def _memory_of_the_version_before(data: Any) -> Any:
    unknown = {name: data[name] for name in data if name not in _PROTECTION_FIELDS}
    if not unknown or data.get("memory"):
        return data
    return {**data, "memory": json.dumps(unknown, sort_keys=True)}


def _protection_row(protection: Protection) -> Row:
    """Write a protection; numbers in its memory stand beside it, for the version before."""
    key = _protection_key(protection.policy_id, protection.vm_id)
    encoded = encode(replace(protection, version=""))
    values = pack_json(as_json({**_numbers(protection.memory), **encoded}))
    return Row(row_key(protection.firewall_id), key, values, protection.version)


def _numbers(memory: str) -> dict[str, int]:
    try:
        stored = json.loads(memory or "{}")
    except ValueError:
        return {}
    items = stored.items() if isinstance(stored, dict) else ()
    return {name: value for name, value in items if type(value) is int}


# --- due ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Due:
    """Something that must be looked at by a time. `since` tells how long it has been watched."""

    at: datetime
    kind: str  # firewall, request or policy
    subject: str
    since: datetime
    version: str = ""
    slot: datetime | None = None  # where its row stands; None: where a new one would


@dataclass(frozen=True)
class _StoredDue:
    """A due row: `at` is the minute by which it is looked at for certain, `moment` the instant.

    The version before reads `at` alone, and finds the row by it.
    """

    at: datetime
    kind: str
    subject: str
    since: datetime
    moment: datetime | None = None


def slot_of(at: datetime) -> datetime:
    """Return the full minute by which something due at an instant is looked at for certain."""
    past = timedelta(seconds=at.second, microseconds=at.microsecond)
    return at if not past or at > _LAST_SLOT else at - past + MINUTE


class DueRows:
    """What must be looked at by now; the sweep reads nothing else.

    One row for each subject and minute: what falls due within the same minute folds into it.
    """

    def __init__(self, table: Table, telemetry: Telemetry, clock: Clock | None = None) -> None:
        self._table = table
        self._telemetry = telemetry
        self._clock = clock

    def add(self, at: datetime, kind: str, subject: str, *, since: datetime) -> None:
        """Note that something must be looked at, as soon as possible if it is due already."""
        self._table.upsert(_due_row(Due(at, kind, subject, since)))

    def until(self, at: datetime, *, undecoded: list[Row] | None = None) -> list[Due]:
        """Read what is due before an instant, oldest first; list what cannot be decoded too."""
        found = []
        for row in self._table.query("due", stop=format_sortable(slot_of(at)) + "~"):
            try:
                due = _due(row)
            except UnreadableRowError as error:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
                if undecoded is not None:
                    undecoded.append(row)
            else:
                found += [due] if due.at < at else []
        return sorted(found, key=lambda due: due.at)

    def remove(self, due: Due) -> None:
        """Take off what has been looked at, unless it was noted again meanwhile.

        What is looked at within its minute stays until that is over: more may fall due in it.
        """
        if due.slot and self._clock and due.at <= self._clock() < due.slot:
            return
        try:
            self._table.delete(_due_row(due))
        except RowChangedError:
            return


def _due(row: Row) -> Due:
    held = unpack(_StoredDue, row.values)
    return Due(
        held.moment or held.at, held.kind, held.subject, held.since, row.version, slot=held.at
    )


def _due_key(slot: datetime, kind: str, subject: str) -> str:
    return f"{format_sortable(slot)}|{kind}|{digest(key_of(subject))}"


def _due_row(due: Due) -> Row:
    slot = due.slot or (slot_of(due.at) if due.at > due.since else slot_of(due.at - _ALMOST))
    moment = due.at if due.at != slot else None
    held = _StoredDue(slot, due.kind, due.subject, due.since, moment)
    return Row("due", _due_key(slot, due.kind, due.subject), pack(held), due.version)
