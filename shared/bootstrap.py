"""The composition root: the one place that knows which part is which.

Nothing happens at import. The parts are made when first asked for, each adapter imported only
then: the HTTP path never loads the management SDK that the queue path needs.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from threading import Lock
from typing import Any

from shared.adapters.network_parts import NetworkParts
from shared.adapters.threads import side_by_side
from shared.domain.ids import RuleNames
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.domain.policy import Limits
from shared.ports import Authorizer, Inventory, Queues, Tables, Telemetry, Value
from shared.settings import Settings, read_settings
from shared.use_cases.reports.estates import Estates
from shared.use_cases.services import Services
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.export_audit import AuditExport
from shared.use_cases.timers.send_notifications import NotificationDelivery
from shared.when_used import when_used

_HEALTH_KEPT = timedelta(seconds=5)
_SOMEBODY_WAITS = 15  # seconds for an answer that a caller waits for
_CALLER_WAITS = 3  # seconds for a quota of ARM to fill up again


class App:
    """The app over one set of settings."""

    def __init__(self, settings: Settings) -> None:
        from shared.adapters.telemetry import quiet_libraries

        quiet_libraries()
        self.settings = settings
        self._health: tuple[datetime, watch.Health] | None = None
        self._health_lock = Lock()

    @cached_property
    def services(self) -> Services:
        """Return the parts the use cases work with."""
        settings = self.settings
        return Services(
            tables=self._tables,
            queues=self._queues,
            firewalls=self._network.registry,
            machines=when_used(lambda: self._network.machines),
            inventory=when_used(lambda: self.inventory),
            bastions=when_used(lambda: self._network.bastions),
            telemetry=self._telemetry,
            clock=_utc_now,
            sleep=time.sleep,
            new_id=lambda: secrets.token_hex(8),
            workers=side_by_side,
            names=self.names,
            authorize=self._authorize,
            scopes=settings.scopes,
            most_live_ports=settings.max_open_per_caller,
            keep_activity=_days(settings.activity_days),
            keep_requests=_days(settings.request_days),
            export_audit=bool(settings.audit_container),
            notify=bool(settings.events_url),
            closing_soon=timedelta(minutes=settings.closing_soon_minutes),
            limits=Limits(
                settings.min_duration,
                settings.max_duration,
                settings.widest_ipv4,
                settings.widest_ipv6,
            ),
        )

    def _new_aws_api(self) -> Any:
        """Return the client of EC2: keys come from STS for the network identity's token."""
        from shared.adapters.aws import AwsApi, identity_token

        settings = self.settings
        audience = settings.aws_audience or settings.network_client_id
        return AwsApi(
            settings.aws,
            identity_token(self._identity(settings.network_client_id), audience),
            session_name=f"jit-{settings.deployment_id}",
            endpoint_url=settings.aws_url,
        )

    @cached_property
    def audit_export(self) -> AuditExport | None:
        """Return the parts that export audit events; None: this deployment exports none."""
        settings = self.settings
        if not settings.audit_container:
            return None
        from shared.adapters.audit_blobs import AppendBlobs

        credential = None if settings.is_local else self._identity(settings.storage_client_id)
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
            lambda: self._identity(settings.storage_client_id),
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
        return self._verifier.verify(authorization)  # type: ignore[no-any-return]

    @property
    def post_event(self) -> Callable[[dict[str, Any]], None] | None:
        """Return how the approval workflow is told, if the deployer named one."""
        return self._logic_app.post if self.settings.logic_app_url else None

    @cached_property
    def _logic_app(self) -> Any:
        from shared.adapters.logic_app import LogicApp

        settings = self.settings
        credential = None if settings.is_local else self._identity(settings.storage_client_id)
        return LogicApp(settings.logic_app_url, credential, settings.logic_app_audience)

    @cached_property
    def _verifier(self) -> Any:
        from shared.adapters.tokens import TokenVerifier

        return TokenVerifier(
            keys_url=self.settings.keys_url,
            issuers=self.settings.accepted_issuers,
            audiences=self.settings.audience,
            tenant=self.settings.tenant_id,
            scope=self.settings.token_scope,
        )

    def health(self) -> watch.Health:
        """Return the health report, read anew after some seconds: anybody may ask for it."""
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

    def _measure(self, name: str, facts: Mapping[str, Value | None]) -> None:
        self._metrics.measure(name, facts)

    @cached_property
    def _telemetry(self) -> Telemetry:
        from shared.adapters.telemetry import LogTelemetry

        return LogTelemetry(self._measure)

    @cached_property
    def _metrics(self) -> Any:
        from shared.adapters.metrics import Metrics

        return Metrics()

    def _authorize(self, principal: Principal, action: Action, scope: str) -> Decision:
        return self._authorizer(principal, action, scope)

    @cached_property
    def _authorizer(self) -> Authorizer:
        from shared.adapters.roles import RoleAuthorizer

        return RoleAuthorizer(
            lambda: self._arm_as_authorizer, self.settings.scopes, lambda: datetime.now(UTC)
        )

    @cached_property
    def _arm_as_authorizer(self) -> Any:
        """Return the reader of role assignments: an identity apart from the network's."""
        from shared.adapters.arm import ArmReader
        from shared.adapters.arm_clients import arm_client

        credential = self._arm_credential("authorizer", self.settings.authorizer_client_id)
        client = arm_client(self.settings.arm_url, credential, seconds=_SOMEBODY_WAITS)
        return ArmReader(client, patience=_CALLER_WAITS)

    @cached_property
    def _tables(self) -> Tables:
        from shared.adapters.tables import AzureTables

        return AzureTables.connect(*self._storage(self.settings.storage_tables))

    @cached_property
    def _queues(self) -> Queues:
        from shared.adapters.queues import AzureQueues

        return AzureQueues.connect(*self._storage(self.settings.storage_queues))

    def _storage(self, address: str) -> tuple[str, Any]:
        """Return a connection string, or an account address and the host's identity."""
        if self.settings.storage:
            return self.settings.storage, None
        return address, self._identity(self.settings.storage_client_id)

    @cached_property
    def inventory(self) -> Inventory:
        """Return the lists of what is in reach."""
        return self._network.inventory

    @cached_property
    def estates(self) -> Estates:
        """Return what reports read of the cloud, with the reader's identity where one is named."""
        services, inventory = self.services, self.inventory
        if self.settings.reader_client_id:
            reader = self._network_parts(self._reader_identity)
            bastions = when_used(lambda: reader.bastions)
            services = replace(services, firewalls=reader.registry, bastions=bastions)
            inventory = reader.inventory
        return Estates(services, inventory, seconds=self.settings.machines_cache_seconds)

    @cached_property
    def _network(self) -> NetworkParts:
        """Return the parts that read VMs and write firewalls."""
        return self._network_parts(self._network_identity)

    def _network_parts(self, make_identity: Callable[[], Any]) -> NetworkParts:
        return NetworkParts(
            settings=self.settings,
            make_identity=make_identity,
            make_aws_api=self._new_aws_api,
            table=lambda: self._tables.firewalls,
            names=self.names,
            telemetry=self._telemetry,
            clock=_utc_now,
        )

    def _reader_identity(self) -> Any:
        """Return the identity that reads for reports and writes nothing."""
        return self._arm_credential("reader", self.settings.reader_client_id)

    def _network_identity(self) -> Any:
        """Return the identity for VMs and firewalls: one, or several that share the calls."""
        from shared.adapters.arm_clients import identity_by_place

        settings = self.settings
        shared = settings.network_identities
        usual = self._arm_credential("network", settings.network_client_id)
        if not shared.all:
            return usual
        more = {each: self._arm_credential(f"network:{each}", each) for each in shared.all}
        return identity_by_place(settings.arm_url, {"": usual, **more}, shared.choose)

    def _arm_credential(self, name: str, client_id: str) -> Any:
        """Return an identity for ARM; the simulator on this machine gets a name, no token."""
        if self.settings.is_local:
            from shared.adapters.arm_clients import LocalName

            return LocalName(name)
        return self._identity(client_id)

    def _identity(self, client_id: str) -> Any:
        from shared.adapters.identity import managed_identity

        return managed_identity(client_id)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _days(count: int) -> timedelta | None:
    return timedelta(days=count) if count else None


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
