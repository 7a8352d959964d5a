"""Machines behind several types of firewall: attachments and exposure are composed in one place."""

from dataclasses import replace

import pytest

from shared.domain.desired import Allow, Block, Desired, Entry
from shared.domain.machine_ids import defender_id
from shared.domain.model import Attachment, Policy, PolicyVm, PortRule, Status
from shared.domain.request import entry_of
from shared.firewalls.nsg.discovery import in_sequence
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.provider import NsgProvider
from shared.firewalls.registry import Registry
from shared.ports import Listed, Machine, Neighbours
from shared.use_cases.firewalls.paths import find_exposures, find_machine, find_with_neighbours
from shared.use_cases.policies import apply
from shared.use_cases.policies.findings import Governed
from shared.use_cases.policies.protect import Applied
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from tests.fakes import NAMES
from tests.providers.serial.cloud import Cloud as SerialCloud
from tests.providers.serial.cloud import Translation
from tests.providers.serial.provider import Serial
from tests.providers.shared_rules.cloud import Cloud as SharedCloud
from tests.providers.shared_rules.cloud import Rule
from tests.providers.shared_rules.provider import SharedRules
from tests.samples import MINUTE
from tests.unit.test_machine_ids import CONNECTOR
from tests.world import DB, GROUP, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, SUBSCRIPTION, WEB, World

ADDRESS = "10.0.0.4"
SHOWN = ("10.0.1.0/26",)
EDGE, SHARED = "serial:edge", "shared:one"
INSTANCE = defender_id(CONNECTOR, "i-0123456789abcdef0", "eu-central-1")
INSTANCE_ADDRESS = "172.31.0.9"


class PathWorld(World):
    """A world with three types of firewall: web behind two of them, an instance behind a third."""

    def __init__(self) -> None:
        super().__init__()
        self.serial, self.shared = SerialCloud(self.clock), SharedCloud()
        providers = (
            NsgProvider(self.firewall, NAMES),
            Serial(self.serial),
            SharedRules(self.shared),
        )
        self.services = replace(self.services, firewalls=Registry(providers))
        self.serial.add(EDGE)
        self.shared.add(SHARED)
        edge = Attachment(EDGE, (ADDRESS,), stage=0, shows_public_as=SHOWN)
        self.serial.attached[WEB] = (edge,)
        self.shared.attached[INSTANCE] = (Attachment(SHARED, (INSTANCE_ADDRESS,)),)

    def found(self, vm_id: str = WEB) -> Machine:
        """Return one machine with everything in front of it."""
        machine = find_machine(self.machines, self.services.firewalls, vm_id)
        assert machine is not None
        return machine

    def exposed(self, vm_id: str = WEB) -> list[tuple[str, str]]:
        """Return the firewall and the name of everything that leaves SSH open."""
        path = self.found(vm_id).attachments
        firewalls = self.services.firewalls
        observed = {
            each.firewall_id.lower(): firewalls.of(each.firewall_id).read(each.firewall_id)
            for each in path
        }
        found = find_exposures(firewalls, vm_id, path, observed, (22, 22))
        return [(each.firewall_id, each.opening.what) for each in found]

    def lists(self, *machines: Machine) -> "Inventory":
        """Return an inventory that lists some machines."""
        return Inventory(self, machines)


class Inventory:
    """The cloud's lists: machines, and every security group."""

    def __init__(self, world: PathWorld, machines: tuple[Machine, ...]) -> None:
        self._world, self._machines = world, machines

    def read(self, places: tuple[str, ...]) -> Listed:
        """Return the lists."""
        read = self._world.firewall.read
        assert places == (f"/subscriptions/{SUBSCRIPTION}",)
        return Listed(self._machines, {each.lower(): read(each) for each in (NSG_NIC, NSG_SUBNET)})


def stages(machine: Machine) -> list[tuple[str, int]]:
    """Return the firewalls of a machine in order, with their stages."""
    return [(each.firewall_id, each.stage) for each in machine.attachments]


@pytest.fixture
def world() -> PathWorld:
    """Return a world with three types of firewall."""
    return PathWorld()


# --- attachments


def test_the_attachments_of_all_providers_are_composed_outermost_first(world: PathWorld) -> None:
    """A translator in front comes before the groups, and groups never share a stage."""
    assert stages(world.found()) == [(EDGE, 0), (NSG_NIC, 1), (NSG_SUBNET, 2)]
    assert stages(world.found(DB)) == [(NSG_SUBNET, 1)]
    assert find_machine(world.machines, world.services.firewalls, f"{WEB}-gone") is None
    assert find_with_neighbours(world.machines, world.services.firewalls, f"{WEB}-gone") == (
        None,
        Neighbours(),
    )


