"""The composition root: the one place that knows which part is which.

Nothing happens at import. The parts are made when first asked for, each adapter imported only
then: the HTTP path never loads the management SDK that the queue path needs.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from threading import Lock
from typing import Any

from shared.adapters.threads import side_by_side
from shared.domain.ids import RuleNames
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.firewalls.nsg.making import GroupParts, Groups
from shared.firewalls.registry import Registry
from shared.outside import Outside, ReaderOutside
from shared.ports import Inventory
from shared.settings import Settings, read_settings
from shared.use_cases.reports.estates import Estates
from shared.use_cases.services import Services
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.export_audit import AuditExport
from shared.use_cases.timers.send_notifications import NotificationDelivery
from shared.when_used import when_used

_HEALTH_KEPT = timedelta(seconds=5)


class App:
    """The app over one set of settings."""

    def __init__(self, settings: Settings, outside: Outside | None = None) -> None:
        from shared.adapters.telemetry import quiet_libraries

        quiet_libraries()
        self.settings = settings
        self.outside = outside or Outside(settings)
        self._health: tuple[datetime, watch.Health] | None = None
        self._health_lock = Lock()

    @cached_property
    def services(self) -> Services:
        """Return the parts the use cases work with."""
        settings = self.settings
        return Services(
            tables=self.outside.tables,
            queues=self.outside.queues,
            firewalls=self._registry,
            machines=when_used(lambda: self._groups.machines),
            inventory=when_used(lambda: self.inventory),
            bastions=when_used(lambda: self.outside.bastions),
            telemetry=self.outside.telemetry,
            clock=_utc_now,
            sleep=time.sleep,
            new_id=lambda: secrets.token_hex(8),
            workers=side_by_side,
            names=self.names,
            authorize=self._authorize,
            scopes=settings.scopes,
            most_live_ports=settings.max_open_per_caller,
            keep_activity=settings.keep_activity,
            keep_requests=settings.keep_requests,
            export_audit=bool(settings.audit_container),
            notify=bool(settings.events_url),
            disconnect_bastion_sessions=settings.disconnect_bastion_sessions,
            closing_soon=timedelta(minutes=settings.closing_soon_minutes),
            limits=settings.limits,
        )

    @cached_property
    def _registry(self) -> Registry:
        """Return the providers of this installation, as far as settings name some."""
        groups = self._groups
        registry = Registry((groups.provider,), guard=groups.probe)
        if self.settings.reads_azure_firewalls:
            from shared.adapters.azure_firewalls import azure_firewalls

            azure = azure_firewalls(self.settings, self.outside.arm_network_client)
            providers = (groups.provider, *azure.providers)
            registry = replace(registry, providers=providers, read_notes=azure.read_notes)
        if not self.settings.aws.listed:
            return registry
        from shared.firewalls.ec2.provider import Ec2Provider
        from shared.firewalls.ec2.wire import Ec2WhenUsed

        settings = self.settings
        ec2 = Ec2Provider(
            Ec2WhenUsed(self.outside.new_aws_api), settings.aws, settings.deployment_id
        )
        return replace(
            registry,
            providers=(*registry.providers, ec2),
            list_machines=ec2.machines,
            name_machine=settings.aws.defender_id_of,
        )

    @cached_property
    def audit_export(self) -> AuditExport | None:
        """Return the parts that export audit events; None: this deployment exports none."""
        settings = self.settings
        if not settings.audit_container:
            return None
        from shared.adapters.audit_blobs import AppendBlobs

        credential = (
            None if settings.is_local else self.outside.identity(settings.storage_client_id)
        )
        return AuditExport(
            self.services.exports,
            AppendBlobs(settings.audit_container, credential),
            self.services.telemetry,
            self.services.clock,
            settings.deployment_id,
            self.services.notifications if settings.events_url else None,
        )

    @cached_property
    def notification_delivery(self) -> NotificationDelivery | None:
        """Return the parts that send notifications. Return None without a notification channel."""
        settings = self.settings
        if not settings.events_url:
            return None
        from shared.adapters.cloud_events import CloudEvents

        channel = CloudEvents(
            settings.events_url,
            settings.events_key,
            f"/jit/{settings.deployment_id}",
            lambda: self.outside.identity(settings.storage_client_id),
            audience=settings.logic_app_audience,
        )
        services = self.services
        return NotificationDelivery(
            services.notifications,
            services.requests,
            channel,
            services.telemetry,
            services.clock,
        )

    @property
    def names(self) -> RuleNames:
        """Return how our rules are named."""
        return RuleNames(self.settings.rule_prefix, self.settings.deployment_id)

    def verify(self, authorization: str | None) -> Principal:
        """Verify who is calling; raises NotAuthenticatedError."""
        return self.outside.verifier.verify(authorization)  # type: ignore[no-any-return]

    @property
    def post_event(self) -> Callable[[dict[str, Any]], None] | None:
        """Return how the approval workflow is told, if the deployer named one."""
        return self.outside.logic_app.post if self.settings.logic_app_url else None

    def health(self) -> watch.Health:
        """Return the health report, read anew after some seconds: it needs no permission."""
        with self._health_lock:
            now = self.services.clock()
            at, kept = self._health or (now, None)
            if kept is None or not timedelta(0) <= now - at < _HEALTH_KEPT:
                found = watch.report(self.services)
                warnings = (*found.warnings, *self.settings.warnings)
                kept = replace(found, warnings=warnings)
                self._health = (now, kept)
            return kept

    def announce(self) -> None:
        """Log what is wrong with the settings, as far as the app can tell."""
        for warning in self.settings.warnings:
            self.services.telemetry.event("jit.proxies.unguarded", reason=warning)

    def _authorize(self, principal: Principal, action: Action, scope: str) -> Decision:
        return self.outside.authorizer(principal, action, scope)

    @cached_property
    def _groups(self) -> Groups:
        """Return the firewalls that this app has without further settings."""
        settings = self.settings
        return Groups(
            GroupParts(
                client=self.outside.network_client,
                resources=lambda: self.outside.arm_as_network,
                read_pace=lambda: self.outside.read_pace,
                scopes=settings.scopes,
                table=lambda: self.outside.tables.firewalls,
                names=self.names,
                telemetry=self.outside.telemetry,
                clock=_utc_now,
                whole_writes=settings.nsg_write == "auto",
                probe_group=settings.probe_nsg,
                allow_from=settings.allow_from,
            )
        )

    @cached_property
    def inventory(self) -> Inventory:
        """Return the lists of what is in scope."""
        return self._groups.inventory

    @cached_property
    def estates(self) -> Estates:
        """Return the reports' view of the cloud, with the reader's identity where one is named."""
        services, inventory = self.services, self.inventory
        if self.settings.reader_client_id:
            reader = App(self.settings, ReaderOutside(self.settings))
            bastions = when_used(lambda: reader.outside.bastions)
            services = replace(services, firewalls=reader._registry, bastions=bastions)
            inventory = reader.inventory
        return Estates(services, inventory, seconds=self.settings.machines_cache_seconds)


def _utc_now() -> datetime:
    return datetime.now(UTC)


_given: list[App] = []


@cache
def _from_environment() -> App:
    made = App(read_settings())
    made.announce()
    return made


def app() -> App:
    """Return the app of this process, made from the environment when first asked for."""
    return _given[-1] if _given else _from_environment()


@contextmanager
def using(given: App) -> Iterator[App]:
    """Let the triggers work with another app: how tests hand in theirs."""
    _given.append(given)
    try:
        yield given
    finally:
        _given.pop()
