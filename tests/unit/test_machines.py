"""Is a port really closed? What the rules in front of it say, and what Azure would do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.ids import places_in
from shared.domain.model import Grant
from shared.firewalls.nsg.judgement import WITHIN_NETWORK
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import allow_rules, deny_rules
from tests.fakes import NAMES
from tests.rule_exposure import exposed_by, openings
from tests.samples import allow, deny, grant, protection

ADDRESS = "10.0.0.4"
(OUR_DENY,) = (replace(rule, priority=1000) for rule in deny_rules([protection()], NAMES))
OUR_GRANT: Grant = grant()


def opened(*rules: SecurityRule, port: int = 22, protocol: str = "TCP") -> list[str]:
    """Return the names of the rules that leave a port open."""
    return [rule.name for rule in openings(rules, port, protocol, ADDRESS, NAMES)]


def test_our_deny_closes() -> None:
    """Alone, and before rules that come after it."""
    assert opened(OUR_DENY) == []
    assert opened(OUR_DENY, allow(priority=1001)) == []


def test_without_a_deny_the_network_gets_through() -> None:
    """Azure's own rule at 65000 lets the virtual network in."""
    assert opened() == [WITHIN_NETWORK.name]
    assert opened(allow(priority=4000)) == ["somebodys-allow", WITHIN_NETWORK.name]


def test_our_own_grants_are_no_exposure() -> None:
    """They are the access that was asked for."""
    (given_access,) = allow_rules(OUR_GRANT, NAMES)
    assert opened(replace(given_access, priority=200), OUR_DENY) == []


def test_an_allow_before_the_deny_is_named() -> None:
    """With any author; Defender's own temporary ones too."""
    assert opened(allow(priority=999), OUR_DENY) == ["somebodys-allow"]


@pytest.mark.parametrize(
    "rule",
    [
        allow(ports=("443",)),
        allow(destinations=("10.0.0.5",)),
        allow(protocol="Udp"),
        replace(allow(), inbound=False),
        allow(sources=("AzureLoadBalancer",)),
        allow(sources=("168.63.129.16",)),
    ],
    ids=["port", "address", "protocol", "direction", "probe tag", "probe address"],
)
def test_an_allow_of_something_else_opens_nothing(rule: SecurityRule) -> None:
    """Another port, address, protocol or direction; the platform's health probes are no caller."""
    assert opened(rule, OUR_DENY) == []


@pytest.mark.parametrize(
    "rule",
    [
        allow(sources=("Internet",)),
        allow(destinations=("VirtualNetwork",)),
        allow(ports=("20-25",)),
        allow(protocol="*"),
        replace(allow(sources=()), unresolved_sources=True),
        replace(allow(destinations=()), unresolved_destinations=True),
    ],
    ids=["tag", "to a tag", "range", "any protocol", "from a group", "to a group"],
)
def test_what_cannot_be_resolved_counts_as_open(rule: SecurityRule) -> None:
    """Rather named in vain than hidden."""
    assert opened(rule, OUR_DENY) == [rule.name]


def test_a_foreign_deny_that_comes_first_closes() -> None:
    """An allow that it stops is no exposure."""
    assert opened(deny(priority=100), allow(priority=200)) == []
    narrow = deny(priority=100, sources=("203.0.113.0/24",))
    within, beyond = allow(sources=("203.0.113.7",)), allow(sources=("203.0.112.0/23",))
    assert opened(narrow, within, OUR_DENY) == []
    assert opened(narrow, beyond, OUR_DENY) == ["somebodys-allow"]


@pytest.mark.parametrize(
    "rule",
    [
        deny(protocol="Udp"),
        deny(destinations=("10.0.0.5",)),
        deny(destinations=("Internet",)),
        replace(deny(), source_ports=("1024-65535",)),
        replace(deny(sources=()), unresolved_sources=True),
        replace(deny(), unresolved_destinations=True),
    ],
    ids=["protocol", "address", "to a tag", "source ports", "from a group", "to a group"],
)
def test_a_deny_that_may_not_apply_closes_nothing(rule: SecurityRule) -> None:
    """Only what certainly stops everybody counts as closed."""
    assert opened(rule, allow(priority=200), OUR_DENY) == ["somebodys-allow"]


