"""Plans are complete, repeatable, and safe to apply in any part."""

import itertools

import pytest

from shared.domain.desired import Verdict
from shared.ports import FirewallChangedError, RefusedError, SettlingError
from tests.contract.provider.grounds import GROUNDS, KilledError
from tests.contract.provider.subject import ALICE, BOB, Subject


def scene(subject: Subject) -> tuple[str, str]:
    """Have one grant to close and one to open, on a protected port."""
    subject.block()
    closing = subject.allow(1, ALICE)
    subject.converge()
    subject.end(closing)
    return closing, subject.allow(2, BOB)


def test_the_second_plan_after_success_is_empty_whatever_the_service_respells(
    subject: Subject,
) -> None:
    """Other spelling and order of the same meaning is no difference."""
    subject.block()
    subject.allow(1, ALICE)
    subject.allow(2, BOB)
    assert subject.converge().is_done
    subject.ground.respell(subject.id)
    assert subject.look().is_done


def test_any_part_of_a_plan_converges_to_the_same_state(subject: Subject) -> None:
    """Each subset of a plan's changes may be applied alone; the next rounds complete it."""
    scene(subject)
    plan = subject.look()
    parts = [
        frozenset(part)
        for size in range(1, len(plan.changes) + 1)
        for part in itertools.combinations(sorted(plan.ids), size)
    ]
    for part in parts:
        trial = Subject(type(subject.ground)())
        closing, opening = scene(trial)
        observed = trial.read()
        again = trial.provider.plan(observed, trial.desired)
        trial.remember(again)
        trial.provider.apply(observed, again.only(part))
        done = trial.converge()
        assert done.finding(closing).agrees
        assert done.finding(opening).agrees
        assert not trial.reaches(ALICE)
        assert trial.reaches(BOB)


def test_change_ids_are_stable_and_differ_by_verb(subject: Subject) -> None:
    """The same change has the same id in the next round, and a removal another than a put."""
    key = subject.allow(1)
    first, second = subject.look(), subject.look()
    assert first.ids == second.ids
    subject.converge()
    subject.end(key)
    assert subject.look().ids.isdisjoint(first.ids)


def test_closes_come_first_in_every_plan(subject: Subject) -> None:
    """No change that opens stands before one that does not."""
    scene(subject)
    opens = [change.opens for change in subject.look().changes]
    assert opens == sorted(opens)


def test_each_change_names_the_keys_it_serves(subject: Subject) -> None:
    """A refusal can be traced to the intents it concerns."""
    closing, opening = scene(subject)
    served = {key for change in subject.look().changes for key in change.serves}
    assert {closing, opening} <= served


def test_a_refused_put_fails_only_the_unsatisfied_intents(subject: Subject) -> None:
    """A grant that already works keeps agreeing while new ones are refused."""
    subject.block()
    works = subject.allow(1, ALICE)
    subject.converge()
    subject.ground.refuse("put")
    refused = subject.allow(2, BOB)
    plan = subject.converge()
    assert plan.finding(works).agrees
    assert plan.finding(refused).verdict is Verdict.IMPOSSIBLE
    assert plan.finding(refused).reason


def test_a_refused_removal_yields_another_way(subject: Subject) -> None:
    """Where a rule may not be removed, the port is closed by other means."""
    subject.block()
    key = subject.allow(1)
    subject.converge()
    subject.end(key)
    subject.ground.refuse("remove")
    subject.converge()
    assert not subject.reaches()


def test_a_refused_edit_does_not_hide_a_later_removal(subject: Subject) -> None:
    """After a refused extension the grant still closes."""
    subject.block()
    key = subject.allow(1)
    subject.converge()
    subject.ground.refuse("put")
    subject.extend(key, 60)
    subject.converge()
    assert subject.reaches()
    subject.end(key)
    assert subject.converge().finding(key).agrees
    assert not subject.reaches()


def test_a_busy_firewall_raises_settling(subject: Subject) -> None:
    """A write under way is told with the time to come back, and nothing is read as proof."""
    seconds = subject.ground.busy_seconds
    subject.ground.be_busy(seconds)
    with pytest.raises(SettlingError) as caught:
        subject.provider.read(subject.id)
    if getattr(subject.ground, "tells_wait", True):
        assert caught.value.retry_after == seconds
    assert 0 < caught.value.retry_after <= subject.provider.pace.settle.total_seconds()
    subject.ground.be_busy(0)


def test_a_stale_version_changes_nothing(subject: Subject) -> None:
    """A plan made from an older read is not applied over another writer's change."""
    subject.allow(1)
    observed = subject.read()
    plan = subject.provider.plan(observed, subject.desired)
    subject.ground.open_foreign(subject.id, BOB, 443)
    before = subject.ground.foreign(subject.id)
    with pytest.raises(FirewallChangedError):
        subject.provider.apply(observed, plan)
    subject.read()
    assert subject.ground.foreign(subject.id) == before
    assert not subject.reaches()


def test_an_odd_foreign_rule_is_kept_and_counts_as_a_possible_opening(subject: Subject) -> None:
    """An unresolvable rule never raises, and is never read as closed."""
    block = subject.block()
    subject.ground.add_odd_foreign(subject.id)
    subject.converge()
    found = subject.provider.exposures(subject.read(), subject.blocks[block])
    odd_stands = subject.ground.foreign(subject.id)
    assert not odd_stands or any(not each.ours for each in found)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("call", range(1, 7))
def test_a_crash_before_any_call_is_made_good(ground: str, call: int) -> None:
    """A worker killed before its n-th call leaves a state from which the next one converges."""
    subject = Subject(GROUNDS[ground]())
    closing, opening = scene(subject)
    subject.ground.crash_before(call)
    try:
        subject.converge()
    except KilledError:
        subject.ground.settle()
    subject.ground.crash_before(0)
    done = subject.converge()
    assert done.finding(closing).agrees
    assert done.finding(opening).agrees
    assert not subject.reaches(ALICE)
    assert subject.reaches(BOB)


def test_refusals_name_changes_of_the_plan(subject: Subject) -> None:
    """A refusal blames ids that the plan holds, or none."""
    subject.allow(1)
    observed = subject.read()
    plan = subject.provider.plan(observed, subject.desired)
    subject.ground.refuse("put")
    with pytest.raises(RefusedError) as caught:
        subject.provider.apply(observed, plan)
    assert caught.value.changes <= plan.ids
