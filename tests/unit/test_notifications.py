"""Notifications follow the audit record: each is sent at least once, under one id."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.audit import Operation
from shared.domain.ids import digest
from shared.domain.notifications import TYPES, EventType, type_of
from shared.ports import Row
from shared.store.notifications import PARTITION
from shared.use_cases.timers import send_notifications as sending
from shared.use_cases.timers.send_notifications import send_notifications
from tests.audit_files import MemoryBlobs, run_export
from tests.notification_channel import (
    MemoryChannel,
    delivery_of,
    record_event,
    run_delivery,
    turn_on,
)
from tests.unit.approving import APPROVER, asking, decide
from tests.unit.test_audit_export import verified
from tests.world import ALICE, WEB, World


def dues(world: World) -> list[Row]:
    """Return the due rows of notifications."""
    return world.tables.due.query(PARTITION)


def test_every_operation_has_a_decision() -> None:
    """Each operation of the audit record has a type, or is listed as one without."""
    assert set(TYPES) == set(Operation)


def test_every_type_is_sent_for_some_audit_event() -> None:
    """No type is declared that no audit event leads to, beside those of rows of their own."""
    reasons = ("", "Failed: no room", "Denied", "Expired")
    reached = {type_of(operation, reason) for operation in Operation for reason in reasons}
    beside = {EventType.CLOSING_SOON, EventType.EXPOSED, EventType.AUDIT_ANCHORED}
    assert reached - {None} == set(EventType) - beside


@pytest.mark.parametrize(
    ("operation", "reason", "expected"),
    [
        ("closed", "Expired", EventType.CLOSED),
        ("closed", "Failed", EventType.FAILED),
        ("ended", "Failed: no such VM", EventType.FAILED),
        ("ended", "Denied", EventType.DENIED),
        ("ended", "UserManuallyRevoked", None),
        ("requested", "Failed", EventType.REQUESTED),
        ("refused", "", None),
        ("operationOfANewerVersion", "", None),
    ],
)
def test_the_reason_of_a_close_decides_its_type(
    operation: str, reason: str, expected: EventType | None
) -> None:
    """A close and an end are failures or denials by their reason; other reasons change nothing."""
    assert type_of(operation, reason) is expected


def test_the_life_of_an_access_is_sent_once() -> None:
    """Request, openings and closes arrive with their fields, and a second run adds none."""
    world, channel = turn_on(World()), MemoryChannel()
    world.protect()
    request = world.ask(WEB, minutes=5)
    world.pass_time(25)
    count = run_delivery(world, channel)

    assert count == len(channel.accepted)
    assert Counter(channel.types) == {"jit.requested": 1, "jit.opened": 2, "jit.closed": 2}
    (asked,) = (each for each in channel.accepted if each.type is EventType.REQUESTED)
    assert asked.subject == request.id
    assert asked.data["principal"] == ALICE.key
    assert asked.data["reason"] == "because"
    assert "firewall" not in asked.data
    assert run_delivery(world, channel) == 0
    assert dues(world) == []


def test_a_denied_request_is_sent_as_denied() -> None:
    """The vote of an approver and the port that ends by it are both sent."""
    world, channel = turn_on(asking(1)), MemoryChannel()
    request = world.ask(minutes=10)
    decide(world, request, APPROVER, yes=False)
    world.work()
    world.pass_time(2)
    run_delivery(world, channel)

    assert set(channel.types) == {"jit.requested", "jit.approvalNeeded", "jit.denied"}


def test_the_id_is_that_of_the_audit_event() -> None:
    """A notification's id is the stored id of its audit event."""
    world, channel = turn_on(World()), MemoryChannel()
    record_event(world, "e", vm_id=WEB)
    run_delivery(world, channel)

    (sent,) = channel.accepted
    assert sent.id == digest("e")
    assert sent.subject == WEB


@pytest.mark.parametrize("operation", ["policyCreated", "policyChanged", "policyDeleted"])
def test_a_changed_policy_is_sent_with_its_type_of_change(operation: str) -> None:
    """A subscriber reads from the operation whether the policy is new, changed or deleted."""
    world, channel = turn_on(World()), MemoryChannel()
    record_event(world, "p", operation, policy_id="default")
    run_delivery(world, channel)

    (sent,) = channel.accepted
    assert (sent.type, sent.subject) == (EventType.POLICY_CHANGED, "default")
    assert sent.data["operation"] == operation


def test_nothing_is_noted_without_a_channel() -> None:
    """Without a notification channel an event costs no due row."""
    world = World()
    record_event(world, "e")
    assert dues(world) == []


def test_operations_without_a_type_are_not_noted() -> None:
    """An audit event that has no notification costs no due row."""
    world = turn_on(World())
    record_event(world, "e", "repaired")
    assert dues(world) == []


def test_an_event_recorded_again_is_not_sent_again() -> None:
    """A repeat of a record leaves a due row, which the next run takes off."""
    world, channel = turn_on(World()), MemoryChannel()
    record_event(world, "e")
    run_delivery(world, channel)
    record_event(world, "e")
    assert len(dues(world)) == 1

    assert run_delivery(world, channel) == 0
    assert channel.calls == 1
    assert dues(world) == []


