"""The reads that an opening and a sweep may reuse without another read of ARM."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.desired import Observed
from shared.domain.model import AccessRequest, Attachment, Status
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.provider import NsgProvider
from shared.ports import Machine, OutsideError, Row
from shared.store.policies import VmRow
from shared.use_cases.firewalls.converge import Outcome, converge
from shared.use_cases.firewalls.run import Before, Seen
from shared.use_cases.policies.doubts import doubt_of, read_twice
from shared.use_cases.policies.protect import unprotectable
from tests.fakes import NAMES
from tests.world import DB, NSG_SUBNET, POLICY, World, vm_id

FOREIGN = SecurityRule("web", Access.ALLOW, "Tcp", ("*",), ("*",), ("443",), "", 200)
NETWORK = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/Net"


class Looking(World):
    """A world whose openings read each group once to find neighbours, and count other reads."""

    def __init__(self) -> None:
        super().__init__()
        groups = NsgProvider(self.firewall, NAMES)
        self.reads: list[str] = []
        real = self.firewall.read
        self.machines.look = lambda key: groups.observe(real(key))

        def read(firewall_id: str):  # type: ignore[no-untyped-def]
            self.reads.append(firewall_id)
            return real(firewall_id)

        self.firewall.read = read  # type: ignore[method-assign]
        self.protect(DB)
        self.pass_time(2)
        self.reads.clear()

    def look_then(self, meanwhile) -> None:  # type: ignore[no-untyped-def]
        """Let something happen between the look of an opening and its first write."""
        look = self.machines.look

        def late(key: str) -> Observed:
            assert look is not None
            observed = look(key)
            meanwhile()
            return observed

        self.machines.look = late


@pytest.fixture
def world() -> Looking:
    """Return a world whose policy was applied."""
    return Looking()


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets an address in."""
    return bool(world.firewall.ours(NSG_SUBNET, Access.ALLOW))


def status(world: World, request: AccessRequest) -> Status:
    """Return what became of a request."""
    return world.status(request.id)


def test_a_first_write_is_planned_from_the_look_for_neighbours(world: Looking) -> None:
    """Only the proof is read anew, after the write."""
    assert status(world, world.ask(DB)) is Status.INITIATED
    assert len(world.reads) == 1


def test_a_group_that_changed_since_the_look_is_read_again(world: Looking) -> None:
    """If-Match guards the write: it is planned anew, and the colleague's rule stays."""
    world.look_then(lambda: world.firewall.edit(NSG_SUBNET, FOREIGN))
    assert status(world, world.ask(DB)) is Status.INITIATED
    assert world.firewall.rules(NSG_SUBNET)["web"] == FOREIGN
    assert len(world.reads) == 2


def test_a_look_that_is_older_than_another_holder_is_not_used(world: Looking) -> None:
    """Another worker may have written since: its write is not met with a stale etag."""
    held = world.services.rows

    def hold() -> None:
        world.clock.advance(1)
        lease = held.take_lease(NSG_SUBNET, "other", world.clock(), world.clock())
        assert lease is not None
        held.drop_lease(lease, world.clock())

    world.look_then(hold)
    world.ask(DB)
    assert len(world.reads) == 2


def test_a_look_confirms_nothing(world: Looking) -> None:
    """A group that held the rule when it was looked at is read again before it counts as open."""
    request = world.ask(DB)
    [grant] = world.services.rows.read(NSG_SUBNET).grants
    world.services.rows.replace_grant(replace(grant, proven=False))
    world.reads.clear()
    assert world.machines.look is not None
    seen = Seen(world.machines.look(NSG_SUBNET), world.clock() + timedelta(seconds=1))
    assert converge(world.services, NSG_SUBNET, before=Before(seen)) is Outcome.DONE
    assert world.reads == [NSG_SUBNET]
    assert status(world, request) is Status.INITIATED


def test_memory_is_taken_from_no_look(world: Looking) -> None:
    """The memory that restores a rule later is taken from a read of its own."""
    plan = NsgProvider.plan

    def remembering(self, observed, desired, refused=None):  # type: ignore[no-untyped-def]
        made = plan(self, observed, desired, refused)
        key = next(block.key for block in desired.blocks)
        known = any("mark" in block.memory for block in desired.blocks)
        return made if known else replace(made, remember={key: '{"mark": 1}'})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NsgProvider, "plan", remembering)
        assert status(world, world.ask(DB)) is Status.INITIATED
    assert len(world.reads) >= 2


# --- what the row of a VM keeps --------------------------------------------------------------------


def machine(*addresses: str, unreadable: str = "") -> Machine:
    """Return a VM behind one group in one network."""
    behind = Attachment(NSG_SUBNET, addresses)
    return Machine(DB, "westeurope", "linux", (behind,), unreadable, networks=(NETWORK,))


@pytest.mark.parametrize(
    ("found", "twice", "doubt"),
    [
        (None, frozenset(), None),
        (machine("10.0.0.5"), None, None),
        (machine("10.0.0.5"), frozenset(), ""),
        (machine("10.0.0.5", unreadable="a floating IP"), frozenset(), "a floating IP"),
        (
            machine("10.0.0.4", "10.0.0.5"),
            frozenset({(NETWORK.lower(), "10.0.0.5")}),
            "10.0.0.5 is given twice",
        ),
        (machine("10.0.0.5"), frozenset({("/other", "10.0.0.5")}), ""),
        (machine("10.0.0.5"), frozenset({(NETWORK.lower(), "10.0.0.6")}), ""),
    ],
)
def test_a_doubt_says_why_rules_may_not_decide_for_a_vm_alone(
    found: Machine | None, twice: frozenset[tuple[str, str]] | None, doubt: str | None
) -> None:
    """A VM that cannot be judged, or whose address is given twice in its network, is in doubt."""
    assert doubt_of(found, twice) == doubt


