"""Make a firewall hold what its rows say, prove it by a fresh read, and say what is proven.

Every trigger ends here. First the firewall is read, then its rows: the other way round, a stale
list of grants would meet a fresh firewall, and a colleague's new rule be taken for an orphan.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from shared.domain.model import Access, CloseReason, FirewallRows, Grant
from shared.domain.rules import Plan, Wanted, allow_rules, first_end, plan, wanted
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    Row,
    SettlingError,
    Snapshot,
    ThrottledError,
)
from shared.use_cases.firewalls import leases
from shared.use_cases.firewalls.batching import (
    comes_in_a_crowd,
    end_gathering,
    is_gathering,
    leave_to_gather,
    note_opening,
)
from shared.use_cases.firewalls.confirm import Prover
from shared.use_cases.firewalls.drift import Repairs
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.planning import Judged, Refusals, judge, plan_changes
from shared.use_cases.firewalls.unread import close_past_ends
from shared.use_cases.grants import close_early
from shared.use_cases.messages import send_firewall
from shared.use_cases.services import Services

LONGEST_RUN = timedelta(minutes=5)  # well inside the platform's limits; the sweep goes on
LONGEST_WAIT_SECONDS = 30.0
_FAILURES_IN_A_ROW = 4
_MORE_TRIES = 1  # for rows that outside systems kept from being settled
_WRITES_IN_VAIN = 4
_QUICK_TRIES = 5
_LOOKS = 25
_MOMENT = timedelta(seconds=2)  # a message that announces an end comes up to a second early


class Outcome(Enum):
    """How a converge ended where nothing failed."""

    DONE = "done"
    BUSY = "busy"  # somebody else holds the lease, and will look again after releasing it
    GATHERS = "gathers"  # all but a crowd to let in, which was left to a message
    PARTLY = "partly"  # all but some rows, which are reported; the sweep tries them again
    SETTLING = "settling"  # the firewall stays busy with others' writes; left to a message


class CloseRefusedError(Exception):
    """A rule of ours should be gone, and the firewall refuses to let it go. Never final."""


class OverrunError(OutsideError):
    """A firewall did not converge within the time it was given."""


@dataclass
class _Run:
    """What one holder of the lease has learnt."""

    lease: Row
    repairs: Repairs
    until: datetime
    failed: Failures
    refusals: Refusals = field(default_factory=Refusals)
    failures: int = 0
    tries: int = _MORE_TRIES
    written: Plan = field(default_factory=Plan)  # by the write before, if it was accepted
    in_vain: int = 0
    may_gather: bool = False
    gathers: bool = False
    settled: Callable[[Snapshot], None] | None = None


def converge(
    services: Services,
    firewall_id: str,
    *,
    lets_in: bool = False,
    budget: timedelta = LONGEST_RUN,
    settled: Callable[[Snapshot], None] | None = None,
) -> Outcome:
    """Converge one firewall, if no other worker is doing so.

    The holder of the lease settles every row there, releases it, and looks again: whoever recorded
    something meanwhile, or came to close what has just ended, found the lease taken and left.
    Who only comes to let somebody in may join a crowd that gathers; nobody else waits for one.
    `settled` is called with each read that leaves nothing to write. Raises OverrunError where the
    budget is used up.
    """
    until = services.clock() + budget
    for _ in range(_LOOKS):
        lease = leases.take(services, firewall_id, is_gathering if lets_in else None)
        if lease is None:
            return Outcome.BUSY
        run = _Run(
            end_gathering(lease),
            Repairs(services, firewall_id),
            until,
            Failures(services, firewall_id),
            may_gather=lets_in,
            settled=settled,
        )
        try:
            _rounds(services, firewall_id, run)
        except SettlingError as busy:
            send_firewall(services, firewall_id, delay=timedelta(seconds=busy.retry_after))
            return Outcome.SETTLING
        finally:
            leases.drop(services, run.lease)
        if run.gathers:
            return Outcome.GATHERS
        rows = run.failed.leave_out(services.rows.read(firewall_id))
        if not _left_over(rows) and not _await_end(services, rows):
            return Outcome.PARTLY if run.failed else Outcome.DONE
    send_firewall(services, firewall_id, delay=_MOMENT)
    return Outcome.DONE


def converge_on_message(services: Services, firewall_id: str) -> Outcome:
    """Converge for a message, which may come a moment before the end it was sent for.

    That moment is waited for first, unless there is something to do: a read would be for nothing.
    Where the rows cannot be read, what has ended by its rule's own text is closed first; raises
    where they still cannot be read then, so that the message comes back.
    """
    try:
        rows = services.rows.read(firewall_id)
    except Exception as error:  # noqa: BLE001 - an end needs no row to be kept
        _close_unread(services, firewall_id, error)
        rows = services.rows.read(firewall_id)
    if not _left_over(rows):
        _await_end(services, rows)
    return converge(services, firewall_id)


def _rounds(services: Services, firewall_id: str, run: _Run) -> None:
    """Read, plan, write; again until nothing is left to write."""
    while services.clock() < run.until:
        run.lease = leases.keep(services, run.lease)
        try:
            done = _round(services, firewall_id, run)
            run.failures = 0
        except SettlingError as busy:
            if busy.snapshot is not None:
                _close_while_busy(services, busy.snapshot, run)
            raise
        except FirewallRefusedError as refusal:
            _note_refusal(services, firewall_id, run, refusal)
        except Exception as error:  # noqa: BLE001 - raised once trying again is in vain
            _wait(services, firewall_id, run, error)
        else:
            if done:
                return _refuse_to_forget(services, firewall_id, run)
    raise OverrunError(f"{firewall_id} did not converge in time")


def _note_refusal(
    services: Services, firewall_id: str, run: _Run, refusal: FirewallRefusedError
) -> None:
    """Remember what the firewall turns down, so that it stalls nothing else."""
    if refusal.rule_name:
        run.refusals.rules[refusal.rule_name] = f"{refusal.code}: {refusal}"
    elif run.refusals.flush:
        raise refusal
    else:
        # Ending sessions is a wish beside the doors: it must not keep one from closing.
        run.refusals.flush = True
        services.telemetry.fault("jit.flush.refused", refusal, firewall=firewall_id)


def _wait(services: Services, firewall_id: str, run: _Run, error: Exception) -> None:
    """Wait before the next round, within the budget; raises what waiting will not mend."""
    pause = _pause(services, firewall_id, run, error)
    left = (run.until - services.clock()).total_seconds()
    if isinstance(error, ThrottledError) and pause > left:
        raise error
    services.sleep(max(0.0, min(pause, left)))


def _pause(services: Services, firewall_id: str, run: _Run, error: Exception) -> float:
    """Say how many seconds to wait before the next round; raises what waiting will not mend."""
    if isinstance(error, FirewallChangedError):
        return 1.0
    if isinstance(error, ThrottledError):
        if error.retry_after > LONGEST_WAIT_SECONDS:
            raise error
        return error.retry_after
    run.failures += 1
    if run.failures >= _FAILURES_IN_A_ROW:
        raise error
    services.telemetry.fault("jit.converge.retry", error, firewall=firewall_id)
    return float(2 ** (run.failures - 1))


def _round(services: Services, firewall_id: str, run: _Run) -> bool:
    """Go round once; True: nothing is left to do."""
    snapshot = services.firewall.read(firewall_id)
    judged = _judge(services, snapshot, run)
    rows, changes = judged.rows, judged.changes
    run.repairs.look(snapshot, rows, changes)
    run.gathers = _leave_to_gather(services, firewall_id, run, rows, changes)
    if not changes.is_empty and not run.gathers:
        _write(
            services,
            snapshot,
            changes,
            run,
            lambda fresh: plan_changes(services, fresh, rows, judged.want, run.refusals),
        )
    Prover(services, firewall_id, snapshot, rows, changes, run.failed).prove()
    if not changes.is_empty:
        return run.gathers
    if run.settled is not None:
        run.settled(snapshot)
    return not _fail_blocked(services, run, judged) and not _tries_again(services, run)


def _judge(services: Services, snapshot: Snapshot, run: _Run) -> Judged:
    """Judge a firewall by its rows; without rows, close what has ended by its rule's own text."""
    try:
        judged = judge(services, snapshot, run.refusals)
    except Exception as error:
        _close_unread(services, snapshot.firewall_id, error)
        raise
    run.failed = judged.failures
    return judged


