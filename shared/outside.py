"""The outside systems of the app, over one set of settings.

Each is connected to when it is first used, and its adapter imported only then.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any

from shared.ports import (
    Authorizer,
    Bastions,
    BastionSessions,
    Queues,
    Tables,
    Telemetry,
    Value,
)
from shared.settings import Settings

INTERACTIVE_TIMEOUT_SECONDS = 15  # seconds for an answer that a caller waits for
_QUOTA_WAITS, _CALLER_WAITS = 30, 3  # seconds for a quota of ARM to fill up again


class Outside:
    """The outside systems that settings name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def new_aws_api(self) -> Any:
        """Return the client of EC2: keys come from STS for the network identity's token."""
        from shared.adapters.aws import AwsApi, identity_token

        settings = self.settings
        audience = settings.aws_audience or settings.network_client_id
        return AwsApi(
            settings.aws,
            identity_token(self.identity(settings.network_client_id), audience),
            session_name=f"jit-{settings.deployment_id}",
            endpoint_url=settings.aws_url,
        )

    @cached_property
    def logic_app(self) -> Any:
        """Return the approval workflow."""
        from shared.adapters.logic_app import LogicApp

        settings = self.settings
        credential = None if settings.is_local else self.identity(settings.storage_client_id)
        return LogicApp(settings.logic_app_url, credential, settings.logic_app_audience)

    @cached_property
    def verifier(self) -> Any:
        """Return the verifier of callers' tokens."""
        from shared.adapters.tokens import TokenVerifier

        return TokenVerifier(
            keys_url=self.settings.keys_url,
            issuers=self.settings.accepted_issuers,
            audiences=self.settings.audience,
            tenant=self.settings.tenant_id,
            scope=self.settings.token_scope,
        )

    def _measure(self, name: str, attributes: Mapping[str, Value | None]) -> None:
        self._metrics.measure(name, attributes)

    @cached_property
    def telemetry(self) -> Telemetry:
        """Return where events and faults are logged."""
        from shared.adapters.telemetry import LogTelemetry

        return LogTelemetry(self._measure)

    @cached_property
    def _metrics(self) -> Any:
        from shared.adapters.metrics import Metrics

        return Metrics()

    @cached_property
    def authorizer(self) -> Authorizer:
        """Return the evaluator of role assignments."""
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
        client = arm_client(self.settings.arm_url, credential, seconds=INTERACTIVE_TIMEOUT_SECONDS)
        return ArmReader(client, patience=_CALLER_WAITS)

    @cached_property
    def tables(self) -> Tables:
        """Return the tables of the storage account."""
        from shared.adapters.tables import AzureTables

        return AzureTables.connect(*self._storage(self.settings.storage_tables))

    @cached_property
    def queues(self) -> Queues:
        """Return the queues of the storage account."""
        from shared.adapters.queues import AzureQueues

        return AzureQueues.connect(*self._storage(self.settings.storage_queues))

    def _storage(self, address: str) -> tuple[str, Any]:
        """Return a connection string, or an account address and the host's identity."""
        if self.settings.storage:
            return self.settings.storage, None
        return address, self.identity(self.settings.storage_client_id)

    def network_client(self, subscription: str) -> Any:
        """Return Microsoft's network client of a subscription."""
        return self._network_clients(subscription)

    @cached_property
    def _network_clients(self) -> Callable[[str], Any]:
        """Return how a network client is made, once for each subscription."""
        from shared.adapters.arm_clients import network_client

        url, credential = self.settings.arm_url, self._network_identity
        return cache(lambda subscription: network_client(url, credential, subscription))

    @cached_property
    def bastions(self) -> Bastions:
        """Return the finder of Azure Bastion hosts."""
        from shared.adapters.arm_bastion import ArmBastions

        return ArmBastions(self.arm_as_network, self.settings.scopes)

    @cached_property
    def bastion_sessions(self) -> BastionSessions:
        """Return the live sessions of Bastion hosts."""
        from shared.adapters.arm_bastion_sessions import connect

        return connect(self.settings.arm_url, self._network_identity)

    @cached_property
    def arm_as_network(self) -> Any:
        """Return the reader of VMs and what stands in front of them."""
        from shared.adapters.shared_reads import SharedArmReader

        client = self.arm_network_client()
        return SharedArmReader(client, patience=_QUOTA_WAITS, pace=self.read_pace)

    @cached_property
    def read_pace(self) -> Any:
        """Return the pace of reads of ARM, one for all that is read as the network's identity."""
        from shared.adapters.shared_reads import ReadPace

        return ReadPace()

    def arm_network_client(self) -> Any:
        """Return a client of ARM as the network's identity."""
        from shared.adapters.arm_clients import arm_client

        return arm_client(self.settings.arm_url, self._network_identity)

    @cached_property
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
        return self.identity(client_id)

    def identity(self, client_id: str) -> Any:
        """Return a managed identity."""
        from shared.adapters.identity import managed_identity

        return managed_identity(client_id)


class ReaderOutside(Outside):
    """The outside systems where the identity of reports stands in for the network's at ARM."""

    @cached_property
    def _network_identity(self) -> Any:
        return self._arm_credential("reader", self.settings.reader_client_id)
