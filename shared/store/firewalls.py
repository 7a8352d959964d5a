"""The rows of each firewall: protections, grants and the lease."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Any

from shared.domain.ids import digest, key_of, row_key
from shared.domain.model import (
    FirewallRows,
    Grant,
    Protection,
)
from shared.domain.texts import as_json
from shared.domain.times import format_sortable
from shared.ports import (
    Row,
    RowChangedError,
    RowExistsError,
    Table,
    Telemetry,
    Value,
    Write,
)
from shared.store.codec import UnreadableRowError, encode, pack, pack_json, unpack
from shared.store.keys import policy_key
from shared.store.together import Written, insert, replace_row, write_together

LEASE = timedelta(seconds=30)  # a killed holder must not keep a port open past the next sweep
_SKEW = timedelta(seconds=10)  # between the clocks of two workers


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

    def read_with_lease(self, firewall_id: str) -> tuple[FirewallRows, Row | None]:
        """Read everything kept for a firewall, and its lease, in one query."""
        rows = self._table.query(row_key(firewall_id))
        return self._decode(rows), next((row for row in rows if row.key == "lease"), None)

    def read_all(self, subscription: str) -> dict[str, FirewallRows]:
        """Read the rows of every firewall of a subscription, page by page, by row key."""
        start = row_key(f"/subscriptions/{subscription}/")
        partitions: dict[str, list[Row]] = {}
        for row in self._table.scan(start, start + "\x7e"):
            partitions.setdefault(row.partition, []).append(row)
        return {key: self._decode(rows) for key, rows in partitions.items()}

    def _decode(self, rows: Iterable[Row]) -> FirewallRows:
        protections: list[Protection] = []
        undecoded: set[str] = set()
        grants: list[Grant] = []
        lacks_grants = False
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
                lacks_grants |= row.key.startswith("grant|")
        return FirewallRows(tuple(protections), tuple(grants), frozenset(undecoded), lacks_grants)

    def insert_grant(self, grant: Grant) -> bool:
        """Add a grant, wanted or sealed; False: its place is taken."""
        [inserted], _ = self.insert_grants([grant])
        if isinstance(inserted, Exception):
            raise inserted
        return inserted is not None

    def insert_grants(
        self, grants: Sequence[Grant], lease: Row | None = None
    ) -> tuple[list[Grant | Exception | None], Row | None]:
        """Add grants together, wanted or sealed, and take a lease of the same partition.

        Return the grants, None where the place of one is taken, or why one could not be added; and
        the lease, None where it was not taken.
        """
        written, taken = self._write_with_lease(
            [insert(_grant_row(grant)) for grant in grants], lease
        )
        inserted = [
            (None if isinstance(each, RowExistsError) else each)
            if isinstance(each, Exception)
            else replace(grant, version=each)
            for grant, each in zip(grants, written, strict=True)
        ]
        return inserted, taken

    def get_grant(self, firewall_id: str, request_id: str, vm_id: str, port: int) -> Grant | None:
        """Read one grant."""
        row = self._table.get(row_key(firewall_id), _grant_key(request_id, vm_id, port))
        return replace(unpack(Grant, row.values), version=row.version) if row else None

    def grants_by_request(self, firewall_id: str) -> tuple[Counter[str], Counter[str]]:
        """Count the wanted and the sealed grants that each request has on a firewall, by keys."""
        wanted: Counter[str] = Counter()
        sealed: Counter[str] = Counter()
        rows = self._table.query(
            row_key(firewall_id), start="grant|", stop="grant}", columns=("sealed",)
        )
        for row in rows:
            counted = sealed if row.values.get("sealed") else wanted
            counted[row.key.split("|")[1]] += 1
        return wanted, sealed

    def replace_grant(self, grant: Grant) -> Grant:
        """Write over the version that was read; raises RowChangedError."""
        return replace(grant, version=self._table.replace(_grant_row(grant)))

    def replace_grants(self, grants: Sequence[Grant]) -> list[Grant | Exception]:
        """Write over the versions that were read, together; return the grants, or why not."""
        return self.mark_grants(grants, None)[0]

    def mark_grants(
        self, grants: Sequence[Grant], lease: Row | None
    ) -> tuple[list[Grant | Exception], Row | None]:
        """Write grants as replace_grants does, and take or give back a lease of the same partition.

        Return the grants, or why not, and the lease, None where it was not written.
        """
        rows = [replace_row(_grant_row(grant)) for grant in grants]
        written, lease = self._write_with_lease(rows, lease)
        marked = [
            each if isinstance(each, Exception) else replace(grant, version=each)
            for grant, each in zip(grants, written, strict=True)
        ]
        return marked, lease

    def _write_with_lease(
        self, writes: Sequence[Write], lease: Row | None
    ) -> tuple[list[Written], Row | None]:
        if lease is None:
            return write_together(self._table, writes), None
        write = replace_row(lease) if lease.version else insert(lease)
        *written, version = write_together(self._table, [*writes, write])
        return written, None if isinstance(version, Exception) else replace(lease, version=version)

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
        seen: Row | None = None,
    ) -> Row | None:
        """Try for the lease of a firewall; None: another worker holds it, or `unless` forbids.

        A write that loses a race is tried once more: the row may have changed and be free. Raises
        RowChangedError where it is free and still cannot be written. `seen` is the row as it was
        read a moment ago; where it was held then, it is read again.
        """
        try:
            if seen is not None:
                taken = self._write_if_free(seen, owner, now, until, unless)
                if taken is not None:
                    return taken
            return self._try_lease(firewall_id, owner, now, until, unless)
        except (RowExistsError, RowChangedError):
            return self._try_lease(firewall_id, owner, now, until, unless)

    def _try_lease(
        self,
        firewall_id: str,
        owner: str,
        now: datetime,
        until: datetime,
        unless: Callable[[Row, datetime], bool] | None,
    ) -> Row | None:
        row = self._table.get(row_key(firewall_id), "lease")
        if row is not None:
            return self._write_if_free(row, owner, now, until, unless)
        wanted = new_lease(firewall_id, owner, until)
        return replace(wanted, version=self._table.insert(wanted))

    def _write_if_free(
        self,
        row: Row,
        owner: str,
        now: datetime,
        until: datetime,
        unless: Callable[[Row, datetime], bool] | None,
    ) -> Row | None:
        wanted = next_lease(row, owner, now, until, unless)
        return self._write_lease(wanted) if wanted is not None else None

    def keep_lease(self, lease: Row, until: datetime) -> Row:
        """Hold a lease for longer; one that was lost stays lost."""
        wanted = replace(lease, values={**lease.values, "until": format_sortable(until)})
        try:
            return self._write_lease(wanted)
        except RowChangedError:
            return lease

    def drop_lease(self, lease: Row, now: datetime) -> None:
        """Give back one's own lease, and never another holder's."""
        self.keep_lease(lease, now)

    def _write_lease(self, lease: Row) -> Row:
        return replace(lease, version=self._table.replace(lease))


def new_lease(firewall_id: str, owner: str, until: datetime) -> Row:
    """Return the first lease of a firewall, which is still to be inserted."""
    values: dict[str, Value] = {"before": "", "owner": owner, "until": format_sortable(until)}
    return Row(row_key(firewall_id), "lease", values)


def next_lease(
    row: Row,
    owner: str,
    now: datetime,
    until: datetime,
    unless: Callable[[Row, datetime], bool] | None = None,
) -> Row | None:
    """Return a lease as its next holder has to write it; None: it is held, or `unless` forbids."""
    if _is_believable(row, now, max(until - now, LEASE)) or (
        unless is not None and unless(row, now)
    ):
        return None
    ended = {"before": str(row.values.get("until", ""))}
    values = {**row.values, **ended, "owner": owner, "until": format_sortable(until)}
    return replace(row, values=values)


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

    The version before kept its provider's memory in fields of their own.
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
