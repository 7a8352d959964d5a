"""The room in a request's row: what is said once, what it may grow by, and what gives way.

A request is accepted only if its row fits at its largest: opened on its firewalls, every port
closed with a reason of its own, everybody's decision in. So the close that ends it can always be
written. Where a row is full all the same, because an older version wrote it, texts give way.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.domain.errors import ConflictError, InvalidInputError
from shared.domain.model import (
    AccessRequest,
    Approval,
    CloseReason,
    Closing,
    Extension,
    Front,
    Policy,
    PolicyState,
    PortRequest,
    PortRule,
    Principal,
    Status,
    Vote,
)
from shared.domain.permissions import APP_ROLES
from shared.domain.policy import USUAL_PORTS
from shared.domain.request import change_ports
from shared.domain.texts import MAX_NAME, MAX_TEXT, as_json, shorten, stored_bytes
from shared.ports import Value
from shared.store.codec import (
    MAX_DOCUMENT,
    RowTooLargeError,
    encode,
    pack_json,
    size_of,
    unpack,
)

MAX_EXTENSIONS = 150
MOST_FOR_EXTENSIONS = 60_000  # UTF-16 units, for all later ends of a request and their decisions
SHORT_TEXT = MAX_TEXT // 4  # what is left of a text where the row is full
_LATE = datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=UTC)
_LONGEST_KEY = "k" * 80  # tenant and object id
_LONGEST_ID = "i" * 300
_FORESEEN = (Front(_LONGEST_ID, ("a" * 42,) * 4),) * 2  # the interface's group and the subnet's
_SAME = "message_of"  # the port that says the same, in place of saying it again


# --- texts are stored once ----------------------------------------------------------------------


def pack_request(request: AccessRequest) -> dict[str, Value]:
    """Write a request in columns; raises RowTooLargeError where even its bare fields are too many.

    Each text that several ports share is written with the first of them. The version before reads
    it there, and finds none with the others.
    """
    for give_way in _GIVE_WAY:
        request = give_way(request)
        try:
            return pack_json(as_json(_fold_messages(encode(request))))
        except RowTooLargeError as error:
            full = error
    raise full


def unpack_request(values: Mapping[str, Value]) -> AccessRequest:
    """Read a request from a row's columns; raises UnreadableRowError."""
    return unpack(AccessRequest, values, restore=_unfold_messages)


def _fold_messages(document: Any) -> Any:
    first: dict[str, int] = {}
    for number, port in enumerate(document["ports"]):
        closing = port.get("closing") or {}
        message = closing.get("message")
        if message is not None and first.setdefault(message, number) != number:
            del closing["message"]
            closing[_SAME] = first[message]
    return document


def _unfold_messages(document: Any) -> Any:
    closings = [port.get("closing") or {} for port in document["ports"]]
    messages = [closing.get("message", "") for closing in closings]
    for closing in closings:
        said = closing.pop(_SAME, None)
        if isinstance(said, int) and 0 <= said < len(messages):
            closing["message"] = messages[said]
    return document


# --- what gives way -----------------------------------------------------------------------------


def _short_texts(request: AccessRequest, most: int = SHORT_TEXT) -> AccessRequest:
    def cut(port: PortRequest) -> PortRequest:
        if port.closing is None:
            return port
        return replace(
            port, closing=replace(port.closing, message=shorten(port.closing.message, most))
        )

    said = request.justification
    return replace(
        change_ports(request, cut),
        justification=shorten(said, most) if said else said,
        authorized_by=shorten(request.authorized_by, most),
        approval=_short_comments(request.approval, most),
        decided=tuple(_short_extension(each, most) for each in request.decided),
        extension=_short_extension(request.extension, most) if request.extension else None,
    )


def _short_extension(asked: Extension, most: int) -> Extension:
    return replace(asked, approval=_short_comments(asked.approval, most) or asked.approval)


def _short_comments(approval: Approval | None, most: int) -> Approval | None:
    if approval is None:
        return None
    votes = tuple(replace(vote, comment=shorten(vote.comment, most)) for vote in approval.votes)
    return replace(approval, votes=votes)


def _no_texts(request: AccessRequest) -> AccessRequest:
    return _short_texts(request, 0)


def _no_history(request: AccessRequest) -> AccessRequest:
    """Keep the newest of the later ends; all are in the activity."""
    return replace(request, decided=request.decided[-1:], extended=request.extended[-1:])


def _bare_ports(request: AccessRequest) -> AccessRequest:
    """Keep of a port that is closing what its close is proven by: firewalls, VM and number."""

    def strip(port: PortRequest) -> PortRequest:
        if port.closing is None:
            return port
        fronts = tuple(map(_bare_front, port.fronts or ()))
        return replace(
            port,
            sources=port.sources[:1],
            end_text="",
            fronts=fronts if port.fronts else port.fronts,
        )

    return change_ports(request, strip)