def _close_unread(services: Services, firewall_id: str, error: Exception) -> None:
    """Close what has ended by its rule's own text; what fails is reported, and tried again."""
    services.telemetry.fault("jit.rows.unread", error, firewall=firewall_id)
    try:
        close_past_ends(services, firewall_id, wait=True)
    except Exception as failed:  # noqa: BLE001 - the caller raises why the rows were not read
        services.telemetry.fault("jit.rules.not_expired", failed, firewall=firewall_id)


def _close_while_busy(services: Services, snapshot: Snapshot, run: _Run) -> None:
    """Remove the allows that should be gone from a firewall that does not settle.

    Another writer who never pauses would keep them open. Nothing else is written or proven.
    """
    try:
        judged = _judge(services, snapshot, run)
        allows = {rule.name for rule in snapshot.rules if rule.access is Access.ALLOW}
        past = tuple(name for name in judged.changes.remove if name in allows)
        if past:
            services.firewall.write(snapshot, Plan(remove=past))
    except Exception as error:  # noqa: BLE001 - the next look, by a message, tries again
        services.telemetry.fault("jit.converge.busy", error, firewall=snapshot.firewall_id)


def _tries_again(services: Services, run: _Run) -> bool:
    """Wait a second for rows that outside systems kept from being settled; False: no more."""
    if not run.failed.transient or not run.tries:
        return False
    run.tries -= 1
    services.sleep(1.0)
    return True


