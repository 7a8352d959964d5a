"""Notifications that no audit event of their own leads to: ends, exposures, anchors, approvals."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.ids import digest
from shared.domain.notifications import EventType, Notification
from shared.domain.times import format_instant
from shared.ports import OutsideError, Row
from shared.store.notifications import PARTITION
from shared.use_cases.requests import decide as deciding
from shared.use_cases.requests.decide import Caller
from shared.use_cases.timers import send_notifications as sending
from shared.use_cases.timers.export_audit import export_audit
from shared.use_cases.timers.reconcile import reconcile
from tests.audit_files import MemoryBlobs, export_of
from tests.functions.test_health_findings import allow
from tests.notification_channel import MemoryChannel, run_delivery, turn_on
from tests.three_providers import SLOW_MINUTES, ThreeProviders
from tests.unit.approving import asking, extend, opened
from tests.unit.test_three_providers import refuse
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World

LATER = "notifications-later"


@pytest.fixture
def world() -> World:
    """Return a protected world that notifies 15 minutes before an end."""
    made = turn_on(World())
    made.services = replace(made.services, closing_soon=timedelta(minutes=15))
    made.protect()
    return made


def of_type(channel: MemoryChannel, event_type: EventType) -> list[Notification]:
    """Return the notifications of a type that a channel accepted."""
    return [each for each in channel.accepted if each.type is event_type]


def play(world: World, channel: MemoryChannel, minutes: int) -> None:
    """Let time pass, with the delivery on its timer."""
    for _ in range(0, minutes, 5):
        world.pass_time(5)
        run_delivery(world, channel)


def test_an_access_that_closes_soon_is_notified_once_and_early_enough(world: World) -> None:
    """One notification comes between 15 and 20 minutes before the end, with the end in it."""
    channel = MemoryChannel()
    request = world.ask(minutes=60)
    end = request.ports[0].end_at
    assert end is not None
    play(world, channel, 35)
    assert of_type(channel, EventType.CLOSING_SOON) == []

    play(world, channel, 10)
    (sent,) = of_type(channel, EventType.CLOSING_SOON)
    assert timedelta(minutes=15) <= end - sent.at <= timedelta(minutes=20)
    assert sent.subject == request.id
    assert sent.data == {
        "principal": ALICE.key,
        "principalName": ALICE.name,
        "requestId": request.id,
        "virtualMachine": WEB,
        "port": 22,
        "policyId": POLICY,
        "reason": f"port 22 of 'web' closes at {format_instant(end)}",
        "endTimeUtc": format_instant(end),
    }
    play(world, channel, 20)
    assert len(of_type(channel, EventType.CLOSING_SOON)) == 1
    assert world.tables.due.query(LATER) == []


@pytest.mark.parametrize("minutes", [5, 15])
def test_an_access_no_longer_than_the_notice_has_none(world: World, minutes: int) -> None:
    """An access whose opening is no earlier than the notice is not notified again."""
    world.ask(minutes=minutes)
    assert world.tables.due.query(LATER) == []


def test_nothing_is_noted_where_the_setting_or_the_channel_is_off(world: World) -> None:
    """With 0 minutes, or without a channel, an end costs no row."""
    services = world.services
    for change in ({"closing_soon": timedelta(0)}, {"notify": False}):
        world.services = replace(services, **change)
        world.ask(minutes=60)
    assert world.tables.due.query(LATER) == []


def test_an_access_that_was_revoked_is_not_notified(world: World) -> None:
    """A closed access gets no notification of its end."""
    channel = MemoryChannel()
    request = world.ask(minutes=30)
    deciding.revoke(world.services, request.id, Caller(ALICE))
    play(world, channel, 20)

    assert of_type(channel, EventType.REVOKED)
    assert of_type(channel, EventType.CLOSING_SOON) == []
    assert world.tables.due.query(LATER) == []


def test_a_request_that_is_gone_or_unreadable_is_not_notified(world: World) -> None:
    """A row that leads nowhere is taken off, reported where it cannot be read, and delays none."""
    channel = MemoryChannel()
    gone, torn, kept = (world.ask(port=port, minutes=30) for port in (22, 3389, 22))
    world.work()
    for row in world.tables.requests.scan("0", "g"):
        if f"{row.partition}-{row.key}" == gone.id:
            world.tables.requests.delete(row)
        elif f"{row.partition}-{row.key}" == torn.id:
            world.tables.requests.replace(replace(row, values={"doc": "no JSON"}))
    world.tables.due.insert(Row(LATER, "2026-01-01T00:00:00.000Z|x", {"doc": "no JSON"}))
    world.clock.now += timedelta(minutes=12)
    run_delivery(world, channel)

    assert [each.subject for each in of_type(channel, EventType.CLOSING_SOON)] == [kept.id]
    assert world.telemetry.named("jit.row.unreadable")[-1]["row"] == torn.id
    assert world.tables.due.query(LATER) == []


def test_an_extended_access_is_notified_before_its_new_end() -> None:
    """The end that counts is the last one that was given; the former end sends nothing."""
    world, channel = turn_on(asking(0)), MemoryChannel()
    world.services = replace(world.services, closing_soon=timedelta(minutes=15))
    request = world.ask(minutes=30)
    first = request.ports[0].end_at
    assert first is not None
    later = first + timedelta(minutes=30)
    extend(world, request, 60)
    world.work()
    play(world, channel, 25)
    assert of_type(channel, EventType.CLOSING_SOON) == []

    play(world, channel, 30)
    (sent,) = of_type(channel, EventType.CLOSING_SOON)
    assert sent.data["endTimeUtc"] == format_instant(later)


def test_an_end_that_is_given_back_is_notified() -> None:
    """Where a firewall refuses the later end, the former one is notified before it comes."""
    world, channel = ThreeProviders(), MemoryChannel()
    world.pass_time(SLOW_MINUTES)
    turn_on(world)
    world.services = replace(world.services, closing_soon=timedelta(minutes=15))
    world.clock.now += timedelta(microseconds=5)  # the end in a rule's text has none
    request = world.ask(DB, minutes=60)
    world.pass_time(5)
    refuse(world, DB, lambda verb, _target: verb == "put")
    extend(world, request, 100)
    world.work()
    play(world, channel, 50)

    end = world.request(request.id).ports[0].end_at
    assert end is not None
    (sent,) = of_type(channel, EventType.CLOSING_SOON)
    assert sent.data["endTimeUtc"] == format_instant(end)
    assert end == request.requested_at.replace(microsecond=0) + timedelta(minutes=60)


def test_an_end_that_cannot_be_noted_changes_no_opening(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The access opens and closes, and the failure is reported."""

    def fail(*_: object) -> None:
        raise OutsideError("the table does not answer")

    monkeypatch.setattr(type(world.services.notifications), "note_later", fail)
    request = world.ask(minutes=30)
    assert world.request(request.id).ports[0].opened_at is not None
    assert world.telemetry.named("jit.notifications.unnoted")[0]["request"] == request.id

    world.pass_time(31)
    assert world.request(request.id).is_final
    assert world.services.activity.newest_lateness(10)


