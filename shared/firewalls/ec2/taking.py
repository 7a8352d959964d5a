"""Plan for a foreign group in mode revoke: narrow, remember, restore. Pure.

A rule that meets a governed port is stored in the blocks' memory and in the ledger's tags first.
Then it is narrowed in place, with pieces of it beside it, or revoked. Each piece is a part of
what was there, so that the group never lets more in than before.
"""

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.desired import Block, Change, Desired, Finding, Own, Plan
from shared.domain.ids import digest
from shared.firewalls.ec2.ledger import (
    Held,
    fits,
    hold,
    ledger_tags,
    read_ledger,
    read_memory,
    tag_keys,
    write_memory,
)
from shared.firewalls.ec2.narrow import meets, remaining, why_untouchable
from shared.firewalls.ec2.planning import Changes
from shared.firewalls.ec2.states import GroupState
from shared.firewalls.ec2.texts import Names, target_of
from shared.firewalls.ec2.wire import MANAGE_REVOKE, MANAGE_TAG, PIECE_TAG, Identity, Rule

HOLD, PIECE, NARROW, REVOKE = "hold", "piece", "narrow", "revoke"
RESTORE, TRIM, RELEASE, DELETE_LEDGER = "restore", "trim", "release", "delete-ledger"
MAX_RULE_TAGS = 50


def own_of_group(state: GroupState) -> tuple[Own, ...]:
    """Return our marked rules: each rule that the ledger holds."""
    held = read_ledger(state.ledger)
    return tuple(
        Own(held_mark(each), opens=False, memory=write_memory({each: held[each]}))
        for each in sorted(held)
    )


def held_mark(rule_id: str) -> str:
    """Return a held rule's name in plans."""
    return f"held {rule_id}"


def plan_group(
    state: GroupState, desired: Desired, names: Names, refused: Mapping[str, str]
) -> Plan:
    """Compare a foreign group with what is desired."""
    return _Planner(state, desired, names, refused).plan()


