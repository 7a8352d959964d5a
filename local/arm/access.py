"""Evaluate inbound traffic to a virtual machine as Azure does."""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.arm import ids
from local.arm.nsg import Group
from local.arm.prefixes import network
from local.arm.rules import DEFAULT_RULES, Rule
from local.arm.store import NIC, Resource, Store, nics_of, reference

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Where the health probes of Azure's load balancer come from (its documentation).
LOAD_BALANCER = frozenset({"168.63.129.16", "fe80::1234:5678:9abc"})
EPHEMERAL_PORT = 50000


@dataclass(frozen=True)
class Endpoint:
    """One private address of a network interface."""

    address: Address
    nic: Resource
    subnet_id: str
    asgs: frozenset[str]


@dataclass(frozen=True)
class Flow:
    """A connection attempt."""

    source: Address
    to: Endpoint
    port: int
    protocol: str
    source_port: int = EPHEMERAL_PORT


class Evaluator:
    """Judges flows by what has settled; an unfinished write filters nothing yet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._endpoints = [each for nic in store.of_type(NIC) for each in _endpoints_of(nic)]

    def endpoints(self, machine: Mapping[str, Any]) -> list[Endpoint]:
        """Return the addresses of a virtual machine, the primary interface's first."""
        nics = [ids.key(nic_id) for nic_id in nics_of(machine)]
        own = [each for each in self._endpoints if ids.key(each.nic["id"]) in nics]
        return sorted(own, key=lambda each: nics.index(ids.key(each.nic["id"])))

    def judge(self, flow: Flow) -> dict[str, Any]:
        """Return whether a flow gets through, and the deciding rule of each firewall.

        The subnet's group comes first and the interface's second; both must allow. Without any
        group everything is let through.
        """
        verdicts = [self._verdict(group, flow) for group in self._firewalls(flow.to)]
        return {
            "address": str(flow.to.address),
            "allowed": all(verdict["access"] == "Allow" for verdict in verdicts),
            "rules": verdicts,
        }

    def _firewalls(self, to: Endpoint) -> Iterator[Group]:
        subnet = self._store.get(to.subnet_id)
        for holder in (subnet, to.nic):
            group_id = reference(holder, "networkSecurityGroup") if holder else None
            group = self._store.group(group_id) if group_id else None
            if group is not None:
                yield group

    def _verdict(self, group: Group, flow: Flow) -> dict[str, str]:
        ordered = sorted(group.settled.values(), key=lambda rule: rule.properties["priority"])
        for rule in (*ordered, *DEFAULT_RULES):
            if rule.properties["direction"] == "Inbound" and self.matches(rule, flow):
                return {
                    "firewall": group.group_id,
                    "rule": rule.name,
                    "access": rule.properties["access"],
                }
        raise AssertionError("DenyAllInBound matches everything")

    def matches(self, rule: Rule, flow: Flow) -> bool:
        """Tell whether one rule is about a flow."""
        given = rule.properties
        return (
            given["protocol"].lower() in ("*", flow.protocol.lower())
            and _has_port(given, "source", flow.source_port)
            and _has_port(given, "destination", flow.port)
            and self._has_address(given, "source", flow.source, flow)
            and self._has_address(given, "destination", flow.to.address, flow)
        )

    def _has_address(
        self, given: Mapping[str, Any], side: str, address: Address, flow: Flow
    ) -> bool:
        groups = {ids.key(each["id"]) for each in given.get(f"{side}ApplicationSecurityGroups", [])}
        if groups:
            return bool(groups & self._asgs_of(side, address, flow))
        prefixes = [*given[f"{side}AddressPrefixes"], given.get(f"{side}AddressPrefix")]
        return any(self._in_prefix(prefix, address, flow) for prefix in prefixes if prefix)

    def _asgs_of(self, side: str, address: Address, flow: Flow) -> frozenset[str]:
        if side == "destination":
            return flow.to.asgs
        vnet = _vnet_of(flow.to.subnet_id)
        return frozenset().union(
            *(
                each.asgs
                for each in self._endpoints
                if each.address == address and _vnet_of(each.subnet_id) == vnet
            )
        )

    def _in_prefix(self, prefix: str, address: Address, flow: Flow) -> bool:
        """Match an address; a service tag that cannot be resolved here matches nothing."""
        found = network(prefix)
        if found is not None:
            return address in found
        match prefix.lower():
            case "*":
                return True
            case "virtualnetwork":
                return self._in_vnet(address, flow)
            case "azureloadbalancer":
                return str(address) in LOAD_BALANCER
            case "internet":
                return not self._in_vnet(address, flow) and str(address) not in LOAD_BALANCER
        return False

    def _in_vnet(self, address: Address, flow: Flow) -> bool:
        """Tell whether an address lies in the network of the destination or one peered to it."""
        vnet = self._store.get(_vnet_of(flow.to.subnet_id))
        properties = vnet["properties"] if vnet else {}
        peerings = properties.get("virtualNetworkPeerings") or []
        spaces = [properties.get("addressSpace")]
        spaces += [each["properties"].get("remoteAddressSpace") for each in peerings]
        prefixes = [prefix for space in spaces if space for prefix in space["addressPrefixes"]]
        return any(address in found for prefix in prefixes if (found := network(prefix)))


