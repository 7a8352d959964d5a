"""Whether governed ports are closed: for every protocol, address and group in front of a VM."""

from dataclasses import FrozenInstanceError, replace

import pytest

from shared.domain.exposure import Exposure
from shared.domain.model import Attachment
from shared.firewalls.nsg.exposure import openings_of
from shared.firewalls.nsg.model import SecurityRule
from shared.firewalls.nsg.rules import allow_rules, deny_rules
from tests.fakes import NAMES
from tests.rule_exposure import exposed_by, exposures, openings
from tests.samples import allow, deny, grant, protection

ADDRESS = "10.0.0.4"
(OUR_DENY,) = (replace(rule, priority=1000) for rule in deny_rules([protection()], NAMES))


def exposed(
    *fronts: list[SecurityRule], ports: tuple[int, ...] = (22,), address: str = ADDRESS
) -> list[tuple[str, int, str]]:
    """Return group, port and rule of every exposure behind some groups."""
    attachments = [Attachment(f"/NSG/{at}", (address,)) for at in range(len(fronts))]
    firewalls = {f"/nsg/{at}": rules for at, rules in enumerate(fronts)}
    found = exposures(attachments, firewalls, ports, NAMES)
    return [(each.firewall_id, each.port, each.rule.name) for each in found]


@pytest.mark.parametrize("protocol", ["Tcp", "Udp", "*", "TCP", "udp"])
def test_a_governed_port_is_judged_for_every_protocol(protocol: str) -> None:
    """Row C: our deny closes TCP and UDP, so an allow of either exposes, whatever the policy."""
    assert exposed([allow(protocol=protocol), OUR_DENY]) == [("/NSG/0", 22, "somebodys-allow")]


def test_an_exposure_does_not_change() -> None:
    """A judged exposure is a value."""
    (opening, *_) = openings_of([allow()], (ADDRESS,), (22,), NAMES)
    found = Exposure("/NSG/0", 22, opening)
    with pytest.raises(FrozenInstanceError):
        found.port = 23  # type: ignore[misc]


@pytest.mark.parametrize("protocol", ["Icmp", "Icmpv6", "Esp", "Ah"])
def test_a_protocol_without_ports_exposes_no_port(protocol: str) -> None:
    """Row A: a packet without a port reaches none."""
    assert exposed([allow(protocol=protocol, ports=("*",)), OUR_DENY]) == []


def test_each_group_has_to_let_the_same_protocol_through() -> None:
    """TCP at one group and UDP at the other is no way in."""
    tcp, udp = [allow(protocol="Tcp"), OUR_DENY], [allow(protocol="Udp"), OUR_DENY]
    assert exposed(tcp, udp) == []
    assert exposed(tcp, [allow(protocol="*"), OUR_DENY]) == [
        ("/NSG/0", 22, "somebodys-allow"),
        ("/NSG/1", 22, "somebodys-allow"),
    ]


@pytest.mark.parametrize(
    ("here", "there", "is_open"),
    [
        (allow(sources=("203.0.113.0/24",)), allow(sources=("203.0.113.128/25",)), True),
        (allow(sources=("203.0.113.0/25",)), allow(sources=("203.0.113.128/25",)), False),
        (allow(sources=("Internet",)), allow(sources=("VirtualNetwork",)), False),
        (allow(sources=("Internet",)), allow(sources=("203.0.113.7",)), True),
        (replace(allow(), source_ports=("0-99",)), replace(allow(), source_ports=("99",)), True),
        (replace(allow(), source_ports=("0-99",)), replace(allow(), source_ports=("100",)), False),
    ],
)
def test_each_group_has_to_let_the_same_source_through(
    here: SecurityRule, there: SecurityRule, is_open: bool
) -> None:
    """Address, side of the network and source port."""
    assert bool(exposed([here, OUR_DENY], [there, OUR_DENY])) == is_open


