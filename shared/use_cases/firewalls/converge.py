"""Make a firewall hold what its rows say, confirm it by a fresh read, and record what is confirmed.

Every trigger ends here. First the firewall is read, then its rows: the other way round, a stale
list of grants would meet a fresh firewall, and a colleague's new rule be taken for an orphan.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from functools import partial
from typing import Protocol

from shared.domain.desired import Observed, Plan
from shared.domain.model import MINUTE
from shared.ports import (
    FirewallChangedError,
    OutsideError,
    RefusedError,
    SettlingError,
)
from shared.use_cases.firewalls import lanes, leases
from shared.use_cases.firewalls.batching import (
    clear_batch,
    defer_to_batch,
    may_join_batch,
    note_opening,
    opened_lately,
    waits_for_batch,
)
from shared.use_cases.firewalls.confirm import Prover
from shared.use_cases.firewalls.expiring import expire_single
from shared.use_cases.firewalls.failing import FailParts, fail_impossible
from shared.use_cases.firewalls.planning import Judged, judge, remember
from shared.use_cases.firewalls.polling import leave_to_poll
from shared.use_cases.firewalls.refusals import raise_if_close_refused
from shared.use_cases.firewalls.run import Before, Run
from shared.use_cases.firewalls.unread import close_past_ends
from shared.use_cases.firewalls.waiting import (
    MOMENT,
    await_end,
    is_left_over,
    is_proven_since,
    wait_for_next,
)
from shared.use_cases.messages import send_firewall
from shared.use_cases.parts import (
    HasBastionCloses,
    HasDisconnectBastionSessions,
    HasLabel,
    HasNewId,
    HasSleep,
    HasTables,
    HasWorkers,
)

LONGEST_RUN = timedelta(minutes=5)  # well inside the platform's limits; the sweep goes on
_WRITES_IN_VAIN = 4
_QUICK_TRIES = 5
_LOOKS = 25
_SAME_END = timedelta(seconds=10)


class ConvergeParts(
    FailParts,
    HasBastionCloses,
    HasDisconnectBastionSessions,
    HasLabel,
    HasNewId,
    HasSleep,
    HasTables,
    HasWorkers,
    Protocol,
):
    """The parts for making a firewall hold its desired state."""


class Outcome(Enum):
    """How a converge ended where nothing failed."""

    DONE = "done"
    BUSY = "busy"  # another worker holds the lease, and will look again after releasing it
    DEFERRED = "deferred"  # all but a batch of openings, which was left to a message
    PARTLY = "partly"  # all but some rows, which are reported; the sweep tries them again
    SETTLING = "settling"  # the firewall is busy with writes; left to a message


class OverrunError(OutsideError):
    """A firewall did not converge within the time it was given."""


def converge(
    services: ConvergeParts,
    firewall_id: str,
    *,
    lets_in: bool = False,
    budget: timedelta | None = None,
    settled: Callable[[Observed], None] | None = None,
    before: Before | None = None,
) -> Outcome:
    """Converge one firewall, if no other worker is doing so.

    The holder of the lease converges everything there, releases it, and looks again: a worker that
    recorded something meanwhile, or came to close what has just ended, found the lease taken and
    left. An opening may wait for a batch; nothing else does. `settled` is called with each read
    that leaves nothing to write. The first write may be planned from what was read `before`, which
    confirms nothing. Raises OverrunError where the budget is used up.
    """
    provider = services.firewalls.of(firewall_id)
    until = services.clock() + (budget or min(provider.pace.run, LONGEST_RUN))
    key = lanes.lease_key(provider, firewall_id)
    for _ in range(_LOOKS):
        unless = partial(waits_for_batch, services) if lets_in else None
        seen = before.lease if before and key == firewall_id else None
        lease = before.taken if before else None
        lease = lease or leases.take(services, key, provider.pace, unless, seen)
        if lease is None:
            return Outcome.BUSY
        run = Run(services, provider, firewall_id, clear_batch(lease), until)
        run.may_defer, run.settled = lets_in, settled
        if before is not None:
            run.start_from(before)
            before = None
        try:
            _serve_lane(services, run)
        except SettlingError as busy:
            run.lease = leave_to_poll(services, provider, firewall_id, run.lease, busy)
            return Outcome.SETTLING
        finally:
            leases.drop(services, run.lease)
        if run.deferred:
            return Outcome.DEFERRED
        rows = run.failed.leave_out(services.rows.read(firewall_id))
        if not is_left_over(rows) and not await_end(services, rows):
            return Outcome.PARTLY if run.failed else Outcome.DONE
    send_firewall(services, firewall_id, delay=MOMENT)
    return Outcome.DONE


def converge_on_message(services: ConvergeParts, firewall_id: str) -> Outcome:
    """Converge for a message, which may come a moment before the end it was sent for.

    That moment is waited for first, unless there is something to do: a read would be for nothing.
    So would one be where another message for the same end led to a close a moment ago.
    Where the rows cannot be read, what has ended by its rule's own text is closed first; raises
    where they still cannot be read then, so that the message comes back.
    """
    try:
        rows, lease = services.rows.read_with_lease(firewall_id)
    except Exception as error:  # noqa: BLE001 - an end needs no row to be kept
        _close_unread(services, firewall_id, error)
        rows, lease = services.rows.read_with_lease(firewall_id)
    if not is_left_over(rows) and not await_end(services, rows):
        since = services.clock() - _SAME_END
        grace = services.pace(firewall_id).grace
        if is_proven_since(rows, since, services.clock(), grace):
            return Outcome.DONE
    before = expire_single(services, firewall_id, rows, lease)
    outcome = converge(services, firewall_id, before=before)
    if outcome is Outcome.BUSY:
        lanes.leave_to_message(services, firewall_id)
    return outcome


def _serve_lane(services: ConvergeParts, run: Run) -> None:
    """Converge what is overdue in the lane of a firewall, the most overdue first, and itself."""
    before, after = lanes.overdue_others(services, run.provider, run.firewall_id)
    for other in before:
        _serve_other(services, run, other)
    failed: Exception | None = None
    try:
        _rounds(services, run)
    except Exception as error:  # noqa: BLE001 - raised again once the others had their turn
        failed = error
    for other in after:
        _serve_other(services, run, other)
    if failed is not None:
        raise failed


def _serve_other(services: ConvergeParts, run: Run, firewall_id: str) -> None:
    """Converge another firewall under the same lease; what fails there stops no other."""
    other = Run(services, run.provider, firewall_id, run.lease, run.until)
    try:
        _rounds(services, other)
    except SettlingError as busy:
        other.lease = leave_to_poll(services, run.provider, firewall_id, other.lease, busy)
    except Exception as error:  # noqa: BLE001 - its own due row leads the sweep to it
        services.telemetry.fault("jit.lane.failed", error, firewall=firewall_id)
    run.lease = other.lease


def _rounds(services: ConvergeParts, run: Run) -> None:
    """Read, plan, write; again until nothing is left to write."""
    while services.clock() < run.until:
        run.lease = leases.keep(services, run.lease, run.provider.pace)
        try:
            done = _round(services, run)
            run.failures = 0
        except SettlingError as busy:
            if busy.observed is not None:
                _close_while_busy(services, busy.observed, run)
            raise
        except RefusedError as refusal:
            run.note_refusal(refusal)
        except Exception as error:  # noqa: BLE001 - raised once trying again is in vain
            wait_for_next(services, run, error)
        else:
            if done:
                return raise_if_close_refused(services, run)
    raise OverrunError(f"{run.firewall_id} did not converge in time")


def _round(services: ConvergeParts, run: Run) -> bool:
    """Go round once; True: nothing is left to do."""
    if _write_as_seen(services, run):
        return False
    observed = run.provider.read(run.firewall_id)
    judged = _judge_as_written(services, observed, run) or _judge(services, observed, run)
    judged = remember(services, run.provider, observed, judged, run.refused)
    run.judged = judged
    run.repairs.look(observed, judged, run.refused)
    run.deferred = _defer_to_batch(services, run, judged)
    changes = bool(judged.plan.changes)
    if changes and not run.deferred:
        try:
            _write(services, observed, judged, run)
        except SettlingError:
            Prover(services, run.firewall_id, judged).prove()
            raise
    ending = None if changes else leases.ending(services, run.lease, run.firewall_id)
    prover = Prover(services, run.firewall_id, judged)
    if prover.prove(ending):
        run.lease = leases.NONE
    if changes:
        run.rows = None if prover.wrote else run.rows
        return run.deferred
    if run.settled is not None:
        run.settled(observed)
    failed = fail_impossible(services, observed, judged, run.refused)
    return not failed and not _tries_again(services, run) and not _reads_again(run, judged)


def _judge_as_written(services: ConvergeParts, observed: Observed, run: Run) -> Judged | None:
    """Judge what our write has led to by the rows that it was planned from; None: read them anew.

    A change recorded meanwhile is found once the lease is given back.
    """
    judged = _judge(services, observed, run) if run.rows is not None else None
    if judged and (judged.plan.changes or judged.plan.remember or judged.failures):
        return None  # newer rows may tell why
    return judged


def _write_as_seen(services: ConvergeParts, run: Run) -> bool:
    """Write by a read that was made just before, where there is one; True: it was written.

    The rows are read after it, and If-Match guards the write. Memory is taken from no such read.
    """
    observed, run.seen = run.seen, None
    if observed is None:
        return False
    judged = _judge(services, observed, run)
    plan = judged.plan
    if not plan.changes or plan.remember or may_join_batch(run.lease, plan, services.clock()):
        return False
    run.judged = judged
    run.repairs.look(observed, judged, run.refused)
    _write(services, observed, judged, run)
    return True


def _reads_again(run: Run, judged: Judged) -> bool:
    """Tell whether rows are read once more, since one changed before its memory was stored."""
    failed = {judged.key(p) for p in judged.rows.protections if p in judged.failures}
    if run.rereads == 0 or not judged.plan.remember.keys() - failed:
        return False
    run.rereads -= 1
    return True


def _judge(services: ConvergeParts, observed: Observed, run: Run) -> Judged:
    """Judge a firewall by its rows; without rows, close what has ended by its rule's own text."""
    try:
        judged = judge(
            services, observed, run.refused, rows=run.take_rows(), known=run.take_known()
        )
    except Exception as error:
        _close_unread(services, observed.firewall_id, error)
        raise
    run.failed = judged.failures
    return judged


