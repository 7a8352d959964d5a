"""What a firewall should hold and the changes that make it so, each bound pinned."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta

import pytest

from shared.domain.model import (
    LONGEST_GRANT,
    Access,
    FirewallRows,
    Grant,
    Protection,
    SecurityRule,
)
from shared.domain.rules import (
    Band,
    Plan,
    Wanted,
    allow_rules,
    current_grants,
    deny_rules,
    in_order,
    is_covered,
    is_held,
    meets,
    plan,
    same_meaning,
    superseded,
    wanted,
)
from tests.fakes import NAMES, START
from tests.samples import MINUTE, OTHER_POLICY, allow, carry_out, deny, grant, protection, rows
from tests.world import DB, WEB

TICK = timedelta(microseconds=1)
BAND = Band()
RULE = allow_rules(grant(), NAMES)[0]
DENY = deny_rules([protection()], NAMES)[0]


def plan_for(
    *present: SecurityRule,
    want: tuple[SecurityRule, ...] = (RULE,),
    band: Band = BAND,
    refused: dict[str, str] | None = None,
) -> Plan:
    """Plan one firewall."""
    return plan(present, want, NAMES, band, refused)


def ours(number: int, priority: int, access: Access = Access.ALLOW) -> SecurityRule:
    """Make a rule of ours for some grant."""
    name = NAMES.allow(f"other{number}", DB, 22, 4)
    return replace(RULE, name=name, priority=priority, access=access, destinations=("10.0.0.5",))


@pytest.mark.parametrize("value", [BAND, Plan(), Wanted()])
def test_what_was_decided_is_not_changed_afterwards(value: object) -> None:
    """Bands, plans and what is wanted are values."""
    with pytest.raises(FrozenInstanceError):
        value.put = ()  # type: ignore[attr-defined]


# --- what is wanted


def test_the_rules_of_a_grant_and_its_protection() -> None:
    """A protected VM has a deny of all its ports, and a grant an allow of one, to its address."""
    want = wanted(rows(protection(WEB, "10.0.0.4", ports=(3389, 22)), grant()), START, NAMES)
    assert want.impossible == {}
    assert want.rules == (
        SecurityRule(
            name=NAMES.deny(WEB, 4),
            access=Access.DENY,
            protocol="*",
            sources=("*",),
            destinations=("10.0.0.4",),
            ports=("22", "3389"),
            description="JIT access: management ports of VM 'web' stay closed.",
        ),
        SecurityRule(
            name=NAMES.allow("id1", WEB, 22, 4),
            access=Access.ALLOW,
            protocol="Tcp",
            sources=("203.0.113.7",),
            destinations=("10.0.0.4",),
            ports=("22",),
            description="JIT access request id1 until 2026-11-22T14:10:00Z",
        ),
    )


@pytest.mark.parametrize(
    ("expires_at", "held"),
    [
        (START - TICK, False),
        (START, False),
        (START + TICK, True),
        (START + LONGEST_GRANT, True),
        (START + LONGEST_GRANT + TICK, False),
    ],
)
def test_a_grant_is_held_until_its_expiry_and_never_for_long(
    expires_at: datetime, held: bool
) -> None:
    """Neither a grant that is over nor one that claims to last too long is wanted."""
    one = replace(grant(), expires_at=expires_at)
    assert is_held(one, START) == held
    assert bool(current_grants(rows(one), START)) == held


def test_a_sealed_grant_is_never_held() -> None:
    """Sealed is sealed, however long it would have lasted."""
    assert not is_held(grant(sealed_at=START), START)
    assert not is_held(grant(sealed_at=START + 5 * MINUTE), START)
    assert current_grants(rows(grant(sealed_at=START)), START) == ()


def test_the_longest_grant_is_a_day_and_a_little() -> None:
    """What the domain takes at most: a day, and five minutes for clocks that disagree."""
    assert timedelta(hours=24, minutes=5) == LONGEST_GRANT


@pytest.mark.parametrize(
    ("held", "covered"),
    [
        (protection(), True),
        (protection(WEB.upper()), True),
        (protection(policy_id=protection().policy_id.upper()), True),
        (protection(WEB, "10.0.0.5", "10.0.0.4"), True),
        (protection(WEB, "10.0.0.4/32", "2001:db8::4"), True),
        (protection(ports=(3389, 22)), True),
        (protection(lifted=True), False),
        (protection(DB), False),
        (protection(policy_id=OTHER_POLICY), False),
        (protection(ports=(3389,)), False),
        (protection(ports=()), False),
        (protection(WEB, "10.0.0.5"), False),
    ],
)
def test_a_grant_is_covered_by_its_own_policys_protection(held: Protection, covered: bool) -> None:
    """VM, policy, port and every address have to be those of one protection that stands."""
    assert is_covered(grant(), FirewallRows((held,))) == covered
    assert bool(current_grants(rows(held, grant()), START)) == covered


def test_a_grant_is_covered_by_one_of_many_protections() -> None:
    """One that covers it is enough; parts of two are not."""
    assert is_covered(grant(), rows(protection(DB, "10.0.0.5"), protection()))
    assert not is_covered(grant(), rows(protection(ports=(3389,)), protection(DB, "10.0.0.4")))
    assert not is_covered(grant(), FirewallRows())


def test_each_address_of_a_grant_must_be_covered() -> None:
    """An address that the VM has lost may be another VM's tomorrow."""
    both = grant(addresses=("10.0.0.4", "10.0.0.9"))
    assert is_covered(both, rows(protection(WEB, "10.0.0.4", "10.0.0.9")))
    assert not is_covered(both, rows(protection(WEB, "10.0.0.4")))
    # Addresses side by side are one prefix when collapsed; each is still there.
    assert is_covered(grant(), rows(protection(WEB, "10.0.0.4", "10.0.0.5")))


