"""Remember which firewalls overran in the last sweep, so that the next comes to them last.

The memory is bounded and may be lost: the order of a sweep is all that rests on it.
"""

from collections.abc import Iterable
from typing import Protocol

from shared.domain.ids import digest, key_of
from shared.ports import Row
from shared.use_cases.parts import HasTables, HasTelemetry

_PLACE = ("health", "overran")
_MOST = 500  # digests of 32 characters, in a column that holds 32,768


class OverrunParts(HasTables, HasTelemetry, Protocol):
    """The parts for remembering firewalls whose sweep overran."""


def overran_before(services: OverrunParts) -> frozenset[str]:
    """Return the digests of the firewalls that overran in the last sweep."""
    try:
        row = services.tables.firewalls.get(*_PLACE)
    except Exception as error:  # noqa: BLE001 - it decides an order and nothing else
        services.telemetry.fault("jit.sweep.unnoted", error)
        return frozenset()
    return frozenset(str(row.values.get("firewalls", "")).split()) if row else frozenset()


def note_overruns(services: OverrunParts, firewall_ids: Iterable[str]) -> None:
    """Remember the firewalls that overran in this sweep."""
    digests = sorted(digest(key_of(each)) for each in firewall_ids)[:_MOST]
    try:
        services.tables.firewalls.upsert(Row(*_PLACE, {"firewalls": " ".join(digests)}))
    except Exception as error:  # noqa: BLE001 - it decides an order and nothing else
        services.telemetry.fault("jit.sweep.unnoted", error)
