"""Every row has a bounded size, with room for its last transition."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import ConflictError, InvalidInputError
from shared.domain.model import (
    AccessRequest,
    Approval,
    Attachment,
    CloseReason,
    Closing,
    Extended,
    Extension,
    Front,
    Policy,
    PolicyState,
    PolicyVm,
    PortRequest,
    PortRule,
    Principal,
    Status,
    Vote,
)
from shared.domain.policy import Asked, AskedPort
from shared.domain.texts import MAX_TEXT, as_json, shorten, stored_bytes, units_of
from shared.firewalls.nsg.model import Access
from shared.ports import Row
from shared.store.audit import AuditEvent
from shared.store.codec import MAX_DOCUMENT, MOST_UNITS, RowTooLargeError, pack, size_of
from shared.store.room import (
    MAX_EXTENSIONS,
    as_stored,
    extensions_fit,
    has_room,
    largest_form,
    pack_request,
    unpack_request,
)
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import open as opening
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from tests.fakes import START, bytes_of
from tests.samples import MINUTE, OTHER_POLICY
from tests.unit.approving import APPROVER, asking, decide, events, extend
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World, vm_id

EMOJI = "\U0001f600"
MOST_BYTES = 1024 * 1024
MANY = tuple(range(1000, 1100))


def ask_for(
    world: World, *places: tuple[str, int], justification: str = "because"
) -> AccessRequest:
    """Ask for several ports in one request, and let the workers work."""
    asked = tuple(
        AskedPort(f"ports[{n}]", vm, port, (SOURCE,), duration=timedelta(minutes=10))
        for n, (vm, port) in enumerate(places)
    )
    submitted = access.PolicyRequest(world.policy(), Asked(asked, justification, SOURCE), ALICE)
    request = access.request_access(world.services, submitted)
    world.work()
    return world.request(request.id)


def is_open(world: World) -> bool:
    """Tell whether a rule of ours lets anyone in."""
    return any(world.firewall.ours(nsg, Access.ALLOW) for nsg in (NSG_NIC, NSG_SUBNET))


def request_bytes(world: World, request: AccessRequest) -> int:
    """Return the size of a request's stored row."""
    partition, _, key = request.id.partition("-")
    return bytes_of(world.tables.requests.rows[partition, key])


def test_finding_1_a_long_comment_on_many_ports_stops_no_close() -> None:
    """80 ports on one VM and one on its neighbour, revoked with 870 emoji, are all closed."""
    world = World()
    world.protect(WEB, DB, ports=MANY)
    other = world.ask(DB, 1099, minutes=12)
    request = ask_for(world, *((WEB, port) for port in MANY[:80]), (DB, 1000))
    assert {port.status for port in request.ports} == {Status.INITIATED}
    approval.revoke(world.services, request.id, Caller(ALICE), reason=EMOJI * 870)
    world.work()
    ended = world.request(request.id)
    assert ended.is_final
    assert {port.closing.message for port in ended.ports if port.closing} == {EMOJI * 870}
    assert world.status(other.id) is Status.INITIATED
    world.pass_time(13)
    assert not is_open(world)
    assert world.request(other.id).is_final
    assert not world.telemetry.faults


def test_finding_1_revoking_all_with_a_long_comment_closes_all() -> None:
    """An honest revocation of everything a person holds is written, whatever its letters."""
    world = World()
    world.protect(WEB, DB, ports=MANY)
    for start in (0, 10, 20):
        ask_for(world, *((WEB, port) for port in MANY[start : start + 10]))
    comment = '\u202f"\\\n' * 200 + EMOJI * 200
    approval.revoke_all(world.services, Caller(ALICE), requestor=ALICE.key, reason=comment)
    world.work()
    assert not is_open(world)


def test_a_text_is_stored_once_for_each_decision() -> None:
    """The comment on 20 ports stands once in the request's row, and is read for each of them."""
    world = World()
    world.protect(WEB, ports=MANY)
    request = ask_for(world, *((WEB, port) for port in MANY[:20]))
    before = request_bytes(world, request)
    approval.revoke(world.services, request.id, Caller(ALICE), reason=EMOJI * 870)
    partition, _, key = request.id.partition("-")
    row = world.tables.requests.rows[partition, key]
    assert "".join(map(str, row.values.values())).count(EMOJI * 870) == 1
    assert request_bytes(world, request) - before < 20 * 500 + 4 * 870


