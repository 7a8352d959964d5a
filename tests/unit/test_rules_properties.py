"""Properties of `wanted` and `plan` that hold for all rows and all firewalls."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Network, ip_address, ip_network
from itertools import pairwise
from random import Random

from hypothesis import assume, example, given
from hypothesis import strategies as st

from shared.domain.arm_ids import RuleNames, key_of
from shared.domain.exposure import openings
from shared.domain.model import (
    LONGEST_GRANT,
    Access,
    FirewallRows,
    Grant,
    Protection,
    SecurityRule,
)
from shared.domain.prefixes import canonical
from shared.domain.rules import (
    Band,
    Plan,
    allow_rules,
    current_grants,
    in_order,
    meets,
    plan,
    same_meaning,
    superseded,
    wanted,
)
from tests.fakes import NAMES, START, assert_legal
from tests.samples import MINUTE, OTHER_POLICY, allow, carry_out, deny, grant, protection
from tests.world import DB, POLICY, WEB, vm_id

API = vm_id("api")
HEX = "0123456789ABCDEF"
# Each VM's own addresses, side by side so that prefixes collapse; the last is sometimes shared.
ADDRESSES = {
    WEB: ("10.0.0.4", "10.0.0.5", "2001:db8::4"),
    DB: ("10.0.0.6", "2001:db8::6"),
    API: ("10.0.0.7", "10.0.0.8"),
}
SOURCES = ("203.0.113.6", "203.0.113.7", "203.0.113.0/28", "2001:db8:9::7", "2001:db8:9::/64")
FOREIGN_PREFIXES = (
    *("*", "Any", "0.0.0.0/0", "::/0", "Internet", "VirtualNetwork", "AzureLoadBalancer"),
    *("10.0.0.0/8", "10.0.0.4", "10.0.0.5/32", "10.0.0.6/31", "2001:DB8::/32", "2001:db8:0::4"),
    *("203.0.113.0/24", "203.0.113.7", "2001:db8:9::/48", "Sql.WestEurope"),
)
FOREIGN_PORTS = ("*", "22", "3389", "20-30", "0-65535", "3390", "443", "22-22")
PROTOCOLS = ("*", "Tcp", "TCP", "udp", "Udp", "Icmp", "Esp", "Ah")

hashes = st.text(alphabet=HEX, min_size=32, max_size=32)
foreign_names = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    hashes.map(lambda text: f"SecurityCenter-JITRule_{text}"),  # Defender's
    st.builds(  # another deployment's, and names that almost look like ours
        lambda mark, deployment, end, text: f"SecurityCenter-JITRule{mark}{deployment}{end}{text}",
        st.sampled_from("-_"),
        st.sampled_from(("test2", "atest1", "test1a", "test1", "TEST1")),
        st.sampled_from(("-", "_", "-x-")),
        hashes,
    ),
).filter(lambda name: not NAMES.is_ours(name))
some_prefixes = st.lists(st.sampled_from(FOREIGN_PREFIXES), max_size=3).map(tuple)


@st.composite
def foreign_rules(draw: st.DrawFn) -> SecurityRule:
    """Make a rule of somebody else, of every kind that an NSG can hold."""
    to_group, from_group = draw(st.booleans()), draw(st.booleans())
    return SecurityRule(
        name=draw(foreign_names),
        access=draw(st.sampled_from(Access)),
        protocol=draw(st.sampled_from(PROTOCOLS)),
        sources=() if from_group else draw(some_prefixes),
        destinations=() if to_group else draw(some_prefixes),
        ports=draw(st.lists(st.sampled_from(FOREIGN_PORTS), min_size=1, max_size=3).map(tuple)),
        description=draw(st.sampled_from(("", "theirs", "JIT access request id1 until 2026"))),
        priority=draw(
            st.one_of(
                st.integers(100, 4096), st.integers(195, 210), st.integers(995, 1010),
                st.just(4096),
            )
        ),
        inbound=draw(st.integers(0, 4)) > 0,
        source_ports=draw(st.sampled_from((("*",), ("1024-65535",)))),
        unresolved_sources=from_group,
        unresolved_destinations=to_group,
    )  # fmt: skip


@st.composite
def protections(draw: st.DrawFn) -> Protection:
    """Make the protection of a VM, sometimes with another VM's address, sometimes lifted."""
    vm = draw(st.sampled_from((WEB, DB, API, WEB.upper())))
    own = ADDRESSES.get(vm, ADDRESSES[WEB])
    listed = draw(st.lists(st.sampled_from(own), min_size=1, max_size=3, unique=True))
    if draw(st.integers(0, 9)) == 0:
        listed.append(draw(st.sampled_from(("10.0.0.4", "10.0.0.6"))))
    return protection(
        vm,
        *listed,
        ports=draw(st.sampled_from(((22,), (22, 3389), (3389, 22), ()))),
        policy_id=draw(st.sampled_from((POLICY, POLICY, OTHER_POLICY))),
        lifted=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    """Make a grant, most often one that is wanted."""
    vm = draw(st.sampled_from((WEB, DB, API, WEB.upper())))
    own = ADDRESSES.get(vm, ADDRESSES[WEB])
    ends = (10 * MINUTE, 20 * MINUTE, LONGEST_GRANT, timedelta(0), timedelta(days=2), -MINUTE)
    return grant(
        "", vm,
        port=draw(st.sampled_from((22, 22, 3389))),
        protocol=draw(st.sampled_from(("TCP", "TCP", "*"))),
        sources=tuple(draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=3))),
        addresses=tuple(draw(st.lists(st.sampled_from(own), min_size=1, unique=True))),
        policy_id=draw(st.sampled_from((POLICY, POLICY, POLICY.upper(), OTHER_POLICY))),
        requestor=draw(st.sampled_from(("tenant/alice-id", "tenant/bob-id"))),
        requested_at=START - draw(st.integers(0, 2)) * MINUTE,
        expires_at=START + draw(st.one_of(st.sampled_from(ends[:3]), st.sampled_from(ends))),
        sealed_at=draw(st.sampled_from((None, None, None, None, START))),
    )  # fmt: skip