class _Planner:
    def __init__(
        self, state: GroupState, desired: Desired, names: Names, refused: Mapping[str, str]
    ) -> None:
        self._state = state
        self._names = names
        self._changes = Changes(refused)
        self._blocks = desired.blocks
        self._allows = desired.allows
        self._keep = desired.keep
        self._rules = {rule.id: rule for rule in state.group.ingress}
        self._observed = {rule.identity for rule in state.group.ingress}
        self._identities = set(self._observed)  # with those that this plan will add
        self._ledger = read_ledger(state.ledger)
        self._memory = {block.key: read_memory(block.memory) for block in desired.blocks}
        self._takers = [b for b in desired.blocks if b.wanted and b.revoke_foreign]
        self._ports = frozenset(port for block in self._takers for port in block.ports)
        self._remember: dict[str, dict[str, Held]] = {}
        self._unsettled: set[str] = set()
        self._new_tags = 0
        self._known = self._all_known()

    def plan(self) -> Plan:
        """Return the plan."""
        reason = self._why_ineligible()
        for rule in self._rules.values():
            if meets(rule, self._ports):
                self._take(rule, reason)
        self._adopt()
        for block in self._blocks:
            if block not in self._takers:
                self._give_back(block)
        self._drop_empty_ledger()
        findings = {allow.key: self._find_allow(wanted=allow.wanted) for allow in self._allows}
        findings |= {block.key: self._find(block) for block in self._blocks}
        remember = {key: write_memory(held) for key, held in self._remember.items()}
        return Plan(self._changes.ordered(), findings, remember, self._strays())

    # --- what is known

    def _all_known(self) -> dict[str, Held]:
        """Return every held rule; a record of the present rule supersedes an older one."""
        known = dict(self._ledger)
        for memory in self._memory.values():
            known |= memory
        return known

    def _root(self, rule: Rule) -> Held:
        """Return the held rule that a present rule is what is left of, or itself, to be held."""
        known = self._known.get(rule.id) or self._known.get(rule.piece_of)
        return known if known is not None and known.continues_as(rule) else hold(rule)

    def _why_ineligible(self) -> str:
        """Say why nothing of this group may be touched; empty: it may."""
        group = self._state.group
        if group.owner != self._state.place.account:
            return f"security group {group.id} belongs to another account"
        if group.tag(MANAGE_TAG) != MANAGE_REVOKE:
            return f"security group {group.id} has no tag {MANAGE_TAG}={MANAGE_REVOKE}"
        ungoverned = sorted(i.id for i in self._state.interfaces if not self._names.is_governed(i))
        if ungoverned:
            return f"security group {group.id} is also on {', '.join(ungoverned)}, not governed"
        return ""

    # --- taking

    def _needing(self, held: Held) -> list[Block]:
        return [block for block in self._takers if held.ports_of(block.ports)]

    def _meeting(self, rule: Rule) -> tuple[str, ...]:
        return tuple(block.key for block in self._takers if meets(rule, block.ports))

    def _take(self, rule: Rule, ineligible: str) -> None:
        """Store a rule that meets governed ports; cut the ports once it is stored twice."""
        why = why_untouchable(rule) or ineligible
        keys = self._meeting(rule)
        self._unsettled.update(keys)
        if why:
            what = f"rule {rule.id} ({target_of(rule)}) is left as it is"
            self._changes.blame(keys, f"{what}: {why}")
            return
        held = self._root(rule)
        if self._store(held, keys):
            self._cut(rule, held, keys)

    def _store(self, held: Held, keys: tuple[str, ...]) -> bool:
        """Store a rule in memory and ledger; return whether both already have it."""
        stored = True
        for block in self._needing(held):
            if self._memory[block.key].get(held.id) != held:
                self._note(block, held)
                stored = False
        if self._ledger.get(held.id) == held:
            return stored
        if not fits(self._state.ledger, held, self._new_tags) or not _may_have_pieces(held):
            self._changes.blame(keys, f"rule {held.id} does not fit into the ledger's tags")
            self._drop_memory(held)
            return False
        self._new_tags += len(ledger_tags(held))
        meaning = digest(*ledger_tags(held).values())
        self._changes.add(Change(HOLD, held.id, meaning, keys, body=held))
        return False

    def _note(self, block: Block, held: Held) -> None:
        memory = self._remember.setdefault(block.key, dict(self._memory[block.key]))
        memory[held.id] = held

    def _drop_memory(self, held: Held) -> None:
        """Store nothing about a rule that stays as it is."""
        for key in list(self._remember):
            self._remember[key].pop(held.id, None)
            if self._remember[key] == self._memory[key]:
                del self._remember[key]

    def _cut(self, rule: Rule, held: Held, keys: tuple[str, ...]) -> None:
        """Add the pieces that are missing, then narrow the rule to the first, or revoke it."""
        left = [
            replace(rule, low=low, high=high)
            for low, high in remaining((rule.low, rule.high), self._ports)
        ]
        first = left[0] if left and left[0].identity not in self._identities else None
        complete = True
        for piece in left[1:] if first is not None else left:
            if piece.identity not in self._identities:
                complete &= self._add_piece(PIECE, piece, held, keys, opens=False)
        if not complete:
            return
        if first is None:
            self._changes.add(Change(REVOKE, rule.id, target_of(rule), keys, body=rule))
        else:
            self._identities.add(first.identity)
            self._changes.add(Change(NARROW, rule.id, target_of(first), keys, body=first))

    def _add_piece(
        self, verb: str, piece: Rule, held: Held, keys: tuple[str, ...], *, opens: bool
    ) -> bool:
        self._identities.add(piece.identity)
        body = replace(
            held.rule,
            id="",
            low=piece.low,
            high=piece.high,
            tags=(*held.rule.tags, (PIECE_TAG, held.id)),
        )
        target = f"{target_of(body)} of {held.id}"
        return self._changes.add(Change(verb, target, "", keys, opens, body))

    def _adopt(self) -> None:
        """Give every wanted block the memory that it needs, from the ledger or from a removed block."""
        for held in self._known.values():
            for block in self._needing(held):
                memory = {**self._memory[block.key], **self._remember.get(block.key, {})}
                if held.id not in memory:
                    self._note(block, held)
                    self._unsettled.add(block.key)

    # --- giving back

    def _held_by(self, block: Block) -> list[Held]:
        """Return the rules that a removed block still holds."""
        ledger = [
            held
            for held in self._ledger.values()
            if held.ports_of(block.ports) and not block.wanted
        ]
        found = {held.id: held for held in ledger} | self._memory[block.key]
        return [held for key, held in sorted(found.items()) if held_mark(key) not in self._keep]

    def _give_back(self, block: Block) -> None:
        for held in self._held_by(block):
            ports = held.ports_of(self._ports)
            done = self._restore(held, ports, block.key) and self._trim(held, ports, block.key)
            if not done or any(taker.key in self._remember for taker in self._needing(held)):
                self._unsettled.add(block.key)
            elif not ports and held.id in self._ledger:
                self._unsettled.add(block.key)
                keys = tag_keys(self._state.ledger, held.id)
                self._changes.add(Change(RELEASE, held.id, "", (block.key,), body=keys))
        if block.wanted and self._memory[block.key] and block.key not in self._unsettled:
            self._remember[block.key] = {}

    def _restore(self, held: Held, ports: frozenset[int], key: str) -> bool:
        """Bring back what no wanted block needs closed; return whether it is there."""
        complete = True
        for low, high in remaining((held.rule.low, held.rule.high), ports):
            target = replace(held.rule, low=low, high=high)
            if target.identity in self._observed:
                continue
            complete = False
            if target.identity in self._identities:
                continue
            stem = self._rules.get(held.id)
            if stem is not None and _lies_in(stem, target) and held.continues_as(stem):
                self._widen(target, key)
            elif ports:
                self._add_piece(RESTORE, target, held, (key,), opens=True)
            else:
                self._identities.add(target.identity)
                body = replace(target, id="")
                change = Change(RESTORE, held.id, target_of(target), (key,), True, body)
                self._changes.add(change)
        return complete

    def _widen(self, target: Rule, key: str) -> None:
        self._identities.add(target.identity)
        meaning = target_of(target)
        self._changes.add(Change(RESTORE, target.id, meaning, (key,), True, target))

    def _trim(self, held: Held, ports: frozenset[int], key: str) -> bool:
        """Remove pieces that lie within what was brought back; return whether none is left."""
        wanted = self._needed_identities()
        targets = [
            replace(held.rule, low=low, high=high)
            for low, high in remaining((held.rule.low, held.rule.high), ports)
        ]
        surplus = [
            rule
            for rule in self._rules.values()
            if (rule.piece_of == held.id or (rule.id == held.id and held.continues_as(rule)))
            and rule.identity not in wanted
            and any(
                _lies_in(rule, target) and rule.identity != target.identity for target in targets
            )
        ]
        for rule in surplus:
            self._changes.add(Change(TRIM, rule.id, target_of(rule), (key,), body=rule))
        return not surplus

    def _needed_identities(self) -> set[Identity]:
        """Return the rules that held rules leave while ports of theirs are governed."""
        return {
            replace(held.rule, low=low, high=high).identity
            for held in self._known.values()
            if held.ports_of(self._ports)
            for low, high in remaining((held.rule.low, held.rule.high), self._ports)
        }

    def _drop_empty_ledger(self) -> None:
        ledger = self._state.ledger
        if ledger is not None and not self._ledger and not self._new_tags and not self._keep:
            self._changes.add(Change(DELETE_LEDGER, ledger.name, ""))

    # --- findings

    def _find(self, block: Block) -> Finding:
        settled = block.key not in self._unsettled and block.key not in self._remember
        return self._changes.verdict(block.key, agrees=settled)

    def _find_allow(self, *, wanted: bool) -> Finding:
        """Return that a foreign group holds no grant: each is written in an instance's own group."""
        if wanted:
            self._changes.blame(("",), "grants are written in the instance's own group")
        return self._changes.verdict("", agrees=not wanted)

    def _strays(self) -> tuple[str, ...]:
        """Return the held rules that no block needs."""
        needed = {
            held.id
            for block in self._blocks
            for held in (*self._memory[block.key].values(), *self._ledger.values())
            if held.id in self._memory[block.key] or held.ports_of(block.ports)
        }
        return tuple(held_mark(each) for each in sorted(self._ledger) if each not in needed)


def _lies_in(rule: Rule, target: Rule) -> bool:
    same = (rule.protocol, rule.kind, rule.source) == (target.protocol, target.kind, target.source)
    return same and target.low <= rule.low and rule.high <= target.high


def _may_have_pieces(held: Held) -> bool:
    """Tell whether a piece has room for the rule's tags and our own."""
    return len(held.rule.tags) < MAX_RULE_TAGS
