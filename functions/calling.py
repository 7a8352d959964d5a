"""The caller of the call at hand, noted so that its refusal goes on record."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.domain.model import Principal


@dataclass
class Calling:
    """A call's own id and what was called; who was verified and throttled, and for whom."""

    id: str
    what: str
    caller: Principal | None = None
    person: Principal | None = None


_at_hand: ContextVar[Calling | None] = ContextVar("calling", default=None)


@contextmanager
def a_call(call_id: str, what: str) -> Iterator[Calling]:
    """Begin a call whose caller is not known yet."""
    calling = Calling(call_id, what)
    mark = _at_hand.set(calling)
    try:
        yield calling
    finally:
        _at_hand.reset(mark)


def note_caller(principal: Principal) -> None:
    """Note the caller of the call at hand."""
    calling = _at_hand.get()
    if calling is not None:
        calling.caller = principal


def note_person(person: Principal) -> None:
    """Note for whom a relay makes the call at hand."""
    calling = _at_hand.get()
    if calling is not None:
        calling.person = person