@st.composite
def all_rows(draw: st.DrawFn) -> FirewallRows:
    """Make the rows of one firewall; each grant is of a request of its own."""
    held = draw(st.lists(grants(), max_size=6))
    numbered = tuple(replace(each, request_id=f"id{n}") for n, each in enumerate(held))
    every_vm = [protection(vm, *own) for vm, own in ADDRESSES.items()]
    if draw(st.booleans()):
        return FirewallRows(tuple(every_vm), numbered)
    return FirewallRows(tuple(draw(st.lists(protections(), max_size=4))), numbered)


def legal(rules: Sequence[SecurityRule]) -> list[SecurityRule]:
    """Keep of some rules what one NSG can hold: each name and each priority once."""
    kept: list[SecurityRule] = []
    names: set[str] = set()
    places: set[tuple[bool, int]] = set()
    for rule in rules:
        place = (rule.inbound, rule.priority)
        if rule.name.lower() not in names and place not in places:
            names.add(rule.name.lower())
            places.add(place)
            kept.append(rule)
    return kept


@dataclass(frozen=True)
class Situation:
    """A firewall as it was found, what it should hold, and where rules may stand."""

    present: tuple[SecurityRule, ...]
    rows: FirewallRows
    band: Band

    @property
    def want(self) -> tuple[SecurityRule, ...]:
        """Return the rules that ought to exist."""
        return wanted(self.rows, START, NAMES).rules

    @property
    def foreign(self) -> list[SecurityRule]:
        """Return everybody else's rules."""
        return foreign_of(self.present)

    def plan(self, present: Sequence[SecurityRule] | None = None) -> Plan:
        """Plan the firewall, as it was or as it is now."""
        return plan(self.present if present is None else present, self.want, NAMES, self.band)


