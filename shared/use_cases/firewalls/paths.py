"""Compose what all providers know of the firewalls in front of a machine. The one place for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from shared.domain.desired import Block, Observed, Opening
from shared.domain.exposure import Exposure, exposures
from shared.domain.ids import key_of
from shared.domain.machine_ids import AzureVm, Ec2Instance, parse_machine_id
from shared.domain.model import Attachment
from shared.ports import Firewalls, Machine, Machines, Neighbours, ReadFirewall


def find_machine(machines: Machines, firewalls: Firewalls, vm_id: str) -> Machine | None:
    """Read one machine with the firewalls of all providers; None: it does not exist."""
    found = _describe(machines, vm_id)
    return with_firewalls(firewalls, [found])[0] if found else None


def find_with_neighbours(
    machines: Machines, firewalls: Firewalls, vm_id: str, *, lists: bool = True
) -> tuple[Machine | None, Neighbours]:
    """Read one machine and its neighbours; without lists where nothing was found when applied."""
    found = _describe(machines, vm_id, lists=lists)
    if found is None:
        return None, Neighbours()
    neighbours = machines.neighbours(found, lists=lists)
    return with_firewalls(firewalls, [found])[0], neighbours


def _describe(machines: Machines, vm_id: str, *, lists: bool = True) -> Machine | None:
    """Describe a machine; of an EC2 instance only its provider knows more than its id."""
    parsed = parse_machine_id(vm_id)
    if not isinstance(parsed, AzureVm):
        return describe_instance(parsed)
    return machines.find(vm_id) if lists else machines.find_by_reads(vm_id)


def describe_instance(instance: Ec2Instance) -> Machine:
    """Describe an EC2 instance before its provider has told what stands in front of it."""
    return Machine(instance.text, location=instance.region, system="", attachments=())


def describe_instances(vm_ids: Iterable[str]) -> list[Machine]:
    """Describe the EC2 instances among some machines, each once; no list of Azure holds them."""
    parsed = map(parse_machine_id, vm_ids)
    unique = {each.key: each for each in parsed if isinstance(each, Ec2Instance)}
    return [describe_instance(each) for each in unique.values()]


def with_firewalls(firewalls: Firewalls, machines: Sequence[Machine]) -> list[Machine]:
    """Return machines with the attachments of every provider, the outermost firewalls first.

    One call for each provider, however many machines there are.
    """
    found: dict[str, dict[str, Attachment]] = {key_of(each.id): {} for each in machines}
    for provider in firewalls:
        for vm_id, attachments in provider.attach(machines).items():
            found[key_of(vm_id)] |= {key_of(a.firewall_id): a for a in attachments}
    notes = firewalls.notes(machines)
    return [
        replace(
            _with_attachments(each, found[key_of(each.id)]),
            notes=notes.get(each.id, each.notes),
        )
        for each in machines
    ]


def _with_attachments(machine: Machine, found: Mapping[str, Attachment]) -> Machine:
    described = {key_of(a.firewall_id): a for a in machine.attachments}
    # Stable: firewalls of one stage stay in the order in which they were found.
    first = sorted({**described, **found}.values(), key=_is_behind_translators)
    guarded = {address for each in first if each.closes for address in each.addresses}
    bare = tuple(address for address in machine.bare_addresses if address not in guarded)
    return replace(machine, attachments=tuple(first), bare_addresses=bare)


def _is_behind_translators(attachment: Attachment) -> bool:
    return attachment.stage > 0


def observed_of(snapshot: ReadFirewall) -> Observed:
    """Return a listed or settled firewall as an observed state, for judging what it lets in."""
    return Observed(snapshot.firewall_id, snapshot.version, snapshot, snapshot.exists)


def find_exposures(
    firewalls: Firewalls,
    vm_id: str,
    path: Sequence[Attachment],
    observed: Mapping[str, Observed],
    ports: Iterable[int],
) -> tuple[Exposure, ...]:
    """Find the rules that leave governed ports of a machine open behind all firewalls read.

    `observed` is by the key of the firewall; one that is not there is not judged.
    """
    numbers = tuple(sorted(set(ports)))
    openings = {
        key_of(each.firewall_id): _openings(firewalls, vm_id, each, observed, numbers)
        for each in path
        if key_of(each.firewall_id) in observed
    }
    return exposures(path, openings, numbers)


def _openings(
    firewalls: Firewalls,
    vm_id: str,
    here: Attachment,
    observed: Mapping[str, Observed],
    ports: tuple[int, ...],
) -> tuple[Opening, ...]:
    provider = firewalls.of(here.firewall_id)
    block = Block("", vm_id, ports, here.addresses)
    return provider.exposures(observed[key_of(here.firewall_id)], block)
