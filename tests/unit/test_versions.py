"""Rows across versions: an upgrade and a rollback in the middle of live grants close them."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.domain import request as lifecycle
from shared.domain.model import (
    AccessRequest,
    CloseReason,
    Closing,
    Grant,
    Policy,
    PolicyState,
    PortRequest,
    Protection,
    Status,
)
from shared.firewalls.nsg.model import Access
from shared.ports import Row
from shared.store.audit import AuditEvent
from shared.store.codec import encode, unpack
from shared.store.firewalls import protection_of
from shared.store.index import INDEX
from shared.store.room import pack_request, unpack_request
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests.decide import Caller
from tests.fakes import START
from tests.samples import MINUTE
from tests.versions import before, codec_before, model_before
from tests.versions.life import BEFORE, COMMENT, CURRENT, dump, live_through, load
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, World

FILES = (BEFORE, CURRENT)


def rows_of(path: Path) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Return the rows of a file: table, partition, key and values."""
    tables = json.loads(path.read_text(encoding="utf-8"))
    return [(name, *row) for name, rows in tables.items() for row in rows]


def requests_of(path: Path) -> list[dict[str, Any]]:
    """Return the values of the requests in a file."""
    return [v for table, p, _, v in rows_of(path) if table == "requests" and "|" not in p]


def columns(rows: Iterable[tuple[str, str, str, dict[str, Any]]]) -> dict[str, set[str]]:
    """Return, for each type of row, the columns and paths that any such row has."""
    found: dict[str, set[str]] = defaultdict(set)
    for table, partition, key, values in rows:
        live = partition.startswith("live|") or partition in {"closes", "health"}
        row_type = key if live and "|" not in key and "-" not in key else key.partition("|")[0]
        row_type = "live" if partition.startswith("live|") and "-" in key else row_type
        row_type = "index" if partition.startswith(INDEX) else row_type
        if table in {"due", "activity"} or (table == "requests" and "|" not in partition):
            row_type = ""
        noted = partition.startswith(("repeat|", "of|"))
        row_type = partition.partition("|")[0] if noted else row_type
        found[f"{table}/{row_type}"] |= before.shape(values)
    return dict(found)


@pytest.mark.parametrize("path", FILES)
def test_a_file_holds_every_type_of_row_in_every_state(path: Path) -> None:
    """The files hold each row that the tests below read."""
    held = [unpack_request(values) for values in requests_of(path)]
    assert {port.status for each in held for port in each.ports} == {
        Status.INITIATED, Status.PENDING_APPROVAL, Status.REVOKED, Status.FAILED,
    }  # fmt: skip
    assert any(each.extended for each in held)
    assert any(each.extension for each in held)
    assert any(port.closing and not port.is_final for each in held for port in each.ports)
    assert COMMENT in {p.closing.message for each in held for p in each.ports if p.closing}
    assert {"firewalls/grant", "firewalls/protection", "firewalls/lease"} <= columns(
        rows_of(path)
    ).keys()


def test_the_rows_of_the_version_before_are_read_as_it_reads_them() -> None:
    """Each value of each of its requests, grants, protections, policies and events is the same."""
    readers = {
        model_before.AccessRequest: AccessRequest,
        model_before.Grant: Grant,
        model_before.Protection: Protection,
        model_before.Policy: Policy,
        before.AuditEvent: AuditEvent,
    }
    seen = set()
    for table, partition, key, values in rows_of(BEFORE):
        old = before.read(table, partition, key, values)
        row_type = readers.get(type(old))
        if row_type is not None:
            read: Any = (
                unpack_request(values) if row_type is AccessRequest else unpack(row_type, values)
            )
            told = encode(old)
            if row_type is Protection:  # its priorities are what its provider remembers
                read = protection_of(Row(partition, key, values))
                memory = {name: told.pop(name) for name in list(told) if "priority" in name}
                told |= {"memory": json.dumps(memory, sort_keys=True)} if memory else {}
            assert encode(read) == told
            seen.add(row_type)
    assert seen == set(readers.values())


def test_the_version_before_reads_every_row_of_this_one() -> None:
    """Those in the file, and those that are written now: no field or value that it fails on."""
    world = World()
    live_through(world)
    now = [(name, *row) for name, rows in dump(world.tables).items() for row in rows]
    for table, partition, key, values in (*rows_of(CURRENT), *now):
        before.read(table, partition, key, values)


def test_the_file_shows_what_this_version_writes() -> None:
    """A field that is new in a row has to be in the file too: `python -m tests.versions`."""
    world = World()
    live_through(world)
    now = [(name, *row) for name, rows in dump(world.tables).items() for row in rows]
    assert columns(now) == columns(rows_of(CURRENT))


