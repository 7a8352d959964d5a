"""Translate intents into the addresses of an IP group, and compare. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from shared.domain.desired import Allow, Desired, Entry, Finding, Plan
from shared.firewalls.azure_rules.exposure import openings
from shared.firewalls.azure_rules.model import (
    NETWORK,
    AzureSettings,
    OwnRule,
    Rule,
    protocols_of,
)
from shared.firewalls.azure_rules.placing import split_sources
from shared.firewalls.azure_rules.planning import Made, Planner, Situation
from shared.firewalls.ip_group.wire import MAX_TAG_VALUE, MAX_TAGS, tag_name, tag_value


@dataclass(frozen=True)
class Switch:
    """A rule of the firewall's owner that names the group as its source."""

    what: str
    translates: bool
    protocols: tuple[str, ...]
    address: str
    port: str
    public_address: str = ""
    public_port: str = ""


@dataclass(frozen=True)
class GroupBook:
    """The properties of an IP group that a plan needs."""

    name: str
    own: Mapping[str, OwnRule]
    switches: tuple[Switch, ...]
    rules: tuple[Rule, ...]  # ours and foreign, on the firewalls that use the group
    tags: int = 0  # how many tags of others the group has
    faulted: str = ""


def plan_group(
    book: GroupBook, desired: Desired, settings: AzureSettings, refused: Mapping[str, str]
) -> Plan:
    """Compare the addresses of an IP group with what is desired."""
    situation = Situation(
        own=book.own,
        make=lambda allow: _make(book, allow, settings),
        exposures=lambda block: openings(book.rules, block),
        names=lambda allow: frozenset({tag_name(allow, settings)}),
        faulted=book.faulted,
    )
    plan = Planner(situation, desired, refused).plan()
    findings = dict(plan.findings)
    for allow in desired.allows:
        if findings[allow.key].agrees and allow.wanted:
            findings[allow.key] = _with_entry(findings[allow.key], book, allow)
    return replace(plan, findings=findings)


def _make(book: GroupBook, allow: Allow, settings: AzureSettings) -> Made:
    """Return the entry of a grant, or why the group cannot open it."""
    public, private, why = split_sources(allow.sources)
    if not allow.addresses or not (public or private):
        return why or "no source or address to open"
    refusal = _switch_refusal(book, allow, public, private)
    if refusal:
        return refusal
    name = tag_name(allow, settings)
    sources = (*public, *private)
    if len(tag_value(allow.key, allow.until, sources)) > MAX_TAG_VALUE:
        return f"{len(sources)} sources are more than a tag of IP group '{book.name}' holds"
    if name not in book.own and len(book.own) + book.tags >= MAX_TAGS:
        return f"IP group '{book.name}' has no room for another grant: {MAX_TAGS} tags"
    rule = OwnRule(name, NETWORK, (), sources, (), 0, allow.key, allow.until)
    return (rule,)


def _switch_refusal(
    book: GroupBook, allow: Allow, public: tuple[str, ...], private: tuple[str, ...]
) -> str:
    """Return why the owner's rules do not open exactly this grant; empty: they do."""
    targets = {(each.address, each.port) for each in book.switches}
    others = sorted(t for t in targets if not _is_target(t, allow))
    if others:
        address, port = others[0]
        return f"IP group '{book.name}' also opens port {port} of {address}"
    for sources, translates in ((public, True), (private, False)):
        translations = {s.translates for s in book.switches}
        # A translation takes private sources as well; a network rule alone takes no public one.
        if sources and not (
            translates in translations or (not translates and True in translations)
        ):
            searched = "translation" if translates else "rule"
            return f"no {searched} with IP group '{book.name}' as source leads to port {allow.port}"
    wanted = set(protocols_of(allow.protocol))
    given = {p.upper() for each in book.switches for p in each.protocols}
    if not wanted <= given and "ANY" not in given:
        return f"the rules with IP group '{book.name}' carry {', '.join(sorted(given))} alone"
    return ""


def _is_target(target: tuple[str, str], allow: Allow) -> bool:
    return target[0] in allow.addresses and target[1] == str(allow.port)


def _with_entry(finding: Finding, book: GroupBook, allow: Allow) -> Finding:
    """Tell where to connect: the entry of the owner's translation."""
    for each in book.switches:
        leads_here = each.translates and _is_target((each.address, each.port), allow)
        if leads_here and each.public_port.isdecimal():
            return replace(finding, entry=Entry(each.public_address, int(each.public_port)))
    return finding


def switches_of(rules: Iterable[Rule]) -> tuple[Switch, ...]:
    """Return the rules that name a group as source, one for each target and port."""
    found = []
    for rule in rules:
        if rule.translates:
            entry = rule.destinations[0] if rule.destinations else ""
            port = rule.ports[0] if rule.ports else ""
            target = rule.to_address or rule.unresolved
            found.append(Switch(rule.what, True, rule.protocols, target, rule.to_port, entry, port))
        elif rule.allows:
            found += [
                Switch(rule.what, False, rule.protocols, address, port)
                for address in rule.destinations
                for port in rule.ports
            ]
    return tuple(found)
