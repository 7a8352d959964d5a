"""Rules as JSON, as far as classic rules and a policy's are alike. Pure."""

from collections.abc import Mapping
from typing import Any

from shared.domain.ids import key_of
from shared.firewalls.azure_rules.model import AzureSettings, Rule, is_own_ip_group, texts

Addresses = Mapping[str, tuple[str, ...]]
"""The addresses of IP groups by key; a group that could not be read is missing."""


def make_rule(  # noqa: PLR0913 - classic rules differ in these
    rule: Mapping[str, Any],
    what: str,
    protocols: tuple[str, ...],
    ports: tuple[str, ...],
    *,
    allows: bool,
    ours: bool,
    held: bool,
    addresses: Addresses,
) -> Rule:
    """Return a rule with its IP groups resolved; what cannot be resolved is named."""
    sources, unread = resolved(rule, "source", addresses)
    destinations, unread_too = resolved(rule, "destination", addresses)
    unresolved = [*unread, *unread_too]
    fqdns = (*texts(rule.get("destinationFqdns")), *texts(rule.get("targetFqdns")))
    fqdns = (*fqdns, *texts(rule.get("fqdnTags")), *texts(rule.get("targetUrls")))
    unresolved += [f"name '{each}'" for each in fqdns[:1]]
    if rule.get("translatedFqdn"):
        unresolved.append(f"name '{rule['translatedFqdn']}'")
    return Rule(
        what=what,
        translates="translatedPort" in rule,
        allows=allows,
        protocols=protocols,
        sources=sources,
        destinations=destinations,
        ports=ports,
        to_address=str(rule.get("translatedAddress") or ""),
        to_port=str(rule.get("translatedPort") or ""),
        ours=ours,
        held=held,
        unresolved=", ".join(unresolved),
    )


def resolved(
    rule: Mapping[str, Any], side: str, addresses: Addresses
) -> tuple[tuple[str, ...], list[str]]:
    """Return the prefixes of one side of a rule, and the IP groups that could not be read."""
    prefixes = list(texts(rule.get(f"{side}Addresses")))
    unread = []
    for group in texts(rule.get(f"{side}IpGroups")):
        if key_of(group) in addresses:
            prefixes += addresses[key_of(group)]
        else:
            unread.append(f"IP group '{group.rsplit('/', 1)[-1]}'")
    return tuple(prefixes), unread


def number(text: str) -> int:
    """Read a port; anything else is 0."""
    return int(text) if text.isdecimal() else 0


def is_switch(rule: Mapping[str, Any], settings: AzureSettings) -> bool:
    """Tell whether IP groups of ours are the only sources of a rule: what it opens is ours."""
    groups = texts(rule.get("sourceIpGroups"))
    own = bool(groups) and all(is_own_ip_group(each, settings) for each in groups)
    return own and not texts(rule.get("sourceAddresses"))


def names_only(rule: Mapping[str, Any], group_key: str) -> bool:
    """Tell whether one IP group is the only source of a rule."""
    groups = [key_of(each) for each in texts(rule.get("sourceIpGroups"))]
    return groups == [group_key] and not texts(rule.get("sourceAddresses"))


def priority_of(properties: Mapping[str, Any]) -> int:
    """Read a priority; one that cannot be read counts as the first."""
    given = properties.get("priority")
    return given if isinstance(given, int) else 0


def application_ports(rule: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ports of an application rule; an entry that cannot be read is every port."""
    given = rule.get("protocols")
    return tuple(
        str(each.get("port")) if isinstance(each, Mapping) else "*"
        for each in (given if isinstance(given, list) else ())
    )
