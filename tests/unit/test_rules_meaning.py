"""Properties of `wanted` and `plan` for all rows: who gets through, and who does not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network, ip_address, ip_network
from itertools import pairwise
from random import Random

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.domain.grants import current_grants, superseded
from shared.domain.ids import key_of
from shared.domain.model import LONGEST_GRANT, FirewallRows, Grant
from shared.domain.network import canonical
from shared.firewalls.nsg.judgement import meets
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, allow_rules, wanted
from tests.fakes import NAMES, START
from tests.rule_exposure import openings
from tests.samples import allow, carry_out, grant, protection
from tests.unit.situations import (
    ADDRESSES,
    ROOMY,
    Situation,
    all_rows,
    foreign_rules,
    grants,
    situations,
)
from tests.world import WEB

# --- plan: what it means for traffic


def matches(rule: SecurityRule, source: str, address: str, port: int, protocol: str) -> bool:
    """Tell whether a rule decides on a packet, as Azure does; tags are matched by `*` alone."""

    def among(prefixes: tuple[str, ...], text: str) -> bool:
        at = ip_address(text)
        for prefix in prefixes:
            if prefix.lower() in {"*", "any"}:
                return True
            if prefix[0].isdigit() or ":" in prefix:
                net = ip_network(prefix, strict=False)
                if net.version == at.version and at in net:
                    return True
        return False

    def in_range(text: str) -> bool:
        low, _, high = text.partition("-")
        return text == "*" or int(low) <= port <= int(high or low)

    return (
        rule.inbound
        and rule.protocol.lower() in {"*", protocol.lower()}
        and among(rule.sources, source)
        and among(rule.destinations, address)
        and any(in_range(text) for text in rule.ports)
    )


def verdict(
    present: Sequence[SecurityRule], source: str, address: str, port: int
) -> SecurityRule | None:
    """Return the rule that decides on a TCP packet: the first by priority."""
    first = sorted(present, key=lambda rule: rule.priority)
    return next((rule for rule in first if matches(rule, source, address, port, "tcp")), None)


packets = st.tuples(
    st.sampled_from(("203.0.113.7", "203.0.113.9", "198.51.100.1", "2001:db8:9::7")),
    st.sampled_from([(vm, address) for vm, own in ADDRESSES.items() for address in own]),
    st.sampled_from((22, 3389)),
).filter(lambda packet: ip_address(packet[0]).version == ip_address(packet[1][1]).version)


@given(foreign_rules(), st.integers(0, 1), packets)
def test_rules_that_decide_on_one_packet_meet(
    foreign: SecurityRule, which: int, packet: tuple[str, tuple[str, str], int]
) -> None:
    """No rule that could decide on the traffic of ours is ever overlooked."""
    source, (vm, address), port = packet
    one = grant("id1", vm, port=port, sources=(source,), addresses=(address,))
    rule = allow_rules(one, NAMES)[0]
    if which:
        shield = protection(vm, address, ports=(port,))
        rule = wanted(FirewallRows((shield,)), START, NAMES).rules[0]
    if matches(foreign, source, address, port, "tcp"):
        assert meets(foreign, rule)


@given(situations(ROOMY), packets)
@example(
    Situation((allow("all", 300),), FirewallRows((protection(),)), Band()),
    ("203.0.113.7", (WEB, "10.0.0.4"), 22),
)
def test_a_governed_port_is_open_only_to_a_grant_or_through_a_foreign_allow(
    situation: Situation, packet: tuple[str, tuple[str, str], int]
) -> None:
    """After the plan, every source that gets through has a grant, or a rule reported as an exposure."""
    source, (vm, address), port = packet
    changes = situation.plan()
    present = carry_out(situation.present, changes)
    governed = any(
        not each.lifted
        and key_of(each.vm_id) == key_of(vm)
        and port in each.ports
        and address in each.addresses
        for each in situation.rows.protections
    )
    standing = [rule for rule in present if rule.name not in changes.blocked]
    shields = [
        rule
        for rule in standing
        if NAMES.is_ours(rule.name)
        and rule.access is Access.DENY
        and matches(rule, source, address, port, "tcp")
    ]
    assume(governed and shields and not changes.blocked)
    decides = verdict(present, source, address, port)
    assert decides is not None
    if decides.access is Access.DENY:
        return
    if NAMES.is_ours(decides.name):
        current = current_grants(situation.rows, START)
        assert any(
            each.port == port and key_of(each.vm_id) == key_of(vm) and ip_address(source) in net
            for each in current
            for net in map(ip_network, each.sources)
        )
    else:
        assert decides in openings(present, port, "TCP", address, NAMES)


@given(situations(ROOMY), packets)
def test_a_grant_that_is_newly_placed_lets_its_own_traffic_through(
    situation: Situation, packet: tuple[str, tuple[str, str], int]
) -> None:
    """A newly placed rule decides on its own packets, unless a foreign allow does so first."""
    source, (_, address), port = packet
    changes = situation.plan()
    present = carry_out(situation.present, changes)
    before = {rule.name.lower() for rule in situation.present}
    for rule in changes.put:
        new = rule.access is Access.ALLOW and rule.name.lower() not in before
        if new and matches(rule, source, address, port, "tcp"):
            decides = verdict(present, source, address, port)
            assert decides is not None
            assert decides.access is Access.ALLOW


# --- wanted


def ought_to_be_open(held: FirewallRows, one: Grant) -> bool:
    """Say by the rules, without regard to other grants, whether a grant may be open."""
    if one.sealed_at is not None or one.expires_at <= START:
        return False
    if one.expires_at - START > LONGEST_GRANT:
        return False
    return any(
        each.vm_id.lower() == one.vm_id.lower()
        and each.policy_id.lower() == one.policy_id.lower()
        and not each.lifted
        and one.port in each.ports
        and set(one.addresses) <= set(each.addresses)
        for each in held.protections
    )


@given(all_rows())
def test_only_grants_that_ought_to_be_open_are_wanted(held: FirewallRows) -> None:
    """Sealed, over, overlong, uncovered or replaced: never; everything else: always."""
    current = {each.key for each in current_grants(held, START)}
    open_to = [each for each in held.grants if ought_to_be_open(held, each)]
    replaced = {each.key for each in superseded(open_to)}
    assert current == {each.key for each in open_to} - replaced
    want = wanted(held, START, NAMES)
    allowed = {rule.name for rule in want.rules if rule.access is Access.ALLOW}
    possible = [each for each in open_to if each.key in current - want.impossible.keys()]
    assert allowed == {rule.name for each in possible for rule in allow_rules(each, NAMES)}
    assert want.impossible.keys() <= current


@given(st.lists(grants(), max_size=6))
def test_a_superseded_grant_is_exactly_an_older_one_of_the_same(listed: list[Grant]) -> None:
    """Same requestor, VM, port, protocol and sources, and there is a newer one."""
    numbered = [replace(each, request_id=f"id{n}") for n, each in enumerate(listed)]

    def same(one: Grant, other: Grant) -> bool:
        return (
            one.requestor == other.requestor
            and one.vm_id.lower() == other.vm_id.lower()
            and (one.port, one.protocol) == (other.port, other.protocol)
            and canonical(one.sources) == canonical(other.sources)
        )

    def age(one: Grant) -> tuple[object, str]:
        return (one.requested_at, one.request_id)

    older = {
        one.key
        for one in numbered
        for other in numbered
        if same(one, other) and age(one) < age(other)
    }
    assert {each.key for each in superseded(numbered)} == older


@given(all_rows(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_means_nothing(held: FirewallRows, random: Random) -> None:
    """A table may answer in any order; what is wanted is the same."""
    mixed = FirewallRows(
        tuple(random.sample(held.protections, len(held.protections))),
        tuple(random.sample(held.grants, len(held.grants))),
    )
    one, other = wanted(held, START, NAMES), wanted(mixed, START, NAMES)
    assert Counter(one.rules) == Counter(other.rules)
    assert one.impossible == other.impossible


@given(all_rows())
def test_wanted_rules_are_ours_each_once_and_never_to_everywhere(held: FirewallRows) -> None:
    """Names of ours, each a single time; destinations are addresses; descriptions fit."""
    rules = wanted(held, START, NAMES).rules
    assert all(NAMES.is_ours(rule.name) for rule in rules)
    assert len({rule.name.lower() for rule in rules}) == len(rules)
    for rule in rules:
        assert rule.destinations
        assert "*" not in rule.destinations
        families = {isinstance(ip_network(text), IPv4Network) for text in rule.destinations}
        assert len(families) == 1
        assert len(rule.description) <= 140
        if rule.access is Access.ALLOW:
            assert "*" not in rule.sources
            assert {isinstance(ip_network(text), IPv4Network) for text in rule.sources} == families


@given(all_rows())
def test_an_address_of_two_vms_is_opened_for_neither(held: FirewallRows) -> None:
    """Address reuse: an allow never leads to an address that another protected VM has."""
    want = wanted(held, START, NAMES)
    for one in current_grants(held, START):
        strangers = {
            address
            for each in held.protections
            if not each.lifted and key_of(each.vm_id) != key_of(one.vm_id)
            for address in each.addresses
        }
        shared = not strangers.isdisjoint(one.addresses)
        assert (one.key in want.impossible) == shared


@given(all_rows(), st.integers(0, 5))
def test_one_more_grant_touches_no_foreign_rule(held: FirewallRows, which: int) -> None:
    """Sealing a grant removes its own rules, and gives back at most a rule that it replaced."""
    assume(which < len(held.grants))
    one = held.grants[which]
    others = held.grants[:which] + held.grants[which + 1 :]
    sealed = replace(held, grants=(*others, replace(one, sealed_at=START)))
    own = {NAMES.allow(one.request_id, one.vm_id, one.port, family) for family in (4, 6)}
    before = {rule for rule in wanted(held, START, NAMES).rules if rule.name not in own}
    after = set(wanted(sealed, START, NAMES).rules)
    assert before <= after
    assert not own & {rule.name for rule in after}


@given(all_rows(), st.integers(0, 4000), st.integers(0, 4000))
def test_time_alone_only_closes(held: FirewallRows, one: int, other: int) -> None:
    """Later, of grants that last no longer than they may, no new rule appears but a replaced one."""
    short = tuple(each for each in held.grants if each.expires_at <= START + LONGEST_GRANT)
    newest = tuple(each for each in short if each not in superseded(short))
    kept = replace(held, grants=newest)
    early, late = (START + timedelta(minutes=minutes) for minutes in sorted((one, other)))
    rules = [set(wanted(kept, at, NAMES).rules) for at in (early, late)]
    for before, after in pairwise(rules):
        assert after <= before