def answer(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer a question of the control API; ValueError tells what is wrong with it.

    Without `address` every address of the source's family is tried, and one that lets the flow
    through is enough.
    """
    machine = store.get(query.get("vm", ""))
    if machine is None:
        raise ValueError(f"vm: no virtual machine {query.get('vm')!r} in the estate")
    source = ipaddress.ip_address(query.get("source", ""))
    evaluator = Evaluator(store)
    tried = [
        evaluator.judge(
            Flow(
                source,
                endpoint,
                int(query.get("port", "")),
                query.get("protocol", "Tcp"),
                int(query.get("sourcePort", EPHEMERAL_PORT)),
            )
        )
        for endpoint in evaluator.endpoints(machine)
        if endpoint.address.version == source.version and _is_wanted(endpoint, query)
    ]
    chosen = next((each for each in tried if each["allowed"]), tried[0] if tried else None)
    if chosen is None:
        return {"allowed": False, "rules": [], "address": None, "addresses": []}
    return {**chosen, "addresses": tried}


def _is_wanted(endpoint: Endpoint, query: Mapping[str, str]) -> bool:
    wanted = query.get("address")
    return wanted is None or endpoint.address == ipaddress.ip_address(wanted)


def _endpoints_of(nic: Resource) -> Iterator[Endpoint]:
    for configuration in nic["properties"].get("ipConfigurations") or []:
        properties = configuration["properties"]
        address = _address_or_none(properties.get("privateIPAddress"))
        subnet = properties.get("subnet") or {}
        if address is not None and "id" in subnet:
            asgs = properties.get("applicationSecurityGroups") or []
            yield Endpoint(
                address, nic, subnet["id"], frozenset(ids.key(asg["id"]) for asg in asgs)
            )


def _address_or_none(text: str | None) -> Address | None:
    """Read an address of an estate; one that is malformed leads nowhere and harms no other."""
    try:
        return ipaddress.ip_address(text or "")
    except ValueError:
        return None


def _vnet_of(subnet_id: str) -> str:
    return ids.key(subnet_id).rsplit("/subnets/", 1)[0]


def _has_port(given: Mapping[str, Any], side: str, port: int) -> bool:
    ranges: Iterable[str] = [*given[f"{side}PortRanges"], given.get(f"{side}PortRange") or ""]
    return any(_in_range(each, port) for each in ranges if each)


def _in_range(ports: str, port: int) -> bool:
    if ports == "*":
        return True
    low, _, high = ports.partition("-")
    return int(low) <= port <= int(high or low)
