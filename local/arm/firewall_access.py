"""Judge a flow to a machine through a firewall: public address, DNAT, network rules, NSGs."""

import ipaddress
from collections.abc import Mapping
from typing import Any

from local.arm.access import EPHEMERAL_PORT, Endpoint, Evaluator, Flow
from local.arm.access import answer as answer_directly
from local.arm.firewall_bodies import public_addresses
from local.arm.firewall_traffic import (
    INSTANCES,
    FirewallTraffic,
    Packet,
    is_private,
    only,
    routed_to,
)
from local.arm.store import Resource, Store


def answer(store: Store, query: Mapping[str, str]) -> dict[str, Any]:
    """Answer a question of the control API, through the firewall that stands before the machine.

    `publicAddress` and `publicPort` name the entry; without them every translation is tried, and
    one that leads to the machine's port is enough.
    """
    machine = store.get(query.get("vm", ""))
    traffic = FirewallTraffic(store)
    firewalls = traffic.firewalls()
    if machine is None or not firewalls or "address" in query:
        return answer_directly(store, query)
    walk = _Walk(store, traffic, machine, query)
    before = next((f for e in walk.endpoints if (f := walk.routed(e, firewalls))), None)
    translating = [each for each in firewalls if list(walk.entries(each))]
    if before is None and "publicAddress" not in query and not translating:
        return answer_directly(store, query)
    return walk.judge(before, firewalls, answer_directly(store, query))


class _Walk:
    def __init__(
        self, store: Store, traffic: FirewallTraffic, machine: Resource, query: Mapping[str, str]
    ) -> None:
        self._store, self._traffic, self._query = store, traffic, query
        self._evaluator = Evaluator(store)
        self.endpoints: list[Endpoint] = self._evaluator.endpoints(machine)
        self._source = str(ipaddress.ip_address(query.get("source", "")))
        self._port = int(query.get("port", ""))
        self._protocol = query.get("protocol", "Tcp")

    def routed(self, endpoint: Endpoint, firewalls: list[Resource]) -> Resource | None:
        """Return the firewall that an endpoint's own default route names."""
        hops = routed_to(self._store, self._store.get(endpoint.subnet_id))
        return next((f for hop in hops if (f := only(firewalls, hop))), None)

    def entries(self, firewall: Resource) -> list[tuple[str, int]]:
        """Return the entries to try on a firewall."""
        if "publicAddress" in self._query:
            entry = (self._query["publicAddress"], int(self._query["publicPort"]))
            known = entry[0] in public_addresses(self._store, firewall)
            return [entry] if known else []
        return list(dict.fromkeys(self._traffic.translations(firewall)))

    def judge(
        self, before: Resource | None, firewalls: list[Resource], direct: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the first way in, or the last way that was refused."""
        tried = [each for firewall in firewalls for each in self._by_translation(firewall)]
        if before is None and "publicAddress" not in self._query:
            tried.append(direct)
        elif before is not None and is_private(self._source):
            tried += [self._by_network_rule(before, each) for each in self.endpoints]
        elif before is not None and not tried:
            # A public address of the machine's own: the reply leaves by the firewall, which
            # never saw the request and drops it [documented].
            tried.append({"allowed": False, "rules": [], "asymmetric": direct["allowed"]})
        refused = {"allowed": False, "rules": [], "addresses": []}
        return next((t for t in tried if t["allowed"]), tried[-1] if tried else refused)

    def _by_translation(self, firewall: Resource) -> list[dict[str, Any]]:
        found = []
        for address, port in self.entries(firewall):
            packet = Packet(self._source, address, port, self._protocol)
            for instance in INSTANCES:
                rule, to, to_port = self._traffic.translate(firewall, packet, instance)
                endpoint = next((e for e in self.endpoints if str(e.address) == to), None)
                if rule and endpoint is not None and to_port == self._port:
                    found.append(self._behind(firewall, rule, endpoint, (address, port)))
        return found

    def _behind(
        self, firewall: Resource, rule: str, endpoint: Endpoint, entry: tuple[str, int]
    ) -> dict[str, Any]:
        """Judge what the NSGs see: an instance of the firewall, in its subnet."""
        seen = [self._source] if is_private(self._source) else self._traffic.seen_sources(firewall)
        verdicts = [self._evaluator.judge(self._flow(source, endpoint)) for source in seen]
        worst = next((each for each in verdicts if not each["allowed"]), verdicts[0])
        return {
            **worst,
            "firewall": {"id": firewall["id"], "rule": rule},
            "entry": {"address": entry[0], "port": entry[1]},
            "sourcesSeen": seen,
        }

    def _by_network_rule(self, firewall: Resource, endpoint: Endpoint) -> dict[str, Any]:
        """Judge a private source: the firewall filters it and leaves it as it is."""
        packet = Packet(self._source, str(endpoint.address), self._port, self._protocol)
        decided = [self._traffic.filter(firewall, packet, instance) for instance in INSTANCES]
        rule, passes = next((each for each in decided if each[1]), decided[0])
        verdict = self._evaluator.judge(self._flow(self._source, endpoint))
        return {
            **verdict,
            "allowed": passes and verdict["allowed"],
            "firewall": {"id": firewall["id"], "rule": rule},
            "sourcesSeen": [self._source],
        }

    def _flow(self, source: str, endpoint: Endpoint) -> Flow:
        return Flow(
            ipaddress.ip_address(source), endpoint, self._port, self._protocol, EPHEMERAL_PORT
        )
