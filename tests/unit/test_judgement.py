"""How Azure decides: protocols, families, tags, groups, probes, ports and default rules."""

from dataclasses import FrozenInstanceError, replace
from ipaddress import ip_network

import pytest

from shared.domain.doubt import unresolved
from shared.domain.network import Network
from shared.domain.source_sets import Side
from shared.firewalls.nsg.judgement import (
    WITHIN_NETWORK,
    admits_sources,
    meets,
    protocols_of,
    selected,
    ways_in,
)
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import allow_rules, deny_rules
from tests.fakes import NAMES
from tests.samples import BAND, DENY, RULE, allow, deny, grant, plan_for, protection

OWN, OWN_6 = "10.0.0.4", "2001:db8::4"
WITHOUT_PORTS = ("Icmp", "ICMP", "Icmpv6", "icmpv6", "Esp", "Ah")
DENY_6 = deny_rules([protection("/vm", "10.0.0.4", "fd00::4")], NAMES)[1]


def ways(*rules: SecurityRule, address: str = OWN, protocol: str = "tcp") -> list[str]:
    """Return the names of the rules that let sources in, the default rule apart."""
    found = ways_in(rules, address, 22, protocol, lambda _: False)
    return [way.rule.name for way in found if way.rule is not WITHIN_NETWORK]


def doubts(*rules: SecurityRule, address: str = OWN) -> tuple[str, ...]:
    """Return what is not resolved of the first way in."""
    way = ways_in(rules, address, 22, "tcp", lambda _: False)[0]
    return unresolved(way.sources, way.doubtful, address)


def groups(rule: SecurityRule, *, sources: str = "", destinations: str = "") -> SecurityRule:
    """Name application security groups whose members are not known."""
    if sources:
        rule = replace(rule, sources=(), unresolved_sources=True, source_groups=(sources,))
    if destinations:
        rule = replace(
            rule,
            destinations=(),
            unresolved_destinations=True,
            destination_groups=(destinations,),
        )
    return rule


# --- protocols


@pytest.mark.parametrize("protocol", WITHOUT_PORTS)
def test_a_protocol_without_ports_decides_nothing_on_a_port(protocol: str) -> None:
    """Row A: such a rule is passed over by placing, by refusing and by exposure."""
    theirs = allow("all-of-it", 4096, protocol=protocol, ports=("*",))
    assert protocols_of(theirs) == frozenset()
    assert not meets(theirs, DENY)
    assert plan_for(theirs, want=(DENY,)).put[0].priority == BAND.deny_from
    assert plan_for(deny("ping", 100, protocol=protocol, ports=("*",))).put[0].priority == 200
    assert ways(theirs) == []
    assert ways(deny(protocol=protocol, ports=("*",)), allow()) == ["somebodys-allow"]


@pytest.mark.parametrize(
    ("protocol", "about"),
    [("*", {"tcp", "udp"}), ("Tcp", {"tcp"}), ("TCP", {"tcp"}), ("udp", {"udp"})],
)
def test_any_protocol_means_tcp_and_udp(protocol: str, about: set[str]) -> None:
    """In a rule about a port, whatever the letter case."""
    assert protocols_of(allow(protocol=protocol)) == about
    for each in ("tcp", "udp"):
        assert bool(ways(allow(protocol=protocol), protocol=each)) == (each in about)
        closed = ways(deny(protocol=protocol), allow(protocol="*"), protocol=each) == []
        assert closed == (each in about)


def test_an_unknown_protocol_may_open_and_closes_nothing() -> None:
    """A protocol that Azure adds later is no reason to call a port closed."""
    theirs = allow(protocol="Sctp")
    assert meets(theirs, DENY)
    assert doubts(theirs) == ("protocol 'sctp'",)
    assert ways(deny(protocol="Sctp"), allow()) == ["somebodys-allow"]
    assert ways(deny(protocol="Sctp"), allow(protocol="sctp")) == []


# --- address families


@pytest.mark.parametrize("source", ["192.0.2.0/24", "0.0.0.0/0", "10.0.0.0/8"])
def test_an_ipv4_rule_says_nothing_of_ipv6(source: str) -> None:
    """Row F: neither when a deny is placed nor when exposure is judged."""
    theirs = allow(priority=4096, sources=(source,))
    assert meets(theirs, DENY)
    assert not meets(theirs, DENY_6)
    changes = plan_for(theirs, want=(DENY, DENY_6))
    assert [rule.name for rule in changes.put] == [DENY_6.name]
    assert ways(theirs) == ["somebodys-allow"]
    assert ways(theirs, address=OWN_6) == []


