"""What one call reads does not grow with what else the app has stored."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bench.counting import Count, CountingTables
from shared.domain.ids import digest, key_of
from shared.domain.model import Policy, PolicyVm
from shared.domain.policy import Asked, AskedPort
from shared.store.policies import VmRow
from shared.use_cases.requests.listing import RequestFilter, list_requests
from shared.use_cases.requests.submission import NewRequest, submit
from shared.use_cases.requests.submit import policy_covering
from shared.use_cases.requests.view import Viewer
from shared.use_cases.timers.sweep import sweep_expired
from tests.world import ALICE, BOB, GROUP, POLICY, SOURCE, WEB, World, vm_id


def with_unrelated_policies(count: int) -> World:
    """Make a world with a policy of the usual VMs and so many others, each of one VM."""
    world = World()
    world.protect()
    place = f"{GROUP}/providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies"
    for number in range(count):
        policy_id, vm = f"{place}/other-{number:04}", vm_id(f"other-{number:04}")
        world.services.policies.insert(Policy(policy_id, "westeurope", (PolicyVm(vm, ()),)))
        world.services.policies.put_vm(VmRow(policy_id, vm))
    return world


def counted(world: World) -> CountingTables:
    """Count from now on what a world's use cases read and write."""
    tables = CountingTables(world.tables)
    world.services = replace(world.services, tables=tables)
    return tables


def test_the_short_form_finds_its_policy_by_key() -> None:
    """A request that names a VM reads as much beside ten policies as beside a thousand."""

    def send(count: int) -> Count:
        world = with_unrelated_policies(count)
        tables = counted(world)
        port = AskedPort("ports[0]", WEB, 22, (SOURCE,), duration=timedelta(minutes=10))
        submit(world.services, NewRequest(Asked((port,), "because", SOURCE), ALICE))
        return tables.count

    few, many = send(10), send(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)
    assert not many.calls["policies.scan"]


def test_a_vm_without_a_note_is_found_in_the_policies() -> None:
    """A policy that an older version applied, or that is not applied yet, still takes requests."""
    world = with_unrelated_policies(2)
    (note,) = world.tables.policies.query(f"of|{digest(key_of(WEB))}")
    world.tables.policies.delete(note)
    assert world.services.policies.policies_of(WEB) == []
    assert policy_covering(world.services, WEB, [22]) == POLICY


def test_a_note_that_is_left_over_misleads_no_request() -> None:
    """A note of a policy that no longer lists the VM leads on to the policies themselves."""
    world = with_unrelated_policies(2)
    (note,) = world.tables.policies.query(f"of|{digest(key_of(WEB))}")
    world.tables.policies.delete(note)
    others = f"{POLICY.rpartition('/')[0]}/other-0001"
    world.services.policies.note_policy_of(WEB, others)
    assert policy_covering(world.services, WEB, [22]) == POLICY


def test_the_row_of_a_vm_goes_with_its_note() -> None:
    """A VM that leaves its policy leaves no note behind, whether or not one was written."""
    world = with_unrelated_policies(1)
    rows = world.services.policies
    place = f"{POLICY.rpartition('/')[0]}/other-0000"
    vm = vm_id("other-0000")
    (row,) = rows.vm_rows(place)
    rows.delete_vm(row)
    assert rows.policies_of(vm) == []
    rows.put_vm(VmRow(place, vm))
    (note,) = world.tables.policies.query(f"of|{digest(key_of(vm))}")
    world.tables.policies.delete(note)
    (row,) = rows.vm_rows(place)
    rows.delete_vm(row)
    assert rows.vm_rows(place) == []


def test_initiate_reads_the_row_of_a_vm_once() -> None:
    """Judging the length and counting the grants of a request go by one read of the VM's row."""
    world = with_unrelated_policies(0)
    tables = counted(world)
    port = AskedPort("ports[0]", WEB, 22, (SOURCE,), duration=timedelta(minutes=10))
    submit(world.services, NewRequest(Asked((port,), "because", SOURCE), ALICE, POLICY))
    assert tables.count.calls["policies.get"] == 2  # the policy, and the VM's row


@pytest.mark.parametrize("work", ["sweep", "mine", "initiate"])
def test_calls_do_not_grow_with_what_others_wait_for(work: str) -> None:
    """A sweep, a caller's list and a new request pass over what is due later and others hold."""

    def run(count: int) -> Count:
        world = with_unrelated_policies(0)
        other = world.ask(WEB, 3389, who=BOB, work=False)
        later = world.clock() + timedelta(hours=5)
        for number in range(count):
            key = f"{other.id[:-8]}f{number:07}"
            person = replace(BOB, object_id=f"person-{number}")
            request = replace(other, id=key, requestor=person)
            world.services.requests.insert_listed(request)
            world.services.due.add(later, "request", key, since=world.clock())
        tables = counted(world)
        if work == "sweep":
            sweep_expired(world.services)
        elif work == "mine":
            list_requests(world.services, Viewer(world.services, ALICE), RequestFilter(mine=True))
        else:
            world.ask(WEB, work=False)
        return tables.count

    few, many = run(10), run(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)
