"""Firewalls of several providers in front of one VM: each one's view, and the sources let in."""

from dataclasses import replace

import pytest

from shared.domain.desired import Opening
from shared.domain.exposure import exposures
from shared.domain.model import Attachment
from shared.domain.network import network
from shared.domain.path import (
    sources_at,
    stages_without_opener,
    ways_through,
    why_not_openable,
)
from shared.domain.source_sets import Boxes, box_of, whole

ADDRESS, V6 = "10.1.2.4", "fd00::4"
EDGE = Attachment("edge", (ADDRESS,), stage=0, shows_public_as=("10.0.1.0/26",))
BLIND = Attachment("edge", (ADDRESS,), stage=0, shows_public_as=())
SUBNET = Attachment("subnet", (ADDRESS,), stage=1)
NIC = Attachment("nic", (ADDRESS,), stage=2)


def boxes(*prefixes: str) -> Boxes:
    """Return the sources of some prefixes."""
    found = [network(prefix) for prefix in prefixes]
    return tuple(box_of(each) for each in found if each is not None)


def opening(what: str, sources: Boxes, *, ours: bool = False) -> Opening:
    """Return an opening of SSH for some sources."""
    return Opening(what, 22, ours=ours, boxes=sources)


# --- sources


@pytest.mark.parametrize(
    ("requested", "seen"),
    [
        (("203.0.113.7",), ("10.0.1.0/26",)),
        (("203.0.113.7", "198.51.100.0/24"), ("10.0.1.0/26",)),
        (("192.168.4.5",), ("192.168.4.5",)),
        (("100.64.3.4", "203.0.113.7"), ("100.64.3.4", "10.0.1.0/26")),
        (("2001:db8::7",), ("2001:db8::7",)),
        (("*",), ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "10.0.1.0/26")),
        (("192.0.0.0/8",), ("192.168.0.0/16", "10.0.1.0/26")),
    ],
)
def test_inner_firewalls_see_a_translator_in_place_of_public_sources(
    requested: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    """Private and IPv6 sources stay; public IPv4 becomes what the translator shows."""
    assert sources_at(NIC, (EDGE, SUBNET, NIC), requested) == seen


def test_the_translator_itself_sees_the_requestor() -> None:
    """Only firewalls behind a translator see it."""
    assert sources_at(EDGE, (EDGE, NIC), ("203.0.113.7",)) == ("203.0.113.7",)
    assert sources_at(NIC, (SUBNET, NIC), ("203.0.113.7",)) == ("203.0.113.7",)


def test_a_translator_that_shows_nothing_makes_public_sources_impossible() -> None:
    """The source that an inner firewall would see is unknown, so nothing is opened."""
    assert sources_at(NIC, (BLIND, NIC), ("203.0.113.7",)) == ()
    assert sources_at(NIC, (BLIND, NIC), ("192.168.4.5",)) == ("192.168.4.5",)


def test_a_translator_of_another_address_changes_nothing() -> None:
    """A translator counts for the addresses it leads to."""
    elsewhere = Attachment("edge", ("10.1.2.5",), stage=0, shows_public_as=("10.0.1.0/26",))
    assert sources_at(NIC, (elsewhere, NIC), ("203.0.113.7",)) == ("203.0.113.7",)


def test_the_last_outer_translator_decides() -> None:
    """Of two translators in a row the inner one is what the firewall sees."""
    second = Attachment("second", (ADDRESS,), stage=1, shows_public_as=("10.0.2.0/26",))
    assert sources_at(NIC, (EDGE, second, NIC), ("203.0.113.7",)) == ("10.0.2.0/26",)


# --- complete paths


def test_each_address_needs_an_opener_in_each_of_its_stages() -> None:
    """A stage whose firewalls are only read, or only closed, cannot be opened."""
    foreign = Attachment("foreign", (ADDRESS,), stage=1, opens=False)
    assert stages_without_opener((SUBNET, NIC)) == ()
    assert stages_without_opener((foreign, NIC)) == (ADDRESS,)
    assert stages_without_opener((foreign, SUBNET, NIC)) == ()
    two = Attachment("subnet", (ADDRESS, "10.1.2.5"), stage=1)
    assert stages_without_opener((two, NIC)) == ()


# --- ways through


def test_across_stages_a_source_must_pass_each() -> None:
    """The next firewall may stop a source that one lets through."""
    ways = {
        "subnet": (opening("a", boxes("203.0.113.0/24")),),
        "nic": (opening("b", boxes("198.51.100.0/24")),),
    }
    assert ways_through((SUBNET, NIC), ADDRESS, ways) == ()
    ways["nic"] = (opening("b", boxes("203.0.113.7")),)
    assert [way.opening.what for way in ways_through((SUBNET, NIC), ADDRESS, ways)] == ["a", "b"]


def test_within_a_stage_firewalls_add_up() -> None:
    """Of two groups on one interface either may let a source in."""
    other = Attachment("other", (ADDRESS,), stage=2)
    ways = {"other": (opening("a", boxes("203.0.113.7")),)}
    assert [way.opening.what for way in ways_through((NIC, other), ADDRESS, ways)] == ["a"]


def test_our_own_allows_do_not_count_without_a_translator() -> None:
    """The access that was requested is no exposure."""
    ours = opening("ours", boxes("203.0.113.7"), ours=True)
    theirs = opening("theirs", (whole(4),))
    assert ways_through((SUBNET, NIC), ADDRESS, {"subnet": (ours,), "nic": (theirs,)}) == ()


def test_our_own_allow_behind_a_translator_lets_a_foreign_translation_in() -> None:
    """A foreign translation reaches the VM through the allow that was opened for ours."""
    foreign = opening("their DNAT", (whole(4),))
    ours = opening("ours", boxes("10.0.1.0/26"), ours=True)
    ways = {"edge": (foreign,), "nic": (ours,)}
    assert [way.opening.what for way in ways_through((EDGE, NIC), ADDRESS, ways)] == ["their DNAT"]
    assert ways_through((EDGE, NIC), ADDRESS, {"edge": (foreign,)}) == ()


def test_translated_sources_are_compared_as_the_inner_firewall_sees_them() -> None:
    """An inner rule for the public source lets no caller in that comes through the translator."""
    foreign = opening("their DNAT", boxes("203.0.113.0/24"))
    inner = opening("inner", boxes("203.0.113.7"))
    assert ways_through((EDGE, NIC), ADDRESS, {"edge": (foreign,), "nic": (inner,)}) == ()
    # Of a translator that shows nothing it is not known what the inner firewall sees.
    assert ways_through((BLIND, NIC), ADDRESS, {"edge": (foreign,), "nic": (inner,)})


def test_private_sources_pass_a_translator_unchanged() -> None:
    """A network allow for a private source is compared by that source."""
    outer = opening("outer", boxes("192.168.0.0/24"))
    inner = opening("inner", boxes("192.168.0.7"))
    found = ways_through((EDGE, NIC), ADDRESS, {"edge": (outer,), "nic": (inner,)})
    assert [way.opening.what for way in found] == ["outer", "inner"]
    assert ways_through((EDGE, NIC), "not an address", {"edge": (outer,)}) == ()


def test_ipv6_is_not_translated() -> None:
    """Sources of the other family pass as they are."""
    edge = Attachment("edge", (V6,), stage=0, shows_public_as=("10.0.1.0/26",))
    nic = Attachment("nic", (V6,), stage=1)
    way = boxes("2001:db8::/32")
    ways = {"edge": (opening("a", way),), "nic": (opening("b", way),)}
    assert len(ways_through((edge, nic), V6, ways)) == 2


# --- what cannot be opened


@pytest.mark.parametrize(
    ("path", "requested", "reason"),
    [
        ((EDGE, SUBNET, NIC), ("203.0.113.7",), ""),
        ((BLIND, NIC), ("192.168.4.5", "2001:db8::7"), ""),
        ((BLIND, NIC), ("192.168.4.5", "203.0.113.7"), "in place of 203.0.113.7 is not known"),
        ((BLIND, Attachment("nic", (ADDRESS,), 2, opens=False)), ("203.0.113.7",), "in front of"),
        ((SUBNET, Attachment("nic", (ADDRESS,), 2, opens=False)), ("*",), f"front of {ADDRESS}"),
        ((Attachment("nic", (ADDRESS,), opens=False), SUBNET), ("203.0.113.7",), ""),
    ],
)
def test_why_a_path_cannot_be_opened_names_the_firewall(
    path: tuple[Attachment, ...], requested: tuple[str, ...], reason: str
) -> None:
    """A source that would be lost on the way, or a stage without an opener, is told."""
    found = why_not_openable(path, requested)
    assert reason in found
    assert bool(found) == bool(reason)


# --- what an opening lets in


@pytest.mark.parametrize(
    ("found", "v4", "needs"),
    [
        (Opening("a", 22, ("203.0.113.7",)), boxes("203.0.113.7"), ()),
        (Opening("a", 22, ("203.0.113.7", "2001:db8::7")), boxes("203.0.113.7"), ()),
        (Opening("a", 22, ("*",)), (whole(4),), ()),
        (Opening("a", 22, ("2001:db8::7",)), (), ()),
        (Opening("a", 22, (), unresolved="prefix list pl-1"), (whole(4),), ("prefix list pl-1",)),
        (Opening("a", 22, ("some-group",)), (whole(4),), ("some-group",)),
        (Opening("a", 22, ("*",), boxes=boxes("192.0.2.1")), boxes("192.0.2.1"), ()),
        (Opening("a", 22), (), ()),
    ],
)
def test_an_opening_lets_in_what_its_texts_or_its_boxes_say(
    found: Opening, v4: Boxes, needs: tuple[str, ...]
) -> None:
    """A name whose addresses are not known may hold any source, and is named as the doubt."""
    sources = found.sources_of(4)
    assert {need for box in sources for need in box.needs} == set(needs)
    assert tuple(replace(box, needs=frozenset()) for box in sources) == v4


def test_a_doubt_passes_a_translator() -> None:
    """Doubt about an outer source is doubt about the source shown in its place."""
    outer = Opening("their DNAT", 22, (), unresolved="an IP group")
    inner = Opening("inner", 22, ("10.0.1.0/26",))
    ways = {"edge": (outer,), "nic": (inner,)}
    for way in ways_through((EDGE, NIC), ADDRESS, ways):
        assert {need for box in way.sources for need in box.needs} == {"an IP group"}
    found = exposures((EDGE, NIC), ways, (22,))
    assert [each.unresolved for each in found] == [("an IP group",), ("an IP group",)]
