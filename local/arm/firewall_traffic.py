"""Walk packets through the firewalls of the estate, by what each instance enforces."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.arm import ids
from local.arm.firewall_bodies import policy_key, public_addresses
from local.arm.firewalls import FIREWALLS, prefixes_of
from local.arm.policies import base_key, groups_of
from local.arm.prefixes import network
from local.arm.store import Resource, Store

INSTANCES = (0, 1)
PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection."""

    source: str
    destination: str
    port: int
    protocol: str


@dataclass(frozen=True)
class Rule:
    """One rule as an instance enforces it; `allows` None: it translates."""

    name: str
    body: Mapping[str, Any]
    protocols: tuple[str, ...]
    allows: bool | None


class FirewallTraffic:
    """Evaluates firewalls as documented: DNAT first, then network rules, terminating."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def firewalls(self) -> list[Resource]:
        """Return the firewalls that carry traffic: a deallocated one carries none."""
        return [each for each in self._store.of_type(FIREWALLS) if addresses_of(each)]

    def translate(self, firewall: Resource, packet: Packet, instance: int) -> tuple[str, str, int]:
        """Return the rule that translates a packet, and where to; an empty name: none."""
        if packet.destination not in public_addresses(self._store, firewall):
            return "", "", 0
        for rule in self._rules(firewall, instance):
            if rule.allows is None and self._matches(rule, packet, instance):
                return (
                    rule.name,
                    str(rule.body.get("translatedAddress", "")),
                    int(rule.body["translatedPort"]),
                )
        return "", "", 0

    def filter(self, firewall: Resource, packet: Packet, instance: int) -> tuple[str, bool]:
        """Return the network rule that decides on a packet; without one it is denied."""
        for rule in self._rules(firewall, instance):
            if rule.allows is not None and self._matches(rule, packet, instance):
                return rule.name, rule.allows
        return "default deny", False

    def translations(self, firewall: Resource) -> Iterator[tuple[str, int]]:
        """Return every public address and port that some rule translates."""
        for instance in INSTANCES:
            for rule in self._rules(firewall, instance):
                if rule.allows is None:
                    for address in rule.body.get("destinationAddresses") or ():
                        for port in rule.body.get("destinationPorts") or ():
                            low, _, high = str(port).partition("-")
                            yield from ((address, n) for n in {int(low), int(high or low)})

    def seen_sources(self, firewall: Resource) -> list[str]:
        """Return addresses that instances of a firewall show behind it, in its own subnet."""
        subnet = self._store.get(_subnet_id(firewall))
        if subnet is None:
            return []
        prefix = ipaddress.ip_network(prefixes_of(subnet)[0])
        return [str(prefix[5]), str(prefix[prefix.num_addresses - 2])]

    # --- rules in order

    def _rules(self, firewall: Resource, instance: int) -> list[Rule]:
        enforced = self._store.slow.enforced(self._store, firewall["id"], instance)
        if enforced is None:
            return []
        policy = policy_key(enforced)
        found = list(self._of_policy(policy, instance) if policy else _classic(enforced))
        return sorted(found, key=lambda rule: rule.allows is not None)  # DNAT first; stable

    def _of_policy(self, policy_id: str, instance: int) -> Iterator[Rule]:
        """Return a policy's rules, the parent's first; then by priority."""
        policy = self._store.get(policy_id)
        if policy is None:
            return
        if base_key(policy):
            yield from self._of_policy(base_key(policy), instance)
        keys = {ids.key(each["id"]) for each in groups_of(self._store, policy_id)}
        start = f"{ids.key(policy_id)}/rulecollectiongroups/"
        keys |= {key for key in self._store.slow.old if key.startswith(start)}
        groups = [self._store.slow.enforced(self._store, key, instance) for key in sorted(keys)]
        for group in sorted(filter(None, groups), key=lambda g: g["properties"]["priority"]):
            collections = group["properties"].get("ruleCollections") or []
            for each in sorted(collections, key=lambda c: c.get("priority", 0)):
                yield from _collection(each, group["name"])

    def _matches(self, rule: Rule, packet: Packet, instance: int) -> bool:
        body = rule.body
        protocols = {each.upper() for each in rule.protocols}
        return (
            bool(protocols & {"ANY", packet.protocol.upper()})
            and any(
                _in_range(str(each), packet.port) for each in body.get("destinationPorts") or ()
            )
            and self._holds(body, "source", packet.source, instance)
            and self._holds(body, "destination", packet.destination, instance)
        )

    def _holds(self, body: Mapping[str, Any], side: str, address: str, instance: int) -> bool:
        prefixes = list(body.get(f"{side}Addresses") or ())
        for group_id in body.get(f"{side}IpGroups") or ():
            group = self._store.slow.enforced(self._store, group_id, instance)
            prefixes += group["properties"].get("ipAddresses") or [] if group else []
        return any(_in_prefix(each, address) for each in prefixes)


def addresses_of(firewall: Mapping[str, Any]) -> list[str]:
    """Return the private addresses of a firewall, by which routes name it."""
    found = [
        configuration["properties"]["privateIPAddress"]
        for configuration in firewall["properties"].get("ipConfigurations") or ()
        if configuration["properties"].get("privateIPAddress")
    ]
    hub = firewall["properties"].get("hubIPAddresses") or {}
    return [*found, *([hub["privateIPAddress"]] if hub.get("privateIPAddress") else [])]


def is_private(address: str) -> bool:
    """Tell whether a firewall leaves the source of a packet as it is."""
    found = ipaddress.ip_address(address)
    return any(found.version == each.version and found in each for each in PRIVATE)


def _subnet_id(firewall: Mapping[str, Any]) -> str:
    for configuration in firewall["properties"].get("ipConfigurations") or ():
        subnet = configuration["properties"].get("subnet")
        if subnet:
            return str(subnet["id"])
    return ""


def _classic(firewall: Resource) -> Iterator[Rule]:
    properties = firewall["properties"]
    for member in ("natRuleCollections", "networkRuleCollections"):
        ordered = sorted(properties.get(member) or (), key=lambda c: c["properties"]["priority"])
        for each in ordered:
            action = each["properties"].get("action", {}).get("type", "")
            allows = None if member == "natRuleCollections" else action == "Allow"
            for rule in each["properties"]["rules"]:
                name = f"{each['name']}/{rule['name']}"
                yield Rule(name, rule, tuple(rule.get("protocols") or ()), allows)


def _collection(collection: Mapping[str, Any], group: str) -> Iterator[Rule]:
    action = str((collection.get("action") or {}).get("type", ""))
    for rule in collection.get("rules") or ():
        rule_type = rule.get("ruleType")
        if rule_type not in ("NatRule", "NetworkRule"):
            continue
        allows = None if rule_type == "NatRule" else action.lower() == "allow"
        name = f"{group}/{collection['name']}/{rule['name']}"
        yield Rule(name, rule, tuple(rule.get("ipProtocols") or ()), allows)


def _in_range(ports: str, port: int) -> bool:
    if ports == "*":
        return True
    low, _, high = ports.partition("-")
    return int(low) <= port <= int(high or low)


def _in_prefix(prefix: str, address: str) -> bool:
    if prefix in ("*", "Any"):
        return True
    found, wanted = network(prefix), ipaddress.ip_address(address)
    if found is not None:
        return wanted in found
    low, _, high = prefix.partition("-")
    try:
        return ipaddress.ip_address(low) <= wanted <= ipaddress.ip_address(high)  # type: ignore[operator]
    except ValueError:
        return False


def routed_to(store: Store, subnet: Mapping[str, Any] | None) -> list[str]:
    """Return the next hops of a subnet's own default route."""
    table_id = ((subnet or {}).get("properties", {}).get("routeTable") or {}).get("id", "")
    table = store.get(table_id) if table_id else None
    return [
        str(route["properties"].get("nextHopIpAddress", ""))
        for route in (table["properties"].get("routes") or () if table else ())
        if route["properties"].get("nextHopType") == "VirtualAppliance"
        and route["properties"].get("addressPrefix") == "0.0.0.0/0"
    ]


def only(found: Iterable[Resource], address: str) -> Resource | None:
    """Return the firewall with a private address."""
    return next((each for each in found if address in addresses_of(each)), None)
