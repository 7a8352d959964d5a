"""An IP group as JSON: its addresses, and our ledger in its tags. Pure.

A group's addresses have no text of their own. So each grant has a tag of ours beside them, with
its key, its end and its sources; the addresses are the sources of all tags together.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from shared.domain.desired import Allow
from shared.domain.ids import digest
from shared.domain.network import canonical
from shared.domain.times import format_instant, parse_instant
from shared.firewalls.azure_rules.model import (
    NETWORK,
    NOWHERE,
    AzureSettings,
    OwnRule,
    is_own_ip_group,
    texts,
)

Json = dict[str, Any]
MAX_TAG_VALUE, MAX_TAGS = 256, 50
STRAY = "address "
_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Network/ipGroups/[^/]+",
    re.IGNORECASE,
)
_TAG = re.compile(r"(?P<key>\S+) until (?P<until>\S+) for (?P<sources>\S*)")


def is_ours(firewall_id: str, settings: AzureSettings) -> bool:
    """Tell whether an id names an IP group that carries our deployment's name."""
    match = _ID.fullmatch(firewall_id)
    return match is not None and is_own_ip_group(firewall_id, settings)


def tag_name(allow: Allow, settings: AzureSettings) -> str:
    """Name the tag of a grant; never after its end, so that extending edits it in place."""
    return f"jit-{settings.deployment}-{digest(allow.key, length=16).lower()}"


def tag_value(key: str, until: datetime, sources: Iterable[str]) -> str:
    """Return the value of a grant's tag."""
    return f"{key} until {format_instant(until)} for {','.join(sources)}"


def own_entries(group: Mapping[str, Any], settings: AzureSettings) -> dict[str, OwnRule]:
    """Return the entries that our tags describe, and each address that none of them lists."""
    held = canonical(texts(group["properties"].get("ipAddresses")))
    found: dict[str, OwnRule] = {}
    listed: set[str] = set(canonical((NOWHERE,)))
    for name, value in (group.get("tags") or {}).items():
        if name.lower().startswith(f"jit-{settings.deployment}-".lower()):
            entry = _entry(name, str(value), held)
            found[name] = entry
            listed |= canonical(entry.sources)
    for address in sorted(held - listed):
        found[f"{STRAY}{address}"] = _made(f"{STRAY}{address}", (address,))
    return found


def _entry(name: str, value: str, held: frozenset[str]) -> OwnRule:
    """Read a tag; it opens what the group really holds of its sources."""
    match = _TAG.fullmatch(value)
    if match is None:
        return _made(name, (NOWHERE,))
    sources = tuple(filter(None, match["sources"].split(",")))
    present = tuple(each for each in sources if canonical((each,)) <= held)
    try:
        until = parse_instant(match["until"])
    except ValueError:
        return _made(name, present or (NOWHERE,))
    return _made(name, present or (NOWHERE,), match["key"], until)


def _made(
    name: str, sources: tuple[str, ...], key: str = "", until: datetime | None = None
) -> OwnRule:
    return OwnRule(name, NETWORK, (), sources, (), 0, key, until)


def group_body(group: Mapping[str, Any], own: Iterable[OwnRule], settings: AzureSettings) -> Json:
    """Return the body of the group: only its addresses and our tags differ from what was read."""
    listed = list(own)
    tags = {
        name: value
        for name, value in (group.get("tags") or {}).items()
        if not name.lower().startswith(f"jit-{settings.deployment}-".lower())
    }
    for entry in listed:
        if not entry.name.startswith(STRAY):
            tags[entry.name] = _value(entry)
    addresses = sorted({a for each in listed if each.opens for a in canonical(each.sources)})
    owned = ("etag", "properties", "tags")
    properties = {
        name: value
        for name, value in group["properties"].items()
        if name not in ("provisioningState", "firewalls", "firewallPolicies", "ipAddresses")
    }
    body: Json = {name: value for name, value in group.items() if name not in owned}
    if tags or "tags" in group:
        body["tags"] = tags
    return body | {"properties": {**properties, "ipAddresses": addresses or [NOWHERE]}}


def _value(entry: OwnRule) -> str:
    if not entry.key or entry.until is None:
        return "closed"
    sources = entry.sources if entry.opens else ()
    return tag_value(entry.key, entry.until, sources)
