"""How the version before reads rows: its codec and its values, as they were, and its keys."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.ids import digest, key_of
from shared.domain.times import format_sortable
from tests.versions.codec_before import UnreadableRowError, unpack
from tests.versions.model_before import AccessRequest, Grant, Policy, Protection

__all__ = ["UnreadableRowError", "read"]


@dataclass(frozen=True)
class Due:
    """A due row."""

    at: datetime
    kind: str
    subject: str
    since: datetime
    version: str = ""


@dataclass(frozen=True)
class VmRow:
    """The row of one VM of a policy."""

    policy_id: str
    vm_id: str
    firewalls: tuple[str, ...] = ()
    last_access_at: datetime | None = None
    last_requestor: str = ""
    version: str = ""


@dataclass(frozen=True)
class AuditEvent:
    """A row of the activity."""

    id: str
    at: datetime
    operation: str
    principal: str = ""
    principal_name: str = ""
    on_behalf_of: str = ""
    relayed_by: str = ""
    request_id: str = ""
    vm_id: str = ""
    port: int | None = None
    firewall_id: str = ""
    policy_id: str = ""
    source_address: str = ""
    reason: str = ""
    authorized_by: str = ""
    lateness_seconds: float | None = None


@dataclass(frozen=True)
class ReservedKey:
    """A row of an idempotency key."""

    request_id: str
    body: str
    at: datetime


def read(table: str, partition: str, key: str, values: Mapping[str, Any]) -> object:
    """Read a row as the version before does; None where that version never looks at it."""
    reader = _READERS[table](partition, key)
    return reader(partition, key, values) if reader else None


Reader = Callable[[str, str, Mapping[str, Any]], object]


def _of(row_type: type) -> Reader:
    return lambda _partition, _key, values: unpack(row_type, values)


def _request(partition: str, key: str, values: Mapping[str, Any]) -> object:
    request = unpack(AccessRequest, values)
    assert request.id == f"{partition}-{key}"
    assert values["requestor"] == request.requestor.key
    return request


def _grant(_partition: str, key: str, values: Mapping[str, Any]) -> object:
    grant = unpack(Grant, values)
    assert key == f"grant|{grant.request_id}|{digest(key_of(grant.vm_id))}|{grant.port}"
    assert values["sealed"] is grant.is_sealed
    assert values["expires_at"] == format_sortable(grant.expires_at)
    return grant


def _due(_partition: str, key: str, values: Mapping[str, Any]) -> object:
    due = unpack(Due, values)
    assert key == f"{format_sortable(due.at)}|{due.kind}|{digest(key_of(due.subject))}"
    return due


def _live(_partition: str, _key: str, values: Mapping[str, Any]) -> object:
    return int(values["ports"])


def _of_requests(partition: str, key: str) -> Reader | None:
    if partition.startswith("repeat|"):
        return _of(ReservedKey)
    if partition.startswith("live|"):
        return None if "|" in partition.removeprefix("live|") or key == "reserved" else _live
    return _request


def _of_policies(partition: str, key: str) -> Reader | None:
    if partition.startswith("of|"):  # it reads the partitions of policies, and scans by row type
        return None
    return _of(VmRow if key.startswith("vm|") else Policy)


def _of_firewalls(partition: str, key: str) -> Reader | None:
    if partition == "health":
        return None
    row_type = key.partition("|")[0]
    readers: dict[str, Reader] = {
        "grant": _grant,
        "protection": _of(Protection),
        "lease": lambda _partition, _key, values: str(values["until"]),
    }
    return readers[row_type]


_READERS: dict[str, Callable[[str, str], Reader | None]] = {
    "policies": _of_policies,
    "requests": _of_requests,
    "firewalls": _of_firewalls,
    "due": lambda _partition, _key: _due,
    "activity": lambda partition, _key: (
        (lambda _p, _k, values: float(values["seconds"]))
        if partition == "closes"
        else _of(AuditEvent)
    ),
}


def shape(values: Mapping[str, Any]) -> set[str]:
    """Return the columns of a row and the paths in its document, lists and ids apart."""
    text = "".join(str(values[name]) for name in sorted(values) if name.startswith("doc"))
    columns = {name for name in values if not name.startswith("doc")}
    return columns | (set(_paths(json.loads(text), "")) if text else set())


def _paths(data: object, path: str) -> list[str]:
    if isinstance(data, dict):
        return [found for name, value in data.items() for found in _paths(value, f"{path}.{name}")]
    if isinstance(data, list):
        return [found for value in data for found in _paths(value, f"{path}[]")] or [f"{path}[]"]
    return [path]