def test_a_due_row_without_its_event_is_kept_for_the_longest_stall() -> None:
    """A writer between due row and event delays no other event, and its due row stays meanwhile."""
    world, channel = turn_on(World()), MemoryChannel(batch_size=7)
    for number in range(sending.BATCH + 3):
        world.services.notifications.add("2026-11-22", f"2026-11-22T13:00:00.000Z|{number:04d}")
    record_event(world, "e")
    assert run_delivery(world, channel) == 1
    assert len(dues(world)) == sending.BATCH + 3

    world.clock.now += timedelta(minutes=30)
    assert run_delivery(world, channel) == 0
    assert dues(world) == []


@pytest.mark.parametrize(
    "text", ["no JSON", '{"id":"e","at":"2026-11-22T13:00:00+00:00","operation":"newer"}']
)
def test_a_row_without_a_notification_is_passed_over(text: str) -> None:
    """A row that cannot be read, or whose operation is unknown, sends nothing and delays nothing."""
    world, channel = turn_on(World()), MemoryChannel()
    record_event(world, "e")
    (row,) = world.tables.activity.scan("0", ":")
    world.tables.activity.replace(replace(row, values={"doc": text}))
    record_event(world, "f")

    assert run_delivery(world, channel) == 1
    assert channel.accepted[0].id == digest("f")
    assert dues(world) == []


def test_an_outage_ends_the_run_and_keeps_everything() -> None:
    """The first call that fails ends the run, the fault is reported, and all arrive afterwards."""
    world, channel = turn_on(World()), MemoryChannel()
    for number in range(5):
        record_event(world, f"e{number}")
        world.clock.now += timedelta(seconds=1)
    channel.is_away = True
    assert run_delivery(world, channel) == 0
    assert channel.calls == 1
    assert len(world.telemetry.named("jit.notifications.failed")) == 1

    channel.is_away = False
    assert run_delivery(world, channel) == 5
    assert [each.id for each in channel.accepted] == [digest(f"e{n}") for n in range(5)]
    assert world.telemetry.named("jit.notifications.sent") == [{"notifications": 5}]


@pytest.mark.parametrize("batch_size", [1, 50])
def test_a_rejected_notification_delays_no_other(batch_size: int) -> None:
    """The others of its batch are sent; it is tried again for three days, and then dropped."""
    world, channel = turn_on(World()), MemoryChannel(batch_size)
    for name in ("a", "b", "c"):
        record_event(world, name)
        world.clock.now += timedelta(seconds=1)
    channel.rejected = {digest("a")}
    assert run_delivery(world, channel) == 2
    assert len(dues(world)) == 1

    world.clock.now += sending.KEEP_REJECTED
    assert run_delivery(world, channel) == 0
    assert dues(world) == []
    rejected = world.telemetry.named("jit.notifications.rejected")
    assert [attributes["dropped"] for attributes in rejected] == [False, True]


def test_a_rejected_notification_is_sent_once_it_is_accepted() -> None:
    """A subscriber that was set up wrongly gets the notification after it is mended."""
    world, channel = turn_on(World()), MemoryChannel()
    record_event(world, "a")
    channel.rejected = {digest("a")}
    run_delivery(world, channel)
    channel.rejected = set()

    assert run_delivery(world, channel) == 1


def test_many_notifications_go_in_full_batches() -> None:
    """A topic gets as many notifications in one call as the channel allows."""
    world, channel = turn_on(World()), MemoryChannel(batch_size=50)
    for number in range(sending.BATCH * 2):
        record_event(world, f"e{number}")

    assert run_delivery(world, channel) == sending.BATCH * 2
    assert channel.calls == 4


def test_a_run_ends_with_its_time() -> None:
    """A slow channel ends the run within its time, and the next run goes on."""
    world, channel = turn_on(World()), MemoryChannel()
    for number in range(4):
        record_event(world, f"e{number}")
    delivery = delivery_of(world, channel)
    moments = iter([timedelta(0), timedelta(0), timedelta(0), sending.BUDGET])
    start = world.clock()

    assert send_notifications(replace(delivery, clock=lambda: start + next(moments))) == 1
    assert run_delivery(world, channel) == 3


def test_the_audit_export_and_notifications_share_the_events() -> None:
    """Marks of both stand on one row, and the exported record still equals the table."""
    world, channel, blobs = turn_on(World()), MemoryChannel(), MemoryBlobs()
    world.services = replace(world.services, export_audit=True)
    record_event(world, "e")
    run_export(world, blobs)
    assert run_delivery(world, channel) == 1
    record_event(world, "f")
    assert run_delivery(world, channel) == 1
    run_export(world, blobs)

    assert len(verified(world, blobs).events) == 2
    (first, _) = world.tables.activity.scan("0", ":")
    assert {"exported", "notified"} <= set(first.values)
