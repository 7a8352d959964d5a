"""Properties of `plan` that hold for all rows and all firewalls: where it leads."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.ids import RuleNames
from shared.firewalls.nsg.judgement import meets
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, Plan, allow_rules, in_order, plan, same_meaning, wanted
from tests.fakes import NAMES, START, assert_legal
from tests.samples import MINUTE, allow, carry_out, deny, grant
from tests.unit.situations import (
    EDITS,
    ROOMY,
    Situation,
    foreign_of,
    foreign_rules,
    legal,
    situations,
)

# --- plan: where it leads


@given(situations())
def test_an_applied_plan_leaves_an_empty_plan(situation: Situation) -> None:
    """A plan holds all changes; only room that a removal frees is used afterwards."""
    changes = situation.plan()
    present = carry_out(situation.present, changes)
    following = situation.plan(present)
    if not changes.blocked:
        assert following == Plan()
    assert not following.remove
    assert {rule.name for rule in following.put} <= changes.blocked.keys()
    for _ in range(3):
        present = carry_out(present, following)
        following = situation.plan(present)
    assert following.is_empty


@given(situations())
def test_where_nothing_is_left_to_plan_everything_wanted_stands(situation: Situation) -> None:
    """An empty plan is the proof: each wanted rule is there as wanted or blocked, no other is."""
    present = list(situation.present)
    changes = situation.plan()
    while not changes.is_empty:
        present = carry_out(present, changes)
        changes = situation.plan(present)
    held = {rule.name.lower(): rule for rule in present if NAMES.is_ours(rule.name)}
    for rule in situation.want:
        if rule.name in changes.blocked:
            assert changes.blocked[rule.name]
        else:
            assert same_meaning(held[rule.name.lower()], rule)
    assert held.keys() <= {rule.name.lower() for rule in situation.want}


@given(situations())
def test_every_step_of_a_plan_is_legal(situation: Situation) -> None:
    """One change at a time, in order: Azure would take each, and the end is the same."""
    changes = situation.plan()
    present = list(situation.present)
    for change in in_order(changes, situation.present):
        present = carry_out(present, [change])
        assert_legal(present)
        assert len(present) <= max(situation.band.most_rules, len(situation.present))
        assert foreign_of(present) == situation.foreign
    whole = carry_out(situation.present, changes)
    assert sorted(present, key=lambda rule: rule.name) == sorted(whole, key=lambda rule: rule.name)


@given(situations())
def test_planning_anew_after_each_change_ends_too(situation: Situation) -> None:
    """A firewall that takes one change and is then read again gets there, in as many steps."""
    present = list(situation.present)
    changes = situation.plan()
    for _ in range(2 * (len(situation.want) + len(present)) + 1):
        if changes.is_empty:
            break
        present = carry_out(present, in_order(changes, present)[:1])
        assert_legal(present)
        changes = situation.plan(present)
    assert changes.is_empty


@given(situations())
def test_foreign_rules_are_never_changed(situation: Situation) -> None:
    """In any form: only names of ours are ever put or removed."""
    changes = situation.plan()
    assert all(NAMES.is_ours(rule.name) for rule in changes.put)
    assert all(NAMES.is_ours(name) for name in changes.remove)
    assert foreign_of(carry_out(situation.present, changes)) == situation.foreign


@given(st.lists(foreign_rules(), max_size=6), st.sampled_from(("test2", "tes", "est1", "abcd")))
def test_nothing_wanted_and_nothing_ours_is_nothing_to_do(
    theirs: list[SecurityRule], deployment: str
) -> None:
    """Where no row is kept, a firewall of strangers is left as it is."""
    present = legal(theirs)
    assert plan(present, (), NAMES, Band()) == Plan()
    second = RuleNames("SecurityCenter-JITRule", deployment)
    held = legal([*present, *allow_rules(grant(), second)])
    assert plan(held, (), NAMES, Band()) == Plan()


# --- plan: priorities


@given(situations())
def test_priorities_never_collide(situation: Situation) -> None:
    """Each is within its band, and free: of foreign rules, of ours, and of those to be removed."""
    changes = situation.plan()
    band = situation.band
    held = {rule.name.lower(): rule for rule in situation.present}
    for rule in changes.put:
        low, high = (
            (band.allow_from, band.allow_to)
            if rule.access is Access.ALLOW
            else (band.deny_from, band.deny_to)
        )
        assert low <= rule.priority <= high
        others = [
            each.priority
            for each in (*situation.present, *changes.put)
            if each.inbound and each.name.lower() != rule.name.lower()
        ]
        assert rule.priority not in others
        before = held.get(rule.name.lower())
        if before is not None and before.inbound and low <= before.priority <= high:
            assert rule.priority == before.priority


@given(situations(), st.lists(foreign_rules(), max_size=4), st.integers(1, 59))
def test_a_priority_once_given_is_never_moved(
    situation: Situation, later: list[SecurityRule], minutes: int
) -> None:
    """A rule of ours keeps its priority, with any later foreign rules and ends."""
    changes = situation.plan()
    present = carry_out(situation.present, changes)
    given_out = {
        rule.name: rule.priority
        for rule in present
        if NAMES.is_ours(rule.name) and rule.name not in changes.blocked
    }
    extended = tuple(
        replace(each, expires_at=each.expires_at + minutes * MINUTE)
        for each in situation.rows.grants
    )
    want = wanted(replace(situation.rows, grants=extended), START, NAMES).rules
    changes = plan(legal([*present, *later]), want, NAMES, situation.band)
    for rule in changes.put:
        assert given_out.get(rule.name, rule.priority) == rule.priority


@given(situations(ROOMY))
def test_a_new_allow_gets_the_lowest_priority_that_is_free(situation: Situation) -> None:
    """No free slot is left between two new ones, or before the first."""
    changes = situation.plan()
    before = {rule.name.lower() for rule in situation.present}
    taken = {rule.priority for rule in situation.present if rule.inbound}
    for rule in changes.put:
        if rule.access is Access.ALLOW and rule.name.lower() not in before:
            low = situation.band.allow_from
            others = taken | {each.priority for each in changes.put if each is not rule}
            assert set(range(low, rule.priority)) <= others


@given(situations())
def test_a_placed_deny_stands_after_every_foreign_allow_that_meets_it(
    situation: Situation,
) -> None:
    """Existing allows keep precedence over a deny that is new."""
    before = {rule.name.lower() for rule in situation.present}
    for rule in situation.plan().put:
        if rule.access is Access.DENY and rule.name.lower() not in before:
            for foreign in situation.foreign:
                if foreign.access is Access.ALLOW and meets(foreign, rule):
                    assert foreign.priority < rule.priority


@given(situations())
def test_an_allow_is_placed_only_where_no_deny_outranks_it(situation: Situation) -> None:
    """Either no deny that meets it stands above, or it is blocked and one is named."""
    changes = situation.plan()
    before = {rule.name.lower() for rule in situation.present}
    denies = [rule for rule in situation.present if rule.access is Access.DENY]
    for rule in changes.put:
        if rule.access is Access.ALLOW and rule.name.lower() not in before:
            assert not any(f.priority < rule.priority and meets(f, rule) for f in denies)
    by_name = {rule.name: rule for rule in situation.want}
    for name, reason in changes.blocked.items():
        if "denies this port" in reason:
            told = [
                f for f in denies if reason.startswith(f"rule '{f.name}' (priority {f.priority})")
            ]
            assert any(meets(f, by_name[name]) for f in told)


@given(situations(), st.integers(100, 199))
def test_a_quarantine_blocks_every_new_allow_and_nothing_else(
    situation: Situation, priority: int
) -> None:
    """A deny of everything above our band: no grant is opened there, denies stand as before."""
    rest = [rule for rule in situation.foreign if rule.priority != priority]
    wall = deny("Quarantine", priority, ports=("*",))
    free = plan(rest, situation.want, NAMES, situation.band)
    changes = plan([wall, *rest][: situation.band.most_rules], situation.want, NAMES, Band())
    assert not any(rule.access is Access.ALLOW for rule in changes.put)
    assert all(rule.access is Access.DENY for rule in changes.put)
    allows = {rule.name for rule in situation.want if rule.access is Access.ALLOW}
    assert allows <= changes.blocked.keys()
    assert {r.name for r in free.put if r.access is Access.DENY} <= {
        rule.name for rule in changes.put
    } | changes.blocked.keys()


# --- plan: what is blocked stalls no other


@given(situations())
def test_a_blocked_rule_stalls_no_other(situation: Situation) -> None:
    """Without what cannot be placed, the same is put in the same places."""
    changes = situation.plan()
    placeable = [rule for rule in situation.want if rule.name not in changes.blocked]
    alone = plan(situation.present, placeable, NAMES, situation.band)
    assert alone.put == changes.put
    assert alone.blocked == {}


@given(situations(), st.randoms(use_true_random=False))
def test_a_refused_rule_stalls_no_other(situation: Situation, random: Random) -> None:
    """A refused rule is left out and reported; all else is done, and the plan ends."""
    changes = situation.plan()
    names = [*(rule.name for rule in changes.put), *changes.remove]
    assume(names)
    refused = {
        name: f"refused {name}"
        for name in random.sample(names, random.randint(1, 3) % len(names) + 1)
    }
    rest = plan(situation.present, situation.want, NAMES, situation.band, refused)
    touched = {rule.name for rule in rest.put} | set(rest.remove)
    assert touched.isdisjoint(refused)
    assert set(names) - refused.keys() <= touched
    for name in refused:
        assert rest.blocked[name] == f"refused {name}"


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 8))
def test_a_firewall_never_holds_more_than_it_can(foreign: int, asked: int, most: int) -> None:
    """As many grants as there is room for are open, and the others are told that it is full."""
    present = [allow(f"x{n}", 3000 + n, ports=("443",)) for n in range(min(foreign, most))]
    want = [rule for n in range(asked) for rule in allow_rules(grant(f"id{n}"), NAMES)]
    changes = plan(present, want, NAMES, Band(most_rules=most))
    room = most - len(present)
    assert len(changes.put) == min(room, asked)
    assert len(changes.blocked) == max(0, asked - room)
    assert all(f"it holds {most} rules" in reason for reason in changes.blocked.values())


def test_a_thousand_rules_are_planned_and_no_more() -> None:
    """Azure's limit: 800 allows fill their band, and with denies and foreign rules 1,000."""
    want = [rule for n in range(1001) for rule in allow_rules(grant(f"id{n}"), NAMES)]
    changes = plan((), want, NAMES, Band())
    assert [rule.priority for rule in changes.put] == list(range(200, 1000))
    assert len(changes.blocked) == 201
    assert set(changes.blocked.values()) == {"no free priority from 200 to 999"}
    theirs = [allow(f"x{n}", 2000 + n, ports=("443",)) for n in range(300)]
    changes = plan(theirs, want, NAMES, Band())
    assert len(changes.put) == 700
    assert len(carry_out(theirs, changes)) == 1000
    assert set(changes.blocked.values()) == {
        "the network security group is full: it holds 1000 rules"
    }