@pytest.mark.parametrize("text", [EMOJI * 1024, "x" * 1024, '"\\' * 512, "\n" * 1024])
def test_1024_characters_of_any_script_are_taken_in(text: str) -> None:
    """A justification as long as Defender allows is kept whole."""
    world = World()
    world.protect(WEB)
    request = ask_for(world, (WEB, 22), justification=text)
    assert world.request(request.id).justification == text


@pytest.mark.parametrize("text", [EMOJI * 1025, "x" * 2049, "\x01" * 342, "\ud800" * 342])
def test_a_text_of_too_many_bytes_is_refused_with_what_to_do(text: str) -> None:
    """Justification and comments are bounded in bytes as stored; nothing is written."""
    world = asking(1)
    policies = world.policy()
    dues = dict(world.tables.due.rows)
    with pytest.raises(InvalidInputError, match=f"bytes as it is stored, and {MAX_TEXT} is the"):
        ask_for(world, (WEB, 22), justification=text)
    assert (world.tables.requests.rows, world.tables.due.rows) == ({}, dues)
    request = world.ask()
    with pytest.raises(InvalidInputError, match=r"comment: .*fewer words"):
        approval.decide(world.services, request.id, Caller(APPROVER), approved=True, comment=text)
    with pytest.raises(InvalidInputError, match=r"comment: .*fewer words"):
        approval.revoke(world.services, request.id, Caller(ALICE), reason=text)
    assert world.policy() == policies
    assert world.status(request.id) is Status.PENDING_APPROVAL


def test_a_reason_of_the_apps_own_is_cut_the_same_way_each_time() -> None:
    """A firewall's or a policy's text may be of any length; the row keeps the start of it."""
    world = World()
    world.protect(WEB)
    request = world.ask(work=False)
    opening.fail_request(world.services, request.id, EMOJI * 5000)
    ended = world.request(request.id).ports[0].closing
    assert ended is not None
    assert ended.message == EMOJI * 1023 + "\u2026"


@given(st.text(), st.integers(0, 60))
def test_a_cut_text_fits_and_is_cut_once(text: str, most: int) -> None:
    """Cutting keeps the start, takes what is allowed at most, and changes nothing when repeated."""
    cut = shorten(text, most)
    assert stored_bytes(cut) <= most
    assert cut == text or text.startswith(cut.removesuffix("\u2026"))
    assert shorten(cut, most) == cut
    assert (cut == text) == (stored_bytes(text) <= most)


@given(st.text(st.characters()))
def test_every_text_survives_json(text: str) -> None:
    """Letters stand as they are, what is no letter is escaped, and all of it can be sent."""
    written = as_json(text)
    written.encode("utf-8")
    assert json.loads(written) == text
    assert stored_bytes(text) == 2 * (units_of(written) - 2)


@pytest.mark.parametrize("before", range(29_990, 30_002))
def test_a_column_never_ends_within_a_character(before: int) -> None:
    """A character of two UTF-16 units at a column's end goes into the next one whole."""
    packed = pack("x" * before + EMOJI * 40_000)
    assert all(units_of(str(column)) <= 30_000 for column in packed.values())
    assert json.loads("".join(map(str, packed.values()))) == "x" * before + EMOJI * 40_000


def test_a_row_over_the_bound_is_not_sent() -> None:
    """The largest document fits the store with its keys; one unit more is an error that says so."""
    row = Row("p" * 200, "k" * 200, pack("\u00e9" * (MOST_UNITS - 2)))
    assert bytes_of(row) <= MOST_BYTES
    with pytest.raises(RowTooLargeError, match="1000002 bytes, and 1000000 is the most"):
        pack("\u00e9" * (MOST_UNITS - 1))


# --- what is accepted has room for its end -------------------------------------------------------

texts = st.sampled_from(("", "x" * 2000, EMOJI * 1024, "\u00e9" * 900, "\x01" * 300))
people = st.builds(
    Principal,
    st.just("t" * 36), st.just("o" * 36), texts, st.booleans(),
    st.frozensets(st.sampled_from(("Jit.Approve", "Jit.Admin", "x" * 500))),
)  # fmt: skip


