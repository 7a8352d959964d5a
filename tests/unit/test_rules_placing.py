"""Where a rule of ours is placed, what is removed, and in what order."""

from dataclasses import replace

import pytest

from shared.domain.desired import block_of
from shared.firewalls.nsg.judgement import meets
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.plan import first_priorities
from shared.firewalls.nsg.rules import Band, Plan, deny_rules, in_order
from tests.fakes import NAMES
from tests.samples import (
    BAND,
    DENY,
    OTHER_POLICY,
    RULE,
    allow,
    carry_out,
    deny,
    plan_for,
    protection,
)
from tests.world import DB, WEB


def ours(number: int, priority: int, access: Access = Access.ALLOW) -> SecurityRule:
    """Make a rule of ours for some grant."""
    name = NAMES.allow(f"other{number}", DB, 22, 4)
    return replace(RULE, name=name, priority=priority, access=access, destinations=("10.0.0.5",))


# --- where a rule is placed


def test_the_bands_of_our_rules() -> None:
    """Allows stand below Defender's, denies from 1000 on, and Azure holds 1,000 rules."""
    assert Band(200, 999, 1000, 4096, 1000) == BAND


def test_an_allow_gets_the_lowest_free_priority() -> None:
    """A rule that holds a priority, in whatever direction it allows, keeps it."""
    assert plan_for().put == (replace(RULE, priority=200),)
    assert plan_for(allow("x", 200), deny("y", 202, ports=("443",))).put[0].priority == 201
    assert plan_for(allow("x", 200), ours(1, 201)).put[0].priority == 202
    # Outbound rules have priorities of their own.
    assert plan_for(replace(allow("x", 200), inbound=False)).put[0].priority == 200


def test_new_rules_of_one_plan_have_different_priorities() -> None:
    """Each priority is given once."""
    more = tuple(replace(RULE, name=NAMES.allow(f"id{n}", WEB, 22, 4)) for n in range(5))
    changes = plan_for(allow("x", 202), want=more)
    assert [rule.priority for rule in changes.put] == [200, 201, 203, 204, 205]


@pytest.mark.parametrize(
    ("priority", "access", "kept"),
    [
        (199, Access.ALLOW, False),
        (200, Access.ALLOW, True),
        (999, Access.ALLOW, True),
        (1000, Access.ALLOW, False),
        (999, Access.DENY, False),
        (1000, Access.DENY, True),
        (4096, Access.DENY, True),
        (4097, Access.DENY, False),
    ],
)
def test_a_priority_is_kept_within_its_band(priority: int, access: Access, kept: bool) -> None:
    """Both ends of a band belong to it; a rule of ours beyond them is moved in."""
    rule = RULE if access is Access.ALLOW else DENY
    held = replace(rule, priority=priority)
    changes = plan_for(held, want=(rule,))
    first = 200 if access is Access.ALLOW else 1000
    assert changes.put == (() if kept else (replace(rule, priority=first),))
    assert changes.remove == ()


def test_the_last_priority_of_a_band_is_used_and_no_further() -> None:
    """A full band blocks the rule, and says which band."""
    band = Band(allow_from=200, allow_to=201, deny_from=1000, deny_to=1001)
    assert plan_for(allow("x", 200), band=band).put[0].priority == 201
    full = plan_for(allow("x", 200), allow("y", 201), band=band)
    assert full == Plan(blocked={RULE.name: "no free priority from 200 to 201"})
    other = (deny("x", 1000, ports=("443",)), deny("y", 1001, ports=("443",)))
    assert plan_for(other[0], want=(DENY,), band=band).put[0].priority == 1001
    assert plan_for(*other, want=(DENY,), band=band).blocked == {
        DENY.name: "no free priority from 1000 to 1001"
    }


def test_a_full_firewall_takes_no_more() -> None:
    """Rules of both directions count, new ones of this plan too; changing one adds none."""
    band = Band(most_rules=3)
    outbound = replace(allow("out", 300), inbound=False)
    second = replace(RULE, name=NAMES.allow("id2", WEB, 22, 4))
    assert len(plan_for(outbound, want=(RULE, second), band=band).put) == 2
    changes = plan_for(outbound, allow("x", 301), want=(RULE, second), band=band)
    told = "the network security group is full: it holds 3 rules"
    assert [rule.name for rule in changes.put] == [RULE.name]
    assert changes.blocked == {second.name: told}
    # A rule of ours that stands may be moved and changed, however full it is.
    held = replace(RULE, priority=100, sources=("*",))
    changes = plan_for(outbound, allow("x", 301), held, want=(RULE, second), band=band)
    assert changes.put == (replace(RULE, priority=200),)
    assert changes.blocked == {second.name: told}


