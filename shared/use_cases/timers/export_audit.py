"""Export audit events to files that the app can extend and not change.

The lines to be appended are stored with the place they go to, appended only at that place, and
the event rows are marked before the stored lines are cleared. So every step can be repeated: a
crash anywhere loses nothing and doubles nothing. It runs on a timer of its own, and is bounded in
time: no close waits for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.audit_chain import (
    StoredEvent,
    blob_name,
    day_line,
    days_between,
    event_line,
    event_lines,
    follow,
)
from shared.domain.ids import digest
from shared.domain.model import GRACE
from shared.domain.notifications import EventType, Notification
from shared.ports import AuditBlobs, Clock, PositionError, RowChangedError, Telemetry
from shared.store.audit_export import ExportDue, ExportRows, ExportState
from shared.store.notifications import NotificationRows

BUDGET = timedelta(seconds=60)
BATCH = 100  # events in one append
_BATCH_CHARACTERS = 120_000
_WALK_ROWS = 200  # looked at in each run for events without a due row
_PARTS = 5  # files tried in one run, where others were written to by another writer


@dataclass(frozen=True)
class AuditExport:
    """The parts that the export works with."""

    rows: ExportRows
    blobs: AuditBlobs
    telemetry: Telemetry
    clock: Clock
    deployment: str
    notifications: NotificationRows | None = None  # None: there is no notification channel


def export_audit(export: AuditExport) -> int:
    """Export what is due, a bounded time at once; return how many events were exported.

    A failure is reported, never raised: the next run goes on where this one stopped.
    """
    exported = 0
    try:
        for count in _runs(export, export.clock() + BUDGET):
            exported += count
    except RowChangedError as error:
        export.telemetry.event("jit.audit.export.raced", reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the next run tries again
        waiting = _waiting_seconds(export)
        export.telemetry.fault("jit.audit.export.failed", error, waiting_seconds=waiting)
    if exported:
        export.telemetry.event("jit.audit.exported", events=exported)
    return exported


def _runs(export: AuditExport, until: datetime) -> Iterable[int]:
    """Finish what was begun, begin the files of new days, then export batch after batch."""
    state = export.rows.read_state()
    if state.pending:
        count = len(state.events)
        state = _finish(export, state)
        yield count
    for day in _new_days(state, f"{export.clock():%Y-%m-%d}"):
        state = _begin_day(export, state, day)
        if export.clock() >= until:
            return
    start = ""
    while export.clock() < until:
        found = export.rows.due(BATCH, start=start)
        if batch := _batch(export, found):
            state = _export(export, state, batch)
            yield len(batch)
        elif len(found) == BATCH:
            start = f"{found[-1].name}!"  # none of these can be exported yet
        else:
            export.rows.walk(_WALK_ROWS)
            return


def _new_days(state: ExportState, today: str) -> Iterable[str]:
    """List the days whose files have to be begun; a clock that went back begins none."""
    return days_between(state.day, today) if state.day else [today]


def _begin_day(export: AuditExport, state: ExportState, day: str) -> ExportState:
    """Begin the file of a day with a line that names it, and anchor the chain up to there."""
    line = day_line(state.link, day, export.deployment)
    begun = replace(state, day=day, part=1, offset=0, pending=f"{line}\n", events=())
    return _finish(export, export.rows.write_state(begun))


def _batch(export: AuditExport, found: Iterable[ExportDue]) -> list[StoredEvent]:
    """Read the events that are due and not exported, as many as one append takes.

    A due row is written before its event. One that leads to no event is believed once the longest
    stall of its writer has passed.
    """
    batch: list[StoredEvent] = []
    characters = 0
    for due in found:
        stored = export.rows.event(due.partition, due.key)
        if stored is None and not export.rows.noted_before(due, export.clock() - GRACE):
            continue
        if stored is None or stored[1]:
            export.rows.remove(due)
            continue
        batch.append(stored[0])
        characters += len(event_line(ExportState().link, stored[0]))
        if characters >= _BATCH_CHARACTERS:
            break
    return batch


def _export(export: AuditExport, state: ExportState, batch: list[StoredEvent]) -> ExportState:
    lines = event_lines(state.link, batch)
    pending = "".join(f"{line}\n" for line in lines)
    names = tuple(event.name for event in batch)
    begun = export.rows.write_state(replace(state, pending=pending, events=names))
    return _finish(export, begun)


def _finish(export: AuditExport, state: ExportState) -> ExportState:
    """Append the stored lines, mark their events, and clear them."""
    state = _append(export, state)
    for number, name in enumerate(state.events, start=state.sequence + 1):
        export.rows.mark(name, number)
    if not state.events:
        _anchor(export, state)
    link = state.link
    for line in state.pending.splitlines():
        link = follow(link, line)
    offset = state.offset + len(state.pending)
    done = replace(state, offset=offset, sequence=link.sequence, head=link.hash)
    return export.rows.write_state(replace(done, pending="", events=()))


def _append(export: AuditExport, state: ExportState) -> ExportState:
    """Append the stored lines, in the next part of the file where another writer was at this one."""
    for _ in range(_PARTS):
        name = blob_name(export.deployment, state.day, state.part)
        try:
            _append_once(export.blobs, name, state.offset, state.pending.encode("ascii"))
        except PositionError as error:
            export.telemetry.fault("jit.audit.blob.foreign", error, blob=name)
            state = export.rows.write_state(replace(state, part=state.part + 1, offset=0))
            continue
        return state
    raise PositionError(f"none of {_PARTS} parts of the file of {state.day} can be appended to")


def _append_once(blobs: AuditBlobs, name: str, offset: int, content: bytes) -> None:
    """Append at one position; an append whose answer was lost is found there by reading."""
    if offset == 0:
        blobs.create(name)
    try:
        blobs.append(name, offset, content)
    except PositionError:
        if blobs.read(name, offset, len(content)) != content:
            raise


def _anchor(export: AuditExport, state: ExportState) -> None:
    """Log the head of the chain where the app's storage does not reach: a chain shows no cut end."""
    export.telemetry.event(
        "jit.audit.anchored", day=state.day, sequence=state.sequence, head=state.head
    )
    if export.notifications is not None:
        export.notifications.note(_anchored(export, state))


def _anchored(export: AuditExport, state: ExportState) -> Notification:
    """Return the notification of the head of the chain, up to the file that begins."""
    sent_as = digest("auditAnchored", export.deployment, state.day, state.head)
    data: dict[str, str | int | float] = {
        "day": state.day,
        "sequence": state.sequence,
        "head": state.head,
    }
    begins = datetime.fromisoformat(f"{state.day}T00:00:00+00:00")
    return Notification(sent_as, EventType.AUDIT_ANCHORED, begins, state.day, data)


def _waiting_seconds(export: AuditExport) -> float | None:
    """Say how long the oldest event waits; None: it cannot be told."""
    try:
        noted = [datetime.fromisoformat(due.noted) for due in export.rows.due(1)]
    except Exception:  # noqa: BLE001 - it is only said beside an error
        return None
    return (export.clock() - noted[0]).total_seconds() if noted else 0.0