@given(
    ports=st.integers(1, 100),
    sources=st.integers(1, 40),
    firewalls=st.integers(0, 2),
    messages=st.lists(texts, min_size=1, max_size=6),
    approvers=st.lists(st.tuples(people, texts, st.none() | people), max_size=5),
    extended=st.integers(0, MAX_EXTENSIONS),
)
def test_what_was_accepted_fits_at_its_last_transition(
    ports: int,
    sources: int,
    firewalls: int,
    messages: list[str],
    approvers: list[tuple[Principal, str, Principal | None]],
    extended: int,
) -> None:
    """Opened, extended, decided and closed in any way, an accepted request never loses an event."""
    asked = tuple(
        PortRequest(
            vm_id("v" * 60), port, "TCP", ("2001:db8:1111:2222:3333:4444:5555:6666",) * sources
        )
        for port in range(ports)
    )
    new = AccessRequest(
        "i" * 46, POLICY, ALICE, START, asked, EMOJI * 1024,
        approval=Approval(len(approvers), START),
    )  # fmt: skip
    if not has_room(new):
        return
    front = Front(NSG_NIC, ("10.0.0.4", "2001:db8::4"), START, START)
    closed = tuple(
        replace(
            port,
            end_at=START,
            status=Status.REVOKED,
            fronts=(front,) * firewalls,
            closing=Closing(
                CloseReason.REVOKED,
                START,
                shorten(f"{n}{messages[n % len(messages)]}", MAX_TEXT // 4),
                ALICE.key,
                ALICE.key,
            ),
            opened_at=START,
            closed_at=START,
        )
        for n, port in enumerate(asked)
    )
    votes = tuple(
        Vote(as_stored(who), True, START, shorten(said), by and as_stored(by))
        for who, said, by in approvers
    )
    ended = replace(
        new,
        ports=closed,
        approval=Approval(len(votes), START, votes),
        extended=tuple(Extended(START + n * MINUTE, START, ALICE.key) for n in range(extended)),
    )
    assert unpack_request(pack_request(ended)) == ended


def test_a_request_without_room_for_its_end_is_refused() -> None:
    """It would fit as it is asked for, and not once each port is closed for a reason of its own."""
    port = PortRequest(WEB, 22, "TCP", ("2001:db8:1111:2222:3333:4444:5555:6666",) * 64)
    asked = AccessRequest("i", POLICY, ALICE, START, (port,) * 100)
    assert size_of(asked) < MAX_DOCUMENT < size_of(largest_form(asked)) + 60_000
    assert not has_room(asked)


def test_an_opening_that_leaves_no_room_for_its_close_opens_nothing() -> None:
    """More firewalls than were foreseen, with hundreds of addresses each, fail it with a reason."""
    world = World()
    world.protect(WEB, ports=MANY)
    request = ask_for_without_work(world)
    addresses = tuple(f"10.{n // 250}.{n % 250}.4" for n in range(400))
    world.machines.add(WEB, Attachment(NSG_NIC, addresses), Attachment(NSG_SUBNET, addresses))
    world.work()
    ended = world.request(request.id)
    assert {port.status for port in ended.ports} == {Status.FAILED}
    assert "no room for so many firewalls" in str(ended.ports[0].closing)
    assert not is_open(world)


def ask_for_without_work(world: World) -> AccessRequest:
    """Ask for a hundred ports, and leave the message where it is."""
    asked = tuple(
        AskedPort(f"ports[{n}]", WEB, port, (SOURCE,), duration=timedelta(minutes=10))
        for n, port in enumerate(MANY)
    )
    submitted = access.PolicyRequest(world.policy(), Asked(asked, "because", SOURCE), ALICE)
    return access.request_access(world.services, submitted)


# --- rows that an older version has filled -------------------------------------------------------


@pytest.mark.parametrize("fill", ["texts", "sources", "history", "comments"])
def test_a_row_that_an_older_version_filled_can_still_be_closed(fill: str) -> None:
    """Texts give way, then the history and the addresses of what is closing; the close is kept."""
    many = 600 if fill == "sources" else 1
    port = PortRequest(
        WEB, 22, "TCP", ("2001:db8:1111:2222:3333:4444:5555:6666",) * many, START + MINUTE,
        status=Status.INITIATED, fronts=(Front(NSG_NIC, ("10.0.0.4",) * many, START),),
    )  # fmt: skip
    ports = tuple(
        replace(port, port=n, closing=Closing(CloseReason.REVOKED, START, f"{n} {EMOJI * 1000}"))
        for n in range(100)
    )
    person = Principal("t" * 36, "o" * 36)
    vote = Vote(person, True, START, EMOJI * 1000)
    decided = tuple(
        Extension(START + n * MINUTE, Approval(1, START, (vote,)), START) for n in range(300)
    )
    request = AccessRequest(
        "k-i", POLICY, ALICE, START, ports, "j" * 1000, authorized_by="a" * 3000
    )
    if fill == "history":
        later = tuple(Extended(START + n * MINUTE, START, "r" * 60) for n in range(4000))
        request = replace(request, extended=later, decided=decided)
    if fill == "comments":
        waiting = Extension(START, Approval(2, START, (vote,) * 100), START)
        request = replace(
            request, decided=decided, extension=waiting, approval=Approval(1, START, (vote,) * 100)
        )
    ended = unpack_request(pack_request(request))
    assert [
        (each.vm_id, each.port, each.fronts and each.fronts[0].firewall_id, each.closing.reason)
        for each in ended.ports
        if each.closing
    ] == [(WEB, n, NSG_NIC, CloseReason.REVOKED) for n in range(100)]
    assert bytes_of(Row("p", "k", pack_request(ended))) <= MOST_BYTES


def test_what_cannot_be_made_to_fit_is_an_error_and_never_sent() -> None:
    """Ports that are not closing keep their addresses: such a row is refused, not mangled."""
    port = PortRequest(WEB, 22, "TCP", ("2001:db8::1",) * 64, fronts=None)
    idle = AccessRequest("k-i", POLICY, ALICE, START, (port,) * 600)
    with pytest.raises(RowTooLargeError):
        pack_request(idle)


def test_a_text_is_missing_where_the_row_points_nowhere() -> None:
    """A damaged reference loses a text, and never the row."""
    ports = (PortRequest(WEB, 22, "TCP", ()), PortRequest(WEB, 23, "TCP", ()))
    said = tuple(replace(p, closing=Closing(CloseReason.REVOKED, START, "said")) for p in ports)
    request = AccessRequest("k-i", POLICY, ALICE, START, (*said, PortRequest(WEB, 24, "TCP", ())))
    document = str(pack_request(request)["doc"])
    assert unpack_request({"doc": document}) == request
    for wrong in ("7", "-1", '"0"', "null"):
        held = unpack_request({"doc": document.replace('"message_of":0', f'"message_of":{wrong}')})
        assert [p.closing and p.closing.message for p in held.ports] == ["said", "", None]


# --- decisions and extensions -------------------------------------------------------------------


def test_what_is_kept_of_an_approver_is_bounded() -> None:
    """A token with thousands of roles and a long name decides, and takes no more room for it."""
    world = asking(1)
    request = world.ask()
    roles = frozenset({*APPROVER.roles, *(f"Other.{n}" for n in range(5000))})
    who = replace(APPROVER, name="n" * 9000, roles=roles)
    decided = decide(world, request, who, by=replace(who, is_app=True, object_id="relay"))
    assert decided.approval is not None
    (vote,) = decided.approval.votes
    assert vote.approver.roles == APPROVER.roles
    assert vote.relayed_by is not None
    assert size_of(vote) < 1000


def test_extensions_are_bounded_in_number() -> None:
    """The last one that is refused says what to do, and changes nothing."""
    world = World()
    world.protect(WEB)
    request = world.ask(minutes=10)
    for _ in range(MAX_EXTENSIONS):
        world.clock.advance(1)
        extend(world, request, 60)
    before = world.request(request.id)
    world.clock.advance(1)
    with pytest.raises(ConflictError, match="ask for the access anew") as refused:
        extend(world, request, 60)
    assert refused.value.code == "TooManyExtensions"
    assert world.request(request.id) == before
    world.pass_time(65)
    assert not is_open(world)


def test_extensions_are_bounded_in_what_their_decisions_take() -> None:
    """Long comments use the room up before the number is reached."""
    waiting = Extension(START, Approval(5, START), START)
    request = AccessRequest("k-i", POLICY, ALICE, START, (), extension=waiting)
    vote = Vote(APPROVER, True, START, EMOJI * 1000)
    long = Extension(START, Approval(5, START, (vote,) * 5), START)
    assert extensions_fit(replace(request, decided=(long,) * 3))
    assert not extensions_fit(replace(request, decided=(long,) * 5))
    world = asking(1)
    opened = world.ask()
    decide(world, opened, APPROVER)
    world.work()
    world.services.requests.change(opened.id, lambda held: replace(held, decided=(long,) * 6))
    with pytest.raises(ConflictError, match="decisions leave room"):
        extend(world, opened, 60)


# --- policies, events and the rest ----------------------------------------------------------------


def test_a_policy_has_room_for_what_applying_it_adds() -> None:
    """One that fits only as it was PUT, without its usual ports, is refused with what to do."""
    vms = tuple(PolicyVm(vm_id(f"{n:05d}" + "v" * 50)) for n in range(1900))
    policy = Policy(POLICY, "westeurope", vms)
    assert size_of(policy) < MAX_DOCUMENT
    with pytest.raises(InvalidInputError, match="spread its VMs over several"):
        protection.put_policy(World().services, policy)


def test_what_went_wrong_with_many_vms_fits_the_policy() -> None:
    """Its error is cut, so that a policy of 500 missing VMs is concluded."""
    world = World()
    vms = tuple(PolicyVm(vm_id(f"{n:03d}" + "\u00e9" * 60), (PortRule(22),)) for n in range(500))
    protection.put_policy(world.services, Policy(POLICY, "westeurope", vms))
    world.work()
    assert world.policy().state is PolicyState.FAILED
    assert stored_bytes(world.policy().error) <= MAX_TEXT
    protection.put_policy(world.services, Policy(OTHER_POLICY, "westeurope", ()))
    protection.fail_policy(world.services, OTHER_POLICY, EMOJI * 5000)
    failed = protection.get_policy(world.services, OTHER_POLICY)
    assert stored_bytes(failed.error) <= MAX_TEXT


def test_an_event_of_an_older_row_is_recorded_whatever_its_length() -> None:
    """Its texts are cut, so that what an older version stored is still put on record."""
    world = World()
    event = AuditEvent(
        "id", START, "closed", "p", "n" * 9000, reason=EMOJI * 9000, authorized_by="a" * 99_999
    )
    world.services.activity.record(event)
    world.services.activity.record(event)
    (told,) = events(world)
    assert size_of(told) < 10_000


def test_a_long_authorization_is_cut_when_it_is_taken_in() -> None:
    """Hundreds of role assignments are named as far as there is room."""
    world = World()
    world.protect(WEB)
    asked = AskedPort("p", WEB, 22, (SOURCE,), duration=timedelta(minutes=10))
    submitted = access.PolicyRequest(
        world.policy(), Asked((asked,), None, SOURCE), ALICE, authorized_by="a" * 99_999
    )
    request = access.new_request(world.services, submitted)
    assert stored_bytes(request.authorized_by) == MAX_TEXT


def test_a_firewalls_refusal_fits_the_protection() -> None:
    """The protection's row keeps the start of any refusal text."""
    world = World()
    world.protect(WEB)
    held = world.services.rows.get_protection(NSG_NIC, POLICY, WEB)
    assert held is not None
    name = world.firewall.ours(NSG_NIC)[0].name
    world.firewall.edit(NSG_NIC, remove=[name])
    world.services.rows.put_protection(replace(held, proven=False))
    world.firewall.refuse[name] = EMOJI * 5000
    world.queues.send_firewall(NSG_NIC)
    world.work()
    refused = world.services.rows.get_protection(NSG_NIC, POLICY, WEB)
    assert refused is not None
    assert refused.blocked
    assert stored_bytes(refused.blocked) <= MAX_TEXT
