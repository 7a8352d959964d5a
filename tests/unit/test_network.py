"""Address prefixes and port ranges, compared by what they mean."""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.network import (
    SPECIAL,
    Network,
    canonical,
    canonical_ports,
    covers,
    is_address,
    is_any,
    is_special,
    names_special,
    network,
    of_family,
    overlaps,
    port_range,
    ports_meet,
)

ANY_WORDS = ("*", "any", "Any", "ANY")
TAGS = ("Internet", "VirtualNetwork", "Sql.WestEurope")
# Few addresses, close together, so that prefixes often touch, nest and meet.
SMALL_V4 = st.builds(
    lambda low, length: ip_network((0x0A000000 + low, length), strict=False),
    st.integers(0, 31),
    st.integers(27, 32),
)
SMALL_V6 = st.builds(
    lambda low, length: ip_network((int(ip_address("2001:db8::")) + low, length), strict=False),
    st.integers(0, 31),
    st.integers(123, 128),
)
SMALL = st.one_of(SMALL_V4, SMALL_V6)
PORTS = st.one_of(
    st.just("*"),
    st.integers(0, 40).map(str),
    st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda p: f"{min(p)}-{max(p)}"),
)


def spell(net: Network, how: int) -> str:
    """Write a prefix in one of the ways that mean the same."""
    address, length = str(net.network_address), net.prefixlen
    if isinstance(net, IPv6Network):
        address = (address, address.upper(), net.network_address.exploded)[how % 3]
    if net.num_addresses == 1 and how % 2:
        return address
    if isinstance(net, IPv4Network) and how == 4:
        return f"{address}/{net.netmask}"
    return f"{address}/{length}"


def addresses_in(prefixes: list[Network]) -> set[str]:
    """List every address of some small prefixes."""
    return {str(address) for net in prefixes for address in net}


def test_any_is_a_star_or_the_word() -> None:
    """Letter case does not matter; a range of everything is not the word."""
    assert all(is_any(word) for word in ANY_WORDS)
    assert not any(is_any(word) for word in ("", "0.0.0.0/0", "::/0", "Internet", "**", "anyone"))


def test_a_prefix_is_read_as_a_network() -> None:
    """Host bits, single addresses and both families are read; the rest is no network."""
    assert network("10.0.0.4") == ip_network("10.0.0.4/32")
    assert network("10.0.0.7/24") == ip_network("10.0.0.0/24")
    assert network("2001:DB8::0:4") == ip_network("2001:db8::4/128")
    for text in ("", "*", "Internet", "10.0.0", "10.0.0.256", "010.0.0.4", "10.0.0.4/33", "host"):
        assert network(text) is None


def test_the_load_balancers_tag_is_an_address() -> None:
    """It stands for one address everywhere in Azure, whatever its letter case."""
    assert network("AzureLoadBalancer") == network("168.63.129.16")
    assert network("AZURELOADBALANCER") == network("168.63.129.16/32")
    assert canonical(["azureLoadBalancer"]) == {"168.63.129.16"}


def test_prefixes_of_one_family() -> None:
    """Each family gets its own, collapsed; what is everything concerns both; tags neither."""
    mixed = ("10.0.0.4", "2001:db8::4", "10.0.0.5", "Internet")
    assert of_family(mixed, 4) == ("10.0.0.4/31",)
    assert of_family(mixed, 6) == ("2001:db8::4",)
    assert of_family(("10.0.0.4",), 6) == ()
    assert of_family((), 4) == ()
    for word in ANY_WORDS:
        assert of_family(("10.0.0.4", word), 4) == of_family((word,), 6) == ("*",)


def test_the_canonical_form_of_everything_is_a_star() -> None:
    """Beside `*`, nothing else says anything more."""
    for word in ANY_WORDS:
        assert canonical(["10.0.0.4", word, "Internet"]) == {"*"}
    assert canonical(["0.0.0.0/0"]) == {"0.0.0.0/0"}
    assert canonical([]) == frozenset()


def test_tags_are_compared_without_letter_case() -> None:
    """A tag is a name, and stays apart from the addresses beside it."""
    assert canonical(["Internet", "10.0.0.4/32"]) == canonical(["10.0.0.4", "INTERNET"])
    assert canonical(["Internet"]) != canonical(["VirtualNetwork"])
    assert canonical(["Internet"]) != canonical(["Internet", "10.0.0.4"])


