"""Concurrent callers share one read, and none is answered by a read that began before its call."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.shared_reads import ReadPace, SharedReads
from shared.ports import OutsideError
from tests.fakes import Clock


class Cloud:
    """A resource with a version that others raise; a read shows the version at its beginning."""

    def __init__(self, pauses: list[float]) -> None:
        self.version = 0
        self.reads = 0
        self.in_flight = self.most_in_flight = 0
        self._pauses = pauses

    def read(self) -> int:
        """Return the version that was there when the read began."""
        seen = self.version
        self.reads += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        time.sleep(self._pauses[self.reads % len(self._pauses)])
        self.in_flight -= 1
        return seen


PAUSES = st.lists(st.sampled_from([0.0, 0.0002, 0.001]), min_size=1, max_size=5)


@given(
    pauses=PAUSES,
    callers=st.lists(st.lists(st.sampled_from("awc"), min_size=1, max_size=6), max_size=6),
    jumps=st.lists(st.integers(-3600, 3600), min_size=1, max_size=4),
)
def test_no_caller_gets_a_read_that_is_older_than_its_call(
    pauses: list[float], callers: list[list[str]], jumps: list[int]
) -> None:
    """An answer is as new as its call, with any callers, writers and clock."""
    cloud, reads, clock = Cloud(pauses), SharedReads(), Clock()

    def play(steps: list[str]) -> list[tuple[int, int]]:
        seen = []
        for number, step in enumerate(steps):
            if step == "w":
                cloud.version += 1
            elif step == "c":
                clock.now += timedelta(seconds=jumps[number % len(jumps)])
            else:
                asked = cloud.version
                seen.append((asked, reads.read("nsg", cloud.read)))
        return seen

    with ThreadPoolExecutor(max(1, len(callers))) as pool:
        answers = [answer for seen in pool.map(play, callers) for answer in seen]
    assert all(answered >= asked for asked, answered in answers)
    assert cloud.most_in_flight <= 1
    assert cloud.reads <= len(answers)


def wait_for(reads: SharedReads, key: str) -> None:
    """Wait until a read of a key waits for the one in flight."""
    for _ in range(5000):
        if key in reads._waiting:
            return
        time.sleep(0.001)
    raise AssertionError("no caller waits for the next read")


def test_callers_during_a_read_share_the_next_one() -> None:
    """Callers that come while a read is in flight wait for the next, and share it."""
    reads, began, go = SharedReads(), Event(), Event()
    count = 0

    def read() -> int:
        nonlocal count
        count += 1
        number = count
        began.set()
        assert go.wait(10)
        return number

    joined = Semaphore(0)

    with ThreadPoolExecutor(11) as pool:
        first = pool.submit(reads.read, "vm", read)
        assert began.wait(10)
        second = pool.submit(reads.read, "vm", read)
        wait_for(reads, "vm")
        waiting = reads._waiting["vm"]
        take = waiting.take

        def note_join(take: Callable[[], Any] = take) -> Any:
            joined.release()
            return take()

        waiting.take = note_join  # type: ignore[method-assign]
        later = [pool.submit(reads.read, "vm", read) for _ in range(9)]
        assert all(joined.acquire(timeout=10) for _ in later)
        go.set()
        assert first.result(10) == 1
        assert {call.result(10) for call in (second, *later)} == {2}
    assert count == 2


def test_a_failed_read_fails_for_all_that_share_it_and_for_no_other() -> None:
    """The next read is made anew, and other resources are not held up."""
    reads, began, go = SharedReads(), Event(), Event()

    def fail() -> int:
        raise OutsideError("away")

    def hold() -> int:
        began.set()
        assert go.wait(10)
        return 1

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(reads.read, "subnet", hold)
        assert began.wait(10)
        with pytest.raises(OutsideError, match="away"):
            reads.read("interface", fail)
        assert reads.read("interface", lambda: 2) == 2
        joined = pool.submit(reads.read, "subnet", fail)
        wait_for(reads, "subnet")
        go.set()
        assert held.result(10) == 1
        with pytest.raises(OutsideError, match="away"):
            joined.result(10)
    assert not reads._waiting
    assert not reads._in_flight


def test_a_read_that_is_interrupted_leaves_no_caller_waiting() -> None:
    """An interpreter that is stopping ends the read for everybody who waits for it."""
    reads = SharedReads()

    def interrupted() -> int:
        raise KeyboardInterrupt

    def ask() -> None:
        with pytest.raises(KeyboardInterrupt):
            reads.read("vm", interrupted)

    asking = Thread(target=ask)
    asking.start()
    asking.join(10)
    assert not asking.is_alive()
    assert reads.read("vm", lambda: 3) == 3


class Pause:
    """Seconds that pass only where a read is waited for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        self.now += seconds


def test_a_resource_is_read_four_times_at_once_and_then_twice_a_second() -> None:
    """A burst that needs one subnet for each request does not use up the quota of reads."""
    clock = Pause()
    reads = SharedReads(ReadPace(clock, clock.sleep))
    began = [reads.read("subnet", clock) for _ in range(10)]
    assert began == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert reads.read("interface", clock) == 3.0
    clock.now += 10.0
    assert [reads.read("subnet", clock) for _ in range(5)] == [13.0] * 4 + [13.5]


def test_a_read_that_waits_for_its_pace_serves_all_that_come_meanwhile() -> None:
    """It begins after they have asked, so that it is as new as the call of each."""
    clock, waiting, go = Pause(), Event(), Event()

    def sleep(_seconds: float) -> None:
        waiting.set()
        assert go.wait(10)

    reads = SharedReads(ReadPace(clock, sleep))
    version = 0

    def read() -> int:
        return version

    for _ in range(4):
        reads.read("nsg", read)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reads.read, "nsg", read)
        assert waiting.wait(10)
        version = 1
        second = pool.submit(reads.read, "nsg", read)
        go.set()
        assert first.result(10) == second.result(10) == 1


def test_where_reads_are_scarce_a_resource_is_read_once_in_three_seconds() -> None:
    """The half of the bucket that is left is for resources that were not read a moment ago."""
    clock = Pause()
    pace = ReadPace(clock, clock.sleep)
    for number in range(125):
        pace.wait(number)
    assert clock.now == 0.0
    reads = SharedReads(pace)
    assert [reads.read("nsg", clock) for _ in range(2)] == [0.0, 3.0]
    assert [reads.read("vm", clock) for _ in range(4)] == [3.0] * 4


def test_what_a_pace_keeps_is_bounded() -> None:
    """Of ten thousand resources those that were read a while ago are dropped."""
    clock = Pause()
    pace = ReadPace(clock, clock.sleep)
    for number in range(10_000):
        pace.wait(number)
    clock.now += 10.0
    pace.wait("one more")
    assert len(pace._paid_until) == 1