def test_an_instance_stands_behind_what_its_provider_says(world: PathWorld) -> None:
    """The cloud's inventory of VMs is not asked about a machine of another cloud."""
    machine = world.found(INSTANCE)
    assert (machine.id, machine.location) == (INSTANCE, "eu-central-1")
    assert stages(machine) == [(SHARED, 1)]
    found, neighbours = find_with_neighbours(world.machines, world.services.firewalls, INSTANCE)
    assert (found, neighbours.shared) == (machine, "")


def test_what_shares_an_address_is_told_with_the_machine(world: PathWorld) -> None:
    """A rule that names the address would open both."""
    world.machines.add(DB, Attachment(NSG_SUBNET, (ADDRESS,)))
    machine, neighbours = find_with_neighbours(world.machines, world.services.firewalls, WEB)
    assert machine is not None
    assert "also belongs to 'db'" in neighbours.shared


def test_an_address_that_another_provider_guards_is_not_bare(world: PathWorld) -> None:
    """A VM without a group on an address may stand behind a firewall of another provider."""
    held = world.machines.machines[WEB.lower()]
    bare = replace(held, attachments=(), bare_addresses=(ADDRESS, "10.0.0.9"))
    world.machines.machines[WEB.lower()] = bare
    found = world.found()
    assert (stages(found), found.bare_addresses) == ([(EDGE, 0)], ("10.0.0.9",))


def test_groups_before_one_address_pass_in_sequence() -> None:
    """Each group must let a packet through, also where one group is on a subnet and an interface."""
    here, there = (ADDRESS,), ("10.0.0.9",)
    crossed = (Attachment("a", (*here, *there), 2), Attachment("b", (*here, *there), 2))
    assert [each.stage for each in in_sequence(crossed)] == [2, 3]
    apart = (Attachment("a", here, 2), Attachment("b", there, 2))
    assert [each.stage for each in in_sequence(apart)] == [2, 2]


# --- exposure


def open_for(world: PathWorld, firewall_id: str, sources: tuple[str, ...]) -> None:
    """Open SSH as this app, by the provider of the firewall."""
    provider = world.services.firewalls.of(firewall_id)
    until = world.clock() + 10 * MINUTE
    allow = Allow("r|v|22", WEB, 22, "TCP", sources, (ADDRESS,), until, request_id="r")
    observed = provider.read(firewall_id)
    provider.apply(observed, provider.plan(observed, Desired((allow,))))


def close_groups(world: PathWorld) -> None:
    """Deny SSH on both groups."""
    for firewall_id in (NSG_NIC, NSG_SUBNET):
        provider = world.services.firewalls.of(firewall_id)
        block = Block("block", WEB, (22,), (ADDRESS,))
        observed = provider.read(firewall_id)
        provider.apply(observed, provider.plan(observed, Desired(blocks=(block,))))


def test_a_vm_is_exposed_only_through_every_firewall(world: PathWorld) -> None:
    """The groups let the virtual network in, and the firewall in front lets no packet through."""
    assert world.exposed() == []
    theirs = Translation("theirs", 2222, "tcp", (SOURCE,), ADDRESS, 22)
    world.serial.edit(EDGE, theirs)
    assert (EDGE, "rule 'theirs'") in world.exposed()
    close_groups(world)
    assert world.exposed() == []


def test_our_own_allows_behind_a_translator_let_a_foreign_translation_in(world: PathWorld) -> None:
    """The inner groups see the translator alone, and cannot tell whom it lets in."""
    close_groups(world)
    world.serial.edit(EDGE, Translation("theirs", 2222, "tcp", ("192.0.2.9",), ADDRESS, 22))
    for firewall_id in (NSG_NIC, NSG_SUBNET):
        open_for(world, firewall_id, SHOWN)
    assert world.exposed() == [(EDGE, "rule 'theirs'")]
    world.serial.edit(EDGE, remove=("theirs",))
    assert world.exposed() == []