@given(st.lists(SMALL, max_size=6), st.lists(SMALL, max_size=6))
def test_equal_sets_of_addresses_are_equal_in_canonical_form(
    one: list[Network], other: list[Network]
) -> None:
    """Two lists of prefixes compare equal exactly where they hold the same addresses."""
    same = canonical(map(str, one)) == canonical(map(str, other))
    assert same == (addresses_in(one) == addresses_in(other))


@given(st.lists(st.tuples(SMALL, st.integers(0, 5)), max_size=6), st.randoms())
def test_spelling_and_order_mean_nothing(listed: list[tuple[Network, int]], random: object) -> None:
    """Upper case, long IPv6, /32, netmasks and any order are the same prefixes."""
    plain = [str(net) for net, _ in listed]
    respelled = [spell(net, how) for net, how in listed]
    random.shuffle(respelled)  # type: ignore[attr-defined]
    assert canonical(respelled) == canonical(plain)
    assert {*of_family(respelled, 4), *of_family(respelled, 6)} == canonical(plain)


@given(st.lists(SMALL, max_size=6), SMALL)
def test_a_prefix_is_covered_if_each_of_its_addresses_is(
    allowed: list[Network], asked: Network
) -> None:
    """Halves that lie side by side cover the whole; one address missing and it is not covered."""
    inside = addresses_in([asked]) <= addresses_in(allowed)
    assert covers(map(str, allowed), str(asked)) == inside


def test_what_covers_and_what_does_not() -> None:
    """`*` covers all, a family nothing of the other, and what is no address is covered by `*`."""
    for word in ANY_WORDS:
        assert covers(["10.0.0.0/8", word], "2001:db8::/32")
        assert covers([word], "Internet")
    assert not covers([], "10.0.0.4")
    assert not covers(["0.0.0.0/0"], "::/0")
    assert not covers(["::/0"], "0.0.0.0/0")
    assert not covers(["0.0.0.0/0", "::/0"], "*")
    assert not covers(["Internet"], "Internet")
    assert not covers(["Internet"], "203.0.113.7")
    assert covers(["Internet", "203.0.113.0/24"], "203.0.113.255")
    assert not covers(["203.0.113.0/24"], "203.0.114.0")
    assert not covers(["203.0.113.0/25"], "203.0.113.0/24")
    assert not covers(["203.0.113.128/25"], "203.0.113.0/24")


@given(st.lists(SMALL, max_size=4), st.lists(SMALL, max_size=4))
def test_sets_overlap_if_they_share_an_address(one: list[Network], other: list[Network]) -> None:
    """Sharing an address is overlapping, whichever set is named first."""
    shared = bool(addresses_in(one) & addresses_in(other))
    assert overlaps(map(str, one), map(str, other)) == shared
    assert overlaps(map(str, other), map(str, one)) == shared


def test_what_cannot_be_resolved_may_overlap() -> None:
    """Tags and `*` may share an address with anything; with nothing at all they share none."""
    for word in (*ANY_WORDS, *TAGS):
        assert overlaps([word], ["10.0.0.4"])
        assert overlaps(["2001:db8::4"], [word])
        assert overlaps([word], [word])
        assert not overlaps([word], [])
        assert not overlaps([], [word])
    assert overlaps(["10.0.0.4", "Internet"], ["10.9.9.9"])
    assert not overlaps(["AzureLoadBalancer"], ["10.0.0.4"])


