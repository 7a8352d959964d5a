"""Audit storage and the notification channel are away together while access opens and closes."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.notifications import EventType
from shared.use_cases.timers.export_audit import export_audit
from tests.audit_files import MemoryBlobs, export_of
from tests.notification_channel import MemoryChannel, run_delivery, turn_on
from tests.unit.test_audit_export import dues, names, table_rows, verified
from tests.world import DB, WEB, World

HOURS = 2


class Evidence:
    """A world with both, on their timer of five minutes."""

    def __init__(self) -> None:
        self.world = turn_on(World())
        self.world.services = replace(
            self.world.services, export_audit=True, closing_soon=timedelta(minutes=10)
        )
        self.blobs, self.channel = MemoryBlobs(), MemoryChannel()
        self.world.protect()

    def set_away(self, *, away: bool) -> None:
        """Let both be away, or back."""
        self.blobs.is_away = self.channel.is_away = away

    def run_timer(self) -> None:
        """Export and notify, as the timer does."""
        export = export_of(self.world, self.blobs)
        export_audit(replace(export, notifications=self.world.services.notifications))
        run_delivery(self.world, self.channel)

    def live(self) -> list[float]:
        """Play two hours of short and longer accesses; return how late each close was."""
        for turn in range(HOURS * 6):
            self.world.ask(WEB if turn % 2 else DB, minutes=25 if turn % 3 else 5)
            for _ in range(2):
                self.world.pass_time(5)
                self.run_timer()
        return self.world.services.activity.newest_lateness(1000)


def test_closes_are_as_punctual_with_both_away_for_two_hours_and_everything_arrives() -> None:
    """Lateness is the same to the second; afterwards both hold what they hold without an outage."""
    usual, outage = Evidence(), Evidence()
    outage.set_away(away=True)
    began = outage.world.clock()

    expected = usual.live()
    assert len(expected) >= HOURS * 6 - 3
    assert outage.live() == expected
    assert outage.world.clock() - began >= timedelta(hours=HOURS)
    assert (outage.blobs.files, outage.channel.accepted) == ({}, [])
    faults = [name for name, _ in outage.world.telemetry.events]
    assert {"jit.audit.export.failed", "jit.notifications.failed"} <= set(faults)

    outage.set_away(away=False)
    for each in (outage, usual):
        each.run_timer()
        each.run_timer()
    record = verified(outage.world, outage.blobs)
    assert len(names(record)) == len(table_rows(outage.world))
    assert sorted(names(record)) == sorted(names(verified(usual.world, usual.blobs)))
    assert dues(outage.world) == []

    arrived = sorted(each.id for each in outage.channel.accepted)
    assert arrived == sorted(each.id for each in usual.channel.accepted)
    assert len(set(arrived)) == len(arrived) > 40
    accepted = {each.type for each in outage.channel.accepted}
    assert {EventType.CLOSING_SOON, EventType.CLOSED, EventType.AUDIT_ANCHORED} <= accepted
    assert outage.world.tables.due.query("notifications") == []