@pytest.mark.parametrize("source", ["2001:db8:9::/48", "::/0", "::/1"])
def test_an_ipv6_rule_says_nothing_of_ipv4(source: str) -> None:
    """Row F, the other way round."""
    theirs = allow(priority=4096, sources=(source,))
    assert meets(theirs, DENY_6)
    assert not meets(theirs, DENY)
    assert ways(theirs) == []
    assert ways(theirs, address=OWN_6) == ["somebodys-allow"]
    assert ways(deny(sources=(source,)), allow(priority=200)) == ["somebodys-allow"]


@pytest.mark.parametrize("source", ["*", "Any", "Internet", "VirtualNetwork", "Sql"])
def test_a_rule_without_addresses_is_about_both_families(source: str) -> None:
    """The star and the tags hold addresses of both."""
    theirs = allow(sources=(source,))
    assert meets(theirs, DENY)
    assert meets(theirs, DENY_6)
    assert ways(theirs) == ways(theirs, address=OWN_6) == ["somebodys-allow"]


# --- earlier denies


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (deny(sources=("Internet",)), allow(sources=("Internet",))),
        (deny(sources=("INTERNET",)), allow(sources=("internet",))),
        (deny(sources=("virtualnetwork",)), allow(sources=("VirtualNetwork",))),
        (deny(sources=("Sql",)), allow(sources=("SQL",))),
        (deny(sources=("Sql",)), allow(sources=("Sql.WestEurope",))),
        (deny(sources=("Sql.WestEurope",)), allow(sources=("sql.westeurope",))),
        (deny(sources=("0.0.0.0/0",)), allow()),
        (deny(sources=("0.0.0.0/0",)), allow(sources=("Internet",))),
        (deny(sources=("0.0.0.0/1", "128.0.0.0/1")), allow(sources=("AzureCloud",))),
        (deny(sources=("203.0.113.0/25", "203.0.113.128/25")), allow(sources=("203.0.113.0/24",))),
        (deny(sources=("Internet", "VirtualNetwork")), allow()),
        (deny(destinations=("VirtualNetwork",)), allow()),
        (deny(destinations=("VIRTUALNETWORK",), sources=("Internet",)), allow(sources=("Internet",))),
        (deny(destinations=("10.0.0.0/29",)), allow()),
        (deny(ports=("20-21", "22-23")), allow(ports=("1-100",))),
        (replace(deny(), source_ports=("0-65535",)), allow()),
        (replace(deny(), source_ports=("0-1023", "1024-65535")), allow()),
        (replace(deny(), source_ports=("0-1023",)), replace(allow(), source_ports=("80-90",))),
        (groups(deny(), sources="/asg/A"), groups(allow(), sources="/ASG/a")),
        (groups(deny(), destinations="/asg/A"), groups(allow(), destinations="/ASG/a")),
    ],
)  # fmt: skip
def test_a_deny_that_covers_an_allow_stops_it(first: SecurityRule, then: SecurityRule) -> None:
    """Row E: no caller gets in by an allow whose every source an earlier deny stops."""
    assert ways(first, replace(then, priority=200)) == []
    assert ways(replace(first, priority=300), replace(then, priority=200)) == ["somebodys-allow"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (deny(sources=("Internet",)), allow(sources=("VirtualNetwork",))),
        (deny(sources=("Internet",)), allow()),
        (deny(sources=("VirtualNetwork",)), allow()),
        (deny(sources=("Sql.WestEurope",)), allow(sources=("Sql",))),
        (deny(sources=("Sql",)), allow(sources=("Storage",))),
        (deny(sources=("Sql",)), allow(sources=("203.0.113.7",))),
        (deny(sources=("0.0.0.0/1",)), allow()),
        (deny(sources=("128.0.0.0/1",)), allow(sources=("10.0.0.0/8",))),
        (deny(sources=("203.0.113.0/25",)), allow(sources=("203.0.113.0/24",))),
        (deny(sources=("203.0.113.128/25",)), allow(sources=("203.0.113.0/24",))),
        (deny(sources=("203.0.113.64/26",)), allow(sources=("203.0.113.0/24",))),
        (deny(sources=("AzureLoadBalancer",)), allow()),
        (deny(destinations=("Internet",)), allow()),
        (deny(destinations=("Storage",)), allow()),
        (deny(destinations=("10.0.0.5",)), allow()),
        (deny(ports=("20-21", "23")), allow()),
        (replace(deny(), source_ports=("1-65535",)), allow()),
        (replace(deny(), source_ports=("0-65534",)), allow()),
        (replace(deny(), source_ports=("0-30000", "30002-65535")), allow()),
        (replace(deny(), inbound=False), allow()),
        (groups(deny(), sources="/asg/a"), groups(allow(), sources="/asg/b")),
        (groups(deny(), destinations="/asg/a"), allow()),
        (replace(groups(deny(), destinations="/asg/a"), destinations=("*",)), allow()),
        (replace(groups(deny(), sources="/asg/a"), sources=("*",)), allow()),
    ],
)
def test_a_deny_of_a_part_leaves_the_rest(first: SecurityRule, then: SecurityRule) -> None:
    """One source that no deny stops is enough."""
    assert ways(first, replace(then, priority=200)) == ["somebodys-allow"]


