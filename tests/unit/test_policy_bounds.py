"""Each bound of a policy pinned, and each sentence that is told when it is broken."""

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from shared.domain import policy as bounds
from shared.domain.errors import Reason
from shared.domain.model import Conditions, Policy, PolicyVm, PortRule
from shared.domain.policy import (
    Asked,
    AskedPort,
    Limits,
    PolicyDecision,
    check_request,
    check_source,
    matches_pattern,
)
from tests.fakes import START
from tests.world import DB, POLICY, SOURCE, WEB

HOUR = timedelta(hours=1)
RULES = (PortRule(22, "TCP"), PortRule(3389, "TCP"))
OPEN = Conditions()


def asked_for(vm: str = WEB, number: int = 22, *sources: str, at: str = "at") -> AskedPort:
    """Ask for an hour."""
    return AskedPort(at, vm, number, sources or (SOURCE,), duration=HOUR)


def broken(
    *ports: AskedPort,
    conditions: Conditions = OPEN,
    justification: str | None = None,
    caller: str = "",
    rules: tuple[PortRule, ...] = RULES,
) -> tuple[Reason, ...]:
    """Say what a request breaks of a policy over one VM."""
    held = Policy(POLICY, "westeurope", (PolicyVm(WEB, rules),), conditions=conditions)
    return check_request(held, Asked(ports, justification, caller), Limits(), START).broken


def test_what_a_deployment_allows_unless_it_says_otherwise() -> None:
    """From five minutes to a day, and no prefix wider than a site has."""
    assert Limits() == Limits(timedelta(minutes=5), timedelta(hours=24), 24, 48)


def test_the_bounds_of_a_request() -> None:
    """How much may be asked for at once, and what a VM's ports are where a policy lists none."""
    assert (bounds.MAX_PORTS, bounds.MAX_SOURCES, bounds.MAX_JUSTIFICATION) == (100, 64, 1024)
    assert bounds.WIDEST_TOGETHER == 4
    assert bounds.USUAL_PORTS == {"linux": (22,), "windows": (3389, 5985, 5986)}


@pytest.mark.parametrize("value", [Limits(), asked_for(), Asked(()), PolicyDecision()])
def test_what_was_asked_is_not_changed_afterwards(value: object) -> None:
    """Limits, questions and decisions are values."""
    with pytest.raises(FrozenInstanceError):
        value.broken = ()  # type: ignore[attr-defined]


def test_a_request_within_the_policy_breaks_nothing() -> None:
    """A decision is a list of what is broken: an empty one allows."""
    assert broken(asked_for(), asked_for(number=3389)) == ()
    assert PolicyDecision().allowed
    assert not PolicyDecision((Reason("A", "told"),)).allowed


def test_every_broken_line_is_told_at_once() -> None:
    """Of the justification, of each port, and of each of its sources, in the order asked."""
    conditions = Conditions(justification_required=True)
    ports = (
        asked_for(DB, at="one"),
        asked_for(WEB, 443, at="two"),
        AskedPort("three", WEB, 22, ("*", "host"), duration=timedelta(0)),
        asked_for(WEB, 22, at="four"),
    )
    found = broken(*ports, conditions=conditions)
    assert [(reason.code, reason.target) for reason in found] == [
        ("JustificationRequired", "justification"),
        ("VirtualMachineNotInPolicy", "one"),
        ("PortNotInPolicy", "two.number"),
        ("InvalidDuration", "three.duration"),
        ("SourceNotAllowed", "three.allowedSourceAddressPrefix"),
        ("SourceNotAllowed", "three.allowedSourceAddressPrefix"),
        ("DuplicatePort", "four"),
    ]
    assert found[0].message == "policy 'default' asks for a justification"
    assert found[1].message == "VM 'db' is not in policy 'default'"
    assert found[2].message == (
        "port 443 of VM 'web' is not in policy 'default', which lists 22, 3389"
    )
    assert found[3].message == "it must be longer than zero; it is 2026-11-22T14:00:00Z"
    assert found[6].message == "port 22 is asked for twice on this VM"


def test_a_policy_without_ports_yet_says_so() -> None:
    """The usual ones for the VM's system are found when the policy is applied."""
    assert broken(asked_for(), rules=())[0].message == (
        "port 22 of VM 'web' is not in policy 'default', which lists no ports yet"
    )


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (None, ["JustificationRequired"]),
        ("", ["JustificationRequired"]),
        (" \n\t", ["JustificationRequired"]),
        ("INC42", []),
        ("  INC42  ", []),
        ("INC", ["JustificationPattern"]),
        ("INC42 and more", ["JustificationPattern"]),
    ],
)
def test_a_justification_is_asked_for_and_matched(text: str | None, codes: list[str]) -> None:
    """The whole of it, spaces around it apart; of a missing one only that it is missing."""
    conditions = Conditions(justification_required=True, justification_pattern="INC[0-9]+")
    found = broken(asked_for(), conditions=conditions, justification=text)
    assert [reason.code for reason in found] == codes
    if codes == ["JustificationPattern"]:
        told = "the justification must match 'INC[0-9]+'"
        assert found == (Reason("JustificationPattern", told, "justification"),)