def _close_unread(services: ConvergeParts, firewall_id: str, error: Exception) -> None:
    """Close what has ended by its rule's own text; what fails is reported, and tried again."""
    services.telemetry.fault("jit.rows.unread", error, firewall=firewall_id)
    try:
        close_past_ends(services, firewall_id, wait=True)
    except Exception as failed:  # noqa: BLE001 - the caller raises why the rows were not read
        services.telemetry.fault("jit.rules.not_expired", failed, firewall=firewall_id)


def _close_while_busy(services: ConvergeParts, observed: Observed, run: Run) -> None:
    """Remove the openings that should be gone from a firewall that does not settle.

    Another writer who never pauses would keep them open. Nothing else is written or confirmed.
    """
    try:
        plan = _judge(services, observed, run).plan
        opening = {own.id.lower() for own in observed.own if own.opens}
        past = {c.id for c in plan.changes if not c.opens and c.target.lower() in opening}
        if past:
            run.provider.apply(observed, plan.only(past))
    except Exception as error:  # noqa: BLE001 - the next look, by a message, tries again
        services.telemetry.fault("jit.converge.busy", error, firewall=run.firewall_id)


def _tries_again(services: HasSleep, run: Run) -> bool:
    """Wait a second for rows that outside systems kept from being settled; False: no more."""
    if not run.failed.transient or not run.tries:
        return False
    run.tries -= 1
    services.sleep(1.0)
    return True


