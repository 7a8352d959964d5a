"""The Azure Policy definitions, evaluated on rules as ARM has them."""

import json
from typing import Any

import pytest

from shared.firewalls.nsg.wire import write_rule
from tests.infra.azure_policy import Scope, holds
from tests.infra.bicep import INFRA
from tests.world import World

TEMPLATE = json.loads((INFRA / "policy" / "policies.json").read_text(encoding="utf-8"))
EXEMPTION = json.loads((INFRA / "policy" / "exemption.json").read_text(encoding="utf-8"))
NSG = "Microsoft.Network/networkSecurityGroups"
OPEN = {
    "access": "Allow",
    "direction": "Inbound",
    "protocol": "Tcp",
    "priority": 300,
    "sourceAddressPrefix": "*",
    "sourcePortRange": "*",
    "destinationAddressPrefix": "*",
    "destinationPortRange": "22",
}
FORBIDDEN: list[dict[str, Any]] = [
    {},
    {"sourceAddressPrefix": "Internet"},
    {"sourceAddressPrefix": "internet"},
    {"sourceAddressPrefix": "0.0.0.0/0"},
    {"sourceAddressPrefix": "::/0"},
    {"sourceAddressPrefix": None, "sourceAddressPrefixes": ["10.0.0.0/8", "0.0.0.0/0"]},
    {"protocol": "*"},
    {"destinationPortRange": "3389"},
    {"destinationPortRange": "*"},
    {"destinationPortRange": "20-25"},
    {"destinationPortRange": "0-65535"},
    {"destinationPortRange": None, "destinationPortRanges": ["443", "5985"]},
    {"destinationPortRange": None, "destinationPortRanges": ["80", "5000-6000"]},
    {"destinationPortRange": "", "destinationPortRanges": ["22"]},
]
ALLOWED: list[dict[str, Any]] = [
    {"access": "Deny"},
    {"direction": "Outbound"},
    {"protocol": "Icmp"},
    {"sourceAddressPrefix": "203.0.113.7"},
    {"sourceAddressPrefix": "203.0.113.0/24"},
    {"sourceAddressPrefix": "VirtualNetwork"},
    {"sourceAddressPrefix": None, "sourceAddressPrefixes": ["203.0.113.7", "198.51.100.0/24"]},
    {"destinationPortRange": "443"},
    {"destinationPortRange": "23-3388"},
    {"destinationPortRange": "220"},
    {"destinationPortRange": None, "destinationPortRanges": ["80", "443", "8000-8100"]},
]


def _definition(name: str) -> dict[str, Any]:
    (found,) = (
        each["properties"]
        for each in TEMPLATE["resources"]
        if each["type"].endswith("policyDefinitions") and each["name"] == name
    )
    return dict(found)


def _properties(**changes: Any) -> dict[str, Any]:
    merged = {**OPEN, **changes}
    return {name: each for name, each in merged.items() if each is not None}


def _meets(name: str, resource: dict[str, Any]) -> bool:
    definition = _definition(name)
    parameters = {key: each.get("defaultValue") for key, each in definition["parameters"].items()}
    return holds(definition["policyRule"]["if"], Scope(resource, parameters))


def _rule(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": f"{NSG}/securityRules", "properties": properties}


def _group(*rules: dict[str, Any]) -> dict[str, Any]:
    listed = [{"name": f"r{n}", "properties": rule} for n, rule in enumerate(rules)]
    return {"type": NSG, "properties": {"securityRules": listed}}


@pytest.mark.parametrize("changes", FORBIDDEN, ids=str)
def test_a_rule_that_opens_a_management_port_to_everybody_is_met(changes: dict[str, Any]) -> None:
    """In each spelling: tag, prefix, list, range."""
    properties = _properties(**changes)

    assert _meets("jit-deny-open-rule", _rule(properties))
    assert _meets("jit-audit-open-nsg", _group(_properties(access="Deny"), properties))


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_any_other_rule_is_left_alone(changes: dict[str, Any]) -> None:
    """A named source, another port, another direction, a deny."""
    properties = _properties(**changes)

    assert not _meets("jit-deny-open-rule", _rule(properties))
    assert not _meets("jit-audit-open-nsg", _group(properties))


def test_an_empty_group_is_left_alone() -> None:
    """Nothing open, nothing said: the probe among them."""
    assert not _meets("jit-audit-open-nsg", _group())


def test_the_app_s_own_rules_pass() -> None:
    """The policy denies no rule that the app writes to open or to close."""
    world = World()
    world.protect()
    world.ask()
    written = [
        write_rule(rule)["properties"]
        for group in world.firewall.groups.values()
        for rule in group.values()
    ]

    assert written
    assert {each["access"] for each in written} == {"Allow", "Deny"}
    assert not any(_meets("jit-deny-open-rule", _rule(each)) for each in written)


def test_whole_groups_are_audited_only() -> None:
    """A deny on whole groups would refuse the writes by which the app closes."""
    assert _definition("jit-audit-open-nsg")["parameters"]["effect"]["allowedValues"] == [
        "Audit",
        "Disabled",
    ]
    assert not _meets("jit-deny-open-rule", _group(OPEN))


def test_the_ports_are_the_same_everywhere() -> None:
    """Definitions and template default to Defender's four ports."""
    expected = [22, 3389, 5985, 5986]

    assert TEMPLATE["parameters"]["ports"]["defaultValue"] == expected
    for name in ("jit-audit-open-nsg", "jit-deny-open-rule"):
        assert _definition(name)["parameters"]["ports"]["defaultValue"] == expected


def test_every_expression_of_a_definition_is_escaped() -> None:
    """A definition's own expression has two brackets, else the template would evaluate it."""

    def texts(held: Any) -> list[str]:
        if isinstance(held, dict):
            return [text for each in held.values() for text in texts(each)]
        if isinstance(held, list):
            return [text for each in held for text in texts(each)]
        return [held] if isinstance(held, str) and held.startswith("[") else []

    for name in ("jit-audit-open-nsg", "jit-deny-open-rule"):
        assert all(text.startswith("[[") for text in texts(_definition(name)["policyRule"]))


def test_assignments_follow_their_definitions() -> None:
    """Each definition is assigned once, if the deployer wants it assigned."""
    assigned = {
        each["name"]: each
        for each in TEMPLATE["resources"]
        if each["type"].endswith("policyAssignments")
    }

    assert set(assigned) == {"jit-audit-open-nsg", "jit-deny-open-rule"}
    for name, each in assigned.items():
        assert each["condition"] == "[parameters('assign')]"
        assert f"'{name}'" in each["properties"]["policyDefinitionId"]


def test_the_exemption_mitigates_and_ends() -> None:
    """It says that the risk is handled elsewhere, and comes up for review."""
    (exemption,) = EXEMPTION["resources"]

    assert exemption["properties"]["exemptionCategory"] == "Mitigated"
    assert "expiresOn" in exemption["properties"]
    assert "defaultValue" not in EXEMPTION["parameters"]["expiresOn"]
