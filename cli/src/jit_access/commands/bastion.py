"""Reach a VM through Azure Bastion: choose the host, request access for it, open the tunnel."""

from collections.abc import Iterator
from contextlib import contextmanager

from jit_access.client.models import BastionHost, RequestStatus
from jit_access.commands.connecting import bastion_of
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.opening import is_bastion
from jit_access.commands.reaching import Reached, ReachOptions, open_request
from jit_access.commands.running import program
from jit_access.commands.session import Session
from jit_access.commands.tunnel import Target, tunnel
from jit_access.commands.vms import Vm

_NATIVE = frozenset({"standard", "premium"})


@contextmanager
def reached_through_bastion(
    session: Session, vm: Vm, port: int, options: ReachOptions
) -> Iterator[Reached]:
    """Yield the entry of a tunnel to a VM; nothing is requested where no tunnel can be opened."""
    az = _az()
    source = _source(session, vm, options)
    request = open_request(session, vm, port, options.with_source(source))
    host_id = bastion_of(request, vm, port) or source
    _require_native([host for host in vm.bastions if host.id.lower() == host_id.lower()], vm)
    session.progress(f"opening a tunnel through {host_id.rpartition('/')[2]} ...")
    with _telling_how_to_end(request), tunnel(Target(az, host_id, vm.id, port)) as entry:
        yield Reached(request, entry)


def _az() -> str:
    try:
        return program("az")
    except CommandError:
        raise CommandError(
            "--via bastion needs the Azure CLI, and az is not installed",
            "Install it: https://aka.ms/azure-cli, then: az extension add --name bastion.",
        ) from None


def _source(session: Session, vm: Vm, options: ReachOptions) -> str:
    """Return the source to request: the host that was named, or one that can be used."""
    given = options.request.source or session.profile.source
    source = given if is_bastion(given) else "bastion"
    if vm.has_no_bastion:
        raise CommandError(
            f"no Bastion host reaches {vm.name}",
            "None stands in its virtual network or in a peered one: --via direct.",
            Exit.NOT_FOUND,
        )
    named = [host for host in vm.bastions if source.lower() in {"bastion", host.id.lower()}]
    _require_native(named, vm)
    usable = [host for host in named if _is_native(host)]
    return usable[0].id if len(usable) == 1 < len(named) else source


def _is_native(host: BastionHost) -> bool:
    return host.sku.lower() in _NATIVE and host.enable_tunneling


def _require_native(hosts: list[BastionHost], vm: Vm) -> None:
    """Raise CommandError where no host takes native clients, with what it lacks."""
    if not hosts or any(_is_native(host) for host in hosts):
        return
    host = hosts[0]
    lacks = (
        f"is {host.sku}; native clients need Standard or Premium"
        if host.sku.lower() not in _NATIVE
        else "has native client support (enableTunneling) switched off"
    )
    raise CommandError(
        f"Bastion '{host.name}' {lacks}",
        f"Request with: jit request {vm.name} --source bastion. Connect in the portal: "
        f"https://portal.azure.com/#resource{vm.id}",
    )


@contextmanager
def _telling_how_to_end(request: RequestStatus) -> Iterator[None]:
    """Let an error after the opening say how to end the request."""
    try:
        yield
    except CommandError as error:
        advice = f"{error.advice} End the access with: jit end {request.id}".strip()
        raise CommandError(error.message, advice, error.code) from None
