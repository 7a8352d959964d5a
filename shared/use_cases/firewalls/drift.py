"""Tell repairs from ordinary work: what another writer did to what is ours goes on record."""

import json
from collections.abc import Mapping
from typing import Protocol

from shared.domain.audit import Operation
from shared.domain.desired import Change, Observed
from shared.domain.ids import row_key
from shared.domain.model import MINUTE
from shared.ports import Row
from shared.store.audit import AuditEvent
from shared.store.codec import pack, pack_json, text_of, unpack
from shared.use_cases.firewalls.planning import Judged, key_of_intent
from shared.use_cases.parts import HasActivity, HasClock, HasPace, HasTables, HasTelemetry

_KEPT = "repairs"
_MOST_KEPT = 50  # of them fit a row


class RepairParts(HasActivity, HasClock, HasPace, HasTables, HasTelemetry, Protocol):
    """The parts for recording repairs of drift."""


class Repairs:
    """The drift of one firewall, recorded once a fresh read shows it repaired."""

    def __init__(self, services: RepairParts, firewall_id: str) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._found: dict[str, AuditEvent] = {}
        spans_runs = services.pace(firewall_id).settle > MINUTE
        self._kept = KeptRepairs(services, firewall_id) if spans_runs else None

    def look(self, observed: Observed, judged: Judged, refused: Mapping[str, str]) -> None:
        """Note each change to what had been confirmed and is not as it should be any more.

        A repair that cannot be recorded is kept for the next round: a close waits for no record.
        """
        try:
            self._look(observed, judged, refused)
        except Exception as error:  # noqa: BLE001 - whatever it is, the firewall is converged
            self._services.telemetry.fault(
                "jit.repair.unrecorded", error, firewall=self._firewall_id
            )

    def _look(self, observed: Observed, judged: Judged, refused: Mapping[str, str]) -> None:
        if self._kept is not None:
            self._found = {**self._kept.read(), **self._found}
        unsettled = {change.target for change in judged.plan.changes}
        unsettled |= {change_id.split(" ")[1] for change_id in refused}
        for target in sorted(self._found.keys() - unsettled):
            self._record(target)
        for target, what in drifted(observed, judged).items():
            self._found.setdefault(target, self._event(target, what, observed.version))
        if self._kept is not None:
            self._kept.write(self._found)

    def _event(self, target: str, what: str, version: str) -> AuditEvent:
        return AuditEvent(
            id=f"{self._firewall_id}|{target}|{version}|repaired",
            at=self._services.clock(),
            operation=Operation.REPAIRED,
            firewall_id=self._firewall_id,
            reason=f"{target}: {what}",
        )

    def _record(self, target: str) -> None:
        event = self._found[target]
        self._services.activity.record(event)
        self._services.telemetry.event(
            "jit.rule.repaired", firewall=self._firewall_id, rule=target, what=event.reason
        )
        del self._found[target]


class KeptRepairs:
    """The drift of a firewall whose writes take longer than a run, kept for a later run.

    One row beside the firewall's own, deleted once nothing is left to record.
    """

    def __init__(self, services: HasTables, firewall_id: str) -> None:
        self._table = services.tables.firewalls
        self._key = row_key(firewall_id)
        self._row: Row | None = None

    def read(self) -> dict[str, AuditEvent]:
        """Return the drift that earlier runs found, by its target."""
        self._row = self._table.get(_KEPT, self._key)
        if self._row is None:
            return {}
        stored = json.loads(text_of(self._row.values))
        return {target: unpack(AuditEvent, values) for target, values in stored.items()}

    def write(self, found: Mapping[str, AuditEvent]) -> None:
        """Store the repairs that are not recorded yet."""
        kept = dict(sorted(found.items())[:_MOST_KEPT])
        text = json.dumps({target: pack(event) for target, event in kept.items()}, sort_keys=True)
        if not kept and self._row is not None:
            self._table.delete(self._row)
        elif kept and (self._row is None or text_of(self._row.values) != text):
            self._table.upsert(Row(_KEPT, self._key, pack_json(text)))


def drifted(observed: Observed, judged: Judged) -> dict[str, str]:
    """Return the targets of changes that another writer made necessary, and how."""
    rows = judged.rows
    confirmed = {key_of_intent(g) for g in rows.grants if g.proven and not g.is_sealed}
    confirmed |= {key_of_intent(p) for p in rows.protections if p.proven and not p.lifted}
    confirmed = {key for key in confirmed if not judged.plan.finding(key).agrees}
    ended = {key_of_intent(g) for g in rows.grants if g.is_sealed and g.proven}
    present = {own.id.lower() for own in observed.own}
    known = judged.desired.keys | {key_of_intent(p) for p in rows.protections}
    found: dict[str, str] = {}
    for change in judged.plan.changes:
        serves = known.intersection(change.serves)
        if not confirmed.isdisjoint(serves):
            found[change.target] = _describe(change, present)
        elif not change.opens and serves <= ended and change.target.lower() in present:
            found[change.target] = "back after its end" if serves else "an orphan"
    return found


def _describe(change: Change, present: set[str]) -> str:
    if change.target.lower() in present:
        return "edited"
    return "deleted" if change.verb == "put" else f"{change.verb} is needed again"
