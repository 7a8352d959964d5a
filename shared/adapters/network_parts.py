"""The parts that read VMs and read and write firewalls, all as one identity of ARM."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, cached_property
from typing import Any

from shared.domain.ids import RuleNames
from shared.firewalls.nsg.making import GroupParts, Groups
from shared.firewalls.registry import Registry
from shared.ports import Bastions, Inventory, Machines, Table, Telemetry
from shared.settings import Settings

_QUOTA_WAITS = 30  # seconds for a quota of ARM to fill up again


@dataclass(frozen=True)
class NetworkParts:
    """The providers, the VMs, the Bastion hosts and the lists; each is made when first used.

    ARM counts calls for each identity, so parts with another identity use another quota.
    """

    settings: Settings
    make_identity: Callable[[], Any]
    make_aws_api: Callable[[], Any]
    table: Callable[[], Table]
    names: RuleNames
    telemetry: Telemetry
    clock: Callable[[], datetime]

    @cached_property
    def registry(self) -> Registry:
        """Return the providers of this installation, as far as settings name some."""
        groups = self._groups
        registry = Registry((groups.provider,), guard=groups.probe)
        if self.settings.reads_azure_firewalls:
            from shared.adapters.azure_firewalls import azure_firewalls

            azure = azure_firewalls(self.settings, self._arm_client)
            providers = (groups.provider, *azure.providers)
            registry = replace(registry, providers=providers, read_notes=azure.read_notes)
        if not self.settings.aws.listed:
            return registry
        from shared.firewalls.ec2.provider import Ec2Provider
        from shared.firewalls.ec2.wire import Ec2WhenUsed

        settings = self.settings
        ec2 = Ec2Provider(Ec2WhenUsed(self.make_aws_api), settings.aws, settings.deployment_id)
        return replace(
            registry,
            providers=(*registry.providers, ec2),
            list_machines=ec2.machines,
            name_machine=settings.aws.defender_id_of,
        )

    @cached_property
    def _groups(self) -> Groups:
        """Return the firewalls that this app has without further settings."""
        settings = self.settings
        return Groups(
            GroupParts(
                client=self._client,
                membership=self._read_membership,
                table=self.table,
                names=self.names,
                telemetry=self.telemetry,
                clock=self.clock,
                whole_writes=settings.nsg_write == "auto",
                probe_group=settings.probe_nsg,
                allow_from=settings.allow_from,
            )
        )

    def _client(self, subscription: str) -> Any:
        """Return Microsoft's network client of a subscription."""
        return self._clients(subscription)

    @cached_property
    def _clients(self) -> Callable[[str], Any]:
        """Return how a network client is made, once for each subscription."""
        from shared.adapters.arm_clients import network_client

        url, credential = self.settings.arm_url, self._identity
        return cache(lambda subscription: network_client(url, credential, subscription))

    def _read_membership(self, subscription: str) -> Any:
        """Read the members of application security groups, for rules that name some."""
        from shared.adapters.arm import read_membership

        return read_membership(self._arm, self.settings.scopes, subscription)

    @cached_property
    def machines(self) -> Machines:
        """Return the VMs, each found by reads of its own."""
        from shared.adapters.arm import VirtualMachines

        return VirtualMachines(self._arm, self.settings.scopes, self._groups.look)

    @cached_property
    def bastions(self) -> Bastions:
        """Return the Bastion hosts."""
        from shared.adapters.arm_bastion import ArmBastions

        return ArmBastions(self._arm, self.settings.scopes)

    @cached_property
    def inventory(self) -> Inventory:
        """Return the lists of what is in scope."""
        from shared.adapters.arm import ArmInventory

        return ArmInventory(self._arm)

    @cached_property
    def _arm(self) -> Any:
        """Return the reader of VMs and what stands in front of them."""
        from shared.adapters.shared_reads import SharedArmReader

        return SharedArmReader(self._arm_client(), patience=_QUOTA_WAITS)

    def _arm_client(self) -> Any:
        """Return a client of ARM with this identity."""
        from shared.adapters.arm_clients import arm_client

        return arm_client(self.settings.arm_url, self._identity)

    @cached_property
    def _identity(self) -> Any:
        return self.make_identity()