def test_groups_of_one_stage_add_up_for_an_instance(world: PathWorld) -> None:
    """Any one of two groups opens a port."""
    world.shared.add("shared:two")
    both = (Attachment(SHARED, (INSTANCE_ADDRESS,)), Attachment("shared:two", (INSTANCE_ADDRESS,)))
    world.shared.attached[INSTANCE] = both
    assert world.exposed(INSTANCE) == []
    world.shared.put("shared:two", Rule("tcp", 22, 22, SOURCE, "theirs"))
    assert [firewall_id for firewall_id, _ in world.exposed(INSTANCE)] == ["shared:two"]


# --- what is told of it


def govern(world: PathWorld, *vm_ids: str) -> None:
    """Store a policy that governs SSH, without applying it."""
    rules = (PortRule(22, "TCP"),)
    listed = tuple(PolicyVm(vm, rules) for vm in vm_ids)
    apply.put_policy(world.services, Policy(POLICY, "westeurope", listed))


def test_the_machines_report_judges_every_provider(world: PathWorld) -> None:
    """Instances that policies list are reported beside the VMs of the cloud's lists."""
    close_groups(world)
    govern(world, WEB, INSTANCE)
    inventory = world.lists(world.machines.machines[WEB.lower()])
    scopes = [f"/subscriptions/{SUBSCRIPTION}"]
    reports = {
        each.machine.id: each
        for each in machines_report(world.services, inventory, scopes).machines
    }
    assert reports.keys() == {WEB, INSTANCE}
    assert {each.category for each in reports.values()} == {Category.CONFIGURED}
    world.shared.put(SHARED, Rule("tcp", 22, 22, SOURCE, "theirs"))
    reports = {
        each.machine.id: each
        for each in machines_report(world.services, inventory, scopes).machines
    }
    assert reports[INSTANCE].category is Category.EXPOSED
    assert f"of '{SHARED}' leaves port 22 open" in reports[INSTANCE].reason
    assert reports[WEB].category is Category.CONFIGURED
    elsewhere = machines_report(world.services, inventory, [f"{GROUP}-other"]).machines
    assert elsewhere == []


def test_a_firewall_of_a_machine_that_cannot_be_judged_is_not_read(world: PathWorld) -> None:
    """The report of other machines does not wait for it."""
    govern(world, WEB)
    held = replace(world.machines.machines[WEB.lower()], unreadable="its subnet could not be read")
    world.serial.busy_seconds = 60
    (report,) = machines_report(
        world.services, world.lists(held), [f"/subscriptions/{SUBSCRIPTION}"]
    ).machines
    assert report.category is Category.UNKNOWN


def test_a_deny_without_place_is_no_fault_where_another_firewall_closes(world: PathWorld) -> None:
    """A policy succeeds where what its group cannot close is closed in front of it."""
    blocking = SecurityRule(
        "theirs", Access.ALLOW, "*", ("*",), ("*",), ("22",), "theirs", priority=4096
    )
    world.firewall.edit(NSG_NIC, blocking)
    world.firewall.edit(NSG_SUBNET, blocking)
    applied = Applied()
    world.serial.attached[WEB] = (Attachment(EDGE, (ADDRESS,), stage=0),)
    path = world.found().attachments
    applied.governed.append(Governed(WEB, (22,), path))
    assert apply._is_closed(world.services, applied, WEB)
    world.serial.edit(EDGE, Translation("theirs", 22, "tcp", ("*",), ADDRESS, 22))
    assert not apply._is_closed(world.services, applied, WEB)
    del world.serial.walls[EDGE]
    assert not apply._is_closed(world.services, applied, WEB)


# --- a whole access


def test_an_access_behind_two_providers_opens_both_names_its_entry_and_closes_both(
    world: PathWorld,
) -> None:
    """The firewall in front translates; the groups behind it open for what it shows."""
    world.protect(WEB)
    world.pass_time(6)
    request = world.ask(minutes=30)
    world.pass_time(10)
    (port,) = world.request(request.id).ports
    assert port.status is Status.INITIATED
    assert entry_of(port) == Entry("20.1.2.3", 20_000)
    assert world.serial.reaches(EDGE, SOURCE, ADDRESS, 22, "tcp")
    for firewall_id in (NSG_NIC, NSG_SUBNET):
        (rule,) = world.firewall.ours(firewall_id, Access.ALLOW)
        assert rule.sources == SHOWN
    world.pass_time(35)
    assert world.status(request.id) is Status.REVOKED
    assert not world.serial.reaches(EDGE, SOURCE, ADDRESS, 22, "tcp")
    for firewall_id in (NSG_NIC, NSG_SUBNET):
        assert world.firewall.ours(firewall_id, Access.ALLOW) == []