def test_addresses_that_cannot_be_listed_leave_it_to_each_opening(world: Looking) -> None:
    """The list that fails stops no policy, and is reported."""

    def failing(_subscription: str) -> frozenset[tuple[str, str]]:
        raise OutsideError("503")

    world.machines.addresses_given_twice = failing  # type: ignore[method-assign, assignment]
    assert read_twice(world.services, world.policy().vms) is None
    world.protect(DB, ports=(22,))
    [row] = world.services.policies.vm_rows(POLICY)
    assert row.doubt is None
    assert "jit.addresses.unread" in str(world.telemetry.faults)


def test_an_instance_of_another_cloud_needs_no_list_of_azure(world: Looking) -> None:
    """Only the subscriptions of Azure VMs are listed, each once."""
    asked: list[str] = []

    def note(subscription: str) -> frozenset[tuple[str, str]]:
        asked.append(subscription)
        return frozenset()

    world.machines.addresses_given_twice = note  # type: ignore[method-assign]
    vms = world.policy().vms
    assert read_twice(world.services, (*vms, replace(vms[0], id=vm_id("other")))) == frozenset()
    assert len(asked) == 1


def test_a_row_that_cannot_be_decoded_leaves_it_to_the_opening(world: Looking) -> None:
    """The lists are read then, as they are for a row of the version before."""
    world.ask(DB, work=False)
    [stored] = [row for row in world.tables.policies.rows.values() if row.key.startswith("vm|")]
    world.tables.policies.upsert(Row(stored.partition, stored.key, {"kind": "vm", "doc": "{"}))
    by_reads: list[str] = []
    world.machines.find_by_reads = by_reads.append  # type: ignore[method-assign, assignment]
    world.deliver(world.queues.visible()[0])
    assert is_open(world)
    assert by_reads == []


def test_a_row_of_the_version_before_is_noted_by_the_first_opening(world: Looking) -> None:
    """The opening has listed, so the next one need not."""
    [row] = world.services.policies.vm_rows(POLICY)
    world.services.policies.put_vm(VmRow(row.policy_id, row.vm_id, row.firewalls))
    world.ask(DB)
    [row] = world.services.policies.vm_rows(POLICY)
    assert row.doubt == ""


def test_a_row_that_is_not_there_leaves_it_to_the_opening(world: Looking) -> None:
    """A policy that was not applied to a VM yet has looked for nothing."""
    request = world.ask(DB, work=False)
    [row] = world.services.policies.vm_rows(POLICY)
    world.services.policies.delete_vm(row)
    world.work()
    assert status(world, request) is Status.INITIATED


# --- sweeps -------------------------------------------------------------------------------------


def closed(world: Looking) -> AccessRequest:
    """Open a port and let a message close it; leave its due row to the sweep."""
    request = world.ask(DB)
    world.pass_time(10.1, sweeping=False)
    assert status(world, request) is Status.REVOKED
    world.queues.waiting.clear()
    world.reads.clear()
    return request


def test_a_sweep_reads_nothing_after_a_proven_close(world: Looking) -> None:
    """The read that proved the close was made after the firewall fell due."""
    closed(world)
    assert world.sweep() == 0
    assert world.reads == []


def test_a_sweep_reads_what_fell_due_after_the_proof(world: Looking) -> None:
    """A due row that is younger than the last proof is looked at."""
    closed(world)
    now = world.clock()
    world.services.due.add(now, "firewall", NSG_SUBNET, since=now)
    world.clock.advance(60)
    assert world.sweep() == 0
    assert world.reads == [NSG_SUBNET]


def test_a_sweep_reads_where_a_row_cannot_be_decoded(world: Looking) -> None:
    """A grant that cannot be decoded is not wanted, so its rule has to be looked for."""
    closed(world)
    grant = next(row for row in world.tables.firewalls.rows.values() if "grant|" in row.key)
    key = grant.key.replace("|22", "|23")
    world.tables.firewalls.upsert(Row(grant.partition, key, {"doc": "{"}))
    world.sweep()
    assert world.reads


def test_a_sweep_reads_where_a_protection_is_not_confirmed(world: Looking) -> None:
    """Its deny may not be there yet."""
    closed(world)
    rows = world.services.rows
    [protection] = rows.read(NSG_SUBNET).protections
    rows.replace_protection(replace(protection, proven=False))
    world.sweep()
    assert world.reads


def test_a_sweep_reads_where_another_grant_is_not_confirmed(world: Looking) -> None:
    """A grant that waits on the same firewall is converged."""
    closed(world)
    [grant] = world.services.rows.read(NSG_SUBNET).grants
    world.services.rows.insert_grant(replace(grant, port=3389, proven=False))
    world.sweep()
    assert world.reads


def test_a_vm_that_cannot_be_judged_cannot_be_protected() -> None:
    """The reason that a VM is unreadable is the reason that its ports are not called closed."""
    firewalls = World().services.firewalls
    assert unprotectable(firewalls, machine("10.0.0.5", unreadable="a floating IP")) == (
        "a floating IP"
    )
    assert unprotectable(firewalls, machine("10.0.0.5")) == ""
