"""The rules revoked from a foreign group: in a block's memory, and in a ledger group's tags."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.firewalls.ec2.wire import CIDR4, CIDR6, HELD_PREFIX, PREFIX_LIST, Group, Rule

MAX_TAGS, MAX_VALUE = 50, 256
BASE_TAGS = 2  # jit:deployment and jit:ledger-of
_PLAIN = re.compile(r"[A-Za-z0-9._/@-]", re.ASCII)
_ESCAPED = re.compile(r"=([0-9A-F]{2})")
_MEMBERS = ("id", "protocol", "low", "high", "kind", "source", "description")
_KEY = re.compile(rf"{HELD_PREFIX}(?P<id>sgr-[0-9a-zA-Z]+)\.(?P<part>\d+)")


@dataclass(frozen=True)
class Held:
    """A foreign rule as it was before it was narrowed or revoked."""

    rule: Rule

    @property
    def id(self) -> str:
        """Return the id that the rule had."""
        return self.rule.id

    def ports_of(self, ports: Iterable[int]) -> frozenset[int]:
        """Return those of some ports that the rule meets."""
        return frozenset(p for p in ports if self.rule.low <= p <= self.rule.high)

    def continues_as(self, present: Rule) -> bool:
        """Tell whether a present rule of the same id is what is left of this one."""
        mine, other = self.rule, present
        same = (mine.protocol, mine.kind, mine.source) == (other.protocol, other.kind, other.source)
        return same and mine.low <= other.low and other.high <= mine.high


HeldRules = Mapping[str, Held]


def hold(rule: Rule) -> Held:
    """Return a present foreign rule as what is to be restored."""
    return Held(replace(rule, egress=False))


# --- a block's memory: JSON


def write_memory(held: HeldRules) -> str:
    """Return held rules as the memory of a block."""
    listed = [_to_json(held[key].rule) for key in sorted(held)]
    return json.dumps(listed, sort_keys=True, separators=(",", ":")) if listed else ""


def read_memory(memory: str) -> dict[str, Held]:
    """Read a block's memory; what is damaged is left to the ledger."""
    try:
        listed = json.loads(memory or "[]")
        rules = [_from_json(each) for each in listed]
    except (ValueError, KeyError, TypeError):
        return {}
    return {rule.id: Held(rule) for rule in rules}


def _to_json(rule: Rule) -> dict[str, Any]:
    return {**{name: getattr(rule, name) for name in _MEMBERS}, "tags": dict(rule.tags)}


def _from_json(given: Mapping[str, Any]) -> Rule:
    tags = tuple(sorted((str(k), str(v)) for k, v in given["tags"].items()))
    numbers = {name: int(given[name]) for name in ("low", "high")}
    texts = {n: str(given[n]) for n in ("id", "protocol", "kind", "source", "description")}
    return Rule(**texts, **numbers, tags=tags)  # type: ignore[arg-type]


# --- a ledger group's tags: one line for each rule, which people can read


def ledger_tags(held: Held) -> dict[str, str]:
    """Return the tags that hold a rule: `tcp+20-25+198.51.100.0/24+text+tag:value`."""
    rule = held.rule
    fields = [
        rule.protocol,
        f"{rule.low}-{rule.high}",
        _escape(rule.source),
        _escape(rule.description) or "-",
        *(f"{_escape(key)}:{_escape(value)}" for key, value in rule.tags),
    ]
    line = "+".join(fields)
    parts = [line[start : start + MAX_VALUE] for start in range(0, len(line), MAX_VALUE)]
    return {f"{HELD_PREFIX}{rule.id}.{index}": part for index, part in enumerate(parts)}


def read_ledger(group: Group | None) -> dict[str, Held]:
    """Read the rules that a ledger group's tags hold; a damaged one is left where it is."""
    if group is None:
        return {}
    lines: dict[str, dict[int, str]] = {}
    for key, value in group.tags:
        match = _KEY.fullmatch(key)
        if match is not None:
            lines.setdefault(match["id"], {})[int(match["part"])] = value
    found = {}
    for rule_id, parts in lines.items():
        try:
            line = "".join(parts[index] for index in range(len(parts)))
            found[rule_id] = Held(_read_line(rule_id, line))
        except (ValueError, KeyError):
            continue
    return found


def tag_keys(group: Group | None, rule_id: str) -> list[str]:
    """Return the keys of the tags that hold a rule."""
    start = f"{HELD_PREFIX}{rule_id}."
    return [key for key, _ in group.tags if key.startswith(start)] if group is not None else []


def fits(group: Group | None, held: Held, also: int) -> bool:
    """Tell whether a ledger has room for a rule beside `also` more tags that are to come."""
    present = len(group.tags) if group is not None else BASE_TAGS
    return present + also + len(ledger_tags(held)) <= MAX_TAGS


def _read_line(rule_id: str, line: str) -> Rule:
    protocol, ports, source, description, *tags = line.split("+")
    low, high = map(int, ports.split("-"))
    source = _unescape(source)
    source_type = PREFIX_LIST if source.startswith("pl-") else CIDR6 if ":" in source else CIDR4
    pairs = (each.split(":", 1) for each in tags)
    return Rule(
        protocol,
        low,
        high,
        source_type,
        source,
        "" if description == "-" else _unescape(description),
        tuple(sorted((_unescape(key), _unescape(value)) for key, value in pairs)),
        rule_id,
    )


def _escape(text: str) -> str:
    """Write a text in characters that every tag takes; a single `-` stays apart from none."""
    if text == "-":
        return "=2D"
    return "".join(
        each if _PLAIN.fullmatch(each) else "".join(f"={byte:02X}" for byte in each.encode())
        for each in text
    )


def _unescape(text: str) -> str:
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
    return raw.encode("latin-1").decode()