def test_a_narrow_range_of_source_ports_still_lets_sources_in() -> None:
    """A client can choose the port that it sends from."""
    assert ways(replace(allow(), source_ports=("50000",))) == ["somebodys-allow"]
    assert doubts(replace(allow(), source_ports=("50000",))) == ()


def test_the_default_rules_come_last() -> None:
    """AllowVnetInBound opens to the network; a deny of the network alone closes all of it."""
    (way,) = ways_in((), OWN, 22, "tcp", lambda _: False)
    assert way.rule is WITHIN_NETWORK
    assert {box.side for box in way.sources} == {Side.INSIDE}
    assert ways_in((deny(sources=("VirtualNetwork",)),), OWN, 22, "tcp", lambda _: False) == ()
    assert ways_in((deny(sources=("Internet",)),), OWN, 22, "tcp", lambda _: False) == (way,)


def test_the_default_rule_of_the_network_has_the_priority_that_azure_gives_it() -> None:
    """After every rule that can be written: their priorities end at 4096."""
    assert WITHIN_NETWORK.priority == 65_000


def test_a_way_in_does_not_change() -> None:
    """A judged exposure is a value."""
    (way, *_) = ways_in([allow()], OWN, 22, "tcp", lambda _: False)
    with pytest.raises(FrozenInstanceError):
        way.sources = ()  # type: ignore[misc]


def test_a_deny_of_everything_ends_the_search() -> None:
    """Nothing behind it is looked at, for its own family and protocol."""
    assert ways(deny(), allow(priority=200)) == []
    assert ways_in((deny(priority=4096),), OWN, 22, "tcp", lambda _: False) == ()


def test_rules_are_read_by_priority_whatever_their_order() -> None:
    """A group may be listed in any order."""
    assert ways(allow("b", 300), allow("a", 200), deny(priority=250)) == ["a"]


def test_what_is_no_address_is_reached_by_nothing() -> None:
    """The question is about one address."""
    assert ways_in((allow(),), "web", 22, "tcp", lambda _: False) == ()


# --- the platform's probes


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("AzureLoadBalancer", OWN),
        ("azureloadbalancer", OWN_6),
        ("168.63.129.16", OWN),
        ("168.63.129.16/32", OWN),
        ("fe80::1234:5678:9abc", OWN_6),
    ],
)
def test_an_allow_for_probes_alone_lets_no_caller_in(source: str, address: str) -> None:
    """Row K: so a deny may stand before it, where there is no place behind it."""
    theirs = allow("probes", 4095, sources=(source,))
    wanted = DENY if address == OWN else DENY_6
    assert ways(theirs, address=address) == []
    assert not meets(theirs, wanted)
    assert meets(theirs, wanted, with_probes=True)
    rest = deny("rest", 4096)
    assert plan_for(theirs, rest, want=(wanted,)).put[0].priority == BAND.deny_from
    assert plan_for(theirs, want=(wanted,)).put[0].priority == 4096


@pytest.mark.parametrize("source", ["168.63.129.0/24", "168.63.129.16/31", "*", "VirtualNetwork"])
def test_an_allow_for_more_than_probes_keeps_its_say(source: str) -> None:
    """The deny has no place behind it, and the policy is told."""
    theirs = (allow("wide", 4095, sources=(source,)), deny("rest", 4096))
    assert ways(*theirs) == ["wide"]
    assert plan_for(*theirs, want=(DENY,)).blocked == {
        DENY.name: "no free priority from 4096 to 4096"
    }


def test_an_allow_for_probes_keeps_its_say_where_there_is_room() -> None:
    """A deny before it would stop a load balancer's probes; only a lack of room makes it do so."""
    probes = allow("probes", 1500, sources=("AzureLoadBalancer",))
    assert plan_for(probes, want=(DENY,)).put[0].priority == 1501
    last = (allow("wide", 4095), replace(probes, priority=4096))
    assert plan_for(*last, want=(DENY,)).blocked == {
        DENY.name: "no free priority from 4096 to 4096"
    }