def test_a_pattern_counts_without_being_required() -> None:
    """A missing justification is an empty one then; without either, anything goes."""
    conditions = Conditions(justification_pattern="INC[0-9]+")
    assert [r.code for r in broken(asked_for(), conditions=conditions)] == ["JustificationPattern"]
    assert broken(asked_for(), justification="whatever") == ()
    required = Conditions(justification_required=True)
    assert broken(asked_for(), conditions=required, justification="x") == ()
    assert not matches_pattern("(", "(")


def test_a_time_that_cannot_be_is_told_by_its_own_field() -> None:
    """An end in the past, a duration too short, and whichever is too long."""
    minute = timedelta(minutes=1)

    def told(**times: object) -> list[tuple[str, str]]:
        port = AskedPort("at", WEB, 22, (SOURCE,), **times)  # type: ignore[arg-type]
        return [(reason.message, reason.target) for reason in broken(port)]

    assert told(end_at=START) == [
        ("the end lies in the past; it is 2026-11-22T14:00:00Z", "at.endTimeUtc")
    ]
    assert told(duration=minute) == [("the shortest duration is PT5M", "at.duration")]
    long = "the longest access to port 22 is PT3H"
    assert told(duration=4 * HOUR) == [(long, "at.duration")]
    assert told(end_at=START + 4 * HOUR) == [(long, "at.endTimeUtc")]
    assert told(end_at=START + minute) == []
    assert told() == []


@pytest.mark.parametrize(
    ("prefixes", "told"),
    [
        ([f"198.51.{2 * n}.0/24" for n in range(4)], ""),
        ([f"198.51.{2 * n}.0/24" for n in range(4)] * 3, ""),
        ([f"198.51.{2 * n}.0/24" for n in range(4)] + ["2001:db8::/48"], ""),
        (
            [*(f"198.51.{2 * n}.0/24" for n in range(4)), "203.0.113.7"],
            "the IPv4 sources are together wider than 4 prefixes of /24; ask for fewer",
        ),
        ([f"2001:db8:{2 * n}::/48" for n in range(4)], ""),
        (
            [*(f"2001:db8:{2 * n}::/48" for n in range(4)), "2001:db8:99::1"],
            "the IPv6 sources are together wider than 4 prefixes of /48; ask for fewer",
        ),
    ],
)
def test_sources_are_together_no_wider_than_four_of_the_widest(
    prefixes: list[str], told: str
) -> None:
    """To the last address, in each family by itself; what is named twice counts once."""
    found = broken(asked_for(WEB, 22, *prefixes))
    target = "at.allowedSourceAddressPrefix"
    assert found == ((Reason("SourcesTooWide", told, target),) if told else ())


def test_everybody_is_told_once() -> None:
    """`*` is refused as such, and has no width."""
    assert [reason.code for reason in broken(asked_for(WEB, 22, "*", SOURCE))] == [
        "SourceNotAllowed"
    ]


@pytest.mark.parametrize(("caller", "told"), [("203.0.113.9", "203.0.113.9"), ("", "unknown")])
def test_a_caller_limited_to_their_own_address_is_told_it(caller: str, told: str) -> None:
    """As the app sees it, so that a proxy in between is noticed."""
    found = broken(asked_for(), conditions=Conditions(own_address_only=True), caller=caller)
    assert [reason.message for reason in found] == [
        f"policy 'default' opens only to your own address, {told}"
    ]
    assert broken(asked_for(), conditions=Conditions(own_address_only=True), caller=SOURCE) == ()


@pytest.mark.parametrize("source", ["host", "203.0.113", "203.0.113.256", "AzureLoadBalancer"])
def test_a_source_that_is_no_address(source: str) -> None:
    """Neither a host name nor half an address, nor a tag even where the policy has its address."""
    told = f"'{source}' is not an IP address or prefix such as 203.0.113.7 or 203.0.113.0/28"
    assert check_source(source, ["168.63.129.16", "*"], 24, 48) == told


def test_a_source_is_told_in_sixty_characters() -> None:
    """However long it was."""
    assert check_source("x" * 61, ["*"], 24, 48).startswith(f"'{'x' * 60}' is not")


def test_what_is_wrong_with_a_source() -> None:
    """All addresses, too wide, outside, in a special range: each in its own words; nothing wrong is empty."""
    assert check_source("any", ["*"], 24, 48) == (
        "'any' would open the port to any source; name an address or a prefix"
    )
    assert check_source("198.51.100.0/23", ["*"], 24, 48) == (
        "'198.51.100.0/23' is too wide: the widest prefix that may be asked for is /24"
    )
    assert check_source("2001:db8::/47", ["*"], 24, 48).endswith("asked for is /48")
    assert check_source("127.0.0.1", ["*"], 24, 48) == (
        "'127.0.0.1' is in a reserved range that no host has as its address"
    )
    assert check_source("fe80::1", ["fe80::/10"], 24, 48) == ""
    assert check_source("203.0.113.7", ["*"], 24, 48) == ""


def test_eight_of_the_allowed_prefixes_are_told() -> None:
    """A policy may list many."""
    allowed = [f"10.0.{n}.0/24" for n in range(9)]
    assert check_source("203.0.113.7", allowed, 24, 48) == (
        f"'203.0.113.7' is not within {', '.join(allowed[:8])}, which the policy allows"
    )
