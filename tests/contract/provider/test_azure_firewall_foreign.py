"""Foreign rules stay untouched, over generated firewalls, policies and IP groups.

1,000 cases each; JIT_CASES sets another number, as the continuous integration does.
"""

import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from local.arm.firewall_bodies import written_firewall
from local.arm.ids import parse
from local.arm.simulator import Call
from shared.domain.desired import Allow, Desired, allow_key
from shared.firewalls.azure_firewall import wire as classic
from shared.firewalls.azure_firewall.provider import AzureFirewallProvider
from shared.firewalls.azure_rules.model import AzureSettings
from shared.firewalls.firewall_policy.provider import FirewallPolicyProvider
from shared.firewalls.ip_group.provider import IpGroupProvider
from shared.ports import FirewallChangedError

CASES = int(os.environ.get("JIT_CASES", "1000"))
SETTINGS = AzureSettings("test1")
HUB = "/subscriptions/8d6a1c0f-3e52-4b7a-9c44-0a5b7f21d9e3/resourceGroups/hub/providers"
NET = f"{HUB}/Microsoft.Network"
FIREWALL, POLICY = f"{NET}/azureFirewalls/fw", f"{NET}/firewallPolicies/policy"
OURS = f"{POLICY}/ruleCollectionGroups/jit-test1"
IP_GROUP = f"{NET}/ipGroups/ipg-jit-test1-web-22"
VM = f"{HUB}/Microsoft.Compute/virtualMachines/web"
_UNTIL = datetime(2026, 11, 22, 15, tzinfo=UTC)
Body = dict[str, Any]

# --- generated bodies

# Hypothesis draws a seed alone: to draw each member would take ten times as long as the property.

_NAMES = ("web", "sql", "rdp", "deny-all", "jit-other", "a.b_c")
# Values of unknown members; some have the names that the service's own members have elsewhere.
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1.5,
    "",
    "\u00e4\u2028",
    [],
    [None, {"etag": 1}],
    {"etag": "theirs", "deep": {"provisioningState": "theirs"}},
    {"ipGroups": [{"privateIPAddress": "10.9.9.9"}]},
)
_UNKNOWN = ("newer", "newerStill", "etagOfTheirs", "customIpGroups")
_ADDRESSES = ("*", "10.0.0.0/8", "203.0.113.7", "198.51.100.0/24", "Sql", "not an address")
_PORTS = ("22", "20000", "20001-20005", "443", "*", "?")
_LETTERS = 'aZ0 .-_/\\"\n\x7f\u00e4\u2028\u05d0\U0001f600'
SEEDS = st.integers(0, 2**64 - 1)


