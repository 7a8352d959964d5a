"""Prove that Azure refuses a whole write of a group whose If-Match fails, and keep the answer.

The answer stands in a marker row of the table of firewalls, so that every worker knows it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.domain.times import format_sortable, parse_instant
from shared.ports import Clock, Row, Table, Telemetry, WriteProof

_PARTITION, _KEY = "health", "probe"
_HONOURED_HOLDS = timedelta(hours=24)
_UNKNOWN_HOLDS = timedelta(minutes=15)
_OUTAGE_HOLDS = timedelta(seconds=30)
_ANSWER_HOLDS = timedelta(minutes=15)  # little beside the day for which a proof holds


class WriteProbe:
    """The proof that whole writes of network security groups are guarded."""

    def __init__(
        self,
        ask: Callable[[], str],
        table: Callable[[], Table],
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._ask = ask
        self._table = table
        self._telemetry = telemetry
        self._clock = clock
        self._known = False
        self._outage_since: datetime | None = None
        self._read_at: datetime | None = None  # when the row was read, if it proved them

    def allows(self) -> bool:
        """Tell whether whole writes are proven; while the table fails, as it was last known.

        A proof that was read is believed for a quarter of an hour, and a table that failed is not
        asked again for half a minute: a close waits for this answer.
        """
        now = self._clock()
        if self._read_at is not None and now - self._read_at < _ANSWER_HOLDS:
            return self._known
        if self._outage_since is not None and now - self._outage_since < _OUTAGE_HOLDS:
            return self._known
        self._outage_since = None
        try:
            self._known = self.renew()
            self._read_at = now if self._known else None
        except Exception as error:  # noqa: BLE001 - without the table, rules must still close
            self._outage_since = now
            self._telemetry.fault("jit.probe.unread", error)
        return self._known

    def renew(self) -> bool:
        """Prove it again where the proof is a day old, or sooner where the last try told nothing.

        Return whether it is proven.
        """
        proof = self.proof()
        holds = _HONOURED_HOLDS if proof.state == "honoured" else _UNKNOWN_HOLDS
        state = proof.state
        if proof.at is None or self._clock() - proof.at > holds:
            state = self.run()
        return state == "honoured"

    def proof(self) -> WriteProof:
        """Return the last probe's result, and its time."""
        row = self._table().get(_PARTITION, _KEY)
        if row is None:
            return _proof("unknown")
        return _proof(str(row.values["state"]), parse_instant(str(row.values["at"])))

    def run(self) -> str:
        """Ask the service whether it honours If-Match, and store the answer with its time.

        Only a 412 to an etag that cannot match allows whole writes; anything else does not.
        """
        state = self._ask()
        values = {"state": state, "at": format_sortable(self._clock())}
        self._table().upsert(Row(_PARTITION, _KEY, values))
        self._telemetry.event("jit.probe.completed", state=state)
        return state


def _proof(state: str, at: datetime | None = None) -> WriteProof:
    """Return a proof, with what an administrator should know where it is none."""
    warning = "" if state == "honoured" else f"whole writes are off: If-Match is {state}"
    return WriteProof(state, at, warning)
