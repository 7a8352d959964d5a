"""Read the record of who did what, a page at a time."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.ids import key_of
from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.store.audit import AuditEvent
from shared.use_cases.parts import HasActivity, HasScopes
from shared.use_cases.permission import PermissionParts, enforce, is_permitted

_CHUNK = 500
# Rows looked at for one page: a filter that fits little is carried on by the next call.
_MOST_READ = 20 * _CHUNK
_NEXT = "!"  # a key that sorts right after another one: keys end in hex digits


class FigureParts(PermissionParts, HasScopes, Protocol):
    """The parts for deciding who reads the activity of all."""


class ActivityParts(FigureParts, HasActivity, Protocol):
    """The parts for showing audit events."""


@dataclass(frozen=True)
class Asked:
    """Which events are wanted; empty means any. `after` is where the last page ended."""

    since: datetime
    until: datetime
    person: str = ""
    vm_id: str = ""
    operation: str = ""
    after: str = ""
    top: int = 200
    about: str = ""  # only what this principal, by key, did or what was done for it


@dataclass(frozen=True)
class Page:
    """Some events, oldest first, and where the next page begins."""

    events: tuple[AuditEvent, ...]
    next: str = ""


def read_activity(services: ActivityParts, caller: Principal, asked: Asked) -> Page:
    """Read one page of events: a caller without the right to read them all sees the caller's own.

    Raises TooManyRequestsError at the bound of role reads.
    """
    if not _reads_all(services, caller):
        asked = replace(asked, about=caller.key)
    return _read(services, asked)


def _read(services: HasActivity, asked: Asked) -> Page:
    """Read one page. Each day is a partition, read in key order, which is time order."""
    found: list[AuditEvent] = []
    read = 0
    day, start = _first(asked)
    while day.date() <= asked.until.date():
        if read >= _MOST_READ:
            return Page(tuple(found), f"{day:%Y-%m-%d}/{start.removesuffix(_NEXT)}")
        rows = services.activity.on(day, start=start, limit=_CHUNK)
        read += len(rows)
        for key, event in rows:
            if _fits(event, asked):
                found.append(_shown(event, asked))
            if len(found) == asked.top:
                return Page(tuple(found), f"{day:%Y-%m-%d}/{key}")
        if len(rows) < _CHUNK:
            day, start = day + timedelta(days=1), ""
        else:
            start = rows[-1][0] + _NEXT
    return Page(tuple(found))


def enforce_figures(services: FigureParts, caller: Principal) -> None:
    """Enforce the right to see the figures of the health report; raises NotPermittedError."""
    enforce(services, caller, Action.READ_ACTIVITY, services.scopes[0])


def _reads_all(services: FigureParts, caller: Principal) -> bool:
    """Tell whether a caller may read the activity at every scope of the app."""
    action = Action.READ_ACTIVITY
    return all(is_permitted(services, caller, action, scope) for scope in services.scopes)


def _is_about(event: AuditEvent, key: str) -> bool:
    return key in {event.principal.lower(), event.on_behalf_of.lower(), event.relayed_by.lower()}


def _shown(event: AuditEvent, asked: Asked) -> AuditEvent:
    """Return an event without another person's address, where only one's own events are read."""
    own = not asked.about or event.principal.lower() == asked.about
    return event if own else replace(event, source_address="")


def _first(asked: Asked) -> tuple[datetime, str]:
    """Return where to begin; a made-up token leads no further back than what is asked for."""
    text, _, key = asked.after.partition("/")
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=asked.since.tzinfo)
    except ValueError:
        return asked.since, ""
    if day.date() < asked.since.date():
        return asked.since, ""
    return day, key + _NEXT if key else ""


def _concerns(event: AuditEvent, vm_key: str) -> bool:
    """Tell whether an event is about a VM, or changed what a policy says of it."""
    return key_of(event.vm_id) == vm_key or f"virtualMachines[{vm_key}]" in event.changes


def _fits(event: AuditEvent, asked: Asked) -> bool:
    people = {event.principal.lower(), event.principal_name.lower(), event.on_behalf_of.lower()}
    people |= {each.partition("/")[2] for each in people}
    return (
        asked.since <= event.at <= asked.until
        and (not asked.about or _is_about(event, asked.about))
        and (not asked.person or asked.person in people)
        and (not asked.vm_id or _concerns(event, asked.vm_id))
        and (not asked.operation or event.operation == asked.operation)
    )
