"""Audit events as they are answered: their fields, in JSON and CSV, and the schema."""

from typing import Any

from functions.schemas.base import INSTANT, PORT, TEXT, Schema, object_of, one_of, paged
from shared.domain.audit import Operation as AuditOperation
from shared.domain.times import format_ticks
from shared.store.audit import AuditEvent

_RUNS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")
COLUMNS = (
    "time", "operation", "principal", "principalName", "onBehalfOf", "relayedBy", "requestId",
    "virtualMachine", "port", "firewall", "policyId", "sourceAddress", "reason",
    "authorizedBy", "latenessSeconds", "oldDigest", "newDigest", "changes",
)  # fmt: skip


def activity_line(event: AuditEvent) -> dict[str, Any]:
    """Write an audit event; a field without a value is left out."""
    values = (
        format_ticks(event.at), event.operation, event.principal, event.principal_name,
        event.on_behalf_of, event.relayed_by, event.request_id, event.vm_id, event.port,
        event.firewall_id, event.policy_id, event.source_address, event.reason,
        event.authorized_by, event.lateness_seconds, event.old_digest, event.new_digest, event.changes,
    )  # fmt: skip
    return {
        name: value for name, value in zip(COLUMNS, values, strict=True) if value not in {"", None}
    }


def neutral(value: Any) -> Any:
    """Keep a spreadsheet from running a cell: a justification may begin with `=`.

    The wide forms are what some spreadsheets read as the plain ones. Every cell is quoted, so
    that none ends at a separator within it.
    """
    if not isinstance(value, str):
        return value
    plain = "".join(letter if letter.isprintable() else " " for letter in value)
    return f"'{plain}" if plain.lstrip()[:1] in _RUNS else plain


_ACTIVITY = object_of(
    {"time": INSTANT, "operation": one_of(*(each.value for each in AuditOperation))},
    {
        **dict.fromkeys(
            (
                *("principal", "principalName", "onBehalfOf", "relayedBy", "requestId"),
                *("virtualMachine", "firewall", "policyId", "sourceAddress", "reason"),
                *("authorizedBy", "oldDigest", "newDigest", "changes"),
            ),
            TEXT,
        ),
        "port": PORT,
        "latenessSeconds": {"type": "number"},
    },
)

SCHEMAS: dict[str, Schema] = {"ActivityList": paged(_ACTIVITY)}