@pytest.mark.parametrize(
    "text",
    [
        *("0.0.0.0", "0.255.255.255", "127.0.0.1", "168.63.129.16", "169.254.169.254"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1"),
        *("::ffff:10.0.0.4", "fe80::1", "febf::1", "ff02::1", "0.0.0.0/0", "126.0.0.0/7"),
        *("168.63.129.0/24", "::/0"),
    ],
)
def test_ranges_that_are_nobodys_address(text: str) -> None:
    """Within a special range, or reaching into one, is special."""
    net = network(text)
    assert net is not None
    assert is_special(net)


@pytest.mark.parametrize(
    "text",
    [
        *("1.0.0.0", "126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17"),
        *("169.253.255.255", "169.255.0.0", "223.255.255.255", "10.0.0.4", "192.168.0.1"),
        *("172.16.0.1", "100.64.0.1", "203.0.113.0/24", "::2", "::fffe:0:0", "::1:0:0:0"),
        *("fe7f:ffff::", "fec0::", "fd00::1", "2001:db8::/32"),
    ],
)
def test_the_neighbours_of_special_ranges_are_ordinary(text: str) -> None:
    """Private ranges are people's: someone behind a VPN asks from one."""
    net = network(text)
    assert net is not None
    assert not is_special(net)


def test_the_special_ranges_are_of_both_families() -> None:
    """A range of one family says nothing of the other."""
    assert {net.version for net in SPECIAL} == {4, 6}
    assert not any(is_special(ip_network(text)) for text in ("2000::/3", "8.0.0.0/7"))


def test_a_policy_may_name_a_special_range_itself() -> None:
    """Only a prefix that is itself special and holds what is asked for; `*` names nothing."""
    link_local = ip_network("169.254.10.0/24")
    assert names_special(["169.254.0.0/16"], link_local)
    assert names_special(["10.0.0.0/8", "Internet", "169.254.10.0/24"], link_local)
    assert not names_special(["*"], link_local)
    assert not names_special([], link_local)
    assert not names_special(["169.254.10.0/25"], link_local)
    assert not names_special(["127.0.0.0/8"], link_local)
    assert not names_special(["10.0.0.0/8"], ip_network("10.0.0.4"))
    assert not names_special(["fe80::/10"], ip_network("169.254.0.1"))


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("22", (22, 22)),
        ("0", (0, 0)),
        ("65535", (65_535, 65_535)),
        ("5985-5986", (5985, 5986)),
        ("0-65535", (0, 65_535)),
        ("*", (0, 65_535)),
        ("Any", (0, 65_535)),
        ("", (0, 65_535)),
        ("ssh", (0, 65_535)),
        ("22,23", (0, 65_535)),
        ("-22", (0, 65_535)),
        ("1-2-3", (0, 65_535)),
        ("22-", (22, 22)),
    ],
)
def test_a_port_range_is_read(text: str, bounds: tuple[int, int]) -> None:
    """An unreadable range counts as every port: better told once too often than open."""
    assert port_range(text) == bounds


def ports_in(ranges: list[str]) -> set[int]:
    """List every port of some ranges."""
    return {port for low, high in map(port_range, ranges) for port in range(low, high + 1)}


@given(st.lists(PORTS, max_size=6), st.lists(PORTS, max_size=6))
def test_ports_are_compared_by_meaning(one: list[str], other: list[str]) -> None:
    """Equal in canonical form exactly where the ports are equal, and they meet where one is."""
    same = canonical_ports(one) == canonical_ports(other)
    assert same == (ports_in(one) == ports_in(other))
    assert ports_meet(one, other) == bool(ports_in(one) & ports_in(other))


def test_port_ranges_that_touch_are_one() -> None:
    """Neighbours merge, a gap of one port does not, and a range within another adds nothing."""
    assert canonical_ports(["5986", "5985"]) == ((5985, 5986),)
    assert canonical_ports(["22", "24"]) == ((22, 22), (24, 24))
    assert canonical_ports(["20-30", "22"]) == ((20, 30),)
    assert canonical_ports(["20-30", "25-35"]) == ((20, 35),)
    assert canonical_ports(["1", "5", "6"]) == ((1, 1), (5, 6))
    assert canonical_ports(["1", "5-9", "6-7"]) == ((1, 1), (5, 9))
    assert canonical_ports([]) == ()


def test_ports_meet_at_their_ends() -> None:
    """The first and the last port of a range belong to it."""
    assert ports_meet(["20-22"], ["22-25"])
    assert ports_meet(["22-25"], ["20-22"])
    assert not ports_meet(["20-21"], ["22-25"])
    assert not ports_meet(["22-25"], ["20-21"])
    assert not ports_meet([], ["*"])


@pytest.mark.parametrize(
    ("text", "single"),
    [
        ("10.0.0.4", True),
        ("fd00::4", True),
        ("10.20.1.16/28", False),
        ("10.0.0.4/32", False),
        ("10.0.0.256", False),
        ("", False),
        ("web", False),
    ],
)
def test_an_address_is_single_and_has_no_length(text: str, *, single: bool) -> None:
    """A range in the place of an address is no address."""
    assert is_address(text) == single