class Draw(random.Random):
    """Draws bodies from a seed."""

    def few(self, make: Callable[[], Any], most: int) -> list[Any]:
        """Draw a list of up to so many."""
        return [make() for _ in range(self.randint(0, most))]

    def some(self, values: Sequence[Any], most: int = 2) -> list[Any]:
        """Draw up to so many values, repeats included."""
        return self.few(lambda: self.choice(values), most)

    def text(self) -> str:
        """Draw a short text of any script."""
        return "".join(self.some(_LETTERS, 4))

    def unknown(self) -> Body:
        """Draw members that no version of the service is known to have."""
        return {name: copied(self.choice(_VALUES)) for name in self.some(_UNKNOWN)}

    def tags(self, *names: str) -> dict[str, str]:
        """Draw names and texts."""
        return {name: self.text() for name in self.some(names)}

    def rule(self, protocols: str) -> Body:
        """Draw a rule."""
        rule: Body = {
            "name": self.choice(_NAMES),
            protocols: self.some(("TCP", "UDP", "Any", "ICMP")),
            "sourceAddresses": self.some(_ADDRESSES),
            "destinationAddresses": self.some(_ADDRESSES),
            "destinationPorts": self.some(_PORTS),
            "sourceIpGroups": self.some((f"{NET}/ipGroups/other",), 1),
        }
        if self.random() < 1 / 2:
            rule |= {"translatedAddress": "10.1.0.4", "translatedPort": self.choice("12")}
        return rule | self.unknown()

    def classic_collection(self) -> Body:
        """Draw a classic rule collection of others."""
        properties = {
            "provisioningState": "Succeeded",
            "priority": self.randint(100, 300),
            "action": {"type": self.choice(("Allow", "Deny", "Dnat"))},
            "rules": self.few(lambda: self.rule("protocols"), 3),
        }
        name = self.choice((*_NAMES, "jit-other-dnat", "jit-test1-dnat-2"))
        held = {"name": name, "etag": 'W/"1"', "properties": properties | self.unknown()}
        return held | self.unknown()

    def firewall(self) -> Body:
        """Draw a firewall with classic rules."""
        configuration = {
            "name": "first",
            "etag": 'W/"1"',
            "properties": {
                "provisioningState": "Succeeded",
                "privateIPAddress": "10.0.0.4",
                "publicIPAddress": {"id": f"{NET}/publicIPAddresses/pip"},
                "subnet": {"id": f"{NET}/virtualNetworks/hub/subnets/AzureFirewallSubnet"},
                **self.unknown(),
            },
        }
        properties: Body = {
            "provisioningState": "Succeeded",
            "sku": {"name": "AZFW_VNet", "tier": "Standard"},
            "threatIntelMode": "Alert",
            "additionalProperties": self.tags(*_NAMES),
            "ipConfigurations": [configuration],
        }
        for member in classic.RULE_MEMBERS:
            properties[member] = self.few(self.classic_collection, 3)
        return {
            "id": FIREWALL,
            "name": "fw",
            "etag": 'W/"1"',
            "location": "westeurope",
            "tags": self.tags("etag", "owner", "ipGroups"),
            "properties": properties | self.unknown(),
            **self.unknown(),
        }

    def group(self, at: int) -> Body:
        """Draw a rule collection group of others."""
        rules = [
            rule | {"ruleType": self.choice(("NatRule", "NetworkRule", "NewerRule"))}
            for rule in self.few(lambda: self.rule("ipProtocols"), 3)
        ]
        collection = {
            "name": self.choice(_NAMES),
            "priority": self.randint(100, 300),
            "action": {"type": "Allow"},
            "rules": rules,
            **self.unknown(),
        }
        return {
            "id": f"{POLICY}/ruleCollectionGroups/theirs-{at}",
            "name": f"theirs-{at}",
            "etag": "1",
            "properties": {"priority": 200, "ruleCollections": [collection], **self.unknown()},
        }

    def sources(self, *values: str) -> list[str]:
        """Draw the sources of up to three grants."""
        return self.some(values or SOURCES, 3)


# --- a cloud in memory


class Cloud:
    """Holds bodies, and takes writes at once."""

    def __init__(self, *bodies: Body) -> None:
        self.bodies = {each["id"].lower(): each for each in bodies}
        self.written: list[str] = []

    def get(self, resource_id: str) -> Body | None:
        """Read one."""
        found: Body | None = copied(self.bodies.get(resource_id.lower()))
        return found

    def list(self, path: str) -> list[Body]:
        """Read the children of a path."""
        start = path.lower() + "/"
        return [copied(b) for key, b in self.bodies.items() if key.startswith(start)]

    def put(self, resource_id: str, body: Body, etag: str = "") -> None:
        """Write one; a stale etag is refused."""
        present = self.bodies.get(resource_id.lower(), {})
        if etag and present.get("etag") != etag:
            raise FirewallChangedError(resource_id)
        self.written.append(resource_id)
        stored = self.stored(resource_id, copied(body), present)
        self.bodies[resource_id.lower()] = stored

    def delete(self, resource_id: str, etag: str = "") -> None:
        """Remove one."""
        del etag
        self.written.append(resource_id)
        self.bodies.pop(resource_id.lower(), None)

    def stored(self, resource_id: str, body: Body, present: Mapping[str, Any]) -> Body:
        """Return what is stored of a body: for a firewall as the simulator writes it."""
        etag = f"{present.get('etag', '')}+"
        if "/azurefirewalls/" not in resource_id.lower():
            named = {"id": resource_id, "name": resource_id.rsplit("/", 1)[-1], "etag": etag}
            return {**body, **named}
        path = parse(resource_id)
        assert path is not None
        call = Call("PUT", resource_id, path, {}, {}, b"", "", "test")
        kept = written_firewall(call, body, dict(present), etag)
        return json.loads(json.dumps(kept).replace('"Updating"', '"Succeeded"'))  # type: ignore[no-any-return]


