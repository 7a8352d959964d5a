"""Is a request within its policy? Every line of the decision."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.model import AccessRequest, Conditions, Policy, PolicyVm, PortRule, Principal
from shared.domain.policy import WIDEST_TOGETHER, Asked, AskedPort, Limits, check_request
from tests.fakes import START
from tests.world import ALICE, BOB, POLICY, WEB

HOUR = timedelta(hours=1)
LIMITS = Limits()


def policy(*sources: str, longest: timedelta = 3 * HOUR, **conditions: object) -> Policy:
    """Make a policy over one port of one VM."""
    rule = PortRule(22, "TCP", sources or ("*",), longest)
    held = replace(Conditions(), **conditions)  # type: ignore[arg-type]
    return Policy(POLICY, "westeurope", (PolicyVm(WEB, (rule,)),), conditions=held)


def broken(
    held: Policy, *sources: str, limits: Limits = LIMITS, caller: str = "", **asked: object
) -> list[str]:
    """Return the codes of the lines that a request for the port breaks."""
    port = AskedPort("at", WEB, 22, sources or ("203.0.113.7",), **{"duration": HOUR, **asked})  # type: ignore[arg-type]
    decision = check_request(held, Asked((port,), None, caller), limits, START)
    assert decision.allowed is not bool(decision.broken)
    return [reason.code for reason in decision.broken]


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (("203.0.113.0/24",), "203.0.113.7"),
        (("203.0.113.0/24",), "203.0.113.7/32"),
        (("203.0.113.0/24",), "203.0.113.0/24"),
        (("203.0.113.0/25", "203.0.113.128/25"), "203.0.113.0/24"),
        (("203.0.113.7",), "203.0.113.7/32"),
        (("2001:db8::/32",), "2001:db8:1::/48"),
        (("2001:DB8::/48",), "2001:db8:0::1"),
        (("198.51.100.0/24", "2001:db8::/48"), "2001:db8::/64"),
        (("*",), "10.1.2.3"),
        (("10.0.0.0/8",), "10.1.2.0/24"),
    ],
)
def test_a_subset_is_within(allowed: tuple[str, ...], asked: str) -> None:
    """By meaning, not by spelling: a /32 inside an allowed /24 is inside."""
    assert broken(policy(*allowed), asked) == []


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (("203.0.113.0/25",), "203.0.113.0/24"),
        (("203.0.113.0/24",), "203.0.114.0"),
        (("203.0.113.7",), "203.0.113.8"),
        (("2001:db8::/64",), "2001:db8:0:1::1"),
        (("203.0.113.0/24",), "2001:db8::1"),
        (("203.0.113.0/25", "203.0.113.192/26"), "203.0.113.0/24"),
    ],
)
def test_what_reaches_out_is_not_within(allowed: tuple[str, ...], asked: str) -> None:
    """A single address outside is enough."""
    assert broken(policy(*allowed), asked) == ["SourceNotAllowed"]


@given(
    st.integers(0, 2**32 - 1), st.integers(8, 32), st.integers(0, 2**32 - 1), st.integers(24, 32)
)
def test_within_is_what_the_sets_say(base: int, wide: int, low: int, narrow: int) -> None:
    """Exactly the prefixes that are subsets are accepted, special ranges apart."""
    allowed = IPv4Network((base, wide), strict=False)
    asked = IPv4Network((allowed[0] + low % allowed.num_addresses, narrow), strict=False)
    said = broken(policy(str(allowed)), str(asked))
    if asked.subnet_of(allowed):
        assert said in ([], ["SourceNotAllowed"])
        if asked.is_global:
            assert said == []
    else:
        assert said == ["SourceNotAllowed"]


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(24, 32)), min_size=1, max_size=64))
def test_sources_together_are_never_wider_than_the_cap(parts: list[tuple[int, int]]) -> None:
    """However they are cut and however they overlap."""
    nets = [IPv4Network((f"198.51.{third}.0", length)) for third, length in parts]
    said = broken(policy(), *map(str, nets))
    held = {address for net in nets for address in _addresses(net)}
    assert ("SourcesTooWide" in said) == (len(held) > WIDEST_TOGETHER * 256)


def _addresses(net: IPv4Network | IPv6Network) -> range:
    return range(int(net[0]), int(net[-1]) + 1)


@pytest.mark.parametrize(
    ("family", "wide", "narrow"), [("198.51.0.0", 24, 23), ("2001:db8::", 48, 47)]
)
def test_the_widest_prefix_is_the_deployment_s(family: str, wide: int, narrow: int) -> None:
    """A policy can narrow it, never widen it."""
    assert broken(policy(), str(ip_network((family, wide)))) == []
    assert "SourceNotAllowed" in broken(policy(), str(ip_network((family, narrow), strict=False)))
    wider = policy(widest_ipv4=8, widest_ipv6=16)
    assert "SourceNotAllowed" in broken(wider, str(ip_network((family, narrow), strict=False)))
    narrower = policy(widest_ipv4=25, widest_ipv6=49)
    assert broken(narrower, str(ip_network((family, wide)))) == ["SourceNotAllowed"]


@pytest.mark.parametrize("source", ["127.0.0.1", "169.254.1.1", "fe80::1", "168.63.129.16"])
def test_a_special_address_only_where_the_policy_names_it(source: str) -> None:
    """`*` does not name it."""
    assert broken(policy(), source) == ["SourceNotAllowed"]
    assert broken(policy(source), source) == []


@pytest.mark.parametrize(
    ("length", "codes"),
    [
        (timedelta(0), ["InvalidDuration"]),
        (timedelta(minutes=4, seconds=59), ["DurationTooShort"]),
        (timedelta(minutes=5), []),
        (3 * HOUR, []),
        (3 * HOUR + timedelta(seconds=1), ["DurationTooLong"]),
    ],
)
def test_a_duration_keeps_to_its_bounds(length: timedelta, codes: list[str]) -> None:
    """Both ends of them included."""
    assert broken(policy(), duration=length) == codes


@pytest.mark.parametrize(
    ("ahead", "codes"),
    [
        (-HOUR, ["InvalidDuration"]),
        (timedelta(0), ["InvalidDuration"]),
        (timedelta(seconds=1), []),
        (3 * HOUR, []),
        (3 * HOUR + timedelta(microseconds=1), ["DurationTooLong"]),
    ],
)
def test_an_end_keeps_to_its_bounds(ahead: timedelta, codes: list[str]) -> None:
    """Counted from now."""
    assert broken(policy(), duration=None, end_at=START + ahead) == codes


def test_the_deployment_s_longest_beats_the_policy_s() -> None:
    """This holds for durations that were allowed when the policy was written."""
    limits = Limits(max_duration=HOUR)
    assert broken(policy(), duration=2 * HOUR, limits=limits) == ["DurationTooLong"]


@pytest.mark.parametrize(
    ("caller", "source", "codes"),
    [
        ("2001:db8::1", "2001:DB8:0::1/128", []),
        ("2001:db8::1", "2001:db8::2", ["SourceNotOwnAddress"]),
        ("203.0.113.7", "203.0.113.7/32", []),
        ("", "203.0.113.7", ["SourceNotOwnAddress"]),
    ],
)
def test_one_s_own_address_in_any_spelling(caller: str, source: str, codes: list[str]) -> None:
    """An address that cannot be read is no caller's."""
    assert broken(policy(own_address_only=True), source, caller=caller) == codes


def test_a_port_is_asked_for_once() -> None:
    """The same VM in another letter case is the same VM."""
    port = AskedPort("a", WEB, 22, ("203.0.113.7",), duration=HOUR)
    asked = Asked((port, replace(port, at="b", vm_id=WEB.upper())))
    decision = check_request(policy(), asked, LIMITS, START)
    assert [(reason.code, reason.target) for reason in decision.broken] == [("DuplicatePort", "b")]


@pytest.mark.parametrize(("relayed_by", "relayed"), [(None, False), (BOB, True)])
def test_a_request_is_asked_again_as_it_was(relayed_by: Principal | None, relayed: bool) -> None:
    """With its reason, and with the address it came from, which is a relay's where one asked."""
    request = AccessRequest("id1", POLICY, ALICE, START, (), "why", "203.0.113.7", relayed_by)
    port = AskedPort("", WEB, 22, ("203.0.113.7",))
    asked = Asked((port,), "why", "203.0.113.7", relayed=relayed)
    assert Asked.again(request, [port]) == asked
