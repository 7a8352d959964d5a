"""Domain values in rows, and back."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.model import (
    AccessRequest,
    Approval,
    Attachment,
    CloseReason,
    Closing,
    Conditions,
    Extended,
    Extension,
    Front,
    Grant,
    Policy,
    PolicyState,
    PolicyVm,
    PortRequest,
    PortRule,
    Principal,
    Protection,
    Status,
    Vote,
)
from shared.domain.texts import units_of
from shared.store.codec import UnreadableRowError, pack, size_of, unpack
from tests.fakes import START
from tests.samples import MINUTE, grant, protection
from tests.world import ALICE, POLICY, WEB

CHUNK = 30_000

instants = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from((UTC, timezone(timedelta(hours=5, minutes=30)))),
)
lengths = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400))
texts = st.text(max_size=20)
numbers = st.integers(0, 65_535)
listed = st.lists(texts, max_size=3).map(tuple)
people = st.builds(
    Principal, texts, texts, texts, st.booleans(), st.frozensets(texts, max_size=3), texts
)
fronts = st.builds(Front, texts, listed, st.none() | instants, st.none() | instants)
closings = st.builds(Closing, st.sampled_from(CloseReason), instants, texts, texts)
approvals = st.builds(
    Approval,
    numbers,
    instants,
    st.lists(
        st.builds(Vote, people, st.booleans(), instants, texts, st.none() | people), max_size=2
    ).map(tuple),
)
port_requests = st.builds(
    PortRequest,
    vm_id=texts,
    port=numbers,
    protocol=texts,
    sources=listed,
    end_at=st.none() | instants,
    duration=st.none() | lengths,
    end_text=texts,
    sources_listed=st.booleans(),
    sources_given=st.booleans(),
    status=st.sampled_from(Status),
    fronts=st.none() | st.lists(fronts, max_size=2).map(tuple),
    closing=st.none() | closings,
    opened_at=st.none() | instants,
    closed_at=st.none() | instants,
)
requests = st.builds(
    AccessRequest,
    id=texts,
    policy_id=texts,
    requestor=people,
    requested_at=instants,
    ports=st.lists(port_requests, max_size=2).map(tuple),
    justification=st.none() | texts,
    source_address=texts,
    relayed_by=st.none() | people,
    authorized_by=texts,
    approval=st.none() | approvals,
    break_glass=st.booleans(),
    extension=st.none() | st.builds(Extension, instants, approvals, instants),
    extended=st.lists(st.builds(Extended, instants, instants), max_size=2).map(tuple),
)
policies = st.builds(
    Policy,
    id=texts,
    location=texts,
    vms=st.lists(
        st.builds(
            PolicyVm,
            texts,
            st.lists(
                st.builds(PortRule, numbers, texts, listed, lengths, st.booleans()), max_size=2
            ).map(tuple),
            texts,
        ),
        max_size=2,
    ).map(tuple),
    state=st.sampled_from(PolicyState),
    kind=texts,
    conditions=st.builds(
        Conditions,
        justification_required=st.booleans(),
        justification_pattern=texts,
        widest_ipv4=numbers,
        approvers_needed=numbers,
        approval_timeout=lengths,
    ),
    error=texts,
)
values = st.one_of(
    requests,
    policies,
    st.builds(
        Grant,
        firewall_id=texts,
        request_id=texts,
        policy_id=texts,
        vm_id=texts,
        port=numbers,
        protocol=texts,
        sources=listed,
        addresses=listed,
        requestor=texts,
        requested_at=instants,
        expires_at=instants,
        sealed_at=st.none() | instants,
        proven=st.booleans(),
        version=texts,
    ),
    st.builds(
        Protection,
        firewall_id=texts,
        policy_id=texts,
        vm_id=texts,
        ports=st.lists(numbers, max_size=3).map(tuple),
        addresses=listed,
        lifted=st.booleans(),
        proven=st.booleans(),
        blocked=texts,
        version=texts,
    ),
)


@given(values)
def test_a_value_survives_its_row(value: AccessRequest | Policy | Grant | Protection) -> None:
    """A value is read as it was written, for every stored type."""
    assert unpack(type(value), pack(value)) == value


@given(values)
def test_a_row_holds_only_short_columns(value: AccessRequest | Policy | Grant | Protection) -> None:
    """Each column fits a string property; together they are as long as the value is said to be."""
    packed = pack(value)
    assert all(isinstance(each, str) and 0 < units_of(each) <= CHUNK for each in packed.values())
    assert sum(units_of(str(each)) for each in packed.values()) == size_of(value)


@pytest.mark.parametrize("extra", [-1, 0, 1, CHUNK, CHUNK + 1])
def test_a_long_value_takes_several_columns(extra: int) -> None:
    """Columns are cut at their length exactly, in order, and put together again."""
    empty = replace(grant(), requestor="")
    value = replace(empty, requestor="x" * (CHUNK - size_of(empty) + extra))
    packed = pack(value)
    size = size_of(value)
    assert size == CHUNK + extra
    assert list(packed) == ["doc", "doc1", "doc2"][: -(-size // CHUNK)]
    assert [len(str(each)) for each in packed.values()][:-1] == [CHUNK] * (len(packed) - 1)
    assert unpack(Grant, packed) == value


def test_more_than_ten_columns_are_in_order() -> None:
    """The columns are counted, not sorted as text."""
    value = replace(grant(), requestor="".join(f"{n:07d}" for n in range(50_000)))
    packed = pack(value)
    assert len(packed) == 12
    assert unpack(Grant, dict(sorted(packed.items(), reverse=True))) == value


def test_defaults_are_not_written() -> None:
    """A default value takes no room; what differs from its default is there."""
    written = json.loads(str(pack(ALICE)["doc"]))
    assert written == {
        "tenant": "tenant",
        "object_id": "alice-id",
        "name": "alice@contoso.example",
        "roles": ["Jit.Request"],
    }
    assert "lifted" not in pack(protection())["doc"]  # type: ignore[operator]
    assert json.loads(str(pack(protection(lifted=True))["doc"]))["lifted"] is True


def test_how_values_are_written() -> None:
    """Instants in UTC, lengths in seconds, words as they are on the wire."""
    east = datetime(2026, 11, 22, 15, tzinfo=timezone(timedelta(hours=1)))
    port = PortRequest(
        WEB, 22, "TCP", ("a", "b"), east, 90 * MINUTE, status=Status.REVOKED,
        closing=Closing(CloseReason.NEWER, START),
    )  # fmt: skip
    assert json.loads(str(pack(port)["doc"])) == {
        "vm_id": WEB,
        "port": 22,
        "protocol": "TCP",
        "sources": ["a", "b"],
        "end_at": "2026-11-22T14:00:00+00:00",
        "duration": 5400.0,
        "status": "Revoked",
        "closing": {"reason": "NewerRequestInitiated", "at": "2026-11-22T14:00:00+00:00"},
    }


def test_a_set_is_written_in_one_order() -> None:
    """The same value is the same text, whatever order a set happens to have."""
    roles = [f"role{n}" for n in range(20)]
    one, other = (Principal("t", "o", roles=frozenset(each)) for each in (roles, roles[::-1]))
    assert pack(one) == pack(other)


def test_a_row_of_an_older_or_newer_version_is_read() -> None:
    """Unknown fields are ignored and missing ones take their defaults."""
    assert unpack(Principal, {"doc": '{"tenant":"t","object_id":"o","shoe_size":43}'}) == (
        Principal("t", "o")
    )
    row = {**pack(grant()), "colour": "red", "docs": "none", "RowKey": "x"}
    assert unpack(Grant, row) == grant()


def test_a_field_that_may_be_missing_may_be_null() -> None:
    """Null is read as none where that is allowed, and refused elsewhere."""
    assert unpack(Attachment, {"doc": '{"firewall_id":"f","addresses":[]}'}) == Attachment("f", ())
    held = unpack(Front, {"doc": '{"firewall_id":"f","addresses":["a"],"opened_at":null}'})
    assert held == Front("f", ("a",))
    with pytest.raises(UnreadableRowError, match="not a Front: None is not str"):
        unpack(Front, {"doc": '{"firewall_id":null,"addresses":[]}'})


@dataclass(frozen=True)
class Made:
    """A value whose default is made anew each time."""

    parts: tuple[int, ...] = field(default_factory=tuple)


def test_a_default_that_is_made_is_read_as_well() -> None:
    """Written or not, it is the same value."""
    assert unpack(Made, pack(Made())) == Made()
    assert unpack(Made, {"doc": "{}"}) == Made()
    assert unpack(Policy, pack(Policy(POLICY, "westeurope", ()))).conditions == Conditions()


WRONG: list[tuple[type, str]] = [
    (Grant, ""),
    (Grant, "{"),
    (Grant, "null"),
    (Grant, "[]"),
    (Grant, '"text"'),
    (Grant, "7"),
    (Grant, "{}"),
    (Attachment, '{"firewall_id":1,"addresses":[]}'),
    (Attachment, '{"firewall_id":"f","addresses":7}'),
    (Attachment, '{"firewall_id":"f","addresses":[1]}'),
    (Attachment, '{"firewall_id":"f","addresses":null}'),
    (Principal, '{"tenant":"t","object_id":"o","is_app":"yes"}'),
    (Closing, '{"reason":"Bored","at":"2026-11-22T14:00:00+00:00"}'),
    (Closing, '{"reason":[],"at":"2026-11-22T14:00:00+00:00"}'),
    (Closing, '{"reason":"Expired","at":"2026-11-22T14:00:00"}'),
    (Closing, '{"reason":"Expired","at":"yesterday"}'),
    (Closing, '{"reason":"Expired","at":1}'),
    (Closing, '{"reason":"Expired"}'),
    (PortRule, '{"number":"22"}'),
    (PortRule, '{"number":22,"max_duration":"PT3H"}'),
    (PortRule, '{"number":22,"max_duration":NaN}'),
]


@pytest.mark.parametrize(("value_type", "text"), WRONG)
def test_what_is_not_such_a_value_is_unreadable(value_type: type, text: str) -> None:
    """A torn, forged or foreign row is an error with a name, and never half a value."""
    with pytest.raises(UnreadableRowError, match=f"^not a {value_type.__name__}: "):
        unpack(value_type, {"doc": text})


def test_a_row_without_columns_is_unreadable() -> None:
    """No document is not an empty one, and a lost column tears the rest."""
    with pytest.raises(UnreadableRowError):
        unpack(Grant, {})
    packed = pack(replace(grant(), requestor="x" * 70_000))
    del packed["doc1"]
    with pytest.raises(UnreadableRowError):
        unpack(Grant, packed)


def test_an_instant_without_an_offset_is_told() -> None:
    """The text does not say which hour is meant."""
    with pytest.raises(UnreadableRowError, match="'2026-11-22T14:00:00' names no offset"):
        unpack(Closing, {"doc": '{"reason":"Expired","at":"2026-11-22T14:00:00"}'})


def test_rows_with_the_same_text_share_one_value() -> None:
    """A burst reads the rows of a firewall for each request, and decodes each row once."""
    columns = pack(protection())
    first, again = unpack(Protection, columns), unpack(Protection, dict(columns))
    assert first is again
    assert unpack(Protection, pack(replace(first, ports=(1,)))).ports == (1,)


def test_a_row_that_cannot_be_decoded_fails_each_time() -> None:
    """No failure is kept, and none is taken for a value."""
    for _ in range(2):
        with pytest.raises(UnreadableRowError):
            unpack(Protection, {"doc": "[]"})