def _bare_front(front: Front) -> Front:
    seen = front.seen_sources
    return replace(front, addresses=(), seen_sources=seen if seen is None else seen[:1])


_GIVE_WAY: tuple[Callable[[AccessRequest], AccessRequest], ...] = (
    lambda request: request,
    _short_texts,
    _no_texts,
    _no_history,
    _bare_ports,
)


def require_short(field: str, text: str) -> None:
    """Raise InvalidInputError where a text takes more bytes in a row than one may."""
    size = stored_bytes(text)
    if size > MAX_TEXT:
        raise InvalidInputError(
            f"{field}: it takes {size} bytes as it is stored, and {MAX_TEXT} is the most; "
            "say it in fewer words"
        )


def as_stored(person: Principal) -> Principal:
    """Keep of a person who decides what tells who it was, and the roles that this app knows."""
    return replace(
        person,
        name=shorten(person.name, MAX_NAME),
        roles=person.roles.intersection(APP_ROLES),
    )


# --- what is foreseen ---------------------------------------------------------------------------


def has_room(request: AccessRequest) -> bool:
    """Tell whether a request's row fits whatever becomes of it, its last close included."""
    return size_of(largest_form(request)) + MOST_FOR_EXTENSIONS <= MAX_DOCUMENT


def largest_form(request: AccessRequest) -> AccessRequest:
    """Return a request as it is once everything about it has been written, extensions apart."""
    ports = tuple(_largest_port(port, number) for number, port in enumerate(request.ports))
    approval = _largest_approval(request.approval) if request.approval else None
    return replace(request, ports=ports, approval=approval, extension=None, decided=(), extended=())


def _largest_port(port: PortRequest, number: int) -> PortRequest:
    fronts = _FORESEEN if port.fronts is None else port.fronts
    length = (SHORT_TEXT if number else MAX_TEXT) // 2
    text = f"{number:0{length}d}"  # each port's own: what is the same is written once
    return replace(
        port,
        end_at=_LATE,
        status=Status.PENDING_APPROVAL,
        fronts=tuple(_largest_front(front, number) for number, front in enumerate(fronts)),
        closing=Closing(CloseReason.NEWER, _LATE, text, _LONGEST_KEY, _LONGEST_KEY),
        opened_at=_LATE,
        closed_at=_LATE,
        close_lead=port.close_lead or timedelta(seconds=600.5),
    )


def _largest_front(front: Front, number: int) -> Front:
    """Return a firewall's state at its largest; the outermost one tells where to connect."""
    seen = replace(front, opened_at=_LATE, closed_at=_LATE)
    return seen if number else replace(seen, entry_address="a" * 42, entry_port=65_535)


def _largest_approval(approval: Approval) -> Approval:
    missing = max(0, approval.needed - len(approval.votes))
    return replace(approval, votes=approval.votes + (_LARGEST_VOTE,) * missing)


_LARGEST_PERSON = Principal(
    "t" * 36, "o" * 36, "n" * (MAX_NAME // 2), is_app=True, roles=frozenset({"r" * 160}),
    app_id="a" * 36,
)  # fmt: skip
_LARGEST_VOTE = Vote(_LARGEST_PERSON, True, _LATE, "c" * (MAX_TEXT // 2), _LARGEST_PERSON)


def require_room_to_extend(request: AccessRequest) -> AccessRequest:
    """Return a request with a later end; raises ConflictError where it has no room for one."""
    if not extensions_fit(request):
        raise ConflictError(
            f"This request has been extended as often as one may, {MAX_EXTENSIONS} times or as "
            "far as its decisions leave room; ask for the access anew.",
            code="TooManyExtensions",
        )
    return request


def extensions_fit(request: AccessRequest) -> bool:
    """Tell whether a request's later ends are within their number and their room."""
    waiting = request.extension
    count = len(request.extended) + len(request.decided) + (waiting is not None)
    size = sum(size_of(each) + 1 for each in (*request.extended, *request.decided))
    if waiting is not None:
        size += size_of(replace(waiting, approval=_largest_approval(waiting.approval)))
        size += 200  # and the note of the end, once it is given
    return count <= MAX_EXTENSIONS and size <= MOST_FOR_EXTENSIONS - 100


def policy_has_room(policy: Policy) -> bool:
    """Tell whether a policy's row fits once it was applied: usual ports and an error filled in."""
    usual = tuple(map(PortRule, sorted({n for each in USUAL_PORTS.values() for n in each})))
    vms = tuple(vm if vm.ports else replace(vm, ports=usual) for vm in policy.vms)
    largest = replace(policy, vms=vms, state=PolicyState.SUCCEEDED, error="e" * (MAX_TEXT // 2))
    return size_of(largest) <= MAX_DOCUMENT
