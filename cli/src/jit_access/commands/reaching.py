"""Make sure that a port is open and answers; shared by ssh, rdp and proxy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from jit_access.client.models import RequestStatus
from jit_access.commands.connecting import Entry, address_of, answers, probe_seconds
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.opening import (
    Prompt,
    RequestOptions,
    follow,
    is_bastion,
    live_request,
    open_access,
    require_open,
)
from jit_access.commands.requests import location_of
from jit_access.commands.session import Session
from jit_access.commands.vms import Vm


@dataclass(frozen=True)
class ReachOptions:
    """How a VM is reached."""

    request: RequestOptions = field(default_factory=RequestOptions)
    address: str = ""
    new: bool = False
    probe: bool = True
    prompt: Prompt | None = None
    via: str = ""  # direct or bastion; empty: as the source says

    @classmethod
    def read(cls, given: Mapping[str, Any], prompt: Prompt | None = None) -> Self:
        """Return the options of a command line."""
        names = ("lasting", "until", "source", "reason", "timeout")
        texts: dict[str, Any] = {name: given.get(name) or "" for name in names}
        if texts["lasting"] and texts["until"]:
            raise CommandError("give --for or --until, not both")
        return cls(
            RequestOptions(**texts, break_glass=given.get("break_glass", False)),
            address=given.get("address") or "",
            new=given.get("new", False),
            probe=not given.get("no_probe", False),
            prompt=prompt,
            via=given.get("via") or "",
        )

    def with_source(self, source: str) -> Self:
        """Return the options with another source to request."""
        return replace(self, request=replace(self.request, source=source))

    def is_through_bastion(self, usual_source: str) -> bool:
        """Tell whether the way leads through Bastion; raises CommandError for a contradiction."""
        source = self.request.source
        if self.via == "bastion" and source and not is_bastion(source):
            raise CommandError("--via bastion opens to Bastion alone", "Leave out --source.")
        if self.via == "direct" and is_bastion(source):
            raise CommandError("--source bastion opens to Bastion alone", "Leave out --via direct.")
        is_through = self.via == "bastion" or (not self.via and is_bastion(source or usual_source))
        if is_through and self.address:
            raise CommandError("--address is for a direct connection", "Leave it out.")
        return is_through


@dataclass(frozen=True)
class Reached:
    """An open request and where to connect."""

    request: RequestStatus
    entry: Entry


@contextmanager
def reached(session: Session, vm: Vm, port: int, options: ReachOptions) -> Iterator[Reached]:
    """Yield where a VM is reached, directly or through a tunnel that ends afterwards."""
    if not options.is_through_bastion(session.profile.source):
        yield _reach(session, vm, port, options)
        return
    from jit_access.commands.bastion import reached_through_bastion

    with reached_through_bastion(session, vm, port, options) as found:
        yield found


def _reach(session: Session, vm: Vm, port: int, options: ReachOptions) -> Reached:
    """Return an open port that answers; requests access only if none is open."""
    request = open_request(session, vm, port, options)
    entry = address_of(session, request, vm, port, options.address)
    if entry is None:
        raise CommandError(
            f"{vm.name} is open, but its address is not known here",
            f"Give --address HOST, or sign in to Azure. End it with: jit end {request.id}",
            Exit.EXPOSED,
        )
    if options.probe:
        _probe(session, vm, Reached(request, entry), probe_seconds(options.request.timeout))
    return Reached(request, entry)


def open_request(session: Session, vm: Vm, port: int, options: ReachOptions) -> RequestStatus:
    """Return the open request to use: the caller's own, once it is open, else a new one."""
    source = options.request.source or session.profile.source
    through = source if is_bastion(source) else ""
    current = None if options.new else live_request(session, vm, port, through)
    if current is None:
        wanted = replace(options.request, ports=(port,))
        return open_access(session, vm, wanted, options.prompt)
    if current.is_undecided:
        location = location_of(current.id)
        current = follow(session, current.id, location, options.request.timeout)
    return require_open(session, vm, current)


def _probe(session: Session, vm: Vm, reached: Reached, seconds: float) -> None:
    entry = reached.entry
    session.progress(f"trying {entry.host}:{entry.port} ...")
    if answers(entry, seconds):
        return
    raise CommandError(
        f"open at Azure, but {vm.name} at {entry.host}:{entry.port} does not answer",
        "The VM may be off, or see another address of yours (VPN, IPv6): "
        f"jit ssh {vm.name} --new --source ADDRESS. End it with: jit end {reached.request.id}",
        Exit.EXPOSED,
    )
