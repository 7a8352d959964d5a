"""Ports: every protocol that use cases need from outside, with its errors."""

from shared.ports.audit_blobs import AuditBlobs, PositionError
from shared.ports.authority import Authorizer
from shared.ports.bastion_sessions import BastionSessions
from shared.ports.errors import GoneError, NotReadableError, OutsideError, ThrottledError
from shared.ports.firewalls import (
    FirewallChangedError,
    FirewallProvider,
    FirewallRefusedError,
    Firewalls,
    NamedRule,
    ReadFirewall,
    RefusedError,
    SettlingError,
    UnknownFirewallError,
    WriteGuard,
    WriteProof,
)
from shared.ports.inventory import Inventory, Listed
from shared.ports.machines import (
    Bastions,
    ListedMachines,
    Machine,
    Machines,
    Neighbours,
    PathNotes,
    Unanswered,
)
from shared.ports.notifications import NotificationChannel, RejectedEventError
from shared.ports.queues import Queues
from shared.ports.resources import Resources
from shared.ports.running import Clock, Item, Result, Sleep, Workers
from shared.ports.tables import Row, RowChangedError, RowExistsError, Table, Tables, Value
from shared.ports.telemetry import Telemetry

__all__ = [
    "AuditBlobs",
    "Authorizer",
    "BastionSessions",
    "Bastions",
    "Clock",
    "FirewallChangedError",
    "FirewallProvider",
    "FirewallRefusedError",
    "Firewalls",
    "GoneError",
    "Inventory",
    "Item",
    "Listed",
    "ListedMachines",
    "Machine",
    "Machines",
    "NamedRule",
    "Neighbours",
    "NotReadableError",
    "NotificationChannel",
    "OutsideError",
    "PathNotes",
    "PositionError",
    "Queues",
    "ReadFirewall",
    "RefusedError",
    "RejectedEventError",
    "Resources",
    "Result",
    "Row",
    "RowChangedError",
    "RowExistsError",
    "SettlingError",
    "Sleep",
    "Table",
    "Tables",
    "Telemetry",
    "ThrottledError",
    "Unanswered",
    "UnknownFirewallError",
    "Value",
    "Workers",
    "WriteGuard",
    "WriteProof",
]
