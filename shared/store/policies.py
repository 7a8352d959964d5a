"""The rows of policies: what each says, and beside it one row for each of its VMs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.domain.errors import InvalidInputError
from shared.domain.ids import digest, key_of
from shared.domain.model import Policy
from shared.ports import Row, Table, Telemetry, Value
from shared.store.audit import AuditEvent
from shared.store.codec import UnreadableRowError, pack, unpack

LAST = "\x7e"  # sorts after the hexadecimal digits with which our keys, or their ends, begin
_NEXT = "!"  # added to a name or partition: sorts right after it
_NO_POLICY = "policy\x7d"  # sorts after the keys of all policies
_AFTER_BAR = "\x7d"  # the character after the bar: a name may begin with one beyond ASCII

_NOTES = "of|"  # how the partitions begin that name the policies of a VM
_AFTER_NOTES = "of" + _AFTER_BAR
_NOTE = "policy of a VM"
_ALL_NOTED = ("all", "noted")


@dataclass(frozen=True)
class PolicyRow:
    """A policy and the version of its row."""

    policy: Policy
    version: str = ""


@dataclass(frozen=True)
class VmRow:
    """The firewalls written for one VM of a policy, and the last access to it."""

    policy_id: str
    vm_id: str
    firewalls: tuple[str, ...] = ()
    doubt: str | None = None  # why rules on its addresses may not decide; None: not known
    last_access_at: datetime | None = None
    last_requestor: str = ""
    version: str = ""


class PolicyRows:
    """Policies, by subscription, group and location; one row per VM beside each."""

    def __init__(self, table: Table, telemetry: Telemetry) -> None:
        self._table = table
        self._telemetry = telemetry

    def get(self, policy_id: str) -> PolicyRow | None:
        """Read a policy by its id."""
        partition, name = _policy_place(policy_id)
        row = self._table.get(partition, f"policy|{name}")
        return _policy_row(row) if row else None

    def insert(self, policy: Policy) -> PolicyRow:
        """Add a policy; raises RowExistsError."""
        return PolicyRow(policy, self._table.insert(_encode_policy(policy)))

    def replace(self, held: PolicyRow, policy: Policy) -> PolicyRow:
        """Write over the version that was read; raises RowChangedError."""
        row = replace(_encode_policy(policy), version=held.version)
        return PolicyRow(policy, self._table.replace(row))

    def delete(self, held: PolicyRow) -> None:
        """Remove the version that was read; raises RowChangedError."""
        self._table.delete(replace(_encode_policy(held.policy), version=held.version))
        row = self._table.get(*_change_key(held.policy.id))
        if row is not None:
            self._table.delete(row)

    def last_change(self, policy_id: str) -> AuditEvent | None:
        """Read the event of the last change of a policy; one that cannot be read is none."""
        row = self._table.get(*_change_key(policy_id))
        try:
            return unpack(AuditEvent, row.values) if row else None
        except UnreadableRowError as error:
            self._telemetry.fault("jit.row.unreadable", error, row=_change_key(policy_id)[1])
            return None

    def note_change(self, event: AuditEvent) -> None:
        """Keep the event of a change that is about to be made."""
        values = {"kind": "change", **pack(event)}
        self._table.upsert(Row(*_change_key(event.policy_id), values))

    def listed(self, subscription: str, group: str = "", location: str = "") -> list[Policy]:
        """List the policies of a subscription, narrowed by group and location; "": of every one."""
        start, stop = _partitions_of(f"{subscription}|{group}" if group else subscription)
        found = self._readable(self._table.scan(start, stop, kind="policy"))
        return [
            policy
            for policy in found
            if not location or key_of(policy.location) == key_of(location)
        ]

    def page(
        self, subscription: str, group: str = "", *, after: str = "", limit: int
    ) -> tuple[list[Policy], str]:
        """Read the next rows of policies of a subscription or group, in the order of their keys.

        Return the policies, and the key of the last row that was read. It is empty where no row is
        left, and else `after` of the next page. Raises InvalidInputError for any other `after`.
        """
        start, stop = _partitions_of(f"{subscription}|{group}" if group else subscription)
        rows: list[Row] = []
        if after:
            partition, name = _key_after(after)
            if start <= partition < stop:
                first = f"policy|{name}{_NEXT}"
                rows = self._table.query(partition, start=first, stop=_NO_POLICY, limit=limit)
            start = max(start, partition + _NEXT)
        if len(rows) < limit and start < stop:
            rows += self._table.scan(start, stop, limit=limit - len(rows), kind="policy")
        last = _id_of(rows[-1]) if len(rows) == limit else ""
        return self._readable(rows), last

    def everything(self) -> list[Policy]:
        """List every policy there is."""
        return self.listed("")

    def _readable(self, rows: list[Row]) -> list[Policy]:
        found = []
        for row in rows:
            try:
                found.append(_policy_row(row).policy)
            except UnreadableRowError as error:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
        return found

    def vm_rows(self, policy_id: str) -> list[VmRow]:
        """Read the rows of a policy's VMs."""
        partition, name = _policy_place(policy_id)
        start = f"vm|{name}|"
        return self._decoded(self._table.query(partition, start=start, stop=start + LAST))

    def _decoded(self, rows: list[Row]) -> list[VmRow]:
        """Decode the rows of VMs; one that cannot be decoded is reported, and applied anew."""
        found = []
        for row in rows:
            try:
                found.append(_vm_row(row))
            except UnreadableRowError as error:
                self._telemetry.fault("jit.row.unreadable", error, row=row.key)
        return found

    def all_vm_rows(self) -> dict[str, list[VmRow]]:
        """Read the rows of every policy's VMs, page by page, by key of policy id."""
        found: dict[str, list[VmRow]] = {}
        for row in self._decoded(self._table.scan("", LAST, kind="vm")):
            found.setdefault(key_of(row.policy_id), []).append(row)
        return found

    def vm_row(self, policy_id: str, vm_id: str) -> VmRow | None:
        """Read the row of one VM of a policy."""
        partition, key = _vm_place(policy_id, vm_id)
        row = self._table.get(partition, key)
        return _vm_row(row) if row else None

    def policies_of(self, vm_id: str) -> list[str]:
        """Find by key the ids of the policies that were noted for a VM.

        One may be left over from a policy that no longer lists the VM.
        """
        return sorted(str(row.values["policy"]) for row in self._table.query(_partition_of(vm_id)))

    def note_policy_of(self, vm_id: str, policy_id: str) -> None:
        """Note that a policy lists a VM."""
        values: dict[str, Value] = {"kind": _NOTE, "policy": policy_id}
        self._table.upsert(Row(*_policy_of(vm_id, policy_id), values))

    def missing_notes(self, policies: Iterable[Policy]) -> list[tuple[str, str]]:
        """Return the VM and policy of each note that is missing; all notes are read for it."""
        rows = self._table.scan(_NOTES, _AFTER_NOTES, kind=_NOTE)
        noted = {(row.partition, row.key) for row in rows}
        return [
            (vm.id, policy.id)
            for policy in policies
            for vm in policy.vms
            if _policy_of(vm.id, policy.id) not in noted
        ]

    def all_noted(self) -> bool:
        """Tell whether every VM of every policy was found to have its note, so no list is needed."""
        return self._table.get(*_ALL_NOTED) is not None

    def mark_all_noted(self) -> None:
        """Mark that every VM of every policy has its note: one is written before each policy."""
        self._table.upsert(Row(*_ALL_NOTED, {"kind": "all policies of VMs"}))

    def put_vm(self, vm: VmRow) -> None:
        """Write the row of a VM whatever was there, and first the note that leads to it."""
        self.note_policy_of(vm.vm_id, vm.policy_id)
        partition, key = _vm_place(vm.policy_id, vm.vm_id)
        self._table.upsert(Row(partition, key, _vm_values(vm)))

    def replace_vm(self, vm: VmRow) -> None:
        """Write over the row of a VM as it was read; raises RowChangedError."""
        partition, key = _vm_place(vm.policy_id, vm.vm_id)
        self._table.replace(Row(partition, key, _vm_values(vm), vm.version))

    def delete_vm(self, vm: VmRow) -> None:
        """Remove the row of a VM as it was read, then its note; raises RowChangedError."""
        note = self._table.get(*_policy_of(vm.vm_id, vm.policy_id))
        partition, key = _vm_place(vm.policy_id, vm.vm_id)
        self._table.delete(Row(partition, key, {}, vm.version))
        if note is not None:
            self._table.delete(note)  # as it was read before: a note that was renewed stays


