"""Request access and follow it until it is open or refused; shared by request, ssh, rdp, proxy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from jit_access.client import NewShortRequest, WaitTimeoutError, wait_for_request
from jit_access.client.errors import OutsidePolicyError
from jit_access.client.models import PortRequest, RequestDryRun, RequestStatus
from jit_access.commands.exits import CommandError
from jit_access.commands.session import Session
from jit_access.commands.texts import OUTCOMES, now, state
from jit_access.commands.times import iso_length, parse_end, parse_length
from jit_access.commands.vms import Vm

_USUAL = "1h"
_UNDECIDED = frozenset({"PendingApproval", "Initiating"})
# Less time than this left is not worth reusing: the connection would find the port closed.
_WORTH_REUSING = timedelta(seconds=30)
_LONGEST_LIFE = timedelta(days=8)  # of a request: its access with all extensions, and its wait

Prompt = Callable[[str], str]


@dataclass(frozen=True)
class RequestOptions:
    """The options of a request on the command line; empty: the usual."""

    ports: tuple[int, ...] = ()
    lasting: str = ""
    until: str = ""
    source: str = ""
    reason: str = ""
    break_glass: bool = False
    timeout: str = ""


def new_request(session: Session, vm: Vm, options: RequestOptions) -> NewShortRequest:
    """Return the body of a request; raises CommandError for times that cannot be read."""
    ports = options.ports or (vm.usual_port,)
    source = options.source or session.profile.source
    body = NewShortRequest(
        virtual_machine=vm.id,
        ports=ports,
        allowed_source_address_prefixes=_several(source),
        allowed_source_address_prefix=_one(source),
        source=source if is_bastion(source) else None,
        justification=options.reason or None,
        break_glass=options.break_glass,
    )
    if options.until:
        return replace(body, end_time_utc=parse_end(options.until, now()))
    return replace(body, duration=_duration(session, vm, options, ports))


def _duration(session: Session, vm: Vm, options: RequestOptions, ports: tuple[int, ...]) -> str:
    if options.lasting:
        return iso_length(parse_length(options.lasting))
    usual = parse_length(session.profile.duration or _USUAL)
    longest = vm.longest(ports)
    return iso_length(min(usual, parse_length(longest)) if longest else usual)


def _one(source: str) -> str | None:
    others = source == "me" or "," in source or is_bastion(source)
    return source if source and not others else None


def is_bastion(source: str) -> bool:
    """Tell whether a source names Azure Bastion: by the word, or by a host's id."""
    return source == "bastion" or "/bastionhosts/" in source.lower()


def _several(source: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in source.split(",")) if "," in source else None


def dry_run(session: Session, vm: Vm, options: RequestOptions) -> RequestDryRun:
    """Return what a request would lead to."""
    return session.client.dry_run_access_short(new_request(session, vm, options))


def send_request(
    session: Session, vm: Vm, options: RequestOptions, prompt: Prompt | None = None
) -> tuple[RequestStatus, str]:
    """Send a request; where the policy wants a reason and none was given, ask for it once."""
    body = new_request(session, vm, options)
    try:
        accepted = session.client.request_access_short(body)
    except OutsidePolicyError as error:
        needs_reason = any(line.code == "JustificationRequired" for line in error.details)
        if not needs_reason or prompt is None or options.reason:
            raise
        body = replace(body, justification=prompt("Reason"))
        accepted = session.client.request_access_short(body)
    session.leaves(accepted.value.id)
    return accepted.value, accepted.location


def follow(session: Session, request_id: str, location: str, timeout: str = "") -> RequestStatus:
    """Wait until a request is decided and show how it goes on; a timeout returns its state."""
    seconds = parse_length(timeout).total_seconds() if timeout else None
    session.leaves(request_id)
    try:
        return wait_for_request(
            session.client,
            location,
            on_poll=lambda request: _show(session, request),
            timeout_seconds=seconds,
        )
    except WaitTimeoutError as error:
        return error.request


def _show(session: Session, request: RequestStatus) -> None:
    if request.is_undecided:
        session.progress(state(request))


def open_access(
    session: Session, vm: Vm, options: RequestOptions, prompt: Prompt | None = None
) -> RequestStatus:
    """Request access and wait; raises CommandError with the outcome where it is not open."""
    request, location = send_request(session, vm, options, prompt)
    session.say(f"requested {vm.name}:{','.join(map(str, options.ports or (vm.usual_port,)))}")
    return require_open(session, vm, follow(session, request.id, location, options.timeout))


def require_open(session: Session, vm: Vm, request: RequestStatus) -> RequestStatus:
    """Return a request that is open; raises CommandError with the outcome of any other."""
    session.leaves(request.id)
    if request.status != "Initiated":
        raise CommandError(
            f"{vm.name}: {state(request)}",
            f"Look at it with: jit show {request.id}",
            OUTCOMES[request.status],
        )
    session.say(f"{vm.name}: {state(request)}")
    return request


def live_request(session: Session, vm: Vm, port: int, bastion: str = "") -> RequestStatus | None:
    """Return the caller's request for a port that lasts longest, an open one before others.

    A port open to a Bastion host is of no use to a direct connection, nor the reverse. `bastion`
    is empty for a direct one, else `bastion` or a host's id. One that still waits counts: another would wait beside it. None: the caller has none.
    """
    page = session.client.list_requests(mine=True, vm=vm.id, since=now() - _LONGEST_LIFE)
    found = [
        request
        for request in session.client.every(page)
        if is_mine(session, request) and _is_live(request, vm, port, bastion)
    ]
    return max(found, key=_worth, default=None)


def _is_live(request: RequestStatus, vm: Vm, port: int, bastion: str) -> bool:
    return any(
        vm_id.lower() == vm.id.lower()
        and asked.number == port
        and _is_same_way(asked.bastion or "", bastion)
        and (asked.status in _UNDECIDED or _is_worth_reusing(asked))
        for vm_id, asked in request.ports
    )


def _is_same_way(opened_to: str, wanted: str) -> bool:
    """Tell whether a request is open to the wanted Bastion host; both empty: to an address."""
    if wanted == "bastion":
        return bool(opened_to)
    return opened_to.lower() == wanted.lower()


def _is_worth_reusing(port: PortRequest) -> bool:
    end = port.end_time_utc
    return port.status == "Initiated" and (end is None or end - now() > _WORTH_REUSING)


def _worth(request: RequestStatus) -> tuple[bool, datetime]:
    return request.status == "Initiated", request.end or request.start_time_utc


def is_mine(session: Session, request: RequestStatus) -> bool:
    """Tell whether the caller made a request: by object id where it is told, else by name."""
    given = request.raw.get("requestorObjectId")
    if given is not None:
        return str(given).lower() == str(session.claims.get("oid", "")).lower()
    names = {session.claims.get(claim) for claim in ("preferred_username", "upn", "unique_name")}
    return bool(request.requestor) and request.requestor in names
