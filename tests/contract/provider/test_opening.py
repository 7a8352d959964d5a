"""The openings of a provider: ports, sources and ends."""

import pytest

from shared.domain.desired import Verdict
from tests.contract.provider.subject import ALICE, BOB, Subject


def test_opens_for_each_requestor_and_for_no_other_address(subject: Subject) -> None:
    """Each allow lets its own source in, and no other source gets in."""
    subject.block()
    subject.allow(1, ALICE)
    subject.allow(2, BOB)
    assert all(f.agrees for f in subject.converge().findings.values())
    assert subject.reaches(ALICE)
    assert subject.reaches(BOB)
    assert not subject.reaches("203.0.113.8")
    assert not subject.reaches(ALICE, 3389)


def test_every_protocol_means_tcp_and_udp(subject: Subject) -> None:
    """A grant for `*` opens TCP and UDP."""
    subject.allow(1, protocol="*")
    subject.converge()
    assert subject.reaches(protocol="tcp")
    assert subject.reaches(protocol="udp")


def test_the_second_of_two_grants_works_on_after_the_first_expired(subject: Subject) -> None:
    """Closing the first of two grants leaves the second open."""
    subject.block()
    first = subject.allow(1, ALICE)
    subject.allow(2, BOB)
    subject.converge()
    subject.end(first)
    assert subject.converge().finding(first).agrees
    assert not subject.reaches(ALICE)
    assert subject.reaches(BOB)


def test_closing_one_of_two_grants_from_one_source_keeps_access(subject: Subject) -> None:
    """Two grants with the same source and port: access lasts until the last of them ends."""
    subject.block()
    first, second = subject.allow(1, ALICE), subject.allow(2, ALICE, minutes=900)
    subject.converge()
    subject.end(first)
    assert subject.converge().finding(first).agrees
    assert subject.reaches(ALICE)
    subject.end(second)
    assert subject.converge().finding(second).agrees
    assert not subject.reaches(ALICE)


def test_a_later_end_is_pending_until_the_text_says_it(subject: Subject) -> None:
    """An extension agrees once a fresh read shows the later end; access never stops."""
    subject.block()
    key = subject.allow(1)
    subject.converge()
    subject.extend(key, 60)
    assert subject.look().finding(key).verdict is Verdict.PENDING
    assert subject.converge().finding(key).agrees
    assert max(own.until for own in subject.read().own if own.until) == subject.allows[key].until
    assert subject.reaches()


def test_a_newer_grant_replaces_an_older_one_without_a_gap(subject: Subject) -> None:
    """While one grant takes the place of another, no settled state is closed."""
    subject.block()
    older = subject.allow(1)
    subject.converge()
    subject.end(older)
    newer = subject.allow(2)
    for _ in range(10):
        observed = subject.read()
        assert subject.ground.reaches(subject.id, ALICE)
        plan = subject.provider.plan(observed, subject.desired)
        if plan.is_done:
            break
        subject.remember(plan)
        subject.provider.apply(observed, plan)
    assert plan.finding(newer).agrees
    assert plan.finding(older).agrees


@pytest.mark.parametrize("missing", ["sources", "addresses"])
def test_without_a_source_or_address_a_grant_is_impossible(subject: Subject, missing: str) -> None:
    """Nothing to open is said so, and never read as every source."""
    nothing: dict[str, tuple[str, ...]] = {missing: ()}
    key = subject.allow(1, **nothing)  # type: ignore[arg-type]
    plan = subject.converge()
    assert plan.finding(key).verdict is Verdict.IMPOSSIBLE
    assert plan.finding(key).reason
    assert not subject.reaches()


def test_a_firewall_that_is_gone_holds_nothing_open(subject: Subject) -> None:
    """Where the service says that a firewall is gone, grants are impossible and closes agree."""
    key = subject.allow(1)
    subject.id = subject.id + "-was-deleted"
    plan = subject.look()
    assert plan.finding(key).verdict is Verdict.IMPOSSIBLE
    assert subject.provider.label in plan.finding(key).reason
    subject.end(key)
    assert subject.look().finding(key).agrees