# --- plan: comparison by meaning


def respelt(rule: SecurityRule, random: Random) -> SecurityRule:
    """Write a rule as ARM, a script or the portal might: other letters, the same meaning."""

    def spell(prefix: str) -> list[str]:
        if prefix == "*":
            return ["*"]
        net = ip_network(prefix)
        spellings = [str(net)]
        if net.num_addresses == 1:
            spellings.append(str(net.network_address))
        spellings += [text.upper() for text in spellings] + [net.exploded]
        halves = [str(half) for half in net.subnets()] if net.num_addresses > 1 else spellings[:1]
        return halves if random.random() < 0.5 else [random.choice(spellings)]

    def shuffled(texts: Sequence[str]) -> tuple[str, ...]:
        listed = [*texts, *random.sample(texts, random.randint(0, 1))]
        random.shuffle(listed)
        return tuple(listed)

    return replace(
        rule,
        name=random.choice((rule.name, rule.name.lower(), rule.name.upper())),
        protocol=random.choice((rule.protocol, rule.protocol.upper(), rule.protocol.lower())),
        sources=shuffled([text for prefix in rule.sources for text in spell(prefix)]),
        destinations=shuffled([text for prefix in rule.destinations for text in spell(prefix)]),
        ports=shuffled([random.choice((port, f"{port}-{port}")) for port in rule.ports]),
        source_ports=random.choice((("*",), ("0-65535",), ("0-1023", "1024-65535"))),
    )


