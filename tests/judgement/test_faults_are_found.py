"""The comparison with the simulator finds each fault of judging that was mended, once it is back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from shared.domain import exposure
from shared.domain.network import Network, canonical_ports, is_any, network
from shared.domain.source_sets import Box, Boxes, Side, box_of, whole
from shared.firewalls.nsg import judgement
from shared.firewalls.nsg.model import SecurityRule
from tests.judgement import test_against_simulator as exposing
from tests.judgement import test_placing_against_simulator as placing
from tests.judgement.cases import Case, cases

_SEED = 3  # with this one each fault is found soon
_SETTINGS = settings(
    max_examples=1000,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
_compare_exposure = (
    exposing.test_what_is_called_closed_is_closed_and_what_is_called_exposed_is_open
).hypothesis.inner_test  # type: ignore[attr-defined]
_compare_placing = (
    placing.test_a_placed_grant_lets_its_source_in_and_a_refused_one_is_denied
).hypothesis.inner_test  # type: ignore[attr-defined]


@seed(_SEED)
@_SETTINGS
@given(cases(), st.data())
def _exposure(case: Case, data: st.DataObject) -> None:
    _compare_exposure(case, data)


@seed(_SEED)
@_SETTINGS
@given(cases(first_denies=3), st.sampled_from(placing.SOURCES))
def _placing(case: Case, source: str) -> None:
    _compare_placing(case, source)


_protocols_of, _is_about = judgement.protocols_of, judgement._is_about
_destination_needs, _source_boxes = judgement._destination_needs, judgement._source_boxes
_boxes_of = judgement._boxes_of
_NO_PROBES = {4: Box(1, 0), 6: Box(1, 0)}


def _every_protocol_has_ports(rule: SecurityRule) -> frozenset[str]:
    return _protocols_of(rule) or judgement.PORT_PROTOCOLS


def _outbound_counts(rule: SecurityRule, port: int, protocol: str) -> bool:
    return _is_about(replace(rule, inbound=True), port, protocol)


def _any_port_is_meant(rule: SecurityRule, port: int, protocol: str) -> bool:
    return _is_about(replace(rule, ports=(str(port),)), port, protocol)


def _a_group_is_everything(rule: SecurityRule, target: Network) -> tuple[frozenset[str], ...]:
    named = rule.destination_groups or rule.unresolved_destinations
    return (frozenset(),) if named else _destination_needs(rule, target)


def _members_are_everyone(rule: SecurityRule, version: int) -> Boxes:
    named = rule.source_groups or rule.unresolved_sources
    return (whole(version),) if named else _source_boxes(rule, version)


def _families_are_mixed(prefix: str, version: int) -> Boxes:
    found = network(prefix)
    return _boxes_of(prefix, found.version if found else version)


def _tags_in_one_letter_case(prefix: str, version: int) -> Boxes:
    return _boxes_of(prefix if prefix == prefix.title() else "Unknown", version)


def _a_tag_is_everything(prefix: str, version: int) -> Boxes:
    if is_any(prefix):
        return (whole(version),)
    found = network(prefix)
    if found is None:
        return (whole(version),)
    return (box_of(found),) if found.version == version else ()


def _denies_take_nothing(boxes: Boxes, _denied: Any) -> Boxes:
    return boxes


def _source_ports_only_as_a_star(texts: Sequence[str]) -> Any:
    return canonical_ports(texts) if tuple(texts) == ("*",) else ()


def _either_side(_box: Box) -> Side:
    return Side.EITHER


# What was wrong, by what shows it: the names to replace in the judging module.
_IN_EXPOSURE: Mapping[str, Mapping[str, Any]] = {
    "A: a protocol without ports decides on a port": {
        "protocols_of": _every_protocol_has_ports,
        "_unknown_protocol": lambda _: frozenset(),
    },
    "B: a group as destination holds every address": {"_destination_needs": _a_group_is_everything},
    "B: a group as source holds every address": {"_source_boxes": _members_are_everyone},
    "E: an earlier deny takes nothing away": {"subtract_all": _denies_take_nothing},
    "E: only `*` means every source port": {"canonical_ports": _source_ports_only_as_a_star},
    "E: tags are read in one letter case": {"_boxes_of": _tags_in_one_letter_case},
    "F: a prefix counts for both families": {"_boxes_of": _families_are_mixed},
    "K: probes count as sources": {"_PROBES": _NO_PROBES},
    "a tag holds every address": {"_boxes_of": _a_tag_is_everything},
    "an outbound rule decides on what comes in": {"_is_about": _outbound_counts},
    "the port of a rule is passed over": {"_is_about": _any_port_is_meant},
}
_IN_PLACING: Mapping[str, Mapping[str, Any]] = {
    "A: a protocol without ports refuses a request": {"protocols_of": _every_protocol_has_ports},
    "B: a group as destination holds every address": {"_destination_needs": _a_group_is_everything},
    "F: a prefix counts for both families": {"_boxes_of": _families_are_mixed},
    "N: a tag may hold any source": {"_assumed_side": _either_side},
}


def _is_found(compare: Callable[[], None]) -> None:
    with pytest.raises(AssertionError):
        compare()


@pytest.mark.parametrize("fault", _IN_EXPOSURE)
def test_a_fault_of_exposure_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fault back, a packet gets in where the product says closed, or none where open."""
    for name, wrong in _IN_EXPOSURE[fault].items():
        monkeypatch.setattr(judgement, name, wrong)
    _is_found(_exposure)


def test_looking_at_one_protocol_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row C: what lets in the other protocol is called closed."""
    monkeypatch.setattr(exposure, "PROTOCOLS", ("tcp",))
    _is_found(_exposure)


@pytest.mark.parametrize("fault", _IN_PLACING)
def test_a_fault_of_placing_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fault back, a rule is named as the reason that decides on no packet of the source."""
    for name, wrong in _IN_PLACING[fault].items():
        monkeypatch.setattr(judgement, name, wrong)
    _is_found(_placing)
