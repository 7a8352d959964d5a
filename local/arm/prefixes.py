"""Source and destination prefixes of a rule: their syntax and what may stand together."""

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

from local.arm.errors import ArmError, provider
from local.arm.service_tags import is_service_tag, usual_case

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Python would also take a netmask after the slash, and a zone in an IPv6 address.
SYNTAX = re.compile(r"[0-9A-Fa-f.:]+(?:/[0-9]{1,3})?")


@lru_cache(maxsize=16384)
def network(prefix: str) -> Network | None:
    """Read an address or a CIDR prefix; anything else, host bits included, is None.

    That a prefix with host bits is refused is azure-powershell#4557 (50.206.209.68/27).
    """
    if SYNTAX.fullmatch(prefix) is None:
        return None
    try:
        return ipaddress.ip_network(prefix)
    except ValueError:
        return None


def respelled_prefix(prefix: str) -> str:
    """Write a prefix in the one usual way: no mask for a host, tags in their own letter case."""
    found = network(prefix)
    if found is None:
        return usual_case(prefix)
    return str(found.network_address if found.num_addresses == 1 else found)


def check_prefixes(given: Mapping[str, Any], rule_id: str) -> None:
    """Refuse the prefixes of a rule that the provider would refuse."""
    families: set[int] = set()
    for side in ("source", "destination"):
        networks = _checked_networks(given, side, rule_id)
        families |= {found.version for found in networks}
        _check_overlap(networks, side, rule_id)
    if len(families) > 1:  # terraform-provider-azurerm#12534, azure-docs#34567
        raise provider(
            400,
            "ResourceCannotContainAddressPrefixesFromDifferentAddressFamilies",
            f"Resource {rule_id} contains IP addresses or prefixes that belong to different "
            "address families. All IP addresses or prefixes in the resource should belong to "
            "the same address family.",
        )


def _checked_networks(given: Mapping[str, Any], side: str, rule_id: str) -> list[Network]:
    networks = []
    single = given.get(f"{side}AddressPrefix", "")
    if single and single != "*" and not is_service_tag(single):
        networks.append(_checked(single, rule_id))
    for prefix in given.get(f"{side}AddressPrefixes", []):
        if prefix == "*" or is_service_tag(prefix):
            raise _unsupported(prefix, side, rule_id)
        networks.append(_checked(prefix, rule_id))
    return networks


def _checked(prefix: str, rule_id: str) -> Network:
    found = network(prefix)
    if found is None:
        raise provider(
            400,
            "SecurityRuleInvalidAddressPrefix",
            f"Security rule {rule_id} has invalid Address prefix. Value provided: {prefix}",
        )
    return found


def _unsupported(prefix: str, side: str, rule_id: str) -> ArmError:
    return provider(
        400,
        "SecurityRuleParameterContainsUnsupportedValue",
        f"Security rule parameter {side.capitalize()}AddressPrefix for rule with Id {rule_id} "
        "cannot specify existing VIRTUALNETWORK, INTERNET, AZURELOADBALANCER, '*' or system tags. "
        f"Unsupported value used: {prefix}.",
    )


def _check_overlap(networks: list[Network], side: str, rule_id: str) -> None:
    """Refuse prefixes that contain or repeat one another, naming the pairs."""
    ordered = sorted(networks, key=lambda found: (found.version, found))  # type: ignore[type-var, unused-ignore]
    pairs = [(one, other) for one, other in pairwise(ordered) if one.overlaps(other)]
    if pairs:
        listed = ",".join(f"[{one}, {other}]" for one, other in pairs)
        raise provider(
            400,
            "OverlappingSubnetsNotPermittedInSecurityRule",
            f"Security rule parameter {side.capitalize()}AddressPrefix for rule with Id "
            f"{rule_id} contains overlapping subnets {listed}",
        )
