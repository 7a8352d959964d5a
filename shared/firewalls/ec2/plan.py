"""Plan for an instance's own group: one rule for each protocol, port and source. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_network

from shared.domain.desired import Allow, Change, Desired, Finding, Own, Plan, impossible
from shared.domain.ids import digest
from shared.domain.network import is_any
from shared.firewalls.ec2.planning import Changes
from shared.firewalls.ec2.states import InstanceState
from shared.firewalls.ec2.texts import (
    NOWHERE4,
    NOWHERE6,
    NOWHERE_TEXT,
    Names,
    attach_command,
    is_nowhere,
    read_text,
    rule_text,
    target_of,
)
from shared.firewalls.ec2.wire import CIDR4, CIDR6, Group, Identity, Rule

CREATE, ATTACH, DETACH, DELETE = "create", "attach", "detach", "delete"
PUT, REMOVE, NEUTRALISE = "put", "remove", "neutralise"
MAX_RULES = 60  # of each address family
_EVERYWHERE = {CIDR4: "0.0.0.0/0", CIDR6: "::/0"}
_NOWHERE = {CIDR4: (NOWHERE4, 32), CIDR6: (NOWHERE6, 128)}


def own_of_instance(state: InstanceState) -> tuple[Own, ...]:
    """Return our marked items: the group, which closes, and each of its rules, which open."""
    if state.own is None:
        return ()
    rules = []
    for rule in state.own.rules:
        told = read_text(rule.description)
        rules.append(Own(target_of(rule), opens=True, keys=told.ids, until=told.until))
    return (*rules, Own(group_mark(state.own), opens=False))


def group_mark(group: Group) -> str:
    """Return our group's name in plans."""
    return f"group {group.id}"


def identities_of(allow: Allow) -> tuple[Identity, ...]:
    """Return the rules of a grant: `*` is TCP and UDP, for the families of the addresses."""
    protocols = ("tcp", "udp") if allow.protocol == "*" else (allow.protocol.lower(),)
    source_types = {CIDR6 if ":" in address else CIDR4 for address in allow.addresses}
    found: dict[Identity, None] = {}
    for source in allow.sources:
        for source_type, cidr in _cidrs(source):
            if source_type in source_types:
                found |= {(p, allow.port, allow.port, source_type, cidr): None for p in protocols}
    return tuple(found)


def _cidrs(source: str) -> list[tuple[str, str]]:
    """Return a source as EC2 stores it; a name that is no address has none."""
    if is_any(source):
        return list(_EVERYWHERE.items())
    try:
        found = ip_network(source, strict=False)
    except ValueError:
        return []
    return [(CIDR4 if found.version == 4 else CIDR6, str(found))]  # noqa: PLR2004 - IPv4


def plan_instance(
    state: InstanceState, desired: Desired, names: Names, refused: Mapping[str, str]
) -> Plan:
    """Compare an instance's own group with what is desired."""
    return _Planner(state, desired, names, refused).plan()