def copied(body: Any) -> Any:
    """Copy a body, faster than copy.deepcopy does."""
    return json.loads(json.dumps(body))


def plain_firewall() -> Body:
    """Return a deployed firewall whose rules are its policy's."""
    subnet = {"id": f"{NET}/virtualNetworks/hub/subnets/AzureFirewallSubnet"}
    address = {"id": f"{NET}/publicIPAddresses/pip"}
    configuration = {"name": "first", "properties": {"publicIPAddress": address, "subnet": subnet}}
    state = {"provisioningState": "Succeeded", "ipConfigurations": [configuration]}
    return {"id": FIREWALL, "name": "fw", "properties": state}


def surroundings() -> list[Body]:
    """Return the public address and the network of the firewall."""
    subnet = f"{NET}/virtualNetworks/hub/subnets/AzureFirewallSubnet"
    return [
        {"id": f"{NET}/publicIPAddresses/pip", "properties": {"ipAddress": "20.1.2.3"}},
        {
            "id": f"{NET}/virtualNetworks/hub",
            "properties": {
                "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
                "subnets": [{"id": subnet, "properties": {"addressPrefix": "10.0.0.0/26"}}],
            },
        },
    ]


def allow(number: int, source: str) -> Allow:
    """Return a grant."""
    key = allow_key(f"request-{number}", VM, 22)
    until = _UNTIL + timedelta(minutes=number)
    return Allow(key, VM, 22, "TCP", (source,), ("10.1.0.4",), until)


SOURCES = ["203.0.113.7", "198.51.100.9", "10.9.0.5", "203.0.113.0/24"]


def converge(provider: Any, firewall_id: str, sources: list[str]) -> None:
    """Bring a firewall to hold exactly these grants, as far as they are possible."""
    desired = Desired(tuple(allow(at, source) for at, source in enumerate(sources)))
    for _ in range(6):
        observed = provider.read(firewall_id)
        plan = provider.plan(observed, desired)
        if plan.is_done:
            return
        provider.apply(observed, plan)
    raise AssertionError("it does not converge")


# --- the properties


@settings(max_examples=CASES, deadline=None)
@given(SEEDS)
def test_a_classic_firewall_keeps_every_foreign_byte(seed: int) -> None:
    """Opening and closing write the firewall whole and change nothing that is not ours."""
    draw = Draw(seed)
    firewall, sources = draw.firewall(), draw.sources()
    cloud = Cloud(*surroundings())
    cloud.put(FIREWALL, firewall)  # as the service writes it
    before = foreign(cloud.bodies[FIREWALL.lower()])
    provider = AzureFirewallProvider(cloud, SETTINGS)
    converge(provider, FIREWALL, sources)
    assert foreign(cloud.bodies[FIREWALL.lower()]) == before
    converge(provider, FIREWALL, [])
    assert foreign(cloud.bodies[FIREWALL.lower()]) == before
    assert whole(cloud.bodies[FIREWALL.lower()]) == before
    assert provider.warnings() == ()


def foreign(body: Body) -> str:
    """Return a firewall without our collections and the service's own parts, order kept."""
    kept = copied(body)
    for member in classic.RULE_MEMBERS:
        ours = {f"jit-test1-{suffix}" for suffix in ("dnat", "network")}
        listed = kept["properties"][member]
        kept["properties"][member] = [each for each in listed if each["name"] not in ours]
    return whole(kept)


def whole(body: Body) -> str:
    """Return a firewall without the etags and states of the service's own parts."""
    kept = copied(body)
    kept.pop("etag")
    properties = kept["properties"]
    properties.pop("provisioningState")
    for part in (
        *(c for m in classic.RULE_MEMBERS for c in properties[m]),
        *properties["ipConfigurations"],
    ):
        part.pop("etag")
        part["properties"].pop("provisioningState")
    return json.dumps(kept, sort_keys=True)


