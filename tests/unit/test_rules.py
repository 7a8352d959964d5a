"""The desired rules of a firewall and the changes that lead there, each bound pinned."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timedelta

import pytest

from shared.domain.grants import (
    current_grants,
    first_end,
    has_overdue,
    is_covered,
    is_held,
    superseded,
)
from shared.domain.model import LONGEST_GRANT, FirewallRows, Grant, Protection
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Plan, Wanted, allow_rules, deny_rules, same_meaning, wanted
from tests.fakes import NAMES, START
from tests.samples import (
    BAND,
    MINUTE,
    OTHER_POLICY,
    RULE,
    grant,
    plan_for,
    protection,
    rows,
)
from tests.world import DB, WEB

TICK = timedelta(microseconds=1)


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
    """Neither a grant that is over nor one whose row states too late an end is opened."""
    one = replace(grant(), expires_at=expires_at)
    assert is_held(one, START) == held
    assert bool(current_grants(rows(one), START)) == held


def test_a_sealed_grant_is_never_held() -> None:
    """Sealed is sealed, however long it would have lasted."""
    assert not is_held(grant(sealed_at=START), START)
    assert not is_held(grant(sealed_at=START + 5 * MINUTE), START)
    assert current_grants(rows(grant(sealed_at=START)), START) == ()


def test_the_longest_grant_is_a_day_and_a_little() -> None:
    """The most that the domain accepts: a day, and five minutes for clocks that disagree."""
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
    """A removed protection covers no grant, nor does another policy's for the same VM."""
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
    """The policies of a VM share one deny; removed ones and those without ports have none."""
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


# --- what is left to do


@pytest.mark.parametrize(
    ("held", "overdue"),
    [
        ((), False),
        ((grant(expires_at=START + TICK),), False),
        ((grant(expires_at=START),), True),
        ((grant(expires_at=START - TICK),), True),
        ((grant(sealed_at=START),), True),
        ((replace(grant(sealed_at=START), proven=True),), False),
        ((replace(grant(expires_at=START + TICK), proven=True),), False),
        ((grant("id2"), grant(expires_at=START)), True),
    ],
)
def test_what_is_overdue_has_ended_and_was_not_seen_gone(
    held: tuple[Grant, ...], overdue: bool
) -> None:
    """One is enough; a sealed grant is over whatever its expiry says."""
    assert has_overdue(rows(*held), START) == overdue


@pytest.mark.parametrize(
    ("held", "first"),
    [
        ((), None),
        ((grant(sealed_at=START),), None),
        ((grant("id2", expires_at=START + 2 * MINUTE), grant(expires_at=START + MINUTE)), MINUTE),
        ((grant(expires_at=START - MINUTE),), -MINUTE),
        ((grant(expires_at=START, sealed_at=START), grant(expires_at=START + MINUTE)), MINUTE),
    ],
)
def test_the_first_end_is_that_of_what_is_not_sealed(
    held: tuple[Grant, ...], first: timedelta | None
) -> None:
    """Sealed grants do not count, and an unnoticed end comes first."""
    assert first_end(rows(*held)) == (None if first is None else START + first)


def test_a_plan_is_narrowed_to_the_rules_one_names() -> None:
    """Of what it puts and of what it removes, and it still says what is blocked."""
    second = replace(RULE, name="second")
    changes = Plan((RULE, second), ("gone", "going"), {"x": "full"}, flush_connections=True)
    assert changes.names == {RULE.name, "second", "gone", "going"}
    assert changes.only({"second", "gone"}) == replace(changes, put=(second,), remove=("gone",))
