"""Play the steps of a run in order, and clean up whatever happens."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.live import building, firewall, living
from tools.live.cleanup import Cleanup
from tools.live.names import Journal, Run
from tools.live.report import FAILED, PASSED, SKIPPED, Line, Report
from tools.live.session import Session


@dataclass(frozen=True)
class Step:
    """One step: what it does, and the steps without which it makes no sense."""

    name: str
    play: Callable[[Session], str]
    needs: tuple[str, ...] = ()


STEPS = (
    Step("prerequisites", building.check_prerequisites),
    Step("resource group", building.create_group, ("prerequisites",)),
    Step("If-Match", building.try_if_match, ("resource group",)),
    Step("VM", building.create_machine, ("resource group",)),
    Step("deployment", building.deploy, ("resource group",)),
    Step("refusals", living.try_refusals, ("deployment",)),
    Step("policy", living.protect, ("VM", "deployment")),
    Step("whole life", living.try_whole_life, ("policy",)),
    Step("revocation and flush", living.try_flush, ("policy",)),
    Step("contract of security groups", building.run_contract_tests, ("resource group",)),
    # Last: the app tests If-Match when it first wants to write a whole group.
    Step("health", living.check_health, ("policy",)),
)
_BASTION = Step("Bastion", building.create_bastion, ("VM",))
_THROUGH_BASTION = Step("access through Bastion", living.try_bastion, ("Bastion", "policy"))

_FIREWALL = Step("Azure Firewall", firewall.create_firewall, ("VM",))
_BEHIND_FIREWALL = Step(
    "access through Azure Firewall", firewall.try_firewall, ("Azure Firewall", "policy")
)


def steps_of(run: Run) -> Sequence[Step]:
    """Return the steps of a run with its options."""
    # Both take ten minutes to create, so that whatever else fails has failed before they begin.
    # The firewall is last: behind it the VM's own public address answers nothing any more.
    bastion = (_BASTION, _THROUGH_BASTION) if run.bastion else ()
    return (*STEPS, *bastion, *((_FIREWALL, _BEHIND_FIREWALL) if run.firewall else ()))


def play(
    session: Session,
    journal: Journal,
    *,
    steps: Sequence[Step] | None = None,
    say: Callable[[str], None] = print,
) -> Report:
    """Play all steps and clean up; the journal keeps the run until nothing is left of it."""
    report = Report(session.run)
    began = time.monotonic()
    journal.open(session.run)
    try:
        for step in steps or steps_of(session.run):
            line = _play_step(step, session, report)
            report.lines.append(line)
            say(f"{line.verdict:8} {line.step}: {line.seen} ({line.seconds:.0f} s)")
    finally:
        report.left = clean(session, journal, say=say)
        report.hours = (time.monotonic() - began) / 3600
    return report


def clean(session: Session, journal: Journal, *, say: Callable[[str], None] = print) -> list[str]:
    """Remove everything of a run; return what is left, in a line each."""
    say(f"removing everything of run {session.run.id}")
    left = Cleanup(session.run, session.target, []).remove_all()
    for each in left:
        say(f"left: {each}")
    if not left:
        journal.close(session.run)
    return left


def _play_step(step: Step, session: Session, report: Report) -> Line:
    missing = [name for name in step.needs if report.verdict_of(name) != PASSED]
    if missing:
        return Line(step.name, SKIPPED, 0.0, f"needs: {', '.join(missing)}")
    began = time.monotonic()
    try:
        verdict, seen = PASSED, step.play(session)
    except Exception as error:  # noqa: BLE001 - the report names it, and the clean-up follows
        verdict, seen = FAILED, f"{type(error).__name__}: {error}"
    return Line(step.name, verdict, time.monotonic() - began, seen.replace("|", "/"))
