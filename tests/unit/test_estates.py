"""Reports share reads of a subscription, never older than the caller accepts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Event, Lock

import pytest

from shared.domain.bastion import BastionReach
from shared.domain.errors import NotPermittedError
from shared.domain.ids import key_of
from shared.domain.model import Principal
from shared.ports import Inventory, Listed, Machine, OutsideError
from shared.use_cases.reports.bastions import find_bastions
from shared.use_cases.reports.estates import PAGES_SECONDS, Estates
from shared.use_cases.reports.machines import list_machines, report_to_caller
from tests.world import POLICY, SUBSCRIPTION, WEB, World

OTHER = "22222222-2222-4222-8222-222222222222"
READER = Principal("tenant", "reader-id", "reader", roles=frozenset({"Jit.Read"}))


@pytest.fixture
def world() -> World:
    """Make the usual world, with its two VMs."""
    return World()


def vm(number: int, subscription: str = SUBSCRIPTION) -> Machine:
    """Describe a VM that nothing stands in front of."""
    group = f"/subscriptions/{subscription}/resourceGroups/many"
    name = f"{group}/providers/Microsoft.Compute/virtualMachines/vm-{number:05}"
    return Machine(name, "westeurope", "linux", ())


@dataclass
class Lists:
    """The lists of a cloud, counted."""

    machines: tuple[Machine, ...] = (vm(1), vm(2))
    reads: int = 0
    before: Callable[[], None] = field(default=lambda: None)

    def read(self, places: tuple[str, ...]) -> Listed:
        """Return the machines of the places."""
        self.reads += 1
        self.before()
        return Listed(tuple(each for each in self.machines if each.id.startswith(places[0])))


class Now:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now


class Counted(Now):
    """A clock that tells when it has been read so often."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times
        self._lock = Lock()
        self.reached = Event()

    def __call__(self) -> float:
        """Return the seconds."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.reached.set()
            return super().__call__()


def estates(world: World, lists: Inventory, now: Now, seconds: float, **more: int) -> Estates:
    """Make the estates of a process."""
    return Estates(world.services, lists, seconds=seconds, clock=now, **more)


def test_an_estate_serves_for_its_seconds_and_no_longer(world: World) -> None:
    """A caller gets a read that began less than so many seconds before the call."""
    lists, now = Lists(), Now()
    kept = estates(world, lists, now, 30)
    first = kept.of(SUBSCRIPTION, [])
    now.now += 29.9
    assert kept.of(SUBSCRIPTION.upper(), []) is first
    now.now += 0.1
    assert kept.of(SUBSCRIPTION, []) is not first
    assert lists.reads == 2


def test_without_seconds_each_first_page_is_read_and_its_next_pages_share_it(world: World) -> None:
    """Setting 0 keeps an estate for the further pages of a listing alone."""
    lists, now = Lists(), Now()
    kept = estates(world, lists, now, 0)
    first = kept.of(SUBSCRIPTION, [])
    now.now += PAGES_SECONDS - 1
    assert kept.of(SUBSCRIPTION, [], is_next_page=True) is first
    assert kept.of(SUBSCRIPTION, []) is not first
    now.now += PAGES_SECONDS
    kept.of(SUBSCRIPTION, [], is_next_page=True)
    assert lists.reads == 3


def test_a_changed_policy_ends_what_is_kept(world: World) -> None:
    """A policy that is put, applied or deleted shows at once, with the rules as they are then."""
    world.protect()
    lists, now = Lists(), Now()
    kept = estates(world, lists, now, 30)
    kept.of(SUBSCRIPTION, [])
    kept.of(SUBSCRIPTION, [world.policy()])
    kept.of(SUBSCRIPTION, [world.policy()])
    kept.of(SUBSCRIPTION, [replace(world.policy(), error="x")])
    assert lists.reads == 3


def test_those_who_wait_share_one_read_that_began_after_their_calls(world: World) -> None:
    """Callers during a read do not take its answer at setting 0; the next read serves them all."""
    go, now = Event(), Counted(5)  # a call and its read, and three more calls
    lists = Lists()

    def hold() -> None:
        assert go.wait(90)

    lists.before = hold
    kept = estates(world, lists, now, 0)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(kept.of, SUBSCRIPTION, []) for _ in range(4)]
        assert now.reached.wait(90)
        now.now += 1
        go.set()
        found = [each.result(90) for each in calls]
    assert lists.reads == 2
    assert len({id(each) for each in found}) == 2


def test_a_failed_read_is_not_kept(world: World) -> None:
    """The next caller reads again, and gets what the cloud answers then."""
    lists, now = Lists(), Now()

    def fail() -> None:
        raise OutsideError("ARM is silent")

    lists.before = fail
    kept = estates(world, lists, now, 30)
    with pytest.raises(OutsideError):
        kept.of(SUBSCRIPTION, [])
    lists.before = lambda: None
    now.now += 1
    assert kept.of(SUBSCRIPTION, []).machines
    assert lists.reads == 2


def test_a_failure_serves_those_who_called_before_it_began(world: World) -> None:
    """Callers who waited are not sent one after the other to a cloud that does not answer."""
    lists, now = Lists(), Now()
    kept = estates(world, lists, now, 30)

    def fail() -> None:
        raise OutsideError("ARM is silent")

    lists.before = fail
    with pytest.raises(OutsideError):
        kept.of(SUBSCRIPTION, [])
    now.now -= 1  # a call of a second before, which waited for the lock
    with pytest.raises(OutsideError):
        kept.of(SUBSCRIPTION, [])
    assert lists.reads == 1


def test_memory_is_bounded_by_machines_and_by_age(world: World) -> None:
    """The oldest subscriptions beyond the bound are dropped, and all that are too old."""
    lists, now = Lists((vm(1), vm(2), vm(1, OTHER))), Now()
    world.services = replace(
        world.services, scopes=(f"/subscriptions/{SUBSCRIPTION}", f"/subscriptions/{OTHER}")
    )
    kept = estates(world, lists, now, 30, most_machines=2)
    kept.of(SUBSCRIPTION, [])
    now.now += 1
    kept.of(OTHER, [])  # 3 machines in all: the first is dropped
    kept.of(OTHER, [])
    assert lists.reads == 2
    kept.of(SUBSCRIPTION, [])
    assert lists.reads == 3
    roomy = estates(world, lists, now, 30)
    roomy.of(SUBSCRIPTION, [])
    now.now += 31
    roomy.of(OTHER, [])
    assert list(roomy._kept) == [OTHER]


def test_failures_are_dropped_by_age_too(world: World) -> None:
    """A subscription that never answers leaves nothing behind once another call comes."""
    lists, now = Lists(), Now()
    kept = estates(world, lists, now, 30)

    def fail() -> None:
        raise OutsideError("ARM is silent")

    lists.before = fail
    for subscription in (SUBSCRIPTION, OTHER):
        with pytest.raises(OutsideError):
            kept.of(subscription, [])
        now.now += 31
    assert list(kept._kept) == [OTHER]


def test_each_caller_gets_what_that_caller_can_read(world: World) -> None:
    """A kept estate holds every VM; a report holds those of the scope that is permitted."""
    kept = estates(world, world.services.inventory, Now(), 30)
    everything = report_to_caller(world.services, kept, READER)
    assert len(everything.machines) > 1
    one = report_to_caller(world.services, kept, READER, WEB)
    assert [each.key for each in one.machines] == [key_of(WEB)]
    with pytest.raises(NotPermittedError):
        report_to_caller(world.services, kept, Principal("tenant", "s", "stranger"))


def test_bastion_hosts_are_read_once_for_all_pages(world: World) -> None:
    """The first page reads the hosts of all networks; one that failed is asked again."""
    network = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/n/providers/x/virtualNetworks/one"
    lists = Lists(tuple(replace(vm(number), networks=(network,)) for number in (1, 2)))
    asked: list[list[str]] = []
    answers: list[Exception | None] = [OutsideError("silent"), None]

    class Hosts:
        def reach_each(self, networks: list[str]) -> dict[str, BastionReach]:
            asked.append(networks)
            error = answers.pop(0)
            if error is not None:
                raise error
            return {key_of(each): BastionReach(()) for each in networks}

    world.services = replace(world.services, bastions=Hosts())  # type: ignore[arg-type]
    kept = estates(world, lists, Now(), 30)
    scopes = [f"/subscriptions/{SUBSCRIPTION}"]
    pages = list_machines(world.services, kept, scopes).machines
    assert find_bastions(world.services, pages[:1]) == {pages[0].key: None}
    for page in (pages[:1], pages[1:]):
        assert find_bastions(world.services, page) == {page[0].key: ()}
    assert asked == [[network], [network]]


def test_a_page_reads_the_rows_of_its_own_policies(world: World) -> None:
    """Judging a page reads no VM row of a policy that lists none of its VMs."""
    world.protect()
    kept = estates(world, world.services.inventory, Now(), 30)
    found = list_machines(world.services, kept, [f"/subscriptions/{SUBSCRIPTION}"])
    (web,) = (each for each in found.machines if each.key == key_of(WEB))
    (judged,) = found.judge([web])
    assert judged.policies == (POLICY,)
    assert found.judge([]) == []