def _defer_to_batch(services: ConvergeParts, run: Run, judged: Judged) -> bool:
    """Defer openings that come together to a message; True: nothing is to be written now."""
    joins = run.may_defer and may_join_batch(run.lease, judged.plan, services.clock())
    if not joins or not run.provider.batches():
        return False
    lease = defer_to_batch(
        services, run.firewall_id, run.lease, judged.rows, run.provider.pace.batch
    )
    run.lease = lease or run.lease
    return lease is not None


def _write(services: ConvergeParts, observed: Observed, judged: Judged, run: Run) -> None:
    """Write; where another writer was quicker, read the firewall alone and try again at once.

    With hundreds of rows to read in between, a neighbour who writes every few seconds would
    always be quicker. The rows are older than such a read, so no more is done than they showed
    before. Newer rows wait for the next round. A provider whose writes take minutes is left to
    a message at the time when the write should have settled.
    """
    plan = run.part_of(judged.plan)
    _slow_down(services, plan, run)
    found, lost = plan.ids, 0
    while True:
        try:
            run.apply(observed, plan)
            break
        except FirewallChangedError:
            lost += 1
            if lost == _QUICK_TRIES:
                raise
        run.lease = leases.keep(services, run.lease, run.provider.pace)
        observed = run.provider.read(run.firewall_id)
        plan = run.provider.plan(observed, judged.desired, run.refused).only(found)
        if not plan.changes:
            return
    _note_written(services, run, plan, judged)
    if run.provider.pace.settle > MINUTE:
        wait = (run.provider.pace.poll or run.provider.pace.settle).total_seconds()
        raise SettlingError("the write takes minutes to settle", retry_after=wait)


def _note_written(services: ConvergeParts, run: Run, plan: Plan, judged: Judged) -> None:
    run.written = plan.ids
    run.known = judged.known
    run.rows = None if opened_lately(run.lease, services.clock()) else judged.rows
    if any(change.opens for change in plan.changes):
        run.lease = note_opening(run.lease, services.clock())
        run.may_defer = True  # openings that came since then
    removed = sum(change.verb == "remove" for change in plan.changes)
    services.telemetry.event(
        "jit.firewall.written",
        firewall=run.firewall_id,
        put=len(plan.changes) - removed,
        removed=removed,
    )


def _slow_down(services: HasSleep, plan: Plan, run: Run) -> None:
    """Wait where what was accepted did not come true: such writes use up the quota of others."""
    run.in_vain = run.in_vain + 1 if plan.ids == run.written else 0
    if run.in_vain >= _WRITES_IN_VAIN:
        raise OutsideError(f"{run.in_vain} writes were accepted and did not come true")
    run.written = frozenset()
    if run.in_vain:
        services.sleep(2.0 ** (run.in_vain - 1))