def test_moving_a_rule_takes_no_room() -> None:
    """A rule that stands already is counted once."""
    band = Band(most_rules=3)
    held = replace(RULE, priority=100)
    second = replace(RULE, name=NAMES.allow("id2", WEB, 22, 4))
    changes = plan_for(allow("x", 301), held, want=(RULE, second), band=band)
    assert [rule.priority for rule in changes.put] == [200, 201]
    assert changes.blocked == {}


def test_a_deny_stands_after_every_foreign_allow_that_meets_it() -> None:
    """Existing rules keep precedence; what does not meet it is passed by."""
    unrelated = allow("far", 3000, ports=("443",))
    assert plan_for(allow("x", 1500), want=(DENY,)).put[0].priority == 1501
    assert plan_for(allow("x", 999), want=(DENY,)).put[0].priority == 1000
    assert plan_for(allow("x", 1000), want=(DENY,)).put[0].priority == 1001
    assert plan_for(allow("x", 500), unrelated, want=(DENY,)).put[0].priority == 1000
    many = (allow("x", 1200), allow("y", 1300), deny("z", 1301), unrelated)
    assert plan_for(*many, want=(DENY,)).put[0].priority == 1302
    assert plan_for(ours(1, 1200), want=(DENY,)).put[0].priority == 1000


@pytest.mark.parametrize(
    ("present", "priority"),
    [
        ((), 1000),  # deleted
        ((allow("x", 1500),), 1000),  # deleted, and an allow added where it would be let by
        ((deny("x", 1000, ports=("443",)),), 1001),  # its place is taken
        ((replace(DENY, priority=3000),), 1000),  # moved
        ((replace(DENY, priority=3000), allow("x", 2000)), 1000),  # moved behind an allow
        ((replace(DENY, priority=3000), allow("x", 1000)), 1001),  # and its place taken
        ((replace(DENY, priority=1001), allow("x", 1000)), None),  # nothing better is free
        ((replace(DENY, priority=1000),), None),
        ((replace(DENY, priority=1000), allow("x", 1500)), None),
    ],
)
def test_a_deny_goes_back_to_where_it_stood(
    present: tuple[SecurityRule, ...], priority: int | None
) -> None:
    """A rule put in front of it since then gains no effect by its deletion or move."""
    want = replace(DENY, priority=1000)
    changes = plan_for(*present, want=(want,))
    assert changes.put == (() if priority is None else (replace(want, priority=priority),))
    assert changes.remove == ()
    assert changes.blocked == {}


@pytest.mark.parametrize(("stored", "priority"), [(0, 1000), (7, 1000), (4097, None)])
def test_a_stored_priority_leads_nowhere_outside_the_band(
    stored: int, priority: int | None
) -> None:
    """A row may have been forged."""
    changes = plan_for(want=(replace(DENY, priority=stored),))
    assert [rule.priority for rule in changes.put] == ([] if priority is None else [priority])


@pytest.mark.parametrize("stored", [0, 7, 1000])
def test_a_deny_at_the_start_of_its_band_stays_with_any_stored_priority(stored: int) -> None:
    """There is nothing before the band to go back to."""
    stands = replace(DENY, priority=1000)
    assert plan_for(stands, want=(replace(DENY, priority=stored),)) == Plan()


def test_a_deny_carries_the_first_priority_of_its_family() -> None:
    """Of several policies' protections the lowest that is known counts."""
    both = replace(protection(), addresses=("10.0.0.4", "fd00::4"))
    held = replace(both, memory='{"priority_v4": 1200}')
    memory = '{"priority_v4": 1100, "priority_v6": 1300}'
    other = replace(held, policy_id=OTHER_POLICY, memory=memory)
    for protections, expected in (([held, other], [1100, 1300]), ([held], [1200, 0])):
        priorities = first_priorities(map(block_of, protections), NAMES)
        rules = deny_rules(protections, NAMES, priorities)
        assert [rule.priority for rule in rules] == expected


def test_a_deny_after_the_last_priority_has_no_place() -> None:
    """A foreign allow at the very end leaves the port open, and the plan says so."""
    assert plan_for(allow("x", 4095), want=(DENY,)).put[0].priority == 4096
    assert plan_for(allow("x", 4096), want=(DENY,)).blocked == {
        DENY.name: "no free priority from 4097 to 4096"
    }


