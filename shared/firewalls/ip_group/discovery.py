"""Which rules use an IP group, on policies and on firewalls with classic rules."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.ids import key_of
from shared.domain.model import Attachment
from shared.firewalls.azure_firewall import wire as classic
from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.discovery import VmPath, rules_of
from shared.firewalls.azure_rules.estate import Estate, Resource
from shared.firewalls.azure_rules.model import AzureSettings, Rule, texts
from shared.firewalls.azure_rules.reading import existing, resolve_groups
from shared.firewalls.azure_rules.wire import names_only
from shared.firewalls.firewall_policy import wire as policies
from shared.firewalls.firewall_policy.discovery import STAGE
from shared.firewalls.firewall_policy.reading import read_policies
from shared.firewalls.ip_group.wire import is_ours


@dataclass(frozen=True)
class UsedRules:
    """The rules on every firewall that uses a group."""

    rules: tuple[Rule, ...] = ()
    own: frozenset[int] = frozenset()  # places of the rules whose only source is the group
    bodies: tuple[Any, ...] = ()
    settling: tuple[Body, ...] = ()
    firewall_ids: tuple[str, ...] = ()

    @property
    def switches(self) -> tuple[Rule, ...]:
        """Return the rules that the group opens."""
        return tuple(self.rules[at] for at in sorted(self.own))


def read_users(cloud: FirewallCloud, group: Body, settings: AzureSettings) -> UsedRules:
    """Read the users that the group itself lists, and the rules there."""
    properties, key = group["properties"], key_of(group["id"])
    ordered: list[tuple[Rule, bool]] = []
    bodies: list[Any] = []
    settling: list[Body] = []
    firewall_ids: list[str] = []
    for reference in properties.get("firewallPolicies") or ():
        parts = read_policies(cloud, existing(cloud, reference["id"]))
        listed = [each for of_policy in parts.groups for each in of_policy]
        addresses, ip_groups = _resolve(cloud, policies.named_groups(listed), group)
        rules = policies.rules_in_order(parts.groups, settings, addresses)
        ordered += zip(rules, _own(policies.bodies_in_order(parts.groups), key), strict=True)
        bodies += [parts.policies, parts.groups, ip_groups]
        settling += [*parts.policies, *listed]
        firewall_ids += parts.firewall_ids
    for reference in properties.get("firewalls") or ():
        firewall = existing(cloud, reference["id"])
        if (firewall["properties"].get("firewallPolicy") or {}).get("id"):
            continue
        addresses, ip_groups = _resolve(cloud, classic.named_groups(firewall), group)
        rules = classic.rules_in_order(firewall, settings, addresses)
        ordered += zip(rules, _own(classic.bodies_in_order(firewall), key), strict=True)
        bodies += [firewall, ip_groups]
        firewall_ids.append(str(firewall["id"]))
    return UsedRules(
        tuple(rule for rule, _ in ordered),
        frozenset(at for at, (_, own) in enumerate(ordered) if own),
        tuple(bodies),
        tuple(settling),
        tuple(dict.fromkeys(firewall_ids)),
    )


def _own(bodies: Iterable[Mapping[str, Any]], key: str) -> list[bool]:
    """Tell of each rule whether one IP group is its only source."""
    return [names_only(body, key) for body in bodies]


def _resolve(
    cloud: FirewallCloud, named: Iterable[str], group: Body
) -> tuple[dict[str, tuple[str, ...]], list[Body]]:
    """Resolve other groups from the cloud, and this one from what was read of it."""
    others = [each for each in named if key_of(each) != key_of(group["id"])]
    addresses, bodies = resolve_groups(cloud, others)
    addresses[key_of(group["id"])] = texts(group["properties"].get("ipAddresses"))
    return addresses, bodies


@dataclass(frozen=True)
class Switched:
    """The openings of an IP group of ours on one firewall."""

    group_id: str
    address: str
    port: int


def switches(estate: Estate, firewall: Resource, settings: AzureSettings) -> list[Switched]:
    """Return the openings of our IP groups on a firewall, by the rules that name them alone."""
    found = []
    rules, bodies = rules_of(estate, firewall, settings)
    groups = [each for each in estate.ip_groups if is_ours(str(each["id"]), settings)]
    for rule, body in zip(rules, bodies, strict=True):
        for group in groups:
            if names_only(body, key_of(str(group["id"]))):
                targets = [rule.to_address] if rule.translates else list(rule.destinations)
                ports = [rule.to_port] if rule.translates else list(rule.ports)
                found += [
                    Switched(str(group["id"]), target, int(port))
                    for target in targets
                    for port in ports
                    if port.isdecimal()
                ]
    return found


def attachments(path: VmPath, estate: Estate, settings: AzureSettings) -> tuple[Attachment, ...]:
    """Return the IP groups of ours that open a VM's ports."""
    found: dict[str, Attachment] = {}
    for stand in path.stands:
        if stand.unsupported:
            continue
        for each in switches(estate, stand.firewall, settings):
            if each.address in stand.addresses:
                present = found.get(each.group_id)
                addresses = (*(present.addresses if present else ()), each.address)
                ports = {*(present.ports if present else ()), each.port}
                found[each.group_id] = Attachment(
                    each.group_id,
                    tuple(dict.fromkeys(addresses)),
                    stage=STAGE,
                    shows_public_as=stand.prefixes,
                    ports=tuple(sorted(ports)),
                )
    return tuple(found.values())
