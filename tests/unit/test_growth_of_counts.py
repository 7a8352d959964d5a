"""Counting grants, finding a policy by its VM and reporting machines grow with nothing unrelated."""

from dataclasses import replace
from typing import Any

import pytest

from bench.counting import Count
from shared.domain.errors import NotFoundError, TooManyRequestsError
from shared.domain.ids import digest, key_of
from shared.domain.model import Policy, PolicyState, PolicyVm
from shared.ports import Row
from shared.store.policies import VmRow
from shared.use_cases.grants import grant_of
from shared.use_cases.policies import apply as protection
from shared.use_cases.reports.estates import Estates
from shared.use_cases.reports.machines import report_to_caller
from shared.use_cases.requests.submit import policy_covering
from shared.use_cases.timers import reconcile as timer
from shared.use_cases.timers.reconcile import reconcile
from tests.unit.test_growth import READER, counted, with_unrelated_policies
from tests.world import BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, SUBSCRIPTION, WEB, World, vm_id


def unnote(world: World, *vms: str) -> None:
    """Remove the notes of some VMs, as if an older version had applied their policies."""
    for vm in vms:
        for note in world.tables.policies.query(f"of|{digest(key_of(vm))}"):
            world.tables.policies.delete(note)


def noted(world: World) -> set[str]:
    """Return the keys of the VMs that have a note."""
    known = [WEB, DB, *(vm_id(f"other-{number:04}") for number in range(20))]
    return {name for name in known if world.services.policies.policies_of(name)}


def test_the_short_form_reads_no_list_for_a_vm_in_no_policy() -> None:
    """Once reconcile has found every note, a VM without one is in no policy, and costs no list."""

    def send(count: int) -> Count:
        world = with_unrelated_policies(count)
        reconcile(world.services)
        tables = counted(world)
        with pytest.raises(NotFoundError):
            policy_covering(world.services, vm_id("unknown"), [22])
        return tables.count

    few, many = send(10), send(300)
    assert (few.calls, few.rows) == (many.calls, many.rows)
    assert not many.calls["policies.scan"]


def test_a_policy_notes_its_vms_before_it_is_applied() -> None:
    """The short form finds a policy by key as soon as it is stored, also one that comes again."""
    world = World()
    reconcile(world.services)
    vms = (PolicyVm(WEB, ()), PolicyVm(DB, ()))
    protection.put_policy(world.services, Policy(POLICY, "westeurope", vms[:1]))
    assert noted(world) == {WEB}
    protection.put_policy(world.services, Policy(POLICY, "westeurope", vms))
    assert noted(world) == {WEB, DB}
    assert policy_covering(world.services, DB, [22]) == POLICY
    unnote(world, WEB, DB)
    stored = world.services.policies.get(POLICY)
    assert stored is not None
    deleting = replace(stored.policy, state=PolicyState.DELETING)
    world.services.policies.replace(stored, deleting)
    protection.put_policy(world.services, Policy(POLICY, "westeurope", vms))
    assert noted(world) == {WEB, DB}


def test_reconcile_writes_the_notes_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded piece in each run; until the last is written, the policies themselves are read."""
    monkeypatch.setattr(timer, "MOST_NOTES", 2)
    world = with_unrelated_policies(3)
    vms = [vm_id(f"other-{number:04}") for number in range(3)]
    unnote(world, WEB, DB, *vms)
    for written in (2, 4):
        reconcile(world.services)
        assert len(noted(world)) == written
        assert not world.services.policies.all_noted()
        assert policy_covering(world.services, WEB, [22]) == POLICY
    reconcile(world.services)
    assert noted(world) == {WEB, DB, *vms}
    assert world.services.policies.all_noted()
    assert policy_covering(world.services, WEB, [22]) == POLICY


def test_the_machines_report_reads_the_rows_of_its_machines() -> None:
    """It reads no row of another subscription, and of no policy that lists none of the machines."""

    def read(count: int) -> Count:
        world = World()
        world.protect()
        elsewhere = POLICY.replace(SUBSCRIPTION, "2" + SUBSCRIPTION[1:])
        for number in range(count):
            policy_id = elsewhere.replace("/default", f"/other-{number}")
            vm = WEB.replace(SUBSCRIPTION, "2" + SUBSCRIPTION[1:]) + f"-{number}"
            world.services.policies.insert(Policy(policy_id, "westeurope", (PolicyVm(vm, ()),)))
            world.services.policies.put_vm(VmRow(policy_id, vm))
            world.services.due.add(world.clock(), "request", f"r-{number}", since=world.clock())
        tables = counted(world)
        estates = Estates(world.services, world.services.inventory)
        listing = report_to_caller(world.services, estates, READER)
        assert len(listing.judge(listing.machines)) == 2
        return tables.count

    few, many = read(10), read(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)


@pytest.mark.parametrize("firewall", [NSG_NIC, NSG_SUBNET.replace("subnet", "other")])
def test_initiate_reads_no_grants_to_count_them(firewall: str) -> None:
    """A request reads as much beside ten grants as beside hundreds, on its firewall or another."""

    def send(count: int) -> Count:
        world = with_unrelated_policies(0)
        request = world.ask(WEB, 3389, who=BOB)
        port = request.ports[0]
        grant = replace(grant_of(request, port, (port.fronts or ())[0]), firewall_id=firewall)
        for number in range(count):
            other = replace(grant, request_id=f"{request.id[:-8]}f{number:07}")
            world.services.rows.insert_grant(other)
        tables = counted(world)
        world.ask(WEB, work=False)
        return tables.count

    few, many = send(10), send(300)
    assert (few.calls, few.rows) == (many.calls, many.rows)
    assert not many.calls["firewalls.query"]


def test_grants_are_counted_by_keys_near_the_limit() -> None:
    """Where half of a firewall's limit is reserved, its grants count, of each one column is read."""
    world = with_unrelated_policies(0)
    world.services = replace(world.services, most_grants=3)
    request = world.ask(WEB, 3389, who=BOB)
    for firewall in (NSG_NIC, NSG_SUBNET):
        world.services.requests.live_rows.give_back_grants(firewall, request.id)
    port = request.ports[0]
    grant = grant_of(request, port, (port.fronts or ())[0])
    world.services.rows.insert_grant(replace(grant, request_id=f"{request.id[:-1]}f"))
    read: list[Row] = []
    real = world.tables.firewalls.query

    def query(partition: str, **more: Any) -> list[Row]:
        read.extend(found := real(partition, **more))
        return found

    world.tables.firewalls.query = query  # type: ignore[method-assign]
    world.ask(WEB, work=False)
    assert read == []
    with pytest.raises(TooManyRequestsError):
        world.ask(WEB, work=False)
    assert len(read) > 1
    assert {name for row in read for name in row.values} <= {"sealed"}
