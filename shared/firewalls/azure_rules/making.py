"""Translate intents into rules of ours, classic or a policy's, and compare. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shared.domain.desired import Allow, Desired, Plan
from shared.domain.network import network
from shared.firewalls.azure_rules.exposure import denying, openings
from shared.firewalls.azure_rules.model import (
    DNAT,
    NETWORK,
    AzureSettings,
    OwnRule,
    Rule,
    protocols_of,
    rule_name,
)
from shared.firewalls.azure_rules.placing import EntryPorts, Front, front_of, split_sources
from shared.firewalls.azure_rules.planning import Made, Planner, Situation

_V4 = 4


@dataclass(frozen=True)
class RuleBook:
    """The properties of a firewall that a plan for our rules needs."""

    own: Mapping[str, OwnRule]
    rules: tuple[Rule, ...]  # ours and foreign, in order
    earlier: tuple[Rule, ...]  # what is asked before a network rule of ours
    fronts: tuple[Front, ...]
    container: str = ""
    faulted: str = ""
    unsupported: str = ""
    closes_only: str = ""


def plan_rules(
    book: RuleBook, desired: Desired, settings: AzureSettings, refused: Mapping[str, str]
) -> Plan:
    """Compare the rules of ours with what is desired."""
    maker = Maker(book, settings)
    maker.reserve()
    situation = Situation(
        own=book.own,
        make=maker.make,
        exposures=lambda block: openings(book.rules, block),
        container=book.container,
        faulted=book.faulted,
        unsupported=book.unsupported,
        closes_only=book.closes_only,
    )
    return Planner(situation, desired, refused).plan()


class Maker:
    """Makes the rules of each grant: a translation for public sources, an allow for private."""

    def __init__(self, book: RuleBook, settings: AzureSettings) -> None:
        self._book = book
        self._settings = settings
        addresses = sum(len(front.public_addresses) for front in book.fronts)
        self.ports = EntryPorts(settings, addresses)
        self.ports.note(rule for rule in book.rules if not rule.held)
        self._shared: dict[tuple[str, int, str], int] = {}

    def reserve(self) -> None:
        """Let every rule that stands keep its entry, whatever is made first."""
        for rule in self._book.own.values():
            if rule.rule_type == DNAT and not self.ports.is_taken(
                rule.public_address, rule.public_port
            ):
                self.ports.keep(rule)
                self._shared.setdefault(_target(rule), rule.public_port)

    def make(self, allow: Allow) -> Made:
        """Return the rules of a grant, or why there can be none."""
        public, private, why = split_sources(allow.sources)
        addresses = tuple(a for a in allow.addresses if _is_v4(a))
        if not addresses or not (public or private):
            return why or "no source or address to open"
        made = []
        if public:
            translation = self._translation(allow, public, addresses[0])
            if isinstance(translation, str):
                return translation
            made.append(translation)
        if private:
            rule = self._rule(allow, NETWORK, private, addresses)
            denied = self._denied(rule)
            if denied:
                return f"{denied} denies it before a rule of ours is asked"
            made.append(rule)
        return tuple(made)

    def _translation(self, allow: Allow, sources: tuple[str, ...], address: str) -> OwnRule | str:
        front = front_of(self._book.fronts, address)
        if isinstance(front, str):
            return front
        if not front.public_addresses:
            return "the firewall has no public address"
        rule = self._rule(allow, DNAT, sources, (address,))
        present = self._book.own.get(rule.name)
        entry = self._kept_entry(present, front) or self._new_entry(rule, front)
        if isinstance(entry, str):
            return entry
        return replace(rule, public_address=entry[0], public_port=entry[1])

    def _kept_entry(self, present: OwnRule | None, front: Front) -> tuple[str, int] | None:
        """Return the entry that a grant has, unless a foreign translation has taken it since."""
        if present is None or present.public_address not in front.public_addresses:
            return None
        foreign = EntryPorts(self._settings, 0)
        foreign.note(rule for rule in self._book.rules if not rule.held)
        if foreign.is_taken(present.public_address, present.public_port):
            return None
        return present.public_address, present.public_port

    def _new_entry(self, rule: OwnRule, front: Front) -> tuple[str, int] | str:
        address = front.public_addresses[0]
        shared = self._shared.get(_target(rule, address))
        if self._settings.share_ports and shared:
            return address, shared
        port = self.ports.next_free(address, rule.protocols)
        if isinstance(port, str):
            return port
        self._shared[_target(rule, address)] = port
        return address, port

    def _rule(
        self, allow: Allow, rule_type: str, sources: tuple[str, ...], addresses: tuple[str, ...]
    ) -> OwnRule:
        return OwnRule(
            name=rule_name(allow, rule_type),
            rule_type=rule_type,
            protocols=protocols_of(allow.protocol),
            sources=sources,
            addresses=addresses,
            port=allow.port,
            key=allow.key,
            until=allow.until,
        )

    def _denied(self, rule: OwnRule) -> str:
        """Return a rule before ours that denies what ours is to allow."""
        wanted = Rule(
            rule.name, False, True, rule.protocols, rule.sources, rule.addresses, (str(rule.port),)
        )
        return denying(self._book.earlier, wanted)


def _target(rule: OwnRule, address: str = "") -> tuple[str, int, str]:
    protocols = ",".join(sorted(rule.protocols))
    return (f"{address or rule.public_address} {rule.addresses[0]}", rule.port, protocols)


def _is_v4(address: str) -> bool:
    found = network(address)
    return found is not None and found.version == _V4