def test_an_allow_that_is_stopped_already_gives_way_to_a_deny() -> None:
    """As for probes: nothing opens or closes by where the deny stands."""
    first, theirs = (
        deny("first", 100, sources=("Internet",)),
        allow("x", 4096, sources=("Internet",)),
    )
    assert not admits_sources(theirs, (first, theirs), DENY)
    assert plan_for(first, theirs, want=(DENY,)).put[0].priority == BAND.deny_from
    behind = replace(theirs, priority=3000)
    assert plan_for(first, behind, want=(DENY,)).put[0].priority == 3001
    half = replace(first, ports=("22",))
    wide = replace(theirs, ports=("*",))
    assert admits_sources(wide, (half, wide), DENY)  # by port 3389
    assert admits_sources(theirs, (replace(first, protocol="Udp"), theirs), DENY)
    assert not admits_sources(theirs, (first, theirs, allow("y", 200)), DENY)


def test_a_rule_to_many_addresses_is_not_looked_at_one_by_one() -> None:
    """A damaged row must not make the plan endless; the allow then keeps its say."""
    first, theirs = deny("first", 100), allow("x", 4096)
    assert not admits_sources(theirs, (first, theirs), replace(DENY, destinations=("10.0.0.0/24",)))
    assert admits_sources(theirs, (first, theirs), replace(DENY, destinations=("10.0.0.0/23",)))
    assert not admits_sources(theirs, (first, theirs), replace(DENY, destinations=("web",)))


# --- which denies refuse a request


@pytest.mark.parametrize(
    ("tag", "source", "refused"),
    [
        ("Internet", "203.0.113.7", True),
        ("INTERNET", "203.0.113.7", True),
        ("Internet", "10.1.2.3", False),
        ("Internet", "172.31.255.255", False),
        ("Internet", "172.32.0.0", True),
        ("Internet", "100.64.0.1", False),
        ("Internet", "192.168.1.0/24", False),
        ("VirtualNetwork", "203.0.113.7", False),
        ("virtualnetwork", "10.1.2.3", True),
        ("VirtualNetwork", "172.15.255.255", False),
        ("VirtualNetwork", "192.168.1.1", True),
        ("VirtualNetwork", "192.169.0.0", False),
        ("VirtualNetwork", "192.160.0.0/12", True),
        ("Internet", "192.160.0.0/12", True),
        ("Sql", "203.0.113.7", True),
        ("Sql.WestEurope", "10.1.2.3", False),
        ("AzureCloud", "192.160.0.0/12", True),
        ("AzureLoadBalancer", "203.0.113.7", False),
        ("Internet", "2001:db9::1", True),
        ("Internet", "fd00::9", False),
        ("VirtualNetwork", "2001:db9::1", False),
        ("VirtualNetwork", "fd00::9", True),
    ],
)
def test_a_deny_from_a_tag_refuses_only_where_the_tag_may_hold_the_source(
    tag: str, source: str, refused: bool
) -> None:
    """Row N: Internet holds no private address, VirtualNetwork and a service no other."""
    asked = grant(sources=(source,), addresses=("10.0.0.4", "fd00::4"))
    (rule,) = allow_rules(asked, NAMES)
    theirs = deny("theirs", 100, sources=(tag,))
    changes = plan_for(theirs, want=(rule,))
    assert bool(changes.blocked) == refused
    if refused:
        assert "rule 'theirs' (priority 100) denies this port" in changes.blocked[rule.name]


@pytest.mark.parametrize(
    ("rule", "source", "refused"),
    [
        (groups(deny(), sources="/asg/a"), "203.0.113.7", False),
        (groups(deny(), sources="/asg/a"), "10.1.2.3", True),
        (groups(deny(), destinations="/asg/a"), "203.0.113.7", True),
        (replace(deny(destinations=("10.0.0.9",)), destination_groups=("/asg/a",)), "8.8.8.8", False),
        (replace(deny(destinations=("10.0.0.4",)), destination_groups=("/asg/a",)), "8.8.8.8", True),
        (replace(deny(destinations=()), destination_groups=("/asg/empty",)), "8.8.8.8", False),
        (replace(deny(sources=("10.1.2.3",)), source_groups=("/asg/a",)), "10.1.2.3", True),
        (replace(deny(sources=("10.1.2.4",)), source_groups=("/asg/a",)), "10.1.2.3", False),
    ],
)  # fmt: skip
def test_a_deny_of_a_group_refuses_where_its_members_meet_the_request(
    rule: SecurityRule, source: str, refused: bool
) -> None:
    """Row B: members, non-members and groups that could not be resolved, on either side."""
    (wanted,) = allow_rules(grant(sources=(source,)), NAMES)
    assert bool(plan_for(rule, want=(wanted,)).blocked) == refused