def foreign_of(present: Sequence[SecurityRule]) -> list[SecurityRule]:
    """Keep everybody else's rules, in a fixed order."""
    found = (rule for rule in present if not NAMES.is_ours(rule.name))
    return sorted(found, key=lambda rule: rule.name)


EDITS: tuple[Callable[[SecurityRule], SecurityRule], ...] = (
    lambda rule: rule,
    lambda rule: rule,
    lambda rule: replace(rule, name=rule.name.upper()),
    lambda rule: replace(rule, description="until tomorrow"),
    lambda rule: replace(rule, sources=("*",)),
    lambda rule: replace(rule, destinations=("*",)),
    lambda rule: replace(rule, inbound=False),
    lambda rule: replace(rule, access=Access.DENY),
    lambda rule: replace(rule, access=Access.ALLOW),
    lambda rule: replace(rule, ports=("22-3389",)),
    lambda rule: replace(rule, protocol=rule.protocol.upper()),
)
bands = st.one_of(
    st.just(Band()),
    st.builds(
        lambda allows, denies, most: Band(200, 199 + allows, 1000, 999 + denies, most),
        st.integers(1, 8),
        st.integers(1, 8),
        st.integers(3, 24),
    ),
)


@st.composite
def situations(draw: st.DrawFn, band: st.SearchStrategy[Band] = bands) -> Situation:
    """Find a firewall with foreign rules, rules of ours right and wrong, and orphans."""
    held = draw(all_rows())
    here = draw(band)
    priorities = st.one_of(
        st.integers(here.allow_from - 2, here.allow_from + 12),
        st.integers(here.deny_from - 2, here.deny_from + 12),
        st.integers(100, 4096),
    )
    standing = [
        replace(draw(st.sampled_from(EDITS))(rule), priority=draw(priorities))
        for rule in wanted(held, START, NAMES).rules
        if draw(st.booleans())
    ]
    orphans = [
        replace(
            allow_rules(grant(f"gone{n}"), NAMES)[0],
            priority=draw(priorities),
            access=draw(st.sampled_from(Access)),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    theirs = draw(st.lists(foreign_rules(), max_size=5))
    mixed = draw(st.permutations([*standing, *orphans, *theirs]))
    return Situation(tuple(legal(mixed)[: here.most_rules]), held, here)


ROOMY = st.just(Band())


# --- plan: where it leads


@given(situations())
def test_an_applied_plan_leaves_an_empty_plan(situation: Situation) -> None:
    """What is planned is all there is to do; only room that a removal frees is used afterwards."""
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
    """Whatever they look like: only names of ours are ever put or removed."""
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
    """Whatever foreign rules and ends come later, a rule of ours stays where it stands."""
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
    """What the firewall turned down is left out and told; all else is done, and the plan ends."""
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
)


@given(foreign_rules(), st.integers(0, 1), packets)
def test_rules_that_decide_on_one_packet_meet(
    foreign: SecurityRule, which: int, packet: tuple[str, tuple[str, str], int]
) -> None:
    """No rule that could decide on the traffic of ours is ever overlooked."""
    source, (vm, address), port = packet
    assume(ip_address(source).version == ip_address(address).version)
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
    """After the plan, whoever gets through has a grant, or a rule that is told as an exposure."""
    source, (vm, address), port = packet
    assume(ip_address(source).version == ip_address(address).version)
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
    """What the plan puts new decides on its own packets, unless a foreign allow does so first."""
    source, (_, address), port = packet
    assume(ip_address(source).version == ip_address(address).version)
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
def test_an_address_that_two_vms_claim_is_opened_for_neither(held: FirewallRows) -> None:
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
def test_one_more_grant_touches_nobody_elses_rule(held: FirewallRows, which: int) -> None:
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