def _leave_to_gather(
    services: Services, firewall_id: str, run: _Run, rows: FirewallRows, changes: Plan
) -> bool:
    """Leave who comes in a crowd to a message; True: nothing is to be written now."""
    crowd = run.may_gather and comes_in_a_crowd(run.lease, changes, services.clock())
    if not crowd or not services.firewall.writes_whole():
        return False
    lease = leave_to_gather(services, firewall_id, run.lease, rows)
    run.lease = lease or run.lease
    return lease is not None


def _write(
    services: Services,
    snapshot: Snapshot,
    changes: Plan,
    run: _Run,
    plan_again: Callable[[Snapshot], Plan],
) -> None:
    """Write; where somebody else was quicker, read the firewall alone and try again at once.

    With hundreds of rows to read in between, a neighbour who writes every few seconds would
    always be quicker. The rows are older than such a read, so no more is done than they showed
    before: a name that was found wanted or ended then. What is new waits for the next round.
    """
    _slow_down(services, changes, run)
    found, lost = changes.names, 0
    while True:
        try:
            services.firewall.write(snapshot, changes)
            break
        except FirewallChangedError:
            lost += 1
            if lost == _QUICK_TRIES:
                raise
        run.lease = leases.keep(services, run.lease)
        snapshot = services.firewall.read(snapshot.firewall_id)
        changes = plan_again(snapshot).only(found)
        if changes.is_empty:
            return
    run.written = changes
    if any(rule.access is Access.ALLOW for rule in changes.put):
        run.lease = note_opening(run.lease, services.clock())
        run.may_gather = True  # who came since then
    services.telemetry.event(
        "jit.firewall.written",
        firewall=snapshot.firewall_id,
        put=len(changes.put),
        removed=len(changes.remove),
    )


def _slow_down(services: Services, changes: Plan, run: _Run) -> None:
    """Wait where what was accepted did not come true: such writes use up the quota of others."""
    run.in_vain = run.in_vain + 1 if changes == run.written else 0
    if run.in_vain >= _WRITES_IN_VAIN:
        raise OutsideError(f"{run.in_vain} writes were accepted and did not come true")
    run.written = Plan()
    if run.in_vain:
        services.sleep(2.0 ** (run.in_vain - 1))


def _fail_blocked(services: Services, run: _Run, judged: Judged) -> bool:
    """End the grants that have no place, each with its reason; True: there were some."""
    failed = False
    for grant in judged.rows.grants:
        reason = _why_blocked(services, grant, judged.want, judged.changes)
        if not reason or grant in run.failed:
            continue
        try:
            _fail(services, grant, reason)
            failed = True
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must be ended
            run.failed.note(grant, error)
    return failed


def _why_blocked(services: Services, grant: Grant, want: Wanted, changes: Plan) -> str:
    if grant.is_sealed:
        return ""
    if grant.key in want.impossible:
        return want.impossible[grant.key]
    names = (rule.name for rule in allow_rules(grant, services.names))
    return next((changes.blocked[name] for name in names if name in changes.blocked), "")


def _fail(services: Services, grant: Grant, reason: str) -> None:
    close_early(
        services,
        grant.request_id,
        lambda port: port.names(grant.vm_id, grant.port),
        CloseReason.FAILED,
        message=reason,
    )


def _refuse_to_forget(services: Services, firewall_id: str, run: _Run) -> None:
    """Raise where a rule that should be gone was refused: closing has no terminal error."""
    if not run.refusals.rules:
        return
    snapshot = services.firewall.read(firewall_id)
    rows = services.rows.read(firewall_id)
    want = wanted(rows, services.clock(), services.names)
    left = plan(snapshot.rules, want.rules, services.names, services.band).remove
    if left:
        services.telemetry.event("jit.close.refused", firewall=firewall_id, rules=", ".join(left))
        raise CloseRefusedError(
            f"{firewall_id} refuses to give up {', '.join(left)}: "
            f"{'; '.join(run.refusals.rules.get(name, '') for name in left)}"
        )


def _left_over(rows: FirewallRows) -> bool:
    """Tell whether something was recorded that no read has settled yet."""
    return any(not grant.proven for grant in rows.grants) or any(
        each.lifted or not (each.proven or each.blocked) for each in rows.protections
    )


def _await_end(services: Services, rows: FirewallRows) -> bool:
    """Wait for an end that is a moment away; True: one is there, or passed since the last look."""
    now = services.clock()
    first = first_end(rows)
    if first is None or first > now + _MOMENT:
        return False
    services.sleep(max(0.0, (first - now).total_seconds()))
    return True
