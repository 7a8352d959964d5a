"""Everything a use case may reach, handed in by the composition root or by a test."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from shared.domain.desired import Pace
from shared.domain.ids import RuleNames
from shared.domain.policy import Limits
from shared.ports import (
    Authorizer,
    Bastions,
    Clock,
    Firewalls,
    Inventory,
    Machines,
    Queues,
    Sleep,
    Tables,
    Telemetry,
    UnknownFirewallError,
    Workers,
)
from shared.store.audit import ActivityRows
from shared.store.audit_export import ExportRows
from shared.store.bastion_closes import BastionCloseRows
from shared.store.due import DueRows
from shared.store.firewalls import FirewallStore
from shared.store.notifications import NotificationRows
from shared.store.policies import PolicyRows
from shared.store.purge import PurgeRows
from shared.store.requests import RequestRows
from shared.store.together import call


@dataclass(frozen=True)
class Services:
    """The app's parts. Nothing here is global, so a test holds as many apps as it likes."""

    tables: Tables
    queues: Queues
    firewalls: Firewalls
    machines: Machines
    inventory: Inventory
    bastions: Bastions
    telemetry: Telemetry
    clock: Clock
    sleep: Sleep
    new_id: Callable[[], str]
    workers: Workers
    names: RuleNames
    authorize: Authorizer
    scopes: tuple[str, ...] = ()
    most_live_ports: int = 100  # open or awaited by one caller
    most_grants: int = 750  # on one firewall; there is room for 800, and for 1000 rules of all
    keep_activity: timedelta | None = None  # None: for ever
    keep_requests: timedelta | None = None
    export_audit: bool = False  # whether audit events are noted for the export
    notify: bool = False  # whether audit events are noted for the notification channel
    disconnect_bastion_sessions: bool = False  # whether closes through Bastion are noted for that
    closing_soon: timedelta = timedelta(0)  # how long before its end an access is notified; 0: not
    limits: Limits = field(default_factory=Limits)

    def side_by_side(self, *pieces: Callable[[], Any]) -> list[Any]:
        """Make calls that do not wait for each other; the first error is raised after all."""
        return self.workers(call, pieces)

    def pace(self, firewall_id: str) -> Pace:
        """Return the pace of a firewall; the usual one where no provider knows it."""
        try:
            return self.firewalls.of(firewall_id).pace
        except UnknownFirewallError:
            return Pace()

    def label(self, firewall_id: str) -> str:
        """Return the display name of a firewall's provider; empty where no provider owns it."""
        try:
            return self.firewalls.of(firewall_id).label
        except UnknownFirewallError:
            return ""

    def capacity(self, firewall_id: str) -> int:
        """Return how many grants a firewall takes: its provider's limit, or the lower one set here."""
        try:
            return min(self.most_grants, self.firewalls.of(firewall_id).capacity)
        except UnknownFirewallError:
            return self.most_grants

    @property
    def policies(self) -> PolicyRows:
        """Return the rows of policies."""
        return PolicyRows(self.tables.policies, self.telemetry)

    @property
    def requests(self) -> RequestRows:
        """Return the rows of requests."""
        return RequestRows(self.tables.requests, self.telemetry, self.workers)

    @property
    def rows(self) -> FirewallStore:
        """Return the rows of firewalls."""
        return FirewallStore(self.tables.firewalls, self.telemetry)

    @property
    def due(self) -> DueRows:
        """Return the rows of what is due."""
        return DueRows(self.tables.due, self.telemetry, self.clock)

    @property
    def purges(self) -> PurgeRows:
        """Return the rows of what has ended and is due to be purged."""
        return PurgeRows(self.tables.requests)

    @property
    def activity(self) -> ActivityRows:
        """Return the record of who did what."""
        return ActivityRows(
            self.tables.activity,
            self.exports if self.export_audit else None,
            self.notifications if self.notify else None,
            self.workers,
        )

    @property
    def exports(self) -> ExportRows:
        """Return the rows of the export of audit events."""
        return ExportRows(self.tables.due, self.tables.activity, self.clock)

    @property
    def bastion_closes(self) -> BastionCloseRows:
        """Return the rows of closes whose Bastion sessions have to be disconnected."""
        return BastionCloseRows(self.tables.due, self.telemetry)

    @property
    def notifications(self) -> NotificationRows:
        """Return the rows of notifications that have to be sent."""
        return NotificationRows(self.tables.due, self.tables.activity, self.clock)
