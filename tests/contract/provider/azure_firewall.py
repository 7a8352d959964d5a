"""Shared parts of the tests of Azure Firewall."""

from collections.abc import Callable
from typing import Any

from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client
from shared.adapters.arm_firewall_estate import ArmFirewallEstate
from shared.firewalls.azure_rules.finding import AzureFirewallFinder
from tests import firewalls as hub
from tests.contract.provider.grounds_azure_firewall import (
    SETTINGS,
    ClassicGround,
    IpGroupGround,
    PolicyGround,
)
from tests.contract.provider.subject import Subject

AZURE_FIREWALLS: dict[str, Callable[[], Any]] = {
    "firewall policy": PolicyGround,
    "IP group": IpGroupGround,
    "Azure Firewall": ClassicGround,
}


def finder_of(subject: Subject, **options: Any) -> AzureFirewallFinder:
    """Return a finder over both subscriptions, through the real adapter."""
    ground: Any = subject.ground
    url = ground.hub.client.url
    estate = ArmFirewallEstate(
        ArmReader(arm_client(url, LocalName("jit"))),
        (f"/subscriptions/{hub.SUBSCRIPTION}",),
        (f"/subscriptions/{hub.HUB_SUBSCRIPTION}",),
    )
    return AzureFirewallFinder(estate, SETTINGS, seconds=lambda: 0.0, **options)


def edit(subject: Subject, *resources: dict[str, Any]) -> None:
    """Put resources in place as another writer would, at once."""
    subject.ground.hub.edit(*resources)  # type: ignore[attr-defined]


def body_of(subject: Subject, resource_id: str) -> dict[str, Any]:
    """Return a resource as it reads."""
    found: dict[str, Any] = subject.ground.hub.get(resource_id)  # type: ignore[attr-defined]
    assert found is not None
    return found
