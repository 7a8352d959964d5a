"""An idempotent POST: the same id from the same caller opens nothing twice.

A row per id remembers which request it led to. The row is written before the request, so that of
two calls at the same instant one finds the other's; and a call that stopped in between is taken
up again under the same request id.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.arm_ids import digest
from shared.domain.errors import InvalidInputError
from shared.domain.model import AccessRequest
from shared.use_cases.codec import pack, unpack
from shared.use_cases.interfaces import Row, RowChangedError, RowExistsError
from shared.use_cases.rows import policy_key
from shared.use_cases.services import Services

REMEMBERED = timedelta(hours=24)
REPEATS = "repeat|"  # how the partitions of remembered ids begin
_TRIES = 10


@dataclass(frozen=True)
class Repeat:
    """The id a caller gave a call, and what the call said."""

    caller: str
    key: str
    body: str  # a digest


@dataclass(frozen=True)
class _Remembered:
    request_id: str
    body: str
    at: datetime

    def is_over(self, now: datetime) -> bool:
        return now - self.at >= REMEMBERED


def find_repeated(
    services: Services, policy_id: str, repeat: Repeat | None
) -> AccessRequest | None:
    """Return the request that an earlier call of this id led to; None: go on with this one.

    Raises InvalidInputError where that call said something else.
    """
    if repeat is None:
        return None
    row = services.tables.requests.get(*_place(policy_id, repeat))
    held = _live(services, row, repeat)
    found = services.requests.get(held.request_id) if held else None
    return found.request if found else None


def claim(services: Services, request: AccessRequest, repeat: Repeat | None) -> AccessRequest:
    """Note which request an id leads to, before it is made.

    Returns the request under the id it is to have: another's, where another call came first.
    """
    if repeat is None:
        return request
    table = services.tables.requests
    place = _place(request.policy_id, repeat)
    mine = Row(*place, pack(_Remembered(request.id, repeat.body, services.clock())))
    for _ in range(_TRIES):
        try:
            table.insert(mine)
        except RowExistsError:
            row = table.get(*place)
            held = _live(services, row, repeat)
            if held is not None:
                return replace(request, id=held.request_id)
            if row is None or not _take_over(services, replace(mine, version=row.version)):
                continue
        return request
    raise RowChangedError(f"id {repeat.key} is being used by others")


def _take_over(services: Services, row: Row) -> bool:
    try:
        services.tables.requests.replace(row)
    except RowChangedError:
        return False
    return True


def _live(services: Services, row: Row | None, repeat: Repeat) -> _Remembered | None:
    if row is None:
        return None
    held = unpack(_Remembered, row.values)
    if held.is_over(services.clock()):
        return None
    if held.body != repeat.body:
        raise InvalidInputError(
            f"the id '{repeat.key}' was used within a day for another request; "
            "give each request its own",
            code="RepeatedRequestDiffers",
        )
    return held


def is_forgotten(row: Row, now: datetime) -> bool:
    """Tell whether a remembered id has had its time; raises UnreadableRowError."""
    return unpack(_Remembered, row.values).is_over(now)


def _place(policy_id: str, repeat: Repeat) -> tuple[str, str]:
    # A partition of its own: listing a policy's newest requests never meets these rows.
    return f"{REPEATS}{policy_key(policy_id)}", digest(repeat.caller, repeat.key)
