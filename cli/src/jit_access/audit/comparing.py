"""Compare an exported audit record with the audit events that the service shows."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from jit_access.audit.record import Finding, Line, Record

# The fields of an event in the record, and their names in the service's answers.
_FIELDS = {
    "operation": "operation",
    "principal": "principal",
    "principal_name": "principalName",
    "on_behalf_of": "onBehalfOf",
    "relayed_by": "relayedBy",
    "request_id": "requestId",
    "vm_id": "virtualMachine",
    "port": "port",
    "firewall_id": "firewall",
    "policy_id": "policyId",
    "source_address": "sourceAddress",
    "reason": "reason",
    "authorized_by": "authorizedBy",
    "lateness_seconds": "latenessSeconds",
    "old_digest": "oldDigest",
    "new_digest": "newDigest",
    "changes": "changes",
}
_Key = tuple[tuple[str, str], ...]


def compare_with_service(
    record: Record, events: Iterable[Mapping[str, Any]], since: datetime, until: datetime
) -> list[Finding]:
    """Say which events of a period the service shows and the files lack, and the other way round.

    An event that differs is on both sides. One that was too long for the record has only a hash
    there, and is found by its time.
    """
    shown = Counter(_key_of_shown(event) for event in events)
    hashed: Counter[str] = Counter()
    findings = []
    for line in record.events.values():
        at, key = _at(line), _key_of_line(line)
        if key is None or at is None:
            hashed[str(line.content.get("key")).partition("|")[0]] += 1
        elif shown[key]:
            shown[key] -= 1
        elif since <= at <= until:
            findings.append(Finding("blob only", f"event {line.name}", line.where))
    for key in shown.elements():
        moment = _moment(key)
        if hashed[moment]:
            hashed[moment] -= 1
        else:
            findings.append(Finding("service only", _words(key)))
    return findings


def _key_of_shown(event: Mapping[str, Any]) -> _Key:
    values = {name: event[name] for name in _FIELDS.values() if event.get(name) is not None}
    return _key(_instant(str(event["time"])), values)


def _key_of_line(line: Line) -> _Key | None:
    at = _at(line)
    event = line.content.get("event")
    if at is None or not isinstance(event, dict):
        return None
    values = {_FIELDS[name]: value for name, value in event.items() if name in _FIELDS}
    return _key(at, values)


def _key(at: datetime | None, values: Mapping[str, Any]) -> _Key:
    texts = {name: str(value) for name, value in values.items() if value not in {"", None}}
    return (("time", at.isoformat() if at else ""), *sorted(texts.items()))


def _at(line: Line) -> datetime | None:
    event = line.content.get("event")
    return _instant(str(event.get("at", ""))) if isinstance(event, dict) else None


def _instant(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def _moment(key: _Key) -> str:
    """Return the time of an event as the key of its row begins."""
    at = datetime.fromisoformat(dict(key)["time"])
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(key: _Key) -> str:
    named = dict(key)
    parts = (named["time"], named.get("operation", ""), named.get("requestId", ""))
    return " ".join(part for part in parts if part)
