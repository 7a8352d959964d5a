"""Security rules: what a body may say, what ARM keeps of it, and how it shows it again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local.arm import shapes
from local.arm.errors import ArmError, missing_reference, provider
from local.arm.prefixes import check_prefixes, respelled_prefix

RULE_TYPE = "Microsoft.Network/networkSecurityGroups/securityRules"
DEFAULT_RULE_TYPE = "Microsoft.Network/networkSecurityGroups/defaultSecurityRules"
LOWEST_PRIORITY, HIGHEST_PRIORITY = 100, 4096
MAX_DESCRIPTION = 140
MAX_PORT = 65535
# Documented: up to 80 characters, first a word character, last a word character (which `_` is).
RULE_NAME = re.compile(r"\w(?:[\w.-]{0,78}\w)?", re.ASCII)
# The first api-version seen to send a rule's `type` is 2019-09-01; 2017-10-01 has none.
TYPED_SINCE = "2019"

Properties = dict[str, Any]

_asg = shapes.many(
    shapes.Shape(
        "ApplicationSecurityGroup",
        dict.fromkeys(("id", "name", "etag", "type", "location"), shapes.text)
        | {"properties": shapes.anything, "tags": shapes.anything},
    )
)
# The published schema has no Icmpv6; the service takes it.
# Of the protocol the letter case stays as written: rules made in the portal read back as "TCP"
# (terraform-provider-azurerm#20402, ansible-collections/azure#1064). Nothing alike is known of
# access and direction.
RULE_PROPERTIES = shapes.Shape(
    "SecurityRuleProperties",
    {
        "provisioningState": shapes.text,
        "description": shapes.text,
        "protocol": shapes.one_of(
            *("SecurityRuleProtocol", "Tcp", "Udp", "Icmp", "Icmpv6", "Esp", "Ah", "*"),
            keep_case=True,
        ),
        "sourcePortRange": shapes.text,
        "destinationPortRange": shapes.text,
        "sourceAddressPrefix": shapes.text,
        "destinationAddressPrefix": shapes.text,
        "access": shapes.one_of("SecurityRuleAccess", "Allow", "Deny"),
        "priority": shapes.integer,
        "direction": shapes.one_of("SecurityRuleDirection", "Inbound", "Outbound"),
        "sourcePortRanges": shapes.many(shapes.text),
        "destinationPortRanges": shapes.many(shapes.text),
        "sourceAddressPrefixes": shapes.many(shapes.text),
        "destinationAddressPrefixes": shapes.many(shapes.text),
        "sourceApplicationSecurityGroups": _asg,
        "destinationApplicationSecurityGroups": _asg,
    },
)
RULE = shapes.Shape(
    "SecurityRule",
    dict.fromkeys(("name", "id", "etag", "type"), shapes.text) | {"properties": RULE_PROPERTIES},
)
# The order in which the provider writes the members [recorded].
_ORDER = tuple(RULE_PROPERTIES.members)
_SIDES = ("source", "destination")


@dataclass(frozen=True)
class Rule:
    """A security rule as the provider keeps it."""

    name: str
    properties: Mapping[str, Any]

    def rule_id(self, nsg_id: str) -> str:
        """Return the id of the rule in its network security group."""
        return f"{nsg_id}/securityRules/{self.name}"

    @property
    def slot(self) -> tuple[str, int]:
        """Return what no two rules of a group may share."""
        return self.properties["direction"], self.properties["priority"]


def read_rule(body: Mapping[str, Any], name: str, nsg_id: str) -> Rule:
    """Check one rule of a request and return it as the provider keeps it."""
    rule_id = f"{nsg_id}/securityRules/{name}"
    _check_name(name)
    given: Properties = dict(body.get("properties", {}))
    given.pop("provisioningState", None)
    _check_required(given, rule_id)
    _check_priority(given.get("priority", 0))
    if len(given.get("description", "").encode("utf-16-le", "surrogatepass")) > 2 * MAX_DESCRIPTION:
        raise _refused(
            "SecurityRuleDescriptionTooLong",
            f"Security rule description cannot exceed {MAX_DESCRIPTION} chars.",
        )
    for side in _SIDES:
        _check_ports(given, side, rule_id)
        _check_groups_named(given, side)
    check_prefixes(given, rule_id)
    return Rule(name, normalised(given))


def normalised(given: Mapping[str, Any]) -> Properties:
    """Return the properties as they read back.

    The plural lists are always there, `[]` when empty; a singular that was not given is left
    out, and so is a description that was not set [recorded]. Prefixes keep their spelling: no
    recording shows one rewritten. `respelled` is there for the day one is.
    """
    kept = {member: value for member, value in given.items() if value not in (None, "", [])}
    for side in _SIDES:
        kept.setdefault(f"{side}PortRanges", [])
        kept.setdefault(f"{side}AddressPrefixes", [])
        groups = f"{side}ApplicationSecurityGroups"
        if groups in kept:
            kept[groups] = [{"id": group["id"]} for group in kept[groups]]
    return {member: kept[member] for member in _ORDER if member in kept}


def respelled(rule: Rule) -> Rule:
    """Write protocol and prefixes in one way each, as the service might: a switch, no record."""
    kept = dict(rule.properties)
    kept["protocol"] = kept["protocol"].capitalize()
    for side in _SIDES:
        single, several = f"{side}AddressPrefix", f"{side}AddressPrefixes"
        if single in kept:
            kept[single] = respelled_prefix(kept[single])
        kept[several] = [respelled_prefix(prefix) for prefix in kept[several]]
    return Rule(rule.name, kept)


def written(
    rule: Rule, nsg_id: str, etag: str, state: str, api_version: str, *, default: bool = False
) -> dict[str, Any]:
    """Return a rule as the provider writes it."""
    collection = "defaultSecurityRules" if default else "securityRules"
    body: dict[str, Any] = {
        "name": rule.name,
        "id": f"{nsg_id}/{collection}/{rule.name}",
        "etag": etag,
    }
    if api_version >= TYPED_SINCE:
        body["type"] = DEFAULT_RULE_TYPE if default else RULE_TYPE
    body["properties"] = {"provisioningState": state, **rule.properties}
    return body


def _check_name(name: str) -> None:
    # Code from memory of the live service, wording of the documented syntax.
    if not RULE_NAME.fullmatch(name):
        raise _refused(
            "InvalidResourceName",
            f"Resource name {name} is invalid. The name can be up to 80 characters long. It must "
            "begin with a word character, and it must end with a word character or with '_'. "
            "The name may contain word characters or '.', '-', '_'.",
        )


def _check_required(given: Properties, rule_id: str) -> None:
    for member in ("protocol", "access", "direction"):
        if member not in given:
            raise _missing_one(member[0].upper() + member[1:], rule_id)
    for side in _SIDES:
        if not given.get(f"{side}PortRange") and not given.get(f"{side}PortRanges"):
            raise _missing_one(f"{side.capitalize()}PortRange", rule_id)
        _check_addresses_given(given, side, rule_id)


def _check_addresses_given(given: Properties, side: str, rule_id: str) -> None:
    ways = [f"{side}AddressPrefixes", f"{side}AddressPrefix", f"{side}ApplicationSecurityGroups"]
    used = [way for way in ways if given.get(way)]
    named = [way[0].upper() + way[1:] for way in ways]
    if not used:  # Azure/sap-hana#135
        raise _refused(
            "SecurityRuleParametersMissing",
            "Required security rule parameters are missing for security rule with Id: "
            f"{rule_id}. Security rule must specify {named[0]}, {named[1]}, or {named[2]}.",
        )
    if len(used) > 1:  # that it is refused is documented; no record of the code was found
        raise _refused(
            "SecurityRuleParametersConflict",
            f"Security rule {rule_id} must specify only one of {', '.join(named)}.",
        )


def _missing_one(parameter: str, rule_id: str) -> ArmError:
    # clong/DetectionLab#479
    return _refused(
        "SecurityRuleParameterMissing",
        f"Required security rule parameter {parameter} is missing for security rule with Id: "
        f"{rule_id}.",
    )


def _check_priority(priority: int) -> None:
    if not LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY:
        raise _refused(
            "SecurityRuleInvalidPriority",
            f"Security rule has invalid Priority. Value provided: {priority} "
            f"Allowed range {LOWEST_PRIORITY}-{HIGHEST_PRIORITY}.",
        )


def _check_ports(given: Properties, side: str, rule_id: str) -> None:
    single = given.get(f"{side}PortRange")
    if single and single != "*":
        _check_port_range(single)
    for several in given.get(f"{side}PortRanges", []):
        if several == "*":  # the code is known, its text is not
            raise _refused(
                "SecurityRuleParameterContainsInvalidPortRanges",
                f"Security rule parameter {side.capitalize()}PortRanges for rule with Id "
                f"{rule_id} cannot specify '*'. Use {side.capitalize()}PortRange instead.",
            )
        _check_port_range(several)


def _check_groups_named(given: Properties, side: str) -> None:
    for at, group in enumerate(given.get(f"{side}ApplicationSecurityGroups", [])):
        if "id" not in group:
            raise missing_reference(f"properties.{side}ApplicationSecurityGroups[{at}]")


def _check_port_range(value: str) -> None:
    bounds = value.split("-")
    numbers = [int(bound) for bound in bounds if bound.isascii() and bound.isdecimal()]
    well_formed = len(numbers) == len(bounds) and len(bounds) in (1, 2)
    if not well_formed or max(numbers) > MAX_PORT or numbers != sorted(numbers):
        raise _refused(
            "SecurityRuleInvalidPortRange",
            f"Security rule has invalid Port range. Value provided: {value}. Value should be an "
            "integer OR integer range with '-' delimiter. Valid range 0-65535.",
        )


def _refused(code: str, message: str) -> ArmError:
    return provider(400, code, message)


def _default(name: str, description: str, direction: str, priority: int, **members: str) -> Rule:
    return Rule(
        name,
        normalised(
            {
                "description": description,
                "protocol": "*",
                "sourcePortRange": "*",
                "destinationPortRange": "*",
                "sourceAddressPrefix": members.get("source", "*"),
                "destinationAddressPrefix": members.get("destination", "*"),
                "access": "Deny" if name.startswith("Deny") else "Allow",
                "priority": priority,
                "direction": direction,
            }
        ),
    )


_VNET = {"source": "VirtualNetwork", "destination": "VirtualNetwork"}
# Verbatim from the recordings, in their order.
DEFAULT_RULES = (
    _default(
        "AllowVnetInBound", "Allow inbound traffic from all VMs in VNET", "Inbound", 65000, **_VNET
    ),
    _default(
        "AllowAzureLoadBalancerInBound",
        "Allow inbound traffic from azure load balancer",
        "Inbound",
        65001,
        source="AzureLoadBalancer",
    ),
    _default("DenyAllInBound", "Deny all inbound traffic", "Inbound", 65500),
    _default(
        "AllowVnetOutBound",
        "Allow outbound traffic from all VMs to all VMs in VNET",
        "Outbound",
        65000,
        **_VNET,
    ),
    _default(
        "AllowInternetOutBound",
        "Allow outbound traffic from all VMs to Internet",
        "Outbound",
        65001,
        destination="Internet",
    ),
    _default("DenyAllOutBound", "Deny all outbound traffic", "Outbound", 65500),
)