def _partitions_of(beginning: str) -> tuple[str, str]:
    """Return the first partition and the first one after those of a subscription or group."""
    key = key_of(beginning)
    return (f"{key}|", key + _AFTER_BAR) if key else ("", LAST)


def parse_policy(policy_id: str) -> tuple[str, str, str, str]:
    """Split a policy id into subscription, group, location and name, all in key form."""
    parts = key_of(policy_id).split("/")
    return parts[2], parts[4], parts[8], parts[10]


def _policy_place(policy_id: str) -> tuple[str, str]:
    subscription, group, location, name = parse_policy(policy_id)
    return f"{subscription}|{group}|{location}", name


def _key_after(policy_id: str) -> tuple[str, str]:
    """Return the partition and name of a policy that a page ended with."""
    try:
        return _policy_place(policy_id)
    except IndexError:
        raise InvalidInputError(
            "the page's beginning is not one that this service gave", code="InvalidSkipToken"
        ) from None


def _id_of(row: Row) -> str:
    """Return the key of the id of the policy that a row holds, readable or not."""
    subscription, group, location = row.partition.split("|")
    name = row.key.removeprefix("policy|")
    return key_of(
        f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Security"
        f"/locations/{location}/jitNetworkAccessPolicies/{name}"
    )


def _change_key(policy_id: str) -> tuple[str, str]:
    partition, name = _policy_place(policy_id)
    return partition, f"change|{name}"


def _vm_place(policy_id: str, vm_id: str) -> tuple[str, str]:
    partition, name = _policy_place(policy_id)
    return partition, f"vm|{name}|{digest(key_of(vm_id))}"


def _partition_of(vm_id: str) -> str:
    """Return the partition that names the policies of a VM."""
    return f"{_NOTES}{digest(key_of(vm_id))}"


def _policy_of(vm_id: str, policy_id: str) -> tuple[str, str]:
    return _partition_of(vm_id), digest(key_of(policy_id))


def _encode_policy(policy: Policy) -> Row:
    partition, name = _policy_place(policy.id)
    values = {"kind": "policy", **pack(policy)}
    return Row(partition, f"policy|{name}", values)


def _policy_row(row: Row) -> PolicyRow:
    return PolicyRow(unpack(Policy, row.values), row.version)


def _vm_values(vm: VmRow) -> dict[str, str | int | bool | float]:
    return {"kind": "vm", "vm": key_of(vm.vm_id), **pack(replace(vm, version=""))}


def _vm_row(row: Row) -> VmRow:
    return replace(unpack(VmRow, row.values), version=row.version)