def test_what_a_deny_leaves_is_compared_and_not_what_an_allow_names() -> None:
    """A deny on one group narrows its allow before the other group is looked at."""
    narrowed = [deny(priority=100, sources=("203.0.113.0/25",)), allow(), OUR_DENY]
    theirs = [allow(sources=("203.0.113.7",)), OUR_DENY]
    assert exposed(narrowed, theirs) == []
    assert exposed(narrowed, [allow(sources=("203.0.113.200",)), OUR_DENY])


def test_every_governed_port_and_address_is_judged() -> None:
    """Each exposure once; a group that was not read is left out."""
    rules = [allow(ports=("20-4000",)), OUR_DENY]
    assert exposed(rules, ports=(3389, 22, 22)) == [
        ("/NSG/0", 22, "somebodys-allow"),
        ("/NSG/0", 3389, "somebodys-allow"),
    ]
    both = [Attachment("/nsg/0", (ADDRESS, "10.0.0.5")), Attachment("/nsg/9", (ADDRESS,))]
    found = exposures(both, {"/nsg/0": [allow(destinations=("10.0.0.5",)), OUR_DENY]}, [22], NAMES)
    assert [each.rule.name for each in found] == ["somebodys-allow", "AllowVnetInBound"]
    assert exposures(both, {}, [22], NAMES) == ()


def test_a_certain_exposure_is_told_rather_than_a_doubtful_one() -> None:
    """By one protocol or address the rule may depend on a tag, by another it does not."""
    covered = deny("covered", 100, sources=("Internet",), protocol="Tcp")
    theirs = allow(priority=200, sources=("203.0.113.0/24",), protocol="*")
    (found,) = exposures(
        [Attachment("/n", (ADDRESS,))], {"/n": [covered, theirs, OUR_DENY]}, [22], NAMES
    )
    assert found.unresolved == ()
    udp = replace(covered, protocol="Udp")
    (found,) = exposures(
        [Attachment("/n", (ADDRESS,))], {"/n": [udp, theirs, OUR_DENY]}, [22], NAMES
    )
    assert found.unresolved == ()
    every = replace(covered, protocol="*")
    (found,) = exposures(
        [Attachment("/n", (ADDRESS,))], {"/n": [every, theirs, OUR_DENY]}, [22], NAMES
    )
    assert found.unresolved == ("service tag 'VirtualNetwork'",)


def test_our_own_allow_is_no_exposure_and_hides_none() -> None:
    """It is the access that was asked for; a foreign allow behind it still counts."""
    (ours,) = (replace(rule, priority=200) for rule in allow_rules(grant(), NAMES))
    assert exposed([ours, OUR_DENY]) == []
    assert exposed([ours, allow(priority=300), OUR_DENY]) == [("/NSG/0", 22, "somebodys-allow")]
    stuck = replace(ours, access=OUR_DENY.access, sources=("*",), protocol="*")
    assert exposed([stuck, allow(priority=300)]) == []


@pytest.mark.parametrize(("protocol", "found"), [("TCP", 1), ("UDP", 0), ("*", 1)])
def test_one_protocol_can_be_asked_about(protocol: str, found: int) -> None:
    """A single protocol, or every one; each rule is told once."""
    rules = [allow(protocol="Tcp"), OUR_DENY]
    assert len(openings(rules, 22, protocol, ADDRESS, NAMES)) == found
    assert len(exposed_by({"/n": rules}, 22, protocol, ADDRESS, NAMES)) == found
    wide = [allow(protocol="*"), OUR_DENY]
    assert len(openings(wide, 22, protocol, ADDRESS, NAMES)) == 1
    assert len(exposed_by({"/n": wide}, 22, protocol, ADDRESS, NAMES)) == 1


def test_openings_come_in_order_of_priority() -> None:
    """Whichever protocol each is for."""
    rules = [allow("b", 300, protocol="Tcp"), allow("a", 200, protocol="Udp"), allow("c", 400)]
    assert [rule.name for rule in openings(rules, 22, "*", ADDRESS, NAMES)] == [
        "a", "b", "c", "AllowVnetInBound",
    ]  # fmt: skip
