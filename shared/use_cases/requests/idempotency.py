"""Idempotency keys: a call that is sent again leads to the request of the first call.

Two headers can say that a call is sent again, and they promise different things:

- `Repeatability-Request-ID` names one call. Its answer stands for a day, whatever became of the
  request, and the same id with another body is refused.
- `x-ms-client-request-id` is a correlation id. Clients set it once for a call, a cmdlet, a
  process or a session. Only an SDK's own retry is recognised by it: the same body within minutes,
  while every port of the first request is still open or waiting. Anything else is a new call.

A row reserves each key for a request id. The row is written before the request, so that of two
calls at the same instant one finds the other's row; and a call that stopped in between is
resumed under the same request id.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from shared.domain.errors import InvalidInputError
from shared.domain.ids import digest
from shared.domain.model import AccessRequest
from shared.domain.request import has_ended_in_part
from shared.ports import Row, RowChangedError, RowExistsError
from shared.store.codec import pack, unpack
from shared.store.keys import policy_key
from shared.store.purge import Ended, PurgeType
from shared.use_cases.parts import HasClock, HasPurges, HasRequests, HasTables

KEY_RETENTION = timedelta(hours=24)
# Longer than the retries of Azure's SDKs last, and far shorter than a session.
RETRY_WINDOW = timedelta(minutes=5)
REPEATS = "repeat|"  # how the partitions of reserved keys begin
_TRIES = 10


class IdempotencyParts(HasClock, HasRequests, HasTables, Protocol):
    """The parts for reserving an idempotency key."""


class KeyNoteParts(HasClock, HasPurges, Protocol):
    """The parts for noting when an idempotency key was reserved."""


@dataclass(frozen=True)
class Repeat:
    """The key of a call, and what the call said."""

    caller: str
    key: str
    body: str  # a digest
    is_correlation: bool = False  # the key may stand on many calls, and names none of them


@dataclass(frozen=True)
class _ReservedKey:
    request_id: str
    body: str
    at: datetime

    def is_over(self, now: datetime, window: timedelta = KEY_RETENTION) -> bool:
        return now - self.at >= window


def find_repeated(
    services: IdempotencyParts, policy_id: str, repeat: Repeat | None
) -> AccessRequest | None:
    """Return the request that an earlier call of this key led to. Return None for a new call.

    Raises InvalidInputError where the key names a call that said something else.
    """
    if repeat is None:
        return None
    row = services.tables.requests.get(*_place(policy_id, repeat))
    reserved = _reserved(services, row, repeat)
    stored = services.requests.get(reserved.request_id) if reserved else None
    return stored.request if stored else None


def reserve_key(
    services: IdempotencyParts, request: AccessRequest, repeat: Repeat | None
) -> AccessRequest:
    """Reserve a key for a request, before the request is stored.

    Returns the request under the id it is to have: another's, where another call came first.
    """
    if repeat is None:
        return request
    table = services.tables.requests
    place = _place(request.policy_id, repeat)
    mine = Row(*place, pack(_ReservedKey(request.id, repeat.body, services.clock())))
    for _ in range(_TRIES):
        try:
            table.insert(mine)
        except RowExistsError:
            row = table.get(*place)
            reserved = _reserved(services, row, repeat)
            if reserved is not None:
                return replace(request, id=reserved.request_id)
            if row is None or not _take_over(services, replace(mine, version=row.version)):
                continue
        return request
    raise RowChangedError(f"id {repeat.key} is being used by others")


def _take_over(services: HasTables, row: Row) -> bool:
    try:
        services.tables.requests.replace(row)
    except RowChangedError:
        return False
    return True


def _reserved(services: IdempotencyParts, row: Row | None, repeat: Repeat) -> _ReservedKey | None:
    """Return the reservation of a key, unless it is past its retention."""
    if row is None:
        return None
    reserved = unpack(_ReservedKey, row.values)
    if repeat.is_correlation:
        return reserved if _may_be_retried(services, reserved) else None
    if reserved.is_over(services.clock()):
        return None
    if reserved.body != repeat.body:
        raise InvalidInputError(
            f"the id '{repeat.key}' was used within a day for another request; "
            "give each request its own",
            code="RepeatedRequestDiffers",
        )
    return reserved


def _may_be_retried(services: IdempotencyParts, reserved: _ReservedKey) -> bool:
    """Tell whether a call with the same correlation id and body is a retry of the first."""
    now = services.clock()
    if reserved.is_over(now, RETRY_WINDOW):
        return False
    stored = services.requests.get(reserved.request_id)
    return stored is None or not has_ended_in_part(stored.request, now)


def note_end(services: KeyNoteParts, policy_id: str, repeat: Repeat) -> None:
    """Note when a key was reserved: retention purges it a day later."""
    partition, key = _place(policy_id, repeat)
    services.purges.add(PurgeType.KEY, [Ended(services.clock(), partition, key)])


def is_purgeable(row: Row, now: datetime) -> bool:
    """Tell whether a reserved key is past its retention; raises UnreadableRowError."""
    return unpack(_ReservedKey, row.values).is_over(now)


def _place(policy_id: str, repeat: Repeat) -> tuple[str, str]:
    # A partition of its own: listing a policy's newest requests never meets these rows.
    partition = f"{REPEATS}{policy_key(policy_id)}"
    if repeat.is_correlation:
        return partition, digest("correlation", repeat.caller, repeat.key, repeat.body)
    return partition, digest(repeat.caller, repeat.key)