def test_no_value_is_written_that_the_version_before_does_not_know() -> None:
    """A status, a reason or a state is read one version before it is written."""
    for new, old in (
        (Status, model_before.Status),
        (CloseReason, model_before.CloseReason),
        (PolicyState, model_before.PolicyState),
        (Access, model_before.Access),
    ):
        assert {each.value for each in new} <= {each.value for each in old}


def test_the_version_before_finds_a_text_with_the_first_port_that_it_ended() -> None:
    """It is written once; nothing else about the other ports is lost, and what it writes is read."""
    closing = Closing(CloseReason.REVOKED, START, COMMENT, ALICE.key)
    ports = tuple(
        PortRequest(WEB, port, "TCP", ("203.0.113.7",), START, closing=closing)
        for port in (1, 2, 3)
    )
    request = AccessRequest("p-k", POLICY, ALICE, START, ports)
    old = codec_before.unpack(model_before.AccessRequest, pack_request(request))
    assert [p.closing and p.closing.message for p in old.ports] == [COMMENT, "", ""]
    assert [p.closing and p.closing.by for p in old.ports] == [ALICE.key] * 3
    again = unpack_request(codec_before.pack(old))
    assert again == replace(
        request, ports=(ports[0], *(replace(p, closing=replace(closing, message="")) for p in ports[1:]))
    )  # fmt: skip


def upgraded(path: Path) -> World:
    """Make a world whose firewalls are live, and whose rows another version has written."""
    world = World()
    live_through(world)
    for table in world.tables.all():
        table.rows.clear()
    load(world.tables, path)
    world.queues.waiting.clear()
    return world


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anyone in."""
    return any(world.firewall.ours(nsg, Access.ALLOW) for nsg in (NSG_NIC, NSG_SUBNET))


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("sweeping", [True, False])
def test_live_grants_close_on_time_across_an_upgrade(path: Path, *, sweeping: bool) -> None:
    """With rows of either version, every request ends at its end, and its rules with it."""
    world = upgraded(path)
    ends = {
        each.id: max(port.end_at or START for port in each.ports)
        for each in world.services.requests.newest(POLICY, 99)
    }
    assert is_open(world)
    if sweeping:
        world.pass_time(100)
    for _ in range(100 if not sweeping else 0):
        world.clock.advance(60)
        world.sweep()  # without any message
        world.queues.waiting.clear()
    assert not is_open(world)
    for request_id, end in ends.items():
        request = world.request(request_id)
        assert request.is_final
        opened = [port.closed_at for port in request.ports if port.fronts]
        assert all(at is not None and at <= end + 2 * MINUTE for at in opened)
    world.pass_time(30)
    assert not world.services.due.until(world.clock() + timedelta(days=9))
    assert not world.telemetry.faults


@pytest.mark.parametrize("path", FILES)
def test_live_grants_are_extended_and_revoked_across_an_upgrade(path: Path) -> None:
    """An action on a request of the other version is still allowed."""
    world = upgraded(path)
    live = [
        each
        for each in world.services.requests.newest(POLICY, 99)
        if each.requestor == ALICE and lifecycle.is_open(each.ports[0], world.clock())
    ]
    approval.extend_access(
        world.services, live[0].id, Caller(ALICE), duration=timedelta(minutes=120)
    )
    world.pass_time(5)
    assert is_open(world)
    approval.revoke_all(world.services, Caller(ALICE), requestor=ALICE.key, reason=COMMENT)
    world.pass_time(3)
    for each in live:
        assert world.request(each.id).is_final


def test_a_row_that_the_version_before_has_filled_is_closed() -> None:
    """40 ports with a text each, escaped, close to what the store takes: its end is written."""
    world = World()
    numbers = tuple(range(1000, 1040))
    world.protect(WEB, DB, ports=numbers)
    message = "\U0001f600" * 140
    request = world.ask(WEB, 1000, minutes=5)
    other = world.ask(DB, 1001, minutes=5)
    fronts = request.ports[0].fronts
    ports = [
        replace(request.ports[0], port=n, sources=tuple(f"2001:db8::{s:x}" for s in range(650)))
        for n in numbers
    ]
    said = Closing(CloseReason.REVOKED, START, message, ALICE.key)
    ports[1:] = [replace(port, closing=said, fronts=fronts) for port in ports[1:]]
    full = replace(request, ports=tuple(ports))
    partition, _, key = request.id.partition("-")
    row = Row(partition, key, {"requestor": ALICE.key, **codec_before.pack(full)})
    assert codec_before.size_of(full) > 480_000
    world.tables.requests.upsert(row)
    world.pass_time(7)
    assert not is_open(world)
    assert world.request(request.id).is_final
    assert world.request(other.id).is_final
    assert not world.telemetry.faults
