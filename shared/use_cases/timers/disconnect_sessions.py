"""Disconnect the Bastion sessions of closed accesses, apart from every close.

It is off by default, and best effort: a close is proven before its row comes here, and no failure
here opens, delays or fails anything. The sessions to disconnect are stored before the call,
and recorded once the host lists it no longer. So a crash anywhere loses no audit event of it, and a
repeat asks for nothing that has ended.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from shared.domain.audit import Operation
from shared.domain.bastion_sessions import match_sessions
from shared.domain.ids import key_of, name_of
from shared.domain.model import AccessRequest, PortRequest, Status
from shared.ports import BastionSessions, RowChangedError
from shared.store.audit import AuditEvent
from shared.store.bastion_closes import BastionClose
from shared.use_cases.parts import (
    HasActivity,
    HasBastionCloses,
    HasClock,
    HasRequests,
    HasTelemetry,
)

BUDGET = timedelta(seconds=30)  # for a run; what is left is looked at by the next
BATCH = 100  # closes in one run
MOST_LOOKS = 5  # at one close, one in each run
KEEP = timedelta(minutes=15)  # after a close its sessions are given up, whatever has failed
_OPEN = frozenset({Status.INITIATING, Status.INITIATED})


class DisconnectParts(HasActivity, HasBastionCloses, HasClock, HasRequests, HasTelemetry, Protocol):
    """The parts for disconnecting sessions of closed accesses."""


def disconnect_sessions(services: DisconnectParts, sessions: BastionSessions) -> int:
    """Look at the noted closes, a bounded time at once; return how many are finished.

    A failure is reported, never raised: the next run tries again. Closes that failed come last.
    """
    until = services.clock() + BUDGET
    finished = 0
    try:
        for close in services.bastion_closes.first(BATCH):
            if services.clock() >= until:
                break
            finished += _look_at(services, sessions, close)
    except Exception as error:  # noqa: BLE001 - whatever it is, the next run tries again
        services.telemetry.fault("jit.bastion.sessions.failed", error)
    return finished


def _look_at(services: DisconnectParts, sessions: BastionSessions, close: BastionClose) -> bool:
    """Look at one close; return whether nothing is left to do. One that fails stops no other."""
    try:
        return _disconnect(services, sessions, close)
    except RowChangedError:
        return False  # another run looks at it
    except Exception as error:  # noqa: BLE001 - whatever it is, the next run tries again
        services.telemetry.fault(
            "jit.bastion.sessions.failed", error, request=close.request_id, host=close.host_id
        )
        return False


def _disconnect(services: DisconnectParts, sessions: BastionSessions, close: BastionClose) -> bool:
    """Ask the host to disconnect what is the requestor's; take off a close that is finished."""
    rows = services.bastion_closes
    stored = services.requests.get(close.request_id)
    if stored is None:
        rows.remove(close)
        return True
    request = stored.request
    if close.looks >= MOST_LOOKS or services.clock() >= close.closed_at + KEEP:
        _record_kept(services, request, close, "its sessions are given up after several tries")
        rows.remove(close)
        return True
    close = rows.replace(replace(close, looks=close.looks + 1))
    listed = sessions.list(close.host_id)
    _record_ended(services, request, close, frozenset(session.id for session in listed))
    found = match_sessions(listed, close.vm_id, request.requestor)
    if found.uncertain:
        told = f"sessions whose user name does not name one person: {found.uncertain}"
        _record_kept(services, request, close, told)
    if not found.own or _has_access(services, request, close):
        rows.remove(close)
        return True
    asked = tuple(dict.fromkeys((*close.asked, *found.own)))
    rows.replace(replace(close, asked=asked, asked_at=close.asked_at or services.clock()))
    sessions.disconnect(close.host_id, found.own)
    return False


def _has_access(services: DisconnectParts, request: AccessRequest, close: BastionClose) -> bool:
    """Tell whether the requestor has other access to the VM through the same host; record it."""
    for request_id in services.requests.live(vm_id=close.vm_id):
        stored = services.requests.get(request_id)
        if stored is None or stored.request.requestor.key != request.requestor.key:
            continue
        if any(_is_access(port, close) for port in stored.request.ports):
            told = "the requestor has other access to the VM through this Bastion host"
            _record_kept(services, request, close, told)
            return True
    return False


def _is_access(port: PortRequest, close: BastionClose) -> bool:
    is_same = key_of(port.vm_id) == key_of(close.vm_id)
    is_through = bool(port.bastion) and key_of(port.bastion) == key_of(close.host_id)
    return is_same and is_through and port.status in _OPEN and not port.closing


def _record_ended(
    services: DisconnectParts, request: AccessRequest, close: BastionClose, listed: frozenset[str]
) -> None:
    """Record the sessions that the host was asked to disconnect and lists no longer."""
    ended = [each for each in close.asked if each not in listed]
    for session_id in ended:
        told = f"session {session_id} of {name_of(close.host_id)}"
        at = close.asked_at or close.closed_at
        event = _event(request, close, Operation.SESSION_DISCONNECTED, session_id, told)
        services.activity.record(replace(event, at=at))
    if ended:
        _tell(services, close, "disconnected", sessions=len(ended))


def _record_kept(
    services: DisconnectParts, request: AccessRequest, close: BastionClose, reason: str
) -> None:
    """Record why sessions were left as they are."""
    told = f"{name_of(close.host_id)}: {reason}"
    services.activity.record(_event(request, close, Operation.SESSIONS_KEPT, reason, told))
    _tell(services, close, "kept", reason=reason)


def _tell(
    services: DisconnectParts, close: BastionClose, what: str, **attributes: str | int
) -> None:
    services.telemetry.event(
        f"jit.bastion.sessions.{what}",
        request=close.request_id,
        vm=close.vm_id,
        port=close.port,
        host=close.host_id,
        **attributes,
    )


def _event(
    request: AccessRequest, close: BastionClose, operation: Operation, mark: str, reason: str
) -> AuditEvent:
    """Return an audit event of a close; a repeat has the same id and time."""
    return AuditEvent(
        id="|".join((request.id, key_of(close.vm_id), str(close.port), operation, mark)),
        at=close.closed_at,
        operation=operation,
        principal=request.requestor.key,
        principal_name=request.requestor.name,
        request_id=request.id,
        vm_id=close.vm_id,
        port=close.port,
        policy_id=request.policy_id,
        source_address=request.source_address,
        reason=reason,
    )