def test_every_firewall_has_to_let_through() -> None:
    """And the same source: an allow on one of two opens nothing."""
    open_one, closed = [allow(), OUR_DENY], [OUR_DENY]
    assert exposed_by({"a": open_one, "b": closed}, 22, "TCP", ADDRESS, NAMES) == ()
    both = exposed_by({"a": open_one, "b": open_one}, 22, "TCP", ADDRESS, NAMES)
    assert [firewall for firewall, _ in both] == ["a", "b"]
    here = [allow(sources=("198.51.100.0/24",)), OUR_DENY]
    there = [allow(sources=("203.0.113.0/24",)), OUR_DENY]
    assert exposed_by({"a": here, "b": there}, 22, "TCP", ADDRESS, NAMES) == ()


_SOURCES = st.sampled_from(["*", "203.0.113.0/24", "203.0.113.7", "10.0.0.0/8", "0.0.0.0/0"])
_RULES = st.builds(
    lambda access, source, port, target, protocol, at: SecurityRule(
        f"rule-{at}", access, protocol, (source,), (target,), (port,), priority=at
    ),
    st.sampled_from(Access),
    _SOURCES,
    st.sampled_from(["22", "443", "*", "20-30"]),
    st.sampled_from(["*", ADDRESS, "10.0.0.0/24", "10.0.0.5"]),
    st.sampled_from(["*", "Tcp", "Udp"]),
    st.integers(100, 4096),
)


@given(
    st.lists(_RULES, max_size=8, unique_by=lambda rule: rule.priority),
    st.sampled_from(["203.0.113.7", "203.0.113.9", "10.1.1.1", "8.8.8.8"]),
)
def test_every_source_that_gets_through_is_reported(rules: list[SecurityRule], source: str) -> None:
    """If Azure's first match lets a packet in, some rule is named; the deny's absence included."""
    first = next(
        (rule for rule in sorted(rules, key=lambda r: r.priority) if _takes(rule, source)), None
    )
    if first is not None and first.access is Access.ALLOW:
        assert opened(*rules)
    if not opened(*rules):
        assert first is not None
        assert first.access is Access.DENY


def _takes(rule: SecurityRule, source: str) -> bool:
    """Evaluate one rule as Azure does: a TCP packet from a source to port 22."""
    sources = {"*": True, "0.0.0.0/0": True, "10.0.0.0/8": source.startswith("10.")}
    sources |= {"203.0.113.0/24": source.startswith("203.0.113."), "203.0.113.7": False}
    return (
        rule.protocol in {"*", "Tcp"}
        and rule.ports[0] != "443"
        and rule.destinations[0] != "10.0.0.5"
        and (sources[rule.sources[0]] or rule.sources[0] == source)
    )


@pytest.mark.parametrize(
    ("scopes", "places"),
    [
        (("/subscriptions/A",), ("/subscriptions/a",)),
        (("/subscriptions/a/resourceGroups/x", "/subscriptions/a"), ("/subscriptions/a",)),
        (
            ("/subscriptions/a/resourceGroups/y", "/subscriptions/a/resourceGroups/X"),
            ("/subscriptions/a/resourceGroups/X", "/subscriptions/a/resourceGroups/y"),
        ),
        (
            (
                "/subscriptions/a/resourceGroups/x/providers/Microsoft.Compute/virtualMachines/v",
                "/subscriptions/A/resourcegroups/X",
                "/subscriptions/b",
            ),
            ("/subscriptions/a/resourceGroups/x",),
        ),
    ],
)
def test_where_to_list(scopes: tuple[str, ...], places: tuple[str, ...]) -> None:
    """A subscription whole, or the groups of it that are named, each once."""
    assert places_in(scopes, "a") == places
