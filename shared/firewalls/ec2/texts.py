"""Names and descriptions of our groups and rules, within what EC2 accepts."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.domain.desired import Allow
from shared.domain.ids import digest
from shared.domain.times import format_instant, parse_instant
from shared.firewalls.ec2.wire import Group, Interface, Rule

MAX_TEXT = 255
_WORD = re.compile(r"[A-Za-z0-9._:/()#@\[\]+=&;{}!$*-]+", re.ASCII)
_TEXT = re.compile(r"JIT (?P<ids>\S+) until (?P<until>\S+)")
_MANY = re.compile(r"#(?P<count>\d+):[0-9A-F]{16}")
NOWHERE_TEXT = "JIT closed"
NOWHERE4, NOWHERE6 = "192.0.2.", "2001:db8::"  # documentation ranges: no packet comes from there


@dataclass(frozen=True)
class Told:
    """The content of a rule's description. `many`: too many grants to name each."""

    ids: tuple[str, ...] = ()
    until: datetime | None = None
    many: bool = False

    def names(self, allow: Allow) -> bool:
        """Tell whether the text names a grant, or may stand for it."""
        return self.many or _id_of(allow) in self.ids

    def reaches(self, until: datetime) -> bool:
        """Tell whether the text's end is not before another."""
        return self.until is not None and self.until >= until.replace(microsecond=0)


def rule_text(allows: Iterable[Allow]) -> str:
    """Return a rule's description: the requests it serves, and the latest end, never cut."""
    listed = list(allows)
    ids = sorted({_id_of(allow) for allow in listed})
    end = f" until {format_instant(max(allow.until for allow in listed))}"
    text = f"JIT {','.join(ids)}{end}"
    if len(text) <= MAX_TEXT:
        return text
    return f"JIT #{len(ids)}:{digest(*ids, length=16)}{end}"


def _id_of(allow: Allow) -> str:
    """Return the beginning of a grant's key: its request's id, or a digest of an odd one."""
    request = allow.key.partition("|")[0]
    return request if _WORD.fullmatch(request) and "#" not in request else f"#{digest(request)}"


def read_text(text: str) -> Told:
    """Read a rule's description; a damaged one tells nothing."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return Told()
    try:
        until = parse_instant(match["until"])
    except ValueError:
        return Told()
    if _MANY.fullmatch(match["ids"]):
        return Told((), until, many=True)
    return Told(tuple(match["ids"].split(",")), until)


def is_nowhere(rule: Rule) -> bool:
    """Tell whether no packet comes from a rule's source."""
    return rule.source.startswith((NOWHERE4, NOWHERE6))


def target_of(rule: Rule) -> str:
    """Return a rule's name in plans: EC2 gives it a new id each time it is added."""
    direction = "egress " if rule.egress else ""
    return f"{direction}{rule.protocol}:{rule.low}-{rule.high}:{rule.source}"


@dataclass(frozen=True)
class Names:
    """The names of our groups."""

    deployment: str

    def group(self, instance_id: str) -> str:
        """Return the name of an instance's own group."""
        return f"jit-{self.deployment}-{instance_id}"

    def ledger(self, group_id: str) -> str:
        """Return the name of the group whose tags hold what was taken from a foreign group."""
        return f"jit-{self.deployment}-ledger-{group_id}"

    def is_governed(self, interface: Interface) -> bool:
        """Tell whether an interface belongs to an instance that bears its own group of ours."""
        name = self.group(interface.instance_id)
        return bool(interface.instance_id) and any(
            each.lower() == name for _, each in interface.groups
        )


def attach_command(interface: Interface, group: Group, region: str) -> str:
    """Return the one command with which an owner attaches a group to an interface."""
    groups = " ".join([*(each for each, _ in interface.groups), group.id])
    return (
        f"aws ec2 modify-network-interface-attribute --region {region} "
        f"--network-interface-id {interface.id} --groups {groups}"
    )
