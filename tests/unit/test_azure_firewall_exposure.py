"""Rules of Azure Firewall are judged in their order."""

import pytest

from shared.domain.desired import Block
from shared.firewalls.azure_rules.exposure import openings
from shared.firewalls.azure_rules.model import Rule

VM = "10.1.0.4"
BLOCK = Block("block", "vm", (22,), (VM,))


def dnat(sources: str = "203.0.113.0/24", ports: str = "2222", **changes: str) -> Rule:
    """Return a translation to the VM's port 22."""
    target = {"to_address": VM, "to_port": "22"} | changes
    return Rule("dnat", True, False, ("TCP",), (sources,), ("20.1.2.3",), (ports,), **target)  # type: ignore[arg-type]


def rule(*, allows: bool, sources: str, destination: str = VM, ports: str = "22") -> Rule:
    """Return a network rule."""
    what = "allow" if allows else "deny"
    return Rule(what, False, allows, ("TCP",), (sources,), (destination,), (ports,))


def sources(*rules: Rule) -> list[tuple[str, ...]]:
    """Return the sources of each opening."""
    return [each.sources for each in openings(rules, BLOCK)]


def test_without_a_rule_nothing_opens() -> None:
    """The firewall denies by default."""
    assert openings((), BLOCK) == ()


def test_a_translation_opens_for_its_sources() -> None:
    """The opening names port and sources; another target or port is none."""
    assert sources(dnat()) == [("203.0.113.0/24",)]
    assert sources(dnat(to_port="23")) == []
    assert sources(dnat(to_address="10.1.0.5")) == []


def test_an_earlier_translation_takes_packets_of_the_same_entry() -> None:
    """Packets that another rule translates first never reach the VM by the later one."""
    elsewhere = dnat("203.0.113.0/25", "2000-3000", to_address="10.9.9.9")
    assert sources(elsewhere, dnat()) == [("203.0.113.128/25",)]
    assert sources(dnat(), elsewhere) == [("203.0.113.0/24",)]
    assert sources(dnat("*", "2000-2100", to_address="10.9.9.9"), dnat()) == [("203.0.113.0/24",)]


def test_a_deny_network_rule_does_not_close_a_translation() -> None:
    """Translated traffic is not subject to network rules."""
    assert sources(dnat(), rule(allows=False, sources="*")) == [("203.0.113.0/24",)]


def test_an_earlier_deny_takes_sources_from_an_allow() -> None:
    """Network rules are terminating: the order decides."""
    deny = rule(allows=False, sources="10.0.0.0/9", destination="*", ports="*")
    allow = rule(allows=True, sources="10.0.0.0/8", destination="10.1.0.0/16", ports="20-25")
    assert sources(deny, allow) == [("10.128.0.0/9",)]
    assert sources(allow, deny) == [("10.0.0.0/8",)]
    assert sources(rule(allows=False, sources="*"), allow) == []


@pytest.mark.parametrize("unresolved", [dnat(to_address="", unresolved="name 'web.example.org'")])
def test_what_cannot_be_resolved_counts_as_a_possible_opening(unresolved: Rule) -> None:
    """It is never read as closed, and never closes another rule."""
    (found,) = openings((unresolved,), BLOCK)
    assert found.unresolved
    assert sources(unresolved, dnat())[1] == ("203.0.113.0/24",)


def test_address_ranges_and_service_tags_are_sources_too() -> None:
    """A range is exact; the members of a tag are not known, so it is told as it is written."""
    assert sources(dnat("203.0.113.0-203.0.113.1")) == [("203.0.113.0/31",)]
    assert sources(rule(allows=True, sources="Sql")) == [("Sql",)]
    assert sources(rule(allows=False, sources="Sql"), rule(allows=True, sources="10.0.0.0/8")) == [
        ("10.0.0.0/8",)
    ]
