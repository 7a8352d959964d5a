"""Look at what is due, and at nothing else. The sweep is the guarantee: it needs no message."""

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from shared.domain.ids import digest, key_of
from shared.domain.model import MINUTE
from shared.ports import Row
from shared.store.due import Due
from shared.use_cases.firewalls.converge import ConvergeParts
from shared.use_cases.firewalls.unread import close_past_ends
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import HasPolicies, HasPurges, HasScopes
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.look_after import look_after
from shared.use_cases.timers.sweep_firewalls import Subject, sweep_firewalls


class SweepParts(ConvergeParts, HasPolicies, HasPurges, HasScopes, Protocol):
    """The parts for looking at what is due."""


def sweep_expired(services: SweepParts) -> int:
    """Converge each firewall with something due; return how many could not be finished.

    It also looks one minute ahead: what falls due before the next tick gets a message for that
    second. Losing the message costs promptness, never the closing. Where what is due cannot be
    read, it closes what has ended by its rule's own text, and raises.
    """
    started = services.clock()
    _note_sweep(services, started)
    try:
        dues = _read_dues(services, started + MINUTE)
    except Exception:
        _sweep_unread(services)
        raise
    now_due = [due for due in dues if due.at <= started]
    _announce((due for due in dues if due.at > started), services)
    firewalls = _by_firewall(now_due)
    overdue = sweep_firewalls(services, firewalls)
    services.workers(lambda dues: look_after(services, dues), _by_subject(now_due))
    services.telemetry.event(
        "jit.sweep.completed",
        due=len(now_due),
        firewalls=len(firewalls),
        overdue=overdue,
        seconds=(services.clock() - started).total_seconds(),
    )
    return overdue


def sweep_if_late(services: SweepParts) -> None:
    """Run the sweep where the timer has been silent too long; the first to notice does it.

    A failure is reported: the message that noticed has been handled.
    """
    try:
        if watch.reserve_late_sweep(services):
            sweep_expired(services)
    except Exception as error:  # noqa: BLE001 - the next message, or the timer, tries again
        services.telemetry.fault("jit.sweep.failed", error)


def _note_sweep(services: SweepParts, started: datetime) -> None:
    try:
        watch.note_sweep(services, started)
    except Exception as error:  # noqa: BLE001 - closing needs no note
        services.telemetry.fault("jit.sweep.unnoted", error)


def _read_dues(services: SweepParts, until: datetime) -> list[Due]:
    """Read the due rows, oldest first; of a row that cannot be decoded, find the firewall."""
    undecoded: list[Row] = []
    dues = services.due.until(until, undecoded=undecoded)
    if undecoded:
        dues += _decode_by_key(services, undecoded)
    return dues


def _decode_by_key(services: SweepParts, rows: Iterable[Row]) -> list[Due]:
    """Find the firewalls that due rows name in their keys, among those that hold our rules."""
    by_digest = {digest(key_of(each)): each for each in _find_ours(services)}
    now = services.clock()
    return [
        Due(now, "firewall", by_digest[each], since=now)
        for each in sorted({row.key.rpartition("|")[2] for row in rows} & by_digest.keys())
    ]


def _sweep_unread(services: SweepParts) -> None:
    """Close what has ended by its rule's own text on every firewall that holds our rules."""
    services.workers(lambda each: _close_unread(services, each), _find_ours(services))


def _find_ours(services: SweepParts) -> list[str]:
    """Return the firewalls that hold something of ours; a list that fails leaves the others."""
    found: dict[str, str] = {}
    for provider in services.firewalls:
        for scope in services.scopes:
            try:
                found |= {key_of(each): each for each in provider.find_ours(scope)}
            except Exception as error:  # noqa: BLE001 - the next sweep tries again
                services.telemetry.fault("jit.sweep.failed", error, scope=scope)
    return list(found.values())


def _close_unread(services: SweepParts, firewall_id: str) -> None:
    try:
        close_past_ends(services, firewall_id)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must be closed
        services.telemetry.fault("jit.sweep.failed", error, firewall=firewall_id)


def _announce(soon: Iterable[Due], services: SweepParts) -> None:
    now = services.clock()
    for due in soon:
        if due.kind == "firewall":
            send_firewall(services, due.subject, delay=due.at - now)


def _by_firewall(dues: Iterable[Due]) -> list[Subject]:
    groups: dict[str, list[Due]] = {}
    for due in dues:
        if due.kind == "firewall":
            groups.setdefault(due.subject, []).append(due)
    return list(groups.items())


def _by_subject(dues: Iterable[Due]) -> list[list[Due]]:
    """Group the due rows of requests and policies, so that each is looked after once a sweep."""
    groups: dict[tuple[str, str], list[Due]] = {}
    for due in dues:
        if due.kind != "firewall":
            groups.setdefault((due.kind, key_of(due.subject)), []).append(due)
    return list(groups.values())
