"""Rules of Azure Firewall as values, whether they are classic rules or a policy's. Pure."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.domain.desired import Allow, Own
from shared.domain.ids import digest
from shared.domain.network import canonical
from shared.domain.times import format_instant, parse_instant

NOWHERE = "192.0.2.1/32"  # reserved for documentation: no packet comes from there
FIRST_RESERVED_PORT = 64_000
MAX_DESTINATIONS = 250
SETTLING_SECONDS = 10.0  # what the service asks for on every recorded poll
_TEXT = re.compile(r"JIT access (?P<key>\S+) until (?P<until>\S+)")
DNAT, NETWORK = "dnat", "network"


def place_of(scope: str) -> str:
    """Return the subscription or resource group of a scope: single resources hold no lists."""
    return "/".join(scope.split("/")[:5])


@dataclass(frozen=True)
class AzureSettings:
    """An installation's settings for Azure Firewall."""

    deployment: str
    first_port: int = 20_000
    last_port: int = 29_999
    group_priority: int = 150
    delete_empty: bool = True  # with no grant the group is deleted, else it stays empty
    share_ports: bool = False  # one entry for all grants of a VM's port
    public_address: str = ""  # the entry where a firewall has several; empty: the first
    hub_scopes: tuple[str, ...] = ()  # where firewalls stand beside the scopes of VMs

    @property
    def group_name(self) -> str:
        """Return the name of our rule collection group."""
        return f"jit-{self.deployment}"

    def searched(self, scope: str) -> tuple[str, ...]:
        """Return where to list for one scope: its group or subscription, and where hubs stand."""
        return tuple(dict.fromkeys(place_of(each) for each in (scope, *self.hub_scopes)))

    @property
    def entry_ports(self) -> range:
        """Return the ports that may become an entry."""
        return range(self.first_port, min(self.last_port + 1, FIRST_RESERVED_PORT))


@dataclass(frozen=True)
class Rule:
    """One rule of a firewall, with its IP groups resolved to prefixes."""

    what: str  # its name and where it stands, for people
    translates: bool
    allows: bool
    protocols: tuple[str, ...]
    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: tuple[str, ...]
    to_address: str = ""
    to_port: str = ""
    ours: bool = False
    held: bool = False  # stands where we write: it is rewritten, and its entry is ours to keep
    unresolved: str = ""  # what of it is not known


@dataclass(frozen=True)
class OwnRule:
    """A rule of ours. `public_address` and `public_port` are a translation's entry."""

    name: str
    rule_type: str
    protocols: tuple[str, ...]
    sources: tuple[str, ...]
    addresses: tuple[str, ...]
    port: int
    key: str = ""
    until: datetime | None = None
    public_address: str = ""
    public_port: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def opens(self) -> bool:
        """Tell whether it lets any packet in."""
        return canonical(self.sources) != canonical((NOWHERE,))

    @property
    def meaning(self) -> str:
        """Return its meaning without its entry port, for ids that stay."""
        return digest(json.dumps(self._parts(), default=str), length=16)

    @property
    def exact(self) -> str:
        """Return its meaning with its entry, in one spelling for comparison."""
        entry = [self.public_address, self.public_port]
        return digest(json.dumps([self._parts(), entry], default=str))

    def _parts(self) -> list[Any]:
        return [
            self.name,
            self.rule_type,
            sorted(protocol.upper() for protocol in self.protocols),
            sorted(canonical(self.sources)),
            sorted(canonical(self.addresses)),
            self.port,
            self.key,
            self.until and format_instant(self.until),
        ]

    @property
    def own(self) -> Own:
        """Return the content of its name and texts."""
        return Own(self.name, self.opens, (self.key,) if self.key else (), self.until)


def is_own_ip_group(group_id: str, settings: AzureSettings) -> bool:
    """Tell whether an IP group carries our deployment's name."""
    name = group_id.rstrip("/").rsplit("/", 1)[-1].lower()
    return name.startswith(f"ipg-jit-{settings.deployment}-".lower())


def rule_name(allow: Allow, rule_type: str) -> str:
    """Name the rule of a grant; never after its end, so that extending edits it in place."""
    return f"jit-{allow.port}-{digest(allow.key, rule_type, length=16).lower()}"


def rule_text(key: str, until: datetime | None) -> str:
    """Return the text of a rule of ours; the end is never cut."""
    return f"JIT access {key} until {format_instant(until)}" if until else "JIT access"


def read_text(text: str) -> tuple[str, datetime | None]:
    """Return the key and the end that a rule's text tells; a damaged one tells none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return "", None
    try:
        return match["key"], parse_instant(match["until"])
    except ValueError:
        return "", None


def protocols_of(protocol: str) -> tuple[str, ...]:
    """Return the protocols of a grant as the service names them."""
    return ("TCP", "UDP") if protocol == "*" else (protocol.upper(),)


def texts(value: object) -> tuple[str, ...]:
    """Read a list of texts; anything else is none."""
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def version_of(bodies: Iterable[Any]) -> str:
    """Return a digest of everything that a plan was made from."""
    return digest(json.dumps(list(bodies), sort_keys=True, default=str))