def test_an_end_is_notified_again_under_its_id_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that stops before it takes the end off repeats the notification with the same id."""
    channel = MemoryChannel()
    world.ask(minutes=30)
    world.clock.now += timedelta(minutes=12)
    rows = type(world.services.notifications)
    with monkeypatch.context() as broken:
        broken.setattr(rows, "remove_later", lambda *_: 1 / 0)
        run_delivery(world, channel)
    run_delivery(world, channel)
    run_delivery(world, channel)

    assert len(of_type(channel, EventType.CLOSING_SOON)) == 1
    assert world.tables.due.query(LATER) == []


def test_a_first_request_that_waits_is_requested_and_needs_approval() -> None:
    """Both types are sent under ids of their own, with how many people have to agree."""
    world, channel = turn_on(asking(2)), MemoryChannel()
    request = world.ask()
    run_delivery(world, channel)

    first, second = channel.accepted
    assert (first.type, second.type) == (EventType.REQUESTED, EventType.APPROVAL_NEEDED)
    assert (first.subject, second.subject) == (request.id, request.id)
    assert second.data["approvalsNeeded"] == 2
    assert second.id == digest(first.id, "jit.approvalNeeded")

    world.sweep()
    run_delivery(world, channel)
    assert len(channel.accepted) == 2


def test_a_request_without_approvers_needs_no_approval(world: World) -> None:
    """Without approvers in the policy only the request is sent."""
    channel = MemoryChannel()
    world.ask()
    run_delivery(world, channel)
    assert of_type(channel, EventType.APPROVAL_NEEDED) == []
    assert "approvalsNeeded" not in channel.accepted[0].data


def test_a_longer_end_that_waits_needs_approval() -> None:
    """An extension that waits is one notification, as before."""
    world, channel = turn_on(asking(1)), MemoryChannel()
    request = opened(world, 30)
    run_delivery(world, channel)
    before = len(of_type(channel, EventType.APPROVAL_NEEDED))
    extend(world, request, 60)
    run_delivery(world, channel)

    assert len(of_type(channel, EventType.APPROVAL_NEEDED)) == before + 1


def test_an_exposed_machine_is_notified_once_for_each_change(world: World) -> None:
    """Reconciling twice sends one; another rule, and a rule that comes back, send one each."""
    channel = MemoryChannel()

    def look() -> list[str]:
        world.clock.advance(900)
        reconcile(world.services)
        run_delivery(world, channel)
        return [str(each.data["reason"]) for each in of_type(channel, EventType.EXPOSED)]

    assert look() == []
    for nsg in (NSG_NIC, NSG_SUBNET):
        world.firewall.edit(nsg, allow("open-ssh", 300))
    assert len(look()) == len(look()) == 1
    for nsg in (NSG_NIC, NSG_SUBNET):
        world.firewall.edit(nsg, allow("open-rdp", 299, port="3389"), remove=["open-ssh"])
    assert len(look()) == 2
    for nsg in (NSG_NIC, NSG_SUBNET):
        world.firewall.edit(nsg, remove=["open-rdp"])
    assert len(look()) == 2
    for nsg in (NSG_NIC, NSG_SUBNET):
        world.firewall.edit(nsg, allow("open-ssh", 300))
    reasons = look()
    assert ["open-rdp" in each for each in reasons] == [False, True, False]

    sent = of_type(channel, EventType.EXPOSED)
    assert len({each.id for each in sent}) == 3
    assert {each.subject for each in sent} == {POLICY}
    assert sent[0].data["machines"] == 2


def test_an_exposure_without_a_channel_is_found_and_not_noted() -> None:
    """The finding is stored as before, and no notification waits for ever."""
    world = World()
    world.protect()
    for nsg in (NSG_NIC, NSG_SUBNET):
        world.firewall.edit(nsg, allow("open-ssh", 300))
    reconcile(world.services)
    assert world.telemetry.named("jit.policy.exposed")
    assert world.tables.due.query(PARTITION) == []


def test_the_head_of_the_audit_record_is_notified_with_each_day(world: World) -> None:
    """Each file that begins sends the head up to there, as the log has it; a repeat is the same."""
    channel, blobs = MemoryChannel(), MemoryBlobs()
    export = replace(export_of(world, blobs), notifications=world.services.notifications)
    for _ in range(3):
        export_audit(export)
        export_audit(export)
        run_delivery(world, channel)
        world.clock.now += timedelta(days=1)

    sent = of_type(channel, EventType.AUDIT_ANCHORED)
    anchored = world.telemetry.named("jit.audit.anchored")
    assert [dict(each.data) for each in sent] == anchored
    assert [each.subject for each in sent] == [each["day"] for each in anchored]
    assert len({each.id for each in sent}) == 3


@pytest.mark.parametrize(
    "content", ["no JSON", '{"id":"a"}', '{"id":"a","type":"jit.newer","at":"2026-01-01T00:00Z"}']
)
def test_content_that_cannot_be_read_sends_nothing(world: World, content: str) -> None:
    """A damaged row, or one of a newer version, is taken off and delays no other."""
    channel = MemoryChannel()
    key = "2026-01-01|2026-01-01T00:00:00.000Z|x"
    world.tables.due.insert(Row(PARTITION, key, {"noted": "", "doc": content}))
    world.ask(source=SOURCE)
    run_delivery(world, channel)

    assert EventType.REQUESTED in {each.type for each in channel.accepted}
    assert world.tables.due.query(PARTITION) == []


def test_a_rejected_end_is_dropped_after_three_days(world: World) -> None:
    """A notification with content of its own is given up like one of an event."""
    channel = MemoryChannel()
    note = Notification("A1", EventType.CLOSING_SOON, world.clock(), "r", {"port": 22})
    world.services.notifications.note(note)
    channel.rejected = {"A1"}
    run_delivery(world, channel)
    assert len(world.tables.due.query(PARTITION)) == 1

    world.clock.now += sending.KEEP_REJECTED
    run_delivery(world, channel)
    assert world.tables.due.query(PARTITION) == []
