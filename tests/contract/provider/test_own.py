"""Our marked rules: orphans, strays, texts, memory."""

import contextlib

import pytest

from shared.domain.desired import Desired, desired_without_rows
from shared.domain.model import LONGEST_GRANT
from tests.contract.provider.grounds import GROUNDS, Ground, KilledError
from tests.contract.provider.subject import ALICE, BOB, Subject


def test_orphans_that_open_go(subject: Subject) -> None:
    """An opening of ours without a row is removed."""
    subject.allow(1)
    subject.converge()
    subject.allows.clear()
    assert subject.converge().is_done
    assert not subject.reaches()


def test_strays_that_close_stay_until_their_rows_are_back(subject: Subject) -> None:
    """A closing rule is never removed for want of a row."""
    block = subject.block()
    subject.ground.open_foreign(subject.id, BOB, 22)
    subject.converge()
    before = subject.read().own
    rows = dict(subject.blocks)
    subject.blocks.clear()
    plan = subject.converge()
    assert subject.read().own == before
    closing = {own.id for own in before if not own.opens}
    assert set(plan.strays) == closing
    subject.blocks = rows
    assert subject.converge().finding(block).agrees is subject.look().finding(block).agrees


def test_own_text_yields_keys_and_the_end(subject: Subject) -> None:
    """A rule's text names the grants that it serves, and their end."""
    keys = [subject.allow(1, ALICE), subject.allow(2, BOB, minutes=90)]
    subject.converge()
    own = [each for each in subject.read().own if each.opens]
    for key in keys:
        (serving,) = [o for o in own if any(key.startswith(told) for told in o.keys)]
        assert serving.until == subject.allows[key].until


def test_a_damaged_text_is_over(subject: Subject) -> None:
    """A text without a readable end counts as ended where the rows cannot be read."""
    subject.block()
    subject.allow(1)
    subject.converge()
    subject.ground.damage(subject.id)
    _expire_from_text(subject)
    assert not subject.reaches()


def test_without_rows_only_ended_openings_go(subject: Subject) -> None:
    """Where rows cannot be read, an opening goes at the end its own text names, and no sooner."""
    subject.block()
    subject.allow(1, ALICE, minutes=60)
    subject.allow(2, BOB, minutes=600)
    subject.converge()
    foreign = subject.ground.foreign(subject.id)
    _expire_from_text(subject)
    assert subject.reaches(ALICE)
    subject.ground.clock.advance(61 * 60)
    _expire_from_text(subject)
    assert not subject.reaches(ALICE)
    assert subject.reaches(BOB)
    assert subject.ground.foreign(subject.id) == foreign


def _expire_from_text(subject: Subject) -> None:
    for _ in range(5):
        observed = subject.read()
        now = subject.ground.clock()
        blind = desired_without_rows(observed, now, subject.provider.pace, LONGEST_GRANT)
        plan = subject.provider.plan(observed, blind)
        if not plan.changes:
            return
        subject.provider.apply(observed, plan)
    raise AssertionError("it never ends")


def test_what_is_kept_is_never_touched(subject: Subject) -> None:
    """Ids in `keep` are neither removed nor narrowed nor restored."""
    subject.block()
    subject.ground.open_foreign(subject.id, BOB, 22)
    subject.allow(1)
    subject.converge()
    observed = subject.read()
    plan = subject.provider.plan(observed, Desired(keep=frozenset(o.id for o in observed.own)))
    assert plan.changes == ()


def test_a_foreign_rule_on_another_port_is_untouched(subject: Subject) -> None:
    """A whole life of a protection leaves other writers' rules for other ports as they were."""
    subject.ground.open_foreign(subject.id, BOB, 443)
    before = subject.ground.foreign(subject.id)
    block, allow = subject.block(), subject.allow(1)
    subject.converge()
    assert subject.ground.foreign(subject.id) == before
    subject.end(allow)
    subject.end(block)
    subject.converge()
    assert subject.ground.foreign(subject.id) == before


# --- what providers that take foreign openings away owe


@pytest.fixture
def restoring(ground: Ground) -> Subject:
    """Return a firewall of a provider that takes foreign openings away."""
    if not ground.restores:
        pytest.skip("this provider never changes what is foreign")
    return Subject(ground)


def test_memory_is_stored_before_the_change(restoring: Subject) -> None:
    """The plan that takes something away names what must be stored first."""
    block = restoring.block()
    restoring.ground.open_foreign(restoring.id, BOB, 22)
    before = restoring.ground.foreign(restoring.id)
    plan = restoring.look()
    while block not in plan.remember:  # some providers prepare first: nothing foreign changes yet
        assert plan.changes
        restoring.provider.apply(restoring.plan_from, plan)
        assert restoring.ground.foreign(restoring.id) == before
        plan = restoring.look()
    assert plan.remember[block]
    assert plan.changes


def test_memory_is_handed_over_before_a_removal_agrees(restoring: Subject) -> None:
    """Of two blocks that need one memory, the removed one agrees once the other holds it."""
    first = restoring.block(1)
    restoring.ground.open_foreign(restoring.id, BOB, 22)
    restoring.converge()
    second = restoring.block(2)
    restoring.end(first)
    plan = restoring.look()
    assert not plan.finding(first).agrees
    assert plan.remember[second]
    assert restoring.converge().finding(first).agrees
    assert not restoring.reaches(BOB)
    del restoring.blocks[first]
    restoring.end(second)
    restoring.converge()
    assert restoring.reaches(BOB)


@pytest.mark.parametrize("call", range(1, 6))
def test_the_last_removal_restores_exactly_after_a_crash_before_each_step(
    restoring: Subject, call: int
) -> None:
    """Wherever the worker is killed, the last removal gives back every foreign rule as it was."""
    restoring.ground.open_foreign(restoring.id, BOB, 22)
    restoring.ground.open_foreign(restoring.id, "198.51.100.0/24", 22)
    before = restoring.ground.foreign(restoring.id)
    block = restoring.block()
    _survive(restoring, call)
    assert not restoring.reaches(BOB)
    restoring.end(block)
    _survive(restoring, call)
    assert restoring.ground.foreign(restoring.id) == before
    assert restoring.read().own == ()


def _survive(subject: Subject, call: int) -> None:
    subject.ground.crash_before(call)
    with contextlib.suppress(KilledError):
        subject.converge()
    subject.ground.crash_before(0)
    subject.converge()


def test_lost_rows_leave_enough_to_restore(restoring: Subject) -> None:
    """With rows and memory lost, what stands on the firewall suffices to restore."""
    restoring.ground.open_foreign(restoring.id, BOB, 22)
    before = restoring.ground.foreign(restoring.id)
    block = restoring.block()
    restoring.converge()
    restoring.blocks.clear()
    restoring.converge()
    assert not restoring.reaches(BOB)
    restoring.block()
    restoring.converge()
    restoring.end(block)
    restoring.converge()
    assert restoring.ground.foreign(restoring.id) == before


def test_every_ground_is_tried() -> None:
    """The suite runs on the product's providers and on both test providers."""
    assert set(GROUNDS) >= {"nsg", "shared rules", "serial"}