# --- what is not resolved


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ((allow(),), ()),
        ((allow(sources=("203.0.113.7",)),), ()),
        ((allow(sources=("Internet",)),), ()),
        ((allow(sources=("VirtualNetwork",)),), ()),
        ((allow(sources=("Sql",)),), ("service tag 'sql'",)),
        ((allow(sources=("Sql.Westeurope",)),), ("service tag 'sql'", "service tag 'sql.westeurope'")),
        ((allow(sources=("Sql", "8.8.8.8")),), ()),
        ((groups(allow(), sources="/asg/A"),), ("application security group '/asg/a'",)),
        ((groups(allow(), destinations="/A"),), ("to application security group '/a'",)),
        (
            (replace(allow(), unresolved_sources=True),),
            ("application security group of rule 'somebodys-allow'",),
        ),
        ((deny(sources=("Sql",)), allow(priority=200)), ()),
        ((deny(sources=("Sql",)), allow(priority=200, sources=("64.0.0.0/2",))), ()),
        (
            (deny(sources=("Sql",)), allow(priority=200, sources=("8.8.8.8",))),
            ("service tag 'sql'",),
        ),
        (
            (
                replace(deny(sources=("Sql",)), source_ports=("0-99",)),
                allow(priority=200, sources=("8.8.8.8",)),
            ),
            (),
        ),
        (
            (groups(deny(), destinations="/a"), allow(priority=200)),
            ("to application security group '/a'",),
        ),
        ((deny(protocol="Sctp"), allow(priority=200)), ("protocol 'sctp'",)),
        ((allow(priority=200), groups(deny(priority=300), destinations="/a")), ()),
        ((deny(sources=("Internet",)), allow(priority=200)), ()),
        ((deny(sources=("VirtualNetwork",)), allow(priority=200)), ()),
        (
            (deny(sources=("Internet",)), allow(priority=200, sources=("203.0.113.0/24",))),
            ("service tag 'VirtualNetwork'",),
        ),
        (
            (deny(sources=("VirtualNetwork",)), allow(priority=200, sources=("192.168.0.0/16",))),
            ("service tag 'VirtualNetwork'",),
        ),
        ((deny(sources=("Internet",)), allow(priority=200, sources=("10.0.0.4/30",))), ()),
        ((deny(sources=("Internet",)), allow(priority=200, sources=("10.0.0.0/30", "10.0.0.5"))),
         ("service tag 'VirtualNetwork'",)),
        ((deny(sources=("VirtualNetwork",)), allow(priority=200, sources=("64.0.0.0/2",))), ()),
        ((deny(sources=("VirtualNetwork",)), allow(priority=200, sources=("64.0.0.0/3",))),
         ("service tag 'VirtualNetwork'",)),
    ],
)  # fmt: skip
def test_what_decides_and_is_not_known_is_named(
    rules: tuple[SecurityRule, ...], told: tuple[str, ...]
) -> None:
    """A port is called open for certain only if some source certainly gets in."""
    assert doubts(*rules) == told


def test_members_of_a_group_are_in_the_network() -> None:
    """A deny of the network stops an allow of a group; one of the Internet does not."""
    members = replace(allow(sources=("10.0.0.9",), priority=200), source_groups=("/asg/a",))
    assert ways(deny(sources=("VirtualNetwork",)), members) == []
    assert ways(deny(sources=("Internet",)), members) == ["somebodys-allow"]
    assert ways(replace(members, access=Access.DENY), allow("x", 300, sources=("10.0.0.9",))) == []


def test_a_tag_as_destination_may_hold_a_public_address() -> None:
    """Of a VM's private address it is certain that no service's tag holds it."""
    net: Network = ip_network("20.1.2.3")
    to_tag = allow(destinations=("Storage", "Internet", "AzureLoadBalancer"))
    assert [box.needs for box in selected(to_tag, net)] == [{"to service tag 'storage'"}]
    assert selected(to_tag, ip_network("10.0.0.4")) == ()


# --- whether two rules meet


def test_only_addresses_of_a_rule_of_ours_are_compared() -> None:
    """Our rules name addresses; anything else meets nothing."""
    assert not meets(allow(), replace(RULE, destinations=("*",)))
    assert not meets(allow(), replace(RULE, sources=("2001:db8::1",)))
    assert meets(allow(), replace(RULE, sources=("*",)))