@settings(max_examples=CASES, deadline=None)
@given(SEEDS)
def test_a_policy_is_written_in_our_group_alone(seed: int) -> None:
    """No foreign group is ever written, and no foreign rule is ever in our body."""
    draw = Draw(seed)
    groups, sources = [draw.group(at) for at in range(draw.randint(0, 2))], draw.sources()
    policy = {"id": POLICY, "name": "policy", "properties": {"firewalls": [{"id": FIREWALL}]}}
    firewall = plain_firewall()
    cloud = Cloud(*surroundings(), policy, firewall, *groups)
    before = json.dumps([cloud.bodies[each["id"].lower()] for each in (policy, firewall, *groups)])
    provider = FirewallPolicyProvider(cloud, SETTINGS)
    for wanted in (sources, []):
        converge(provider, OURS, wanted)
        ours = cloud.bodies.get(OURS.lower(), {"properties": {"ruleCollections": []}})
        names = [r["name"] for c in ours["properties"]["ruleCollections"] for r in c["rules"]]
        assert all(name.startswith("jit-22-") for name in names)
        assert len(names) <= len(wanted)
    assert {each.lower() for each in cloud.written} <= {OURS.lower()}
    after = json.dumps([cloud.bodies[each["id"].lower()] for each in (policy, firewall, *groups)])
    assert after == before


@settings(max_examples=CASES, deadline=None)
@given(SEEDS)
def test_an_ip_group_keeps_foreign_tags_and_unknown_members(seed: int) -> None:
    """Only its addresses and our own tags are ever different."""
    draw = Draw(seed)
    tags, top, inner = draw.tags(*_NAMES), draw.unknown(), draw.unknown()
    sources = draw.sources("203.0.113.7", "198.51.100.9")
    rule = {
        "ruleType": "NatRule",
        "name": "switch",
        "ipProtocols": ["TCP"],
        "sourceIpGroups": [IP_GROUP],
        "destinationAddresses": ["20.1.2.3"],
        "destinationPorts": ["20022"],
        "translatedAddress": "10.1.0.4",
        "translatedPort": "22",
    }
    collection = {"name": "c", "priority": 100, "action": {"type": "Dnat"}, "rules": [rule]}
    switch = {
        "id": f"{POLICY}/ruleCollectionGroups/switches",
        "name": "switches",
        "properties": {"priority": 100, "ruleCollections": [collection]},
    }
    policy = {"id": POLICY, "name": "policy", "properties": {"firewalls": []}}
    group = {
        "id": IP_GROUP,
        "name": "ipg-jit-test1-web-22",
        "etag": "1",
        "location": "westeurope",
        "tags": tags,
        "properties": {
            "ipAddresses": ["192.0.2.1/32"],
            "firewallPolicies": [{"id": POLICY}],
            **inner,
        },
        **top,
    }
    cloud = UsedGroup(policy, switch, group)
    provider = IpGroupProvider(cloud, SETTINGS)
    for wanted in (sources, []):
        converge(provider, IP_GROUP, wanted)
        stored = cloud.bodies[IP_GROUP.lower()]
        assert {k: v for k, v in stored["tags"].items() if not k.startswith("jit-test1-")} == tags
        assert {name: stored[name] for name in top} == top
        assert {name: stored["properties"][name] for name in inner} == inner
        assert stored["properties"]["ipAddresses"] == (sorted({*wanted}) or ["192.0.2.1/32"])
    assert {each.lower() for each in cloud.written} <= {IP_GROUP.lower()}


class UsedGroup(Cloud):
    """A cloud that keeps the references back, which the service owns."""

    def stored(self, resource_id: str, body: Body, present: Mapping[str, Any]) -> Body:
        """Return what is stored of a body."""
        kept = super().stored(resource_id, body, present)
        kept["properties"]["firewallPolicies"] = [{"id": POLICY}]
        return kept
