"""The reads of one call do not grow with the other rows of the app."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bench.counting import Count, CountingTables
from shared.domain.errors import InvalidInputError
from shared.domain.ids import digest, key_of
from shared.domain.model import Policy, PolicyState, PolicyVm, Principal
from shared.domain.policy import Asked, AskedPort
from shared.domain.request import change_ports
from shared.store.audit import AuditEvent
from shared.store.keys import policy_key
from shared.store.policies import VmRow
from shared.store.purge import Ended, PurgeType
from shared.use_cases.reports import activity
from shared.use_cases.reports.policies import PolicyScope, read_policies
from shared.use_cases.requests.listing import RequestFilter, list_requests
from shared.use_cases.requests.submission import NewRequest, submit
from shared.use_cases.requests.submit import policy_covering
from shared.use_cases.requests.view import Viewer
from shared.use_cases.timers.retention import purge_old
from shared.use_cases.timers.sweep import sweep_expired
from tests.world import (
    ALICE,
    BOB,
    GROUP,
    POLICY,
    SOURCE,
    SUBSCRIPTION,
    WEB,
    World,
    vm_id,
)

READER = Principal("tenant", "rita-id", "rita", roles=frozenset({"Jit.Read"}))


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


def follow_policies(world: World, top: int) -> tuple[list[str], list[Count]]:
    """Follow the pages of the policies; return their names, and what each page has read."""
    names: list[str] = []
    counts: list[Count] = []
    after, scope = "", PolicyScope(SUBSCRIPTION)
    while not counts or after:
        tables = counted(world)
        page = read_policies(world.services, READER, scope, after=after, top=top)
        names += [policy.name for policy in page.policies]
        counts.append(tables.count)
        after = page.next
    return names, counts


def test_each_page_of_policies_reads_its_own_rows() -> None:
    """The first page and each next one read as much beside a hundred policies as beside more."""
    found = {}
    for count in (100, 1000):
        names, pages = follow_policies(with_unrelated_policies(count), 20)
        assert names == ["default", *(f"other-{number:04}" for number in range(count))]
        assert len(pages) == count // 20 + 1
        found[count] = [(each.calls, each.rows) for each in pages]
        assert max(each.rows for each in pages) == 21
    assert found[100][0] == found[1000][0]
    assert found[100][1:-1] == [found[1000][1]] * 4
    assert set(map(repr, found[1000][1:-1])) == {repr(found[1000][1])}


def test_pages_of_policies_cross_groups_and_pass_over_what_is_not_listed() -> None:
    """Every policy of each group comes once; one that is deleted or elsewhere is passed over."""
    world = World()
    for group in ("b", "a", "a-b", "a.b", "a1"):
        for name in ("two", "one", "one.more", "gone"):
            place = POLICY.replace("/app/", f"/{group}/").replace("/default", f"/{name}")
            state = PolicyState.DELETING if name == "gone" else PolicyState.SUCCEEDED
            world.services.policies.insert(Policy(place, "westeurope", (), state=state))
            elsewhere = place.replace("westeurope", "northeurope")
            world.services.policies.insert(Policy(elsewhere, "northeurope", ()))
    for top in (1, 2, 3, 50):
        scope, after = PolicyScope(SUBSCRIPTION, location="westeurope"), ""
        found: list[str] = []
        while not found or after:
            page = read_policies(world.services, READER, scope, after=after, top=top)
            found += [policy.id for policy in page.policies]
            after = page.next
        assert len(found) == len(set(found)) == 15
    world.tables.policies.rows.clear()
    assert not read_policies(world.services, READER, scope).policies


def test_a_page_of_policies_looks_at_a_bounded_number_of_rows() -> None:
    """Where few policies fit, a page is empty and leads on, and the last one fits."""
    world = with_unrelated_policies(0)
    for number in range(45):
        place = POLICY.replace("/default", f"/a{number:02}")
        world.services.policies.insert(Policy(place, "westeurope", (), state=PolicyState.DELETING))
    names, pages = follow_policies(world, 1)
    assert names == ["default"]
    assert [each.rows for each in pages] == [20, 20, 6]  # of 46


@pytest.mark.parametrize("after", ["", "x", "/subscriptions/1/resourceGroups/a", "~" * 9])
def test_a_page_of_policies_begins_only_after_a_policy(after: str) -> None:
    """A beginning that no page gave is refused with the code of such a token."""
    world = with_unrelated_policies(1)
    if not after:
        outside = POLICY.replace(SUBSCRIPTION, "f" + SUBSCRIPTION[1:])
        page = read_policies(world.services, READER, PolicyScope(SUBSCRIPTION), after=outside)
        assert page.policies == ()
        before = POLICY.replace(SUBSCRIPTION, "0" + SUBSCRIPTION[1:])
        page = read_policies(world.services, READER, PolicyScope(SUBSCRIPTION), after=before)
        assert len(page.policies) == 2
        return
    with pytest.raises(InvalidInputError) as refused:
        read_policies(world.services, READER, PolicyScope(SUBSCRIPTION), after=after)
    assert refused.value.code == "InvalidSkipToken"


def with_unrelated_requests(count: int) -> World:
    """Make a world with two requests of the usual requestor and so many others of another policy."""
    world = with_unrelated_policies(1)
    for _ in range(2):
        mine = world.ask(minutes=5)
        world.pass_time(8)
    other = f"{POLICY.rpartition('/')[0]}/other-0000"
    for number in range(count):
        person = replace(BOB, object_id=f"person-{number}")
        request_id = f"{policy_key(other)}-{mine.id.partition('-')[2][:-8]}f{number:07}"
        old = replace(world.request(mine.id), id=request_id, policy_id=other, requestor=person)
        world.services.requests.insert(old)
    return world


@pytest.mark.parametrize("who", [READER, ALICE], ids=["reader", "requestor"])
@pytest.mark.parametrize("named", ["", "default", POLICY], ids=["all", "name", "id"])
def test_a_list_of_requests_does_not_grow_with_policies(who: Principal, named: str) -> None:
    """Without a filter, or with a policy as filter, no policy is read for a page."""

    def read(count: int) -> Count:
        world = with_unrelated_policies(count)
        request = world.ask()
        tables = counted(world)
        wanted = RequestFilter(policy=named.lower())
        page = list_requests(world.services, Viewer(world.services, who), wanted)
        assert [each.id for each in page.requests] == [request.id]
        return tables.count

    few, many = read(10), read(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)
    assert not any(call.startswith("policies.") for call in many.calls)


def test_a_page_of_all_requests_reads_its_own_rows() -> None:
    """A page reads as much beside two hundred requests as beside a thousand."""

    def read(count: int, after: str = "") -> tuple[Count, str]:
        world = with_unrelated_requests(count)
        tables = counted(world)
        wanted = RequestFilter(top=50, after=after)
        page = list_requests(world.services, Viewer(world.services, READER), wanted)
        assert len(page.requests) == 50
        return tables.count, page.next

    (few, following), (many, same) = read(200), read(1000)
    assert following == same
    assert (few.calls, few.rows) == (many.calls, many.rows)
    assert few.rows < 250
    few, many = read(200, following)[0], read(1000, following)[0]
    assert (few.calls, few.rows) == (many.calls, many.rows)


def test_what_a_caller_may_not_read_is_passed_over_unread() -> None:
    """A caller finds their own among a thousand of another policy, few of which are read."""
    world = with_unrelated_requests(1000)
    tables = counted(world)
    stranger = replace(ALICE, roles=frozenset())
    page = list_requests(world.services, Viewer(world.services, stranger), RequestFilter())
    assert [request.requestor.key for request in page.requests] == [ALICE.key] * 2
    assert page.next == ""
    assert tables.count.calls["requests.get"] < 110


@pytest.mark.parametrize("work", ["awaiting", "activity"])
def test_lists_do_not_grow_with_what_they_do_not_show(work: str) -> None:
    """Requests that await a caller and the events of a day cost the same beside a thousand others."""

    def read(count: int) -> Count:
        world = with_unrelated_requests(count)
        for number in range(count):
            at = world.clock() - timedelta(days=2 + number % 30)
            world.services.activity.record(AuditEvent(f"other-{number}", at, "requested"))
        tables = counted(world)
        if work == "awaiting":
            viewer = Viewer(world.services, replace(BOB, roles=frozenset({"Jit.Approve"})))
            page = list_requests(world.services, viewer, RequestFilter(awaiting=True))
            assert page.requests == ()
        else:
            now = world.clock()
            day = activity.Asked(now - timedelta(hours=12), now)
            assert activity.read_activity(world.services, READER, day).events
        return tables.count

    few, many = read(10), read(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)


def test_retention_does_not_grow_with_what_is_not_due() -> None:
    """A run passes over requests and keys that ended lately, and over what the sweep waits for."""

    def run(count: int) -> Count:
        world = with_unrelated_requests(count)
        world.services = replace(world.services, keep_requests=timedelta(days=90))
        world.pass_time(40)
        now, requests = world.clock(), world.services.requests
        old = [each for each in world.tables.requests.rows if "|" not in each[0]]
        ended = [Ended(now, partition, key) for partition, key in old]
        world.services.purges.add(PurgeType.REQUEST, ended)
        world.services.purges.add(PurgeType.KEY, ended)
        for partition, key in old:
            later = now + timedelta(days=100)
            world.services.due.add(later, "request", f"{partition}-{key}", since=now)
        mine = requests.newest(POLICY, 1)[0]
        past = Ended(now - timedelta(days=91), *mine.id.split("-"))
        world.services.purges.add(PurgeType.REQUEST, [past])
        requests.change(
            mine.id,
            lambda request: change_ports(request, lambda port: replace(port, closed_at=past.at)),
        )
        tables = counted(world)
        purge_old(world.services)
        assert requests.get(mine.id) is None
        return tables.count

    few, many = run(10), run(1000)
    assert (few.calls, few.rows) == (many.calls, many.rows)
