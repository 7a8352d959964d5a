"""The command `jit request`."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jit_access.client.models import DryRun, RequestDryRun, RequestStatus
from jit_access.commands.connecting import address_of, answers, bastion_of, probe_seconds
from jit_access.commands.exits import Exit
from jit_access.commands.opening import Prompt, RequestOptions, dry_run, follow, send_request
from jit_access.commands.output import Result, printable
from jit_access.commands.session import Session
from jit_access.commands.texts import COLUMNS, OUTCOMES, state
from jit_access.commands.vms import Vm, find_vm, name_of

_RDP = 3389


@dataclass(frozen=True)
class Following:
    """How the request is followed."""

    dry_run: bool = False
    wait: bool = True
    probe: bool = True
    prompt: Prompt | None = None


def request_all(
    session: Session, names: Iterable[str], options: RequestOptions, following: Following
) -> Iterator[Exit]:
    """Request access to each VM, show the results, and yield the exit code of each."""
    vms = [find_vm(session, name) for name in names]
    if following.dry_run:
        yield from _dry_runs(session, vms, options)
        return
    found: list[RequestStatus] = []
    try:
        sent = [(vm, *send_request(session, vm, options, following.prompt)) for vm in vms]
        for vm, request, location in sent:
            if not following.wait:
                session.say(f"{vm.name}: accepted; follow it with: jit wait {request.id}")
                found.append(request)
                yield Exit.DONE
                continue
            decided = follow(session, request.id, location, options.timeout)
            found.append(decided)
            yield _reached(session, vm, decided, options, following)
    finally:
        if found:
            _show(session, found)


def _show(session: Session, found: list[RequestStatus]) -> None:
    data = [request.raw for request in found]
    text = "\n".join(
        printable(f"{name_of(request.virtual_machines[0].id)}: {state(request)}")
        for request in found
    )
    session.show(Result(data[0] if len(data) == 1 else data, text, COLUMNS))


def _reached(
    session: Session, vm: Vm, request: RequestStatus, options: RequestOptions, following: Following
) -> Exit:
    """Return the exit code; say how to connect, and try it where that tells something."""
    if request.status != "Initiated":
        session.settles(request.id)
        if request.status == "PendingApproval":
            session.say(f"still waiting; go on with: jit wait {request.id}")
        return OUTCOMES[request.status]
    port = request.ports[0][1].number
    through = bastion_of(request, vm, port)
    command = f"{_command(vm, port)}{' --via bastion' if through else ''}"
    session.say(f"connect with: {command}    end with: jit end {request.id}")
    is_own = (options.source or session.profile.source) in {"", "me"}
    if not following.probe or through or not is_own:
        return Exit.DONE
    entry = address_of(session, request, vm, port)
    if entry is None or answers(entry, probe_seconds(options.timeout)):
        return Exit.DONE
    session.complain(
        f"open at Azure, but {vm.name} at {entry.host}:{entry.port} does not answer",
        "The VM may be off, or see another address of yours (VPN, IPv6): --source.",
    )
    return Exit.EXPOSED


def _command(vm: Vm, port: int) -> str:
    return f"jit rdp {vm.name}" if port == _RDP else f"jit ssh {vm.name}"


def _dry_runs(session: Session, vms: list[Vm], options: RequestOptions) -> Iterator[Exit]:
    found = [dry_run(session, vm, options) for vm in vms]
    data = [outcome.raw for outcome in found]
    text = "\n".join(
        line for vm, outcome in zip(vms, found, strict=True) for line in _told(vm, outcome)
    )
    session.show(Result(data[0] if len(data) == 1 else data, text))
    for outcome in found:
        yield (
            Exit.DONE
            if outcome.allowed and not outcome.problems
            else (Exit.FAILED if outcome.allowed else Exit.OUTSIDE_POLICY)
        )


def _told(vm: Vm, found: RequestDryRun) -> Iterator[str]:
    yield f"{vm.name}: {'would be accepted' if found.allowed else 'would be refused'}"
    for line in (*found.reasons, *found.problems):
        yield printable(f"  {line.code}: {line.message}")
    yield from change_lines(found)


def change_lines(found: DryRun) -> Iterator[str]:
    """Yield the rules that a dry run would put and remove."""
    for change in found.firewalls:
        if change.put or change.remove or change.blocked:
            yield f"  {name_of(change.id)}"
        for rule in change.put:
            properties = rule.properties
            ports = properties.get("destinationPortRange") or ",".join(
                properties.get("destinationPortRanges", ())
            )
            source = properties.get("sourceAddressPrefix") or ",".join(
                properties.get("sourceAddressPrefixes", ())
            )
            yield printable(
                f"  + {properties.get('priority', '')} {properties.get('access', '')} {source} -> {ports}"
                f"  {rule.name}"
            )
        for name in change.remove:
            yield printable(f"  - {name}")
        for blocked in change.blocked:
            yield printable(f"  ! {blocked.rule}: {blocked.reason}")