def test_an_allow_that_a_foreign_deny_outranks_is_blocked() -> None:
    """It could never open the port; the reason names the rule that decides."""
    assert plan_for(deny("Quarantine", 100)).blocked == {
        RULE.name: "rule 'Quarantine' (priority 100) denies this port and outranks every free "
        "priority from 200 on"
    }
    assert plan_for(deny("Quarantine", 199)).blocked
    assert plan_for(deny("Quarantine", 201)).put[0].priority == 200
    # 200 is taken by the deny itself, so that the first free one comes after it.
    assert "from 201 on" in plan_for(deny("Quarantine", 200)).blocked[RULE.name]
    assert plan_for(allow("x", 200), deny("Quarantine", 201)).blocked


def test_a_rule_of_ours_that_stands_as_a_deny_blocks_as_well() -> None:
    """Where a rule could not be removed, and was turned into a deny instead."""
    stuck = replace(RULE, name=NAMES.allow("id0", WEB, 22, 4), access=Access.DENY, priority=200)
    changes = plan_for(stuck, refused={stuck.name: "locked"})
    assert changes.put == ()
    assert changes.blocked[stuck.name] == "locked"
    assert changes.blocked[RULE.name] == (
        f"rule '{stuck.name}' (priority 200) denies this port and outranks every free priority "
        "from 201 on"
    )
    # Our own deny rule is no such rule, nor is one below the first free priority.
    assert plan_for(replace(DENY, priority=1000), want=(RULE, DENY)).put[0].priority == 200
    below = replace(stuck, priority=201)
    assert plan_for(below, refused={below.name: "locked"}).put[0].priority == 200


def test_a_rule_that_was_turned_into_a_deny_is_not_in_its_own_way() -> None:
    """An edit by hand is put right, wherever it was moved to and however it is spelt."""
    for name in (RULE.name, RULE.name.lower()):
        edited = replace(RULE, name=name, access=Access.DENY, priority=150)
        assert plan_for(edited) == Plan(put=(replace(RULE, priority=200),))


def test_a_deny_that_does_not_meet_an_allow_does_not_block_it() -> None:
    """Another port, address, source, family or direction is none of this rule's business."""
    others = (
        deny("port", 100, ports=("23", "21")),
        deny("to", 101, destinations=("10.0.0.5",)),
        deny("from", 102, sources=("198.51.100.0/24",)),
        deny("six", 103, sources=("::/0",)),
        deny("udp", 104, protocol="Udp"),
        replace(deny("out", 105), inbound=False),
    )
    assert plan_for(*others).put == (replace(RULE, priority=200),)


def test_an_allow_that_stands_is_not_blocked_by_a_later_deny() -> None:
    """An administrator's deny wins over it on the firewall; the rule itself is left alone."""
    held = replace(RULE, priority=300)
    assert plan_for(deny("Quarantine", 100), held) == Plan()
    changes = plan_for(deny("Quarantine", 100), replace(held, sources=("*",)))
    assert changes == Plan(put=(held,))


def test_denies_are_placed_first() -> None:
    """The closing half of a plan comes before the opening half."""
    assert [rule.access for rule in plan_for(want=(RULE, DENY)).put] == [Access.DENY, Access.ALLOW]


# --- what is removed, and what was refused


def test_rules_of_ours_without_an_intent_are_removed() -> None:
    """An orphan goes, foreign rules stay, and a wanted one in other letters is not an orphan."""
    orphan = ours(1, 300)
    respelled = replace(RULE, name=RULE.name.upper(), priority=200)
    changes = plan_for(allow("x", 400), orphan, respelled)
    assert changes == Plan(remove=(orphan.name,))
    assert changes.size == 1
    assert not changes.is_empty
    assert Plan(put=(RULE,), remove=("x", "y")).size == 3
    assert not Plan(put=(RULE,)).is_empty
    assert Plan(blocked={"x": "y"}).is_empty
    assert not Plan(flush_connections=True).is_empty
    assert Plan().size == Plan(flush_connections=True).size == 0


def test_the_place_of_a_removed_rule_counts_as_taken() -> None:
    """Until it is seen gone: a write in between may be cancelled."""
    assert plan_for(ours(1, 200)).put[0].priority == 201
    band = Band(most_rules=1)
    changes = plan_for(ours(1, 200), band=band)
    assert changes.put == ()
    assert RULE.name in changes.blocked
    assert plan_for(*carry_out([ours(1, 200)], changes), band=band).put[0].priority == 200


