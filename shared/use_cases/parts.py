"""The parts that use cases need, one Protocol for each.

A use case names what it needs: one of these where it needs a single part, else a Protocol of its
own module that inherits from these and from those of the use cases it calls. `Services` has every
part; a use case cannot reach a part that it does not name, which mypy holds.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

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


class HasAuthorize(Protocol):
    """Has `authorize`."""

    @property
    def authorize(self) -> Authorizer:
        """Return how a principal's permission for an action is decided."""
        ...


class HasBastions(Protocol):
    """Has `bastions`."""

    @property
    def bastions(self) -> Bastions:
        """Return the finder of Azure Bastion hosts."""
        ...


class HasClock(Protocol):
    """Has `clock`."""

    @property
    def clock(self) -> Clock:
        """Return the clock."""
        ...


class HasFirewalls(Protocol):
    """Has `firewalls`."""

    @property
    def firewalls(self) -> Firewalls:
        """Return the firewall providers."""
        ...


class HasInventory(Protocol):
    """Has `inventory`."""

    @property
    def inventory(self) -> Inventory:
        """Return the lists of VMs and firewalls in scope."""
        ...


class HasMachines(Protocol):
    """Has `machines`."""

    @property
    def machines(self) -> Machines:
        """Return the reader of single VMs."""
        ...


class HasNames(Protocol):
    """Has `names`."""

    @property
    def names(self) -> RuleNames:
        """Return how our rules are named."""
        ...


class HasNewId(Protocol):
    """Has `new_id`."""

    @property
    def new_id(self) -> Callable[[], str]:
        """Return how a new id is made."""
        ...


class HasQueues(Protocol):
    """Has `queues`."""

    @property
    def queues(self) -> Queues:
        """Return the queues of messages."""
        ...


class HasSleep(Protocol):
    """Has `sleep`."""

    @property
    def sleep(self) -> Sleep:
        """Return how a worker waits."""
        ...


class HasTables(Protocol):
    """Has `tables`."""

    @property
    def tables(self) -> Tables:
        """Return the tables, for rows that no store reads."""
        ...


class HasTelemetry(Protocol):
    """Has `telemetry`."""

    @property
    def telemetry(self) -> Telemetry:
        """Return where events and faults are logged."""
        ...


class HasWorkers(Protocol):
    """Has `workers`."""

    @property
    def workers(self) -> Workers:
        """Return how calls are made side by side."""
        ...


class HasActivity(Protocol):
    """Has `activity`."""

    @property
    def activity(self) -> ActivityRows:
        """Return the store of audit events."""
        ...


class HasBastionCloses(Protocol):
    """Has `bastion_closes`."""

    @property
    def bastion_closes(self) -> BastionCloseRows:
        """Return the store of closes whose Bastion sessions have to be disconnected."""
        ...


class HasDue(Protocol):
    """Has `due`."""

    @property
    def due(self) -> DueRows:
        """Return the store of what is due."""
        ...


class HasPurges(Protocol):
    """Has `purges`."""

    @property
    def purges(self) -> PurgeRows:
        """Return the store of what has ended and is due to be purged."""
        ...


class HasExports(Protocol):
    """Has `exports`."""

    @property
    def exports(self) -> ExportRows:
        """Return the store of audit events to export."""
        ...


class HasNotifications(Protocol):
    """Has `notifications`."""

    @property
    def notifications(self) -> NotificationRows:
        """Return the store of notifications to send."""
        ...


class HasPolicies(Protocol):
    """Has `policies`."""

    @property
    def policies(self) -> PolicyRows:
        """Return the store of policies."""
        ...


class HasRequests(Protocol):
    """Has `requests`."""

    @property
    def requests(self) -> RequestRows:
        """Return the store of requests."""
        ...


class HasRows(Protocol):
    """Has `rows`."""

    @property
    def rows(self) -> FirewallStore:
        """Return the store of firewalls."""
        ...


class HasClosingSoon(Protocol):
    """Has `closing_soon`."""

    @property
    def closing_soon(self) -> timedelta:
        """Return how long before its end an access is notified; 0: never."""
        ...


class HasDisconnectBastionSessions(Protocol):
    """Has `disconnect_bastion_sessions`."""

    @property
    def disconnect_bastion_sessions(self) -> bool:
        """Tell whether closes through Bastion are noted, to disconnect their sessions."""
        ...


class HasExportAudit(Protocol):
    """Has `export_audit`."""

    @property
    def export_audit(self) -> bool:
        """Tell whether audit events are exported."""
        ...


class HasKeepActivity(Protocol):
    """Has `keep_activity`."""

    @property
    def keep_activity(self) -> timedelta | None:
        """Return how long audit events are kept; None: always."""
        ...


class HasKeepRequests(Protocol):
    """Has `keep_requests`."""

    @property
    def keep_requests(self) -> timedelta | None:
        """Return how long final requests are kept; None: always."""
        ...


class HasLimits(Protocol):
    """Has `limits`."""

    @property
    def limits(self) -> Limits:
        """Return the limits of every request and policy."""
        ...


class HasMostLivePorts(Protocol):
    """Has `most_live_ports`."""

    @property
    def most_live_ports(self) -> int:
        """Return how many ports one caller may have open or awaited."""
        ...


class HasNotify(Protocol):
    """Has `notify`."""

    @property
    def notify(self) -> bool:
        """Tell whether audit events are sent to a notification channel."""
        ...


class HasScopes(Protocol):
    """Has `scopes`."""

    @property
    def scopes(self) -> tuple[str, ...]:
        """Return the Azure scopes in which the app works."""
        ...


class HasCapacity(Protocol):
    """Has `capacity`."""

    def capacity(self, firewall_id: str) -> int:
        """Return how many grants a firewall takes."""
        ...


class HasLabel(Protocol):
    """Has `label`."""

    def label(self, firewall_id: str) -> str:
        """Return the name of a firewall's provider; empty: no provider knows it."""
        ...


class HasPace(Protocol):
    """Has `pace`."""

    def pace(self, firewall_id: str) -> Pace:
        """Return the pace of a firewall."""
        ...


class HasSideBySide(Protocol):
    """Has `side_by_side`."""

    def side_by_side(self, *pieces: Callable[[], Any]) -> list[Any]:
        """Make calls that do not wait for each other, and return their results."""
        ...