class _Planner:
    def __init__(
        self,
        state: InstanceState,
        desired: Desired,
        names: Names,
        refused: Mapping[str, str],
    ) -> None:
        self._state = state
        self._desired = desired
        self._names = names
        self._changes = Changes(refused)
        self._group = state.own
        self._present = {r.identity: r for r in (state.own.ingress if state.own else ())}
        self._impossible: dict[str, str] = {}
        self._stuck: set[Identity] = set()  # rules that can be neither removed nor neutralised
        self._wanted = self._place()

    def plan(self) -> Plan:
        """Return the plan."""
        taken_off = self._close()
        self._close_egress()
        self._dissolve()
        if self._is_needed and not taken_off:
            self._establish()
        elif taken_off:
            self._changes.blame(self._openers, "the group is off the interfaces to close a port")
        findings = {a.key: self._find(a) for a in self._desired.allows}
        findings |= {b.key: self._find_block(b.key, wanted=b.wanted) for b in self._desired.blocks}
        return Plan(self._changes.ordered(), findings, {}, self._strays())

    # --- what is wanted

    def _place(self) -> dict[Identity, list[Allow]]:
        """Return the rules that are wanted; a grant beyond the limit of its family is impossible.

        Rules that are present keep their place.
        """
        wanted: dict[Identity, list[Allow]] = {}
        room = {CIDR4: MAX_RULES, CIDR6: MAX_RULES}
        allows = [allow for allow in self._desired.allows if allow.wanted]
        for allow in sorted(allows, key=self._order):
            identities = identities_of(allow)
            new = [identity for identity in identities if identity not in wanted]
            if not identities:
                self._impossible[allow.key] = "no source and address of the same family"
            elif any(_count(new, source_type) > room[source_type] for source_type in room):
                self._impossible[allow.key] = (
                    f"the limit of {MAX_RULES} inbound rules of one address family is reached; "
                    "retry after some grants have ended"
                )
            else:
                room = {
                    source_type: room[source_type] - _count(new, source_type)
                    for source_type in room
                }
                for identity in identities:
                    wanted.setdefault(identity, []).append(allow)
        return wanted

    def _order(self, allow: Allow) -> tuple[bool, str]:
        is_new = any(identity not in self._present for identity in identities_of(allow))
        return is_new, allow.key

    @property
    def _is_needed(self) -> bool:
        return bool(self._wanted) or any(block.wanted for block in self._desired.blocks)

    @property
    def _openers(self) -> tuple[str, ...]:
        """Return the keys that need the group and its attachment."""
        return tuple(intent.key for intent in self._desired.intents if intent.wanted)

    # --- closing

    def _close(self) -> bool:
        """Remove what is not wanted, by the first of three ways that was not refused.

        Return whether the group itself has to be off the interfaces.
        """
        for identity, rule in self._present.items():
            if identity in self._wanted or target_of(rule) in self._desired.keep:
                continue
            keys = self._served_by(rule)
            remove = Change(REMOVE, target_of(rule), "", keys, body=rule)
            if self._changes.add(remove) or is_nowhere(rule):
                continue
            away = Change(NEUTRALISE, target_of(rule), "", keys, body=self._nowhere(rule))
            if away.body is None or not self._changes.add(away):
                self._stuck.add(identity)
                self._detach(keys)
        return bool(self._stuck)

    def _nowhere(self, rule: Rule) -> Rule | None:
        """Return a rule with a source of the documentation range; the type of source must stay."""
        if rule.kind not in _NOWHERE:
            return None
        prefix, length = _NOWHERE[rule.kind]
        for number in range(1, 255):
            away = replace(rule, source=f"{prefix}{number:x}/{length}", description=NOWHERE_TEXT)
            if rule.kind == CIDR4:
                away = replace(away, source=f"{prefix}{number}/{length}")
            if away.identity not in self._present:
                return away
        return None

    def _served_by(self, rule: Rule) -> tuple[str, ...]:
        told = read_text(rule.description)
        return tuple(
            allow.key
            for allow in self._desired.allows
            if not allow.wanted and (told.names(allow) or rule.identity in identities_of(allow))
        )

    def _close_egress(self) -> None:
        for rule in self._group.egress if self._group else ():
            if target_of(rule) not in self._desired.keep:
                self._changes.add(Change(REMOVE, target_of(rule), "", self._openers, body=rule))

    def _detach(self, keys: tuple[str, ...]) -> None:
        for interface in self._state.attached:
            self._changes.add(Change(DETACH, interface.id, "", keys))

    def _dissolve(self) -> None:
        """Take our group away once no intent needs it: off the interfaces, then deleted."""
        if self._group is None or self._is_needed:
            return
        if group_mark(self._group) in self._desired.keep:
            return
        keys = tuple(block.key for block in self._desired.blocks)
        if self._state.attached:
            if keys and self._state.attaches:
                self._detach(keys)
        elif not self._group.ingress:
            self._changes.add(Change(DELETE, self._group.name, "", keys))

    # --- opening

    def _establish(self) -> None:
        """Create the group, put the rules there, and attach it."""
        if self._state.squatter:
            reason = f"the group {self._state.squatter} has our name and not our tags"
            self._changes.blame(self._openers, reason)
            return
        name = self._names.group(self._state.instance_id)
        if self._group is None:
            self._changes.add(Change(CREATE, name, "", self._openers))
        if self._state.strangers:
            self._take_off_strangers()
            return
        self._put()
        self._attach()

    def _take_off_strangers(self) -> None:
        """Open nothing while the group is on an interface of another instance."""
        for interface in self._state.strangers:
            if self._state.attaches:
                self._changes.add(Change(DETACH, interface.id, "", self._openers))
            else:
                reason = f"the group is also on {interface.id}, of another instance"
                self._changes.blame(self._openers, reason)

    def _put(self) -> None:
        for identity, allows in self._wanted.items():
            text = rule_text(allows)
            present = self._present.get(identity)
            if present is not None and present.description == text:
                continue
            rule = Rule(*identity, description=text, id=present.id if present else "")
            keys = tuple(allow.key for allow in allows)
            opens = any(not self._stands(identity, allow) for allow in allows)
            self._changes.add(Change(PUT, target_of(rule), digest(text), keys, opens, rule))

    def _attach(self) -> None:
        if not self._state.interfaces:
            self._changes.blame(self._openers, "the instance has no network interface")
        for interface in self._state.detached:
            if self._state.attaches:
                self._changes.add(Change(ATTACH, interface.id, "", self._openers, opens=True))
        if self._state.detached and not self._state.attaches:
            self._changes.blame(self._openers, self._ask_owner())

    def _ask_owner(self) -> str:
        """Return the commands that the owner has to run."""
        group, region = self._group, self._state.place.region
        if group is None:
            return "the owner attaches the group once it is created"
        commands = [attach_command(each, group, region) for each in self._state.detached]
        return f"the owner has not attached the group yet: {'; '.join(commands)}"

    # --- findings

    @property
    def _is_ready(self) -> bool:
        """Tell whether the group is on every interface, on no other, and lets nothing out."""
        state = self._state
        clean = self._group is not None and not self._group.egress
        return clean and bool(state.interfaces) and not state.detached and not state.strangers

    def _stands(self, identity: Identity, allow: Allow) -> bool:
        """Tell whether a rule serves a grant until its end, by its own text."""
        rule = self._present.get(identity)
        told = read_text(rule.description) if rule is not None else None
        return told is not None and told.names(allow) and told.reaches(allow.until)

    def _find(self, allow: Allow) -> Finding:
        if not allow.wanted:
            return self._changes.verdict(allow.key, agrees=self._is_closed(allow))
        if allow.key in self._impossible:
            return impossible(self._impossible[allow.key])
        standing = all(self._stands(each, allow) for each in identities_of(allow))
        return self._changes.verdict(allow.key, agrees=standing and self._is_ready)

    def _is_closed(self, allow: Allow) -> bool:
        """Tell whether no rule lets a grant in; a stuck rule does not once the group is off."""
        return not any(
            self._keeps_open(rule, allow) and not is_nowhere(rule)
            for identity, rule in self._present.items()
            if identity not in self._stuck or self._state.attached
        )

    def _keeps_open(self, rule: Rule, allow: Allow) -> bool:
        """Tell whether a rule lets a closed grant's packets in, or still names the grant."""
        others = self._wanted.get(rule.identity)
        mine = rule.identity in identities_of(allow)
        if others is not None and rule.description == rule_text(others):
            return False
        return mine or read_text(rule.description).names(allow)

    def _find_block(self, key: str, *, wanted: bool) -> Finding:
        if wanted:
            return self._changes.verdict(key, agrees=self._is_ready)
        ours_to_end = self._group is not None and not self._is_needed
        ended = not ours_to_end or (bool(self._state.attached) and not self._state.attaches)
        return self._changes.verdict(key, agrees=ended)

    def _strays(self) -> tuple[str, ...]:
        if self._group is None or self._desired.blocks:
            return ()
        return (group_mark(self._group),)


def _count(identities: Iterable[Identity], source_type: str) -> int:
    return sum(1 for identity in identities if identity[3] == source_type)