def test_a_refused_change_is_not_tried_again() -> None:
    """Neither a put nor a removal that was turned down comes back, and nothing else waits."""
    orphan, other = ours(1, 300), ours(2, 301)
    second = replace(RULE, name=NAMES.allow("id2", WEB, 22, 4))
    changes = plan_for(
        orphan, other, want=(RULE, second), refused={RULE.name: "403", orphan.name: "locked"}
    )
    assert [rule.name for rule in changes.put] == [second.name]
    assert changes.remove == (other.name,)
    assert changes.blocked == {RULE.name: "403", orphan.name: "locked"}


def test_a_refused_rule_that_stands_as_wanted_is_not_blocked() -> None:
    """A refused rule that is there all the same needs nothing more."""
    assert plan_for(replace(RULE, priority=200), refused={RULE.name: "403"}) == Plan()


# --- whether two rules meet


@pytest.mark.parametrize(
    ("foreign", "met"),
    [
        (allow(), True),
        (allow(protocol="tcp"), True),
        (allow(protocol="*"), True),
        (allow(protocol="Udp"), False),
        (allow(protocol="Icmp"), False),
        (allow(ports=("20-22",)), True),
        (allow(ports=("22-30",)), True),
        (allow(ports=("23-30", "1-21")), False),
        (allow(ports=("*",)), True),
        (allow(sources=("203.0.113.0/24",)), True),
        (allow(sources=("203.0.112.0/24", "203.0.114.0/24")), False),
        (allow(sources=("Internet",)), True),
        (allow(sources=("AzureLoadBalancer",)), False),
        (allow(sources=()), False),
        (replace(allow(sources=()), unresolved_sources=True), True),
        (allow(destinations=("10.0.0.0/30", "10.0.0.5")), False),
        (allow(destinations=("10.0.0.0/29",)), True),
        (allow(destinations=("VirtualNetwork",)), True),
        (allow(destinations=("::/0",)), False),
        (replace(allow(destinations=()), unresolved_destinations=True), True),
        (replace(allow(destinations=()), unresolved_sources=True), False),
        (replace(allow(sources=()), unresolved_destinations=True), False),
        (replace(allow(), inbound=False), False),
    ],
)
def test_when_a_foreign_rule_meets_ours(foreign: SecurityRule, met: bool) -> None:
    """Direction, protocol, ports and both addresses have to agree; the unresolved counts."""
    assert meets(foreign, RULE) == met
    assert bool(plan_for(replace(foreign, access=Access.DENY, priority=100)).blocked) == met


def test_a_rule_for_every_protocol_meets_each_that_has_ports() -> None:
    """Our deny is about ports, which TCP and UDP have."""
    assert meets(allow(protocol="Udp"), DENY)
    assert meets(allow(protocol="Tcp"), DENY)
    assert not meets(allow(protocol="Icmp"), DENY)


# --- in what order changes are made


def test_closing_comes_before_opening() -> None:
    """Removals, then denies, then allows: only part may go through."""
    orphan = ours(1, 300)
    changes = plan_for(orphan, want=(RULE, DENY))
    order = in_order(changes, (orphan,))
    assert order == (orphan.name, *changes.put)
    assert [rule.access for rule in changes.put] == [Access.DENY, Access.ALLOW]


def test_a_rule_that_is_replaced_goes_after_its_successor() -> None:
    """A requestor who asked again is not cut off between; every other removal still comes first."""
    predecessor = replace(
        RULE, name=NAMES.allow("id0", WEB, 22, 4), description="until earlier", priority=200
    )
    orphan = ours(1, 300)
    changes = plan_for(predecessor, orphan)
    assert in_order(changes, (predecessor, orphan)) == (
        orphan.name, changes.put[0], predecessor.name,
    )  # fmt: skip


def test_a_deny_replaces_nothing() -> None:
    """Only a new allow keeps an old rule a moment longer."""
    old = replace(DENY, name=NAMES.deny(DB, 4), priority=1000)
    changes = plan_for(old, want=(DENY,))
    assert in_order(changes, (old,)) == (old.name, changes.put[0])


def test_a_removal_of_what_is_not_there_comes_first() -> None:
    """A plan made from another read is still put in order."""
    changes = Plan(put=(RULE,), remove=("gone",))
    assert in_order(changes, ()) == ("gone", RULE)
    assert in_order(Plan(), ()) == ()