@pytest.mark.parametrize(
    ("other", "replaced"),
    [
        (grant("id2", requested_at=START + TICK), True),
        (grant("id2", requested_at=START - TICK), False),
        (grant("id2"), True),  # of equal age, the id decides
        (grant("id0"), False),
        (grant("id2", WEB.upper(), requested_at=START + TICK), True),
        (grant("id2", sources=("203.0.113.7/32",), requested_at=START + TICK), True),
        (grant("id2", DB, requested_at=START + TICK), None),
        (grant("id2", port=3389, requested_at=START + TICK), None),
        (grant("id2", requestor="tenant/bob-id", requested_at=START + TICK), None),
        (grant("id2", sources=("203.0.113.8",), requested_at=START + TICK), None),
        (grant("id2", protocol="*", requested_at=START + TICK), None),
    ],
)
def test_the_newest_of_the_same_grants_replaces_the_others(
    other: Grant, replaced: bool | None
) -> None:
    """The same requestor, VM, port and sources: the older goes; anything else and both stay."""
    expected = {True: ("id1",), False: (other.request_id,), None: ()}[replaced]
    for pair in ((grant(), other), (other, grant())):
        assert tuple(each.request_id for each in superseded(pair)) == expected


def test_only_the_newest_of_many_stays() -> None:
    """However many there are, one is left; those who are not held count for nothing."""
    many = [grant(f"id{n}", requested_at=START - n * MINUTE) for n in range(5)]
    assert {each.request_id for each in superseded(many)} == {"id1", "id2", "id3", "id4"}
    many[0] = replace(many[0], sealed_at=START)
    many[1] = replace(many[1], expires_at=START)
    many[2] = replace(many[2], policy_id=OTHER_POLICY)
    assert [each.request_id for each in current_grants(rows(*many), START)] == ["id3"]


@pytest.mark.parametrize(
    ("addresses", "refused"),
    [
        (("10.0.0.4",), True),
        (("10.0.0.4/32",), True),
        (("10.0.0.4", "10.0.0.5"), True),
        (("10.0.0.9", "10.0.0.4"), True),
        (("10.0.0.5",), False),
        (("2001:db8::4",), False),
    ],
)
def test_an_address_that_another_vm_has_too_is_not_opened(
    addresses: tuple[str, ...], refused: bool
) -> None:
    """Opening it would open both machines; the reason names the two of them."""
    held = rows(protection(), protection(DB, *addresses), grant())
    want = wanted(held, START, NAMES)
    if refused:
        told = (
            "the address of 'web' also belongs to 'db' behind the same network security group; "
            "opening it would open both"
        )
        assert want.impossible == {grant().key: told}
    else:
        assert want.impossible == {}
    assert (RULE in want.rules) != refused


def test_an_address_is_another_vms_only_while_that_vm_is_protected() -> None:
    """A lifted protection says nothing, nor does the same VM under another policy's."""
    second = protection(WEB.upper(), policy_id=OTHER_POLICY)
    held = rows(protection(), protection(DB, lifted=True), second, grant())
    assert wanted(held, START, NAMES).impossible == {}


def test_the_reason_names_the_same_vm_each_time() -> None:
    """Of several that have the address, the first by id, whatever order they are read in."""
    third = DB.replace("/db", "/third")
    for pair in ((DB, third), (third, DB)):
        want = wanted(rows(protection(), *map(protection, pair), grant()), START, NAMES)
        assert "also belongs to 'db' " in want.impossible[grant().key]


