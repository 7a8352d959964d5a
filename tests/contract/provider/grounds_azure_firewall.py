"""Azure Firewall in each of its three forms, on the simulator, for the provider contract."""

import copy
from collections.abc import Mapping
from typing import Any

from shared.firewalls.azure_firewall.provider import AzureFirewallProvider
from shared.firewalls.azure_rules.model import NOWHERE, AzureSettings
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.firewalls.ip_group.provider import IpGroupProvider
from shared.ports import FirewallProvider
from tests import firewalls as hub
from tests.contract.provider.crashing import Crashing
from tests.contract.provider.hub import GuardedCloud, Hub
from tests.fakes import Clock

SETTINGS = AzureSettings("test1")
ADDRESS = "10.0.1.4"
_THEIRS = f"{hub.POLICY}/ruleCollectionGroups/theirs"


class _HubGround(Crashing):
    """Shared parts of the three grounds."""

    restores = False
    busy_seconds = 7.0
    tells_wait = False  # a read does not say how long another writer's write takes
    policy = True
    provider: FirewallProvider
    guarded: GuardedCloud

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.hub = Hub(self.clock, policy=self.policy)
        self._rules: list[dict[str, Any]] = []

    def settle(self) -> None:
        """Let the longest write pass."""
        self.hub.settle()

    def open_foreign(self, firewall_id: str, source: str, port: int) -> None:
        """Add a translation in a foreign group."""
        del firewall_id
        rule = hub.nat_rule(f"theirs-{port}", port, sourceAddresses=[source])
        self._add(rule | {"translatedAddress": ADDRESS, "translatedPort": str(port)})

    def add_odd_foreign(self, firewall_id: str) -> None:
        """Add a translation to a name, which is not resolved."""
        del firewall_id
        odd = hub.nat_rule("odd", 30_000)
        del odd["translatedAddress"]
        self._add(odd | {"translatedFqdn": "web.example.org"})

    def _add(self, rule: dict[str, Any]) -> None:
        self._rules.append(rule)
        self.hub.edit({"id": _THEIRS, "name": "theirs", **hub.group(*self._rules)})

    def foreign(self, firewall_id: str) -> object:
        """Return the foreign group, etag apart."""
        del firewall_id
        found = self.hub.get(_THEIRS)
        return (found or {}).get("properties")

    def reaches(self, firewall_id: str, source: str, port: int = 22, protocol: str = "tcp") -> bool:
        """Ask the simulator, through every instance and every entry."""
        del firewall_id
        return self.hub.reaches(source, port, protocol)

    def refuse(self, *verbs: str) -> None:
        """Refuse writes that open, or that remove."""
        self.guarded.refused = frozenset(verbs)

    def crash_before(self, call: int) -> None:
        """Kill the worker before its n-th write."""
        self.left = call


class PolicyGround(_HubGround):
    """A firewall policy with one firewall."""

    def __init__(self) -> None:
        super().__init__()
        self.guarded = GuardedCloud(self.hub, self.before_call, _own_in_group)
        self.provider = FirewallPolicyProvider(self.guarded, SETTINGS)  # type: ignore[arg-type]

    def fresh(self) -> str:
        """Return the id of our group; it does not exist yet."""
        return f"{hub.POLICY}/ruleCollectionGroups/{SETTINGS.group_name}"

    def be_busy(self, seconds: float) -> None:
        """Have another writer's write under way on the policy."""
        self.hub.be_busy(hub.POLICY, seconds)

    def damage(self, firewall_id: str) -> None:
        """Cut the descriptions of our rules off."""
        self._rewrite(firewall_id, lambda rule: rule | {"description": "JIT access"})

    def respell(self, firewall_id: str) -> None:
        """Spell protocols and addresses in another way, and reverse the rules."""

        def spell(rule: dict[str, Any]) -> dict[str, Any]:
            sources = [f"{each}/32" for each in rule["sourceAddresses"] if "/" not in each]
            protocols = [each.title() for each in reversed(rule["ipProtocols"])]
            return rule | {"sourceAddresses": sources, "ipProtocols": protocols}

        self._rewrite(firewall_id, spell)

    def _rewrite(self, firewall_id: str, change: Any) -> None:
        body = copy.deepcopy(self.hub.get(firewall_id))
        assert body is not None
        for collection in body["properties"]["ruleCollections"]:
            collection["rules"] = [change(rule) for rule in reversed(collection["rules"])]
        self.hub.edit(body)