@given(situations(ROOMY), st.randoms(use_true_random=False))
def test_what_is_respelt_is_not_drift(situation: Situation, random: Random) -> None:
    """Letter case, /32, long IPv6, order, halves of a prefix, repeats: nothing to plan."""
    present = carry_out(situation.present, situation.plan())
    again = [respelt(rule, random) if NAMES.is_ours(rule.name) else rule for rule in present]
    before, after = situation.plan(present), situation.plan(again)
    assert (after.put, after.remove) == (before.put, before.remove)
    assert after.blocked.keys() == before.blocked.keys()


@given(situations(ROOMY), st.sampled_from(EDITS))
def test_what_is_edited_is_drift(
    situation: Situation, edit: Callable[[SecurityRule], SecurityRule]
) -> None:
    """An edit that changes what a rule of ours means is put right or told, and only that."""
    present = carry_out(situation.present, situation.plan())
    assume(situation.plan(present) == Plan())
    edited = [edit(rule) if NAMES.is_ours(rule.name) else rule for rule in present]
    assume(edited == legal(edited))
    changes = situation.plan(edited)
    drifted = {
        now.name.lower()
        for was, now in zip(present, edited, strict=True)
        if not same_meaning(was, now) or was.inbound != now.inbound
    }
    told = {rule.name.lower() for rule in changes.put} | {name.lower() for name in changes.blocked}
    assert told == drifted
    assert changes.remove == ()