def test_an_impossible_grant_keeps_no_other_from_its_rule() -> None:
    """Only the grant whose address is shared goes without."""
    third = WEB.replace("web", "third")
    held = rows(
        protection(), protection(DB), protection(third, "10.0.0.9"), grant("id1"),
        grant("id2", third, addresses=("10.0.0.9",)),
    )  # fmt: skip
    want = wanted(held, START, NAMES)
    assert list(want.impossible) == [grant("id1").key]
    assert [rule.name for rule in want.rules if rule.access is Access.ALLOW] == [
        NAMES.allow("id2", third, 22, 4)
    ]


def test_a_grant_has_one_rule_for_each_family() -> None:
    """Sources and addresses of both families make two rules, of one family one, else none."""
    both = grant(sources=("203.0.113.7", "2001:db8:9::/64"), addresses=("10.0.0.4", "2001:db8::4"))
    four, six = allow_rules(both, NAMES)
    assert (four.name, four.sources, four.destinations) == (
        NAMES.allow("id1", WEB, 22, 4), ("203.0.113.7",), ("10.0.0.4",),
    )  # fmt: skip
    assert (six.name, six.sources, six.destinations) == (
        NAMES.allow("id1", WEB, 22, 6), ("2001:db8:9::/64",), ("2001:db8::4",),
    )  # fmt: skip
    assert allow_rules(replace(both, sources=("2001:db8:9::/64",)), NAMES) == [six]
    assert allow_rules(replace(both, addresses=("10.0.0.4",)), NAMES) == [four]
    assert allow_rules(grant(addresses=("2001:db8::4",)), NAMES) == []


def test_prefixes_of_a_rule_are_collapsed() -> None:
    """Neighbours become one prefix, on both sides."""
    rule = allow_rules(
        grant(sources=("203.0.113.6", "203.0.113.7"), addresses=("10.0.0.4", "10.0.0.5")), NAMES
    )[0]
    assert (rule.sources, rule.destinations) == (("203.0.113.6/31",), ("10.0.0.4/31",))


@pytest.mark.parametrize(
    ("protocol", "wire"),
    [("TCP", "Tcp"), ("tcp", "Tcp"), ("UDP", "Udp"), ("*", "*"), ("All", "*")],
)
def test_the_protocol_of_an_allow(protocol: str, wire: str) -> None:
    """TCP and UDP are written as Azure spells them, everything else is `*`."""
    assert allow_rules(grant(protocol=protocol), NAMES)[0].protocol == wire


def test_one_deny_for_each_vm_and_family() -> None:
    """The policies of a VM share one deny; lifted ones and those without ports have none."""
    rules = deny_rules(
        [
            protection(WEB, "10.0.0.4", ports=(22,)),
            protection(DB, "10.0.0.5", ports=(22,)),
            protection(WEB.upper(), "2001:db8::4", "10.0.0.4", ports=(3389, 22), policy_id="x"),
            protection(WEB, "10.0.0.66", ports=(443,), policy_id="y", lifted=True),
            protection(WEB.replace("web", "bare"), "10.0.0.7", ports=()),
        ],
        NAMES,
    )
    assert [(rule.name, rule.destinations, rule.ports) for rule in rules] == [
        (NAMES.deny(DB, 4), ("10.0.0.5",), ("22",)),
        (NAMES.deny(WEB, 4), ("10.0.0.4",), ("22", "3389")),
        (NAMES.deny(WEB, 6), ("2001:db8::4",), ("22", "3389")),
    ]
    assert {(rule.access, rule.protocol, rule.sources) for rule in rules} == {
        (Access.DENY, "*", ("*",))
    }
    # Of two spellings of a name, always the same one is told.
    assert {rule.description for rule in rules[1:]} == {
        "JIT access: management ports of VM 'WEB' stay closed."
    }
    assert deny_rules([replace(protection(), addresses=())], NAMES) == []
    assert deny_rules([], NAMES) == []


# --- whether a rule that stands is the one that is wanted