def _own_in_group(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of our group by name: the sources of those that open."""
    return {
        rule["name"]: _opening(rule, "ipProtocols")
        for collection in (body.get("properties") or {}).get("ruleCollections") or ()
        for rule in collection["rules"]
    }


def _opening(rule: Mapping[str, Any], protocols: str) -> tuple[object, ...]:
    if rule["sourceAddresses"] == [NOWHERE]:
        return ()
    entry = (*rule["sourceAddresses"], *rule[protocols], *rule["destinationPorts"])
    return (rule.get("description"), *entry)


class IpGroupGround(_HubGround):
    """An IP group, which one translation on a policy names as its source."""

    group = f"{hub.HUB}/ipGroups/ipg-jit-test1-web-1-22"

    def __init__(self) -> None:
        super().__init__()
        self.guarded = GuardedCloud(self.hub, self.before_call, _own_in_tags)
        self.provider = IpGroupProvider(self.guarded, SETTINGS)  # type: ignore[arg-type]

    def fresh(self) -> str:
        """Have the owner deploy the group with its sentinel, and the rule that names it."""
        switch = hub.nat_rule("switch", 20_022, sourceAddresses=[], sourceIpGroups=[self.group])
        switch |= {"translatedAddress": ADDRESS, "ipProtocols": ["TCP", "UDP"]}
        body = {
            "id": f"{hub.POLICY}/ruleCollectionGroups/switches",
            "name": "switches",
            **hub.group(switch),
        }
        group = hub.ip_group(NOWHERE, resource_id=self.group)
        self.hub.edit(group | {"tags": {"owner": "network team"}}, body)
        return self.group

    def be_busy(self, seconds: float) -> None:
        """Have another writer's write under way on the group."""
        self.hub.be_busy(self.group, seconds)

    def damage(self, firewall_id: str) -> None:
        """Overwrite the values of our tags."""
        body = self.hub.get(firewall_id)
        assert body is not None
        body["tags"] = {
            name: "JIT" if name.startswith("jit-") else value
            for name, value in body["tags"].items()
        }
        self.hub.edit(body)

    def respell(self, firewall_id: str) -> None:
        """Spell the addresses as prefixes, in another order."""
        body = self.hub.get(firewall_id)
        assert body is not None
        addresses = [a if "/" in a else f"{a}/32" for a in body["properties"]["ipAddresses"]]
        body["properties"]["ipAddresses"] = addresses[::-1]
        self.hub.edit(body)


def _own_in_tags(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return our tags by name: the values of those that open."""
    return {
        name: "" if value.endswith(" for ") or value == "closed" else value
        for name, value in (body.get("tags") or {}).items()
        if name.startswith("jit-")
    }


class ClassicGround(_HubGround):
    """A firewall with classic rules."""

    policy = False

    def __init__(self) -> None:
        super().__init__()
        self.guarded = GuardedCloud(self.hub, self.before_call, _own_in_firewall)
        self.provider = AzureFirewallProvider(self.guarded, SETTINGS)  # type: ignore[arg-type]

    def fresh(self) -> str:
        """Return the firewall, which holds nothing of ours."""
        return hub.FIREWALL

    def be_busy(self, seconds: float) -> None:
        """Have another writer's write under way on the firewall."""
        self.hub.be_busy(hub.FIREWALL, seconds)

    def _add(self, rule: dict[str, Any]) -> None:
        rule["protocols"] = rule.pop("ipProtocols")
        del rule["ruleType"]
        rule["sourceIpGroups"] = []  # as the service writes it
        self._rules.append(rule)
        theirs = hub.classic_collection("theirs", *self._rules, priority=300)

        def change(collections: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [*(each for each in collections if each["name"] != "theirs"), theirs]

        self._rewrite_collections(change)

    def foreign(self, firewall_id: str) -> object:
        """Return all collections but ours, as they are written."""
        return _foreign(self.hub.get(firewall_id))

    def damage(self, firewall_id: str) -> None:
        """Cut the descriptions of our rules off."""
        del firewall_id
        self._rewrite(lambda rule: rule | {"description": "JIT access"})

    def respell(self, firewall_id: str) -> None:
        """Spell protocols and addresses in another way, and reverse the rules."""
        del firewall_id

        def spell(rule: dict[str, Any]) -> dict[str, Any]:
            sources = [f"{each}/32" for each in rule["sourceAddresses"] if "/" not in each]
            protocols = [each.title() for each in reversed(rule["protocols"])]
            return rule | {"sourceAddresses": sources, "protocols": protocols}

        self._rewrite(spell)

    def _rewrite(self, change: Any) -> None:
        def each(collections: list[dict[str, Any]]) -> list[dict[str, Any]]:
            for collection in collections:
                if collection["name"].startswith("jit-"):
                    rules = collection["properties"]["rules"]
                    collection["properties"]["rules"] = [change(r) for r in reversed(rules)]
            return collections

        self._rewrite_collections(each)

    def _rewrite_collections(self, change: Any) -> None:
        body = self.hub.get(hub.FIREWALL)
        assert body is not None
        translations = body["properties"]["natRuleCollections"]
        body["properties"]["natRuleCollections"] = change(translations)
        self.hub.edit(body)


def _own_in_firewall(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of our collections by name: the sources of those that open."""
    properties = body.get("properties") or {}
    return {
        rule["name"]: _opening(rule, "protocols")
        for member in ("natRuleCollections", "networkRuleCollections")
        for collection in properties.get(member) or ()
        if collection["name"].startswith("jit-")
        for rule in collection["properties"]["rules"]
    }


def _foreign(body: Any) -> object:
    properties = body["properties"]
    return {
        member: [
            each["properties"]["rules"]
            for each in properties[member]
            if not each["name"].startswith("jit-")
        ]
        for member in ("natRuleCollections", "networkRuleCollections", "applicationRuleCollections")
    }
