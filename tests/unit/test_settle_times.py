"""When a group that was written is read for the first time."""

from shared.firewalls.nsg.settling import LONGEST_FIRST_LOOK, SettleTimes


class Seconds:
    """A clock in seconds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def settle(times: SettleTimes, clock: Seconds, seconds: float, group: str = "a") -> float:
    """Write a group that settles after some seconds; return when it was looked at first."""
    times.note_write(group)
    first = times.first_look(group)
    clock.now += max(first, seconds)
    times.note_settled(group, looks=1 if first >= seconds else 2)
    return first


def test_the_first_look_comes_after_what_the_last_write_took() -> None:
    """A group that has taken two seconds is looked at after two, in any letter case."""
    clock = Seconds()
    times = SettleTimes(clock)
    assert settle(times, clock, 2.0) == 0.0
    assert settle(times, clock, 2.0, "A") == 2.0
    assert settle(times, clock, 3.0) == 2.0
    assert settle(times, clock, 3.0) == 3.0


def test_time_that_has_passed_since_the_write_counts() -> None:
    """Only what is left is waited for; a group that we did not write is looked at now."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 2.0)
    times.note_write("a")
    clock.now += 0.5
    assert times.first_look("a") == 1.5
    clock.now += 5
    assert times.first_look("a") == 0.0
    assert times.first_look("b") == 0.0


def test_a_group_never_seen_is_taken_for_one_like_the_last() -> None:
    """Many groups that are written once each need one look each."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 2.0)
    assert settle(times, clock, 2.0, "b") == 2.0


def test_a_look_that_came_in_time_comes_sooner_after_a_while() -> None:
    """After eight looks in time the next comes a fifth sooner, so that no slow write is for ever."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 4.0)
    assert [settle(times, clock, 1.0) for _ in range(9)] == [4.0] * 8 + [4.0 * 4 / 5]


def test_groups_that_are_written_at_once_do_not_all_look_sooner() -> None:
    """One of them looks a fifth sooner; the others wait until its look has told."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 2.0)
    groups = [str(number) for number in range(30)]
    for group in groups:
        times.note_write(group)
    assert [times.first_look(group) for group in groups] == [2.0] * 30
    clock.now += 2.0
    for group in groups:
        times.note_settled(group, looks=1)
        times.note_write(group)
    firsts = [times.first_look(group) for group in groups]
    assert sorted(firsts) == [2.0 * 4 / 5] + [2.0] * 29


def test_one_group_is_watched_to_learn_how_long_a_write_takes() -> None:
    """Of many that are written at once by a new process the others are looked at in two seconds."""
    times = SettleTimes(Seconds())
    groups = [str(number) for number in range(30)]
    for group in groups:
        times.note_write(group)
    assert [times.first_look(group) for group in groups] == [0.0] + [2.0] * 29


def test_a_look_that_came_late_does_not_make_the_next_one_later() -> None:
    """A worker that was slow to look has learnt only that the write took no longer."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 2.0)
    times.note_write("a")
    clock.now += 7.0
    assert times.first_look("a") == 0.0
    times.note_settled("a", looks=1)
    assert settle(times, clock, 2.0) == 2.0


def test_no_first_look_is_later_than_ten_seconds() -> None:
    """A write that has taken minutes is left to messages."""
    clock = Seconds()
    times = SettleTimes(clock)
    settle(times, clock, 300.0)
    assert settle(times, clock, 300.0) == LONGEST_FIRST_LOOK
    times.note_settled("never written", looks=2)
    assert times.first_look("never written") == 0.0


def test_what_is_kept_is_bounded() -> None:
    """Past ten thousand groups the times of all are learnt anew."""
    clock = Seconds()
    times = SettleTimes(clock)
    for number in range(10_001):
        settle(times, clock, 1.0, str(number))
    times.note_write("one more")
    assert len(times._taken) == 0
