"""Sending breaks at each of its calls in turn, and the channel is away while access closes."""

import contextlib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from shared.domain.ids import digest
from shared.domain.notifications import EventType
from shared.store.audit import AuditEvent
from shared.store.notifications import PARTITION
from shared.use_cases.timers.send_notifications import NotificationDelivery, send_notifications
from tests.faults.harness import Breakable, Died, FaultType, FragileWorld
from tests.notification_channel import MemoryChannel, record_event, run_delivery, turn_on
from tests.world import DB, WEB, World


def fragile(batch_size: int) -> tuple[FragileWorld, MemoryChannel, NotificationDelivery]:
    """Return a world, its channel, and a delivery whose every call can break."""
    world, channel = FragileWorld(), MemoryChannel(batch_size)
    turn_on(world)
    services = world.services
    breakable: Any = Breakable(channel, world.faults, frozenset({"send"}))
    delivery = NotificationDelivery(
        services.notifications, services.requests, breakable, services.telemetry, services.clock
    )
    return world, channel, delivery


@pytest.mark.parametrize("batch_size", [1, 50])
@pytest.mark.parametrize("fault_type", FaultType)
def test_a_crash_at_any_call_of_sending_loses_nothing(
    fault_type: FaultType, batch_size: int
) -> None:
    """Each event arrives, wherever a run stops; a repeat has the id of the first."""
    for at in range(1, 60):
        world, channel, delivery = fragile(batch_size)
        for name in ("a", "b", "c"):
            record_event(world, name)
        world.faults.arm(at, fault_type)
        with contextlib.suppress(Died):
            send_notifications(delivery)
        fired = world.faults.fired
        world.faults.disarm()
        for _ in range(2):
            send_notifications(delivery)

        assert {each.id for each in channel.accepted} == {digest(name) for name in "abc"}, at
        assert len(channel.accepted) <= 3 + batch_size
        assert world.tables.due.query(PARTITION) == [], (at, fault_type)
        if not fired:
            assert at > 10
            return
    pytest.fail("the run never ends")


@pytest.mark.parametrize("fault_type", FaultType)
def test_a_crash_while_an_event_is_recorded_leaves_no_event_without_notification(
    fault_type: FaultType,
) -> None:
    """An event that reached the table is sent, wherever its writer stopped."""
    for at in (1, 2):
        world, channel, delivery = fragile(1)
        world.faults.arm(at, fault_type)
        event = AuditEvent("e", world.clock(), "approved")
        world.attempt(partial(world.services.activity.record, event))
        world.faults.disarm()
        world.pass_time(20)
        send_notifications(delivery)

        assert len(channel.accepted) == len(list(world.tables.activity.scan("0", ":")))
        assert world.tables.due.query(PARTITION) == []


@pytest.mark.parametrize("fault_type", FaultType)
def test_a_crash_at_any_call_loses_no_notification_of_an_end(fault_type: FaultType) -> None:
    """An access that closes soon is notified, wherever a run stops; a repeat has the same id."""
    for at in range(1, 60):
        world, channel, delivery = fragile(1)
        world.services = replace(world.services, closing_soon=timedelta(minutes=15))
        world.protect()
        world.ask(minutes=30)
        send_notifications(delivery)
        world.clock.now += timedelta(minutes=11)
        before = len(channel.accepted)
        world.faults.arm(at, fault_type)
        with contextlib.suppress(Died):
            send_notifications(delivery)
        fired = world.faults.fired
        world.faults.disarm()
        for _ in range(2):
            send_notifications(delivery)

        soon = [each for each in channel.accepted if each.type is EventType.CLOSING_SOON]
        assert len({each.id for each in soon}) == 1, (at, fault_type)
        assert len(channel.accepted) - before <= 2
        assert world.tables.due.query(PARTITION) == []
        assert world.tables.due.query("notifications-later") == []
        if not fired:
            assert at > 5
            return
    pytest.fail("the run never ends")


def _lateness(world: World, channel: MemoryChannel) -> list[float]:
    """Play two hours of access with notifications on their timer; return how late closes were."""
    world.protect()
    for turn in range(12):
        world.ask(WEB if turn % 2 else DB, minutes=5)
        for _ in range(2):
            world.pass_time(5)
            run_delivery(world, channel)
    return world.services.activity.newest_lateness(100)


def test_closes_are_as_punctual_with_the_channel_away_for_two_hours() -> None:
    """Lateness is the same to the second, and all notifications arrive afterwards."""
    present, away = turn_on(World()), turn_on(World())
    channel, lost = MemoryChannel(), MemoryChannel()
    lost.is_away = True

    usual = _lateness(present, channel)
    assert len(usual) >= 12
    assert _lateness(away, lost) == usual
    assert lost.accepted == []

    lost.is_away = False
    run_delivery(away, lost)
    run_delivery(present, channel)
    assert {each.id for each in lost.accepted} == {each.id for each in channel.accepted}
    assert len(lost.accepted) == len(channel.accepted) > 40
