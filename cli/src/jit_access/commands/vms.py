"""Find the VM that a name means."""

from collections.abc import Sequence
from dataclasses import dataclass

from jit_access.client.errors import NotPermittedError
from jit_access.client.models import BastionHost, Machine
from jit_access.commands import cache
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session

_SSH, _RDP = 22, 3389


@dataclass(frozen=True)
class Vm:
    """A VM by its id; `machine` is what the service tells of it, None if that may not be read."""

    id: str
    machine: Machine | None = None

    @property
    def name(self) -> str:
        """Return the last part of its id."""
        return name_of(self.id)

    @property
    def usual_port(self) -> int:
        """Return the port that people mean: ssh, or Remote Desktop on Windows."""
        is_windows = self.machine is not None and (self.machine.system or "").lower() == "windows"
        usual = _RDP if is_windows else _SSH
        ports = [rule.number for rule in self.machine.ports] if self.machine else []
        return ports[0] if len(ports) == 1 and usual not in ports else usual

    @property
    def bastions(self) -> tuple[BastionHost, ...]:
        """Return the Bastion hosts that reach it; empty where they are not known, too."""
        return (self.machine.bastions or ()) if self.machine else ()

    @property
    def has_no_bastion(self) -> bool:
        """Tell whether it is known that no Bastion host reaches it."""
        return self.machine is not None and self.machine.bastions == ()

    def longest(self, ports: Sequence[int]) -> str:
        """Return the shortest of the policy's longest times for these ports; empty if unknown."""
        rules = self.machine.ports if self.machine else ()
        found = [rule.max_request_access_duration for rule in rules if rule.number in ports]
        return min(found, key=_length_of) if found else ""


def _length_of(text: str) -> float:
    from jit_access.commands.times import parse_length

    return parse_length(text).total_seconds()


def name_of(resource_id: str) -> str:
    """Return the last part of an id."""
    return resource_id.rstrip("/").rpartition("/")[2]


def group_of(resource_id: str) -> str:
    """Return the resource group of an id."""
    parts = resource_id.split("/")
    return parts[4] if len(parts) > 4 else ""  # noqa: PLR2004 - /subscriptions/x/resourceGroups/y


def group_and_name(resource_id: str) -> str:
    """Return the form that tells VMs of one name apart."""
    return f"{group_of(resource_id)}/{name_of(resource_id)}"


def list_machines(session: Session, scope: str = "") -> list[Machine]:
    """List the VMs, and keep their names for completion."""
    first = session.client.list_machines(scope=scope)
    for told in first.unanswered:
        session.say(f"not complete: {told}")
    found = list(session.client.every(first))
    if not scope:
        ids = [machine.id for machine in found]
        cache.keep([*map(name_of, ids), *map(group_and_name, ids)])
    return found


def find_vm(session: Session, text: str) -> Vm:
    """Return the VM that an id, a name or group/name means; raises CommandError otherwise."""
    if text.startswith("/"):
        return _by_id(session, text.rstrip("/"))
    machines = list_machines(session)
    wanted = text.lower()
    found = [machine for machine in machines if wanted in labels_of(machine.id)]
    if len(found) == 1:
        return Vm(found[0].id, found[0])
    if not found:
        raise CommandError(f"there is no VM '{text}'", _similar(machines, wanted), Exit.NOT_FOUND)
    listed = "\n".join(f"  {group_and_name(machine.id)}  {machine.id}" for machine in found)
    raise CommandError(
        f"{len(found)} VMs are called '{text}':\n{listed}",
        f"Name one, such as {group_and_name(found[0].id)}, or its whole id.",
        Exit.NOT_FOUND,
    )


def labels_of(vm_id: str) -> set[str]:
    """Return the lower-case names of a VM; the last is one that a host name can hold."""
    name, group = name_of(vm_id).lower(), group_of(vm_id).lower()
    return {name, f"{group}/{name}", f"{name}.{group}"}


def _by_id(session: Session, vm_id: str) -> Vm:
    """Return a VM by its id; a caller who may not read it can still request access."""
    try:
        found = list_machines(session, vm_id)
    except NotPermittedError:
        return Vm(vm_id)
    same = [machine for machine in found if machine.id.lower() == vm_id.lower()]
    if not same:
        raise CommandError(f"there is no VM {vm_id}", "`jit vm ls` lists them.", Exit.NOT_FOUND)
    return Vm(same[0].id, same[0])


def _similar(machines: Sequence[Machine], wanted: str) -> str:
    from difflib import get_close_matches

    known = {name_of(machine.id).lower(): name_of(machine.id) for machine in machines}
    close = [known[name] for name in get_close_matches(wanted, known, n=3)]
    return f"Did you mean {' or '.join(close)}?" if close else "`jit vm ls` lists them."
