"""Texts, port ranges and ledgers of the EC2 provider, by themselves."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.desired import Allow
from shared.firewalls.ec2.ledger import Held, ledger_tags, read_ledger, read_memory, write_memory
from shared.firewalls.ec2.narrow import meets, remaining, why_untouchable
from shared.firewalls.ec2.plan import identities_of
from shared.firewalls.ec2.texts import Told, read_text, rule_text
from shared.firewalls.ec2.wire import CIDR4, CIDR6, GROUP, HELD_PREFIX, PREFIX_LIST, Group, Rule

END = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
ALLOWED = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}", re.ASCII)


def allow(key: str, *, protocol: str = "TCP", minutes: int = 0, **more: tuple[str, ...]) -> Allow:
    """Return a grant."""
    sources, addresses = more.get("sources", ("203.0.113.7",)), more.get("addresses", ("10.0.0.4",))
    return Allow(key, "vm", 22, protocol, sources, addresses, END + timedelta(minutes=minutes))


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=60, unique=True))
def test_every_text_fits_and_ends_with_the_latest_end(names: list[str]) -> None:
    """However many requests of whatever names share a rule, EC2 takes its text."""
    allows = [allow(f"{name}|x|22", minutes=index) for index, name in enumerate(names)]
    text = rule_text(allows)
    assert ALLOWED.fullmatch(text)
    told = read_text(text)
    assert told.reaches(allows[-1].until)
    assert not told.reaches(allows[-1].until + timedelta(seconds=1))
    assert all(told.names(each) for each in allows)


@pytest.mark.parametrize("text", ["", "theirs", "JIT a until", "JIT a until 2026-99-99T00:00:00Z"])
def test_a_damaged_text_tells_nothing(text: str) -> None:
    """A text without a readable end names no grant and has no end."""
    assert read_text(text) == Told()


@given(st.integers(0, 65_535), st.integers(0, 65_535), st.sets(st.integers(0, 65_535), max_size=9))
def test_what_remains_is_the_range_without_the_ports(one: int, two: int, ports: set[int]) -> None:
    """The pieces hold every port of the range but the governed ones, and no other."""
    low, high = sorted((one, two))
    pieces = remaining((low, high), ports)
    size = sum(last - first + 1 for first, last in pieces)
    assert size == high - low + 1 - len([port for port in ports if low <= port <= high])
    assert all(low <= first <= last <= high for first, last in pieces)
    assert not any(first <= port <= last for first, last in pieces for port in ports)


def test_22_out_of_20_to_25() -> None:
    """The example of the documentation."""
    assert remaining((20, 25), [22]) == ((20, 21), (23, 25))
    assert remaining((22, 22), [22]) == ()
    assert remaining((0, 65_535), [22]) == ((0, 21), (23, 65_535))


@pytest.mark.parametrize(
    ("protocol", "met"),
    [("tcp", True), ("udp", True), ("-1", True), ("icmp", False), ("47", False)],
)
def test_which_protocols_reach_a_port(protocol: str, met: bool) -> None:
    """TCP, UDP and rules for every protocol reach a port; protocols without ports do not."""
    rule = Rule(protocol, 0, 65_535, CIDR4, "0.0.0.0/0")
    assert meets(rule, (22,)) is met
    assert not meets(rule, ())


def test_what_cannot_be_narrowed_says_why() -> None:
    """Rules for every protocol and for the members of a group are left."""
    assert "every protocol" in why_untouchable(Rule("-1", -1, -1, CIDR4, "0.0.0.0/0"))
    assert "sg-1" in why_untouchable(Rule("tcp", 22, 22, GROUP, "sg-1"))
    assert not why_untouchable(Rule("tcp", 22, 22, PREFIX_LIST, "pl-1"))


RULES = st.builds(
    Rule,
    protocol=st.sampled_from(["tcp", "udp"]),
    low=st.integers(0, 30_000),
    high=st.integers(30_000, 65_535),
    kind=st.just(CIDR4),
    source=st.sampled_from(["10.0.0.0/8", "0.0.0.0/0"]),
    description=st.text(max_size=255),
    tags=st.dictionaries(st.text(min_size=1, max_size=128), st.text(max_size=256), max_size=5).map(
        lambda tags: tuple(sorted(tags.items()))
    ),
    id=st.just("sgr-0a1"),
)


@given(RULES)
def test_a_ledger_s_tags_hold_a_rule_exactly(rule: Rule) -> None:
    """Each value fits a tag and needs no character that some service refuses."""
    tags = ledger_tags(Held(rule))
    assert all(re.fullmatch(r"[A-Za-z0-9+\-=._:/@]{1,256}", value) for value in tags.values())
    group = Group("sg-1", "ledger", "vpc-1", "1", tuple(sorted(tags.items())))
    assert read_ledger(group) == {rule.id: Held(rule)}


@pytest.mark.parametrize(
    ("source_type", "source"),
    [(CIDR4, "10.0.0.0/8"), (CIDR6, "2001:db8::/64"), (PREFIX_LIST, "pl-0a1")],
)
def test_each_type_of_source_is_held(source_type: str, source: str) -> None:
    """IPv4, IPv6 and prefix lists come back as they were, from memory and ledger."""
    held = Held(Rule("tcp", 1, 2, source_type, source, "-", (("a", ""),), "sgr-1"))
    group = Group("sg-1", "ledger", "vpc-1", "1", tuple(ledger_tags(held).items()))
    assert read_ledger(group) == read_memory(write_memory({"sgr-1": held})) == {"sgr-1": held}


@pytest.mark.parametrize("memory", ["", "{", "[1]", '[{"id": "x"}]'])
def test_a_damaged_memory_holds_nothing(memory: str) -> None:
    """Unreadable memory is left to the ledger."""
    assert read_memory(memory) == {}


def test_a_damaged_ledger_entry_is_left_out() -> None:
    """An entry with a part missing, or with other content, is not restored from."""
    tags = (
        (f"{HELD_PREFIX}sgr-1.1", "tcp+1-2+10.0.0.0/8+-"),
        (f"{HELD_PREFIX}sgr-2.0", "nonsense"),
        (f"{HELD_PREFIX}sgr-3.0", "tcp+1-2+10.0.0.0/8+-"),
    )
    group = Group("sg-1", "ledger", "vpc-1", "1", tags)
    assert set(read_ledger(group)) == {"sgr-3"}
    assert read_ledger(None) == {}


@pytest.mark.parametrize(
    ("sources", "addresses", "expected"),
    [
        (("203.0.113.7",), ("10.0.0.4",), [(CIDR4, "203.0.113.7/32")]),
        (("100.68.0.18/18",), ("10.0.0.4",), [(CIDR4, "100.68.0.0/18")]),
        (("*",), ("10.0.0.4",), [(CIDR4, "0.0.0.0/0")]),
        (("*",), ("10.0.0.4", "2001:db8::4"), [(CIDR4, "0.0.0.0/0"), (CIDR6, "::/0")]),
        (("2001:db8::7",), ("10.0.0.4",), []),
        (("AzureCloud",), ("10.0.0.4",), []),
        ((), ("10.0.0.4",), []),
        (("203.0.113.7",), (), []),
    ],
)
def test_a_grant_s_rules(
    sources: tuple[str, ...], addresses: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    """Sources are canonical blocks of the families of the instance's addresses."""
    found = identities_of(allow("r|x|22", sources=sources, addresses=addresses))
    assert [(source_type, source) for *_, source_type, source in found] == expected