@pytest.mark.parametrize(
    "respell",
    [
        lambda rule: replace(rule, protocol=rule.protocol.upper()),
        lambda rule: replace(rule, sources=("203.0.113.7/32",)),
        lambda rule: replace(rule, destinations=("10.0.0.4/255.255.255.255",)),
        lambda rule: replace(rule, ports=("22-22",)),
        lambda rule: replace(rule, source_ports=("0-65535",)),
        lambda rule: replace(rule, sources=("203.0.113.7", "203.0.113.7")),
        lambda rule: replace(rule, name=rule.name.upper()),
        lambda rule: replace(rule, priority=777),
    ],
)
def test_what_arm_respells_is_no_drift(respell: Callable[[SecurityRule], SecurityRule]) -> None:
    """A rule that means the same, at any good priority, is left alone."""
    held = respell(replace(RULE, priority=200))
    assert same_meaning(held, RULE)
    assert plan_for(held).is_empty


@pytest.mark.parametrize(
    "edit",
    [
        lambda rule: replace(rule, access=Access.DENY),
        lambda rule: replace(rule, inbound=False),
        lambda rule: replace(rule, protocol="*"),
        lambda rule: replace(rule, sources=("*",)),
        lambda rule: replace(rule, sources=("203.0.113.7", "198.51.100.1")),
        lambda rule: replace(rule, destinations=("10.0.0.5",)),
        lambda rule: replace(rule, ports=("22", "23")),
        lambda rule: replace(rule, source_ports=("1024-65535",)),
        lambda rule: replace(rule, description=rule.description.replace("14:10", "15:10")),
        lambda rule: replace(rule, unresolved_sources=True),
        lambda rule: replace(rule, unresolved_destinations=True),
    ],
)
def test_an_edited_rule_is_put_right_where_it_stands(
    edit: Callable[[SecurityRule], SecurityRule],
) -> None:
    """Every field that says who may reach what, or until when, is compared; the priority stays."""
    held = edit(replace(RULE, priority=345))
    assert not same_meaning(held, RULE)
    changes = plan_for(held)
    assert [rule.name for rule in changes.put] == [RULE.name]
    assert same_meaning(changes.put[0], RULE)
    # A rule that was turned to outbound has no inbound priority to keep.
    assert changes.put[0].priority == (345 if held.inbound else 200)
    assert changes.remove == ()


# --- where a rule is placed


def test_the_bands_of_our_rules() -> None:
    """Allows stand below Defender's, denies from 1000 on, and Azure holds 1,000 rules."""
    assert Band(200, 999, 1000, 4096, 1000) == BAND


def test_an_allow_gets_the_lowest_free_priority() -> None:
    """Whoever holds a priority, for whatever inbound rule, keeps it."""
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
    """What was put in front of it since then gets no say by its deletion or move."""
    want = replace(DENY, priority=1000)
    changes = plan_for(*present, want=(want,))
    assert changes.put == (() if priority is None else (replace(want, priority=priority),))
    assert changes.remove == ()
    assert changes.blocked == {}


@pytest.mark.parametrize(("remembered", "priority"), [(0, 1000), (7, 1000), (4097, None)])
def test_a_remembered_priority_leads_nowhere_outside_the_band(
    remembered: int, priority: int | None
) -> None:
    """A row may have been forged."""
    changes = plan_for(want=(replace(DENY, priority=remembered),))
    assert [rule.priority for rule in changes.put] == ([] if priority is None else [priority])


def test_a_deny_carries_the_first_priority_of_its_family() -> None:
    """Of several policies' protections the lowest that is known counts."""
    both = replace(protection(), addresses=("10.0.0.4", "fd00::4"))
    held = replace(both, priority_v4=1200)
    other = replace(held, policy_id=OTHER_POLICY, priority_v4=1100, priority_v6=1300)
    assert [rule.priority for rule in deny_rules([held, other], NAMES)] == [1100, 1300]
    assert [rule.priority for rule in deny_rules([held], NAMES)] == [1200, 0]


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
    # The standing deny is no such rule, nor is one below the first free priority.
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


def test_rules_of_ours_that_nobody_wants_are_removed() -> None:
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
    """What was refused and is there all the same needs nothing more."""
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


def test_a_rule_for_every_protocol_meets_each() -> None:
    """Our deny is about all protocols."""
    assert meets(allow(protocol="Udp"), DENY)
    assert meets(allow(protocol="Icmp"), DENY)


# --- in what order changes are made


def test_closing_comes_before_opening() -> None:
    """Removals, then denies, then allows: only part may go through."""
    orphan = ours(1, 300)
    changes = plan_for(orphan, want=(RULE, DENY))
    order = in_order(changes, (orphan,))
    assert order == (orphan.name, *changes.put)
    assert [rule.access for rule in changes.put] == [Access.DENY, Access.ALLOW]


def test_a_rule_that_is_replaced_goes_after_its_successor() -> None:
    """Who asked again is not cut off in between; every other removal still comes first."""
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
