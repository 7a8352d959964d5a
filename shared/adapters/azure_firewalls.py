"""The three providers of Azure Firewall over one client of Azure Resource Manager."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from shared.adapters.arm import ArmReader
from shared.adapters.arm_firewall_estate import ArmFirewallEstate
from shared.adapters.arm_firewalls import ArmFirewalls
from shared.firewalls.azure_firewall.provider import PACE, AzureFirewallProvider
from shared.firewalls.azure_rules.cloud import Body
from shared.firewalls.azure_rules.estate import Estate
from shared.firewalls.azure_rules.finding import AzureFirewallFinder
from shared.firewalls.azure_rules.model import AzureSettings, place_of
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.firewalls.ip_group.provider import IpGroupProvider
from shared.firewalls.registry import ReadNotes
from shared.ports import FirewallProvider
from shared.settings import Settings, entry_ports

_QUOTA_WAITS = 30  # seconds for a quota of ARM to fill up again
MakeClient = Callable[[], Any]


@dataclass(frozen=True)
class AzureFirewalls:
    """The providers, in the order of preference, and what is to be known of paths."""

    providers: tuple[FirewallProvider, ...]
    read_notes: ReadNotes


def azure_firewalls(settings: Settings, make_client: MakeClient) -> AzureFirewalls:
    """Make the providers; `make_client` is called when one of them is first used.

    An IP group of ours is preferred wherever a rule names it, then a firewall's policy, then
    classic rules where that is allowed: AzureFirewallFinder attaches VMs so.
    """
    chosen = azure_settings(settings)
    cloud = _CloudWhenUsed(make_client)
    finder = AzureFirewallFinder(
        _EstateWhenUsed(make_client, settings),
        chosen,
        time.monotonic,
        classic_scopes=settings.firewall_classic_scopes,
    )
    pace = replace(PACE, poll=settings.firewall_poll, shortest=settings.firewall_min_duration)
    return AzureFirewalls(
        (
            IpGroupProvider(cloud, chosen, finder.attach_to_groups, pace=pace),
            FirewallPolicyProvider(cloud, chosen, finder.attach_to_policies, pace=pace),
            AzureFirewallProvider(cloud, chosen, finder.attach_to_firewalls, pace=pace),
        ),
        finder.notes,
    )


def azure_settings(settings: Settings) -> AzureSettings:
    """Return the deployer's settings for Azure Firewall."""
    first, last = entry_ports(settings.firewall_ports)
    return AzureSettings(
        settings.deployment_id,
        first,
        last,
        group_priority=settings.firewall_group_priority,
        delete_empty=settings.firewall_empty_group == "delete",
        share_ports=settings.firewall_share_ports,
        public_address=settings.firewall_public_address,
        hub_scopes=hub_scopes(settings),
    )


def hub_scopes(settings: Settings) -> tuple[str, ...]:
    """Return where firewalls are read beside the scopes of VMs, as places that hold lists."""
    named = (*settings.firewall_scopes, *settings.firewall_classic_scopes)
    return tuple(dict.fromkeys(place_of(each) for each in named))


@dataclass(frozen=True)
class _CloudWhenUsed:
    """Reads and writes through a client that is made when it is first used."""

    make_client: MakeClient

    @cached_property
    def _cloud(self) -> ArmFirewalls:
        return ArmFirewalls(self.make_client(), patience=_QUOTA_WAITS)

    def get(self, resource_id: str) -> Body | None:
        return self._cloud.get(resource_id)

    def list(self, path: str) -> list[Body]:
        return self._cloud.list(path)

    def put(self, resource_id: str, body: Body, etag: str = "") -> None:
        self._cloud.put(resource_id, body, etag)

    def delete(self, resource_id: str, etag: str = "") -> None:
        self._cloud.delete(resource_id, etag)


@dataclass(frozen=True)
class _EstateWhenUsed:
    """Reads the lists that tell which firewall stands before which VM."""

    make_client: MakeClient
    settings: Settings

    @cached_property
    def _estate(self) -> ArmFirewallEstate:
        reader = ArmReader(self.make_client(), patience=_QUOTA_WAITS)
        scopes = tuple(dict.fromkeys(place_of(each) for each in self.settings.scopes))
        return ArmFirewallEstate(reader, scopes, hub_scopes(self.settings))

    def read(self) -> Estate:
        return self._estate.read()
