"""Raise where a firewall refuses to close: closing has no terminal error."""

from shared.domain.desired import Change
from shared.use_cases.firewalls.run import Run
from shared.use_cases.parts import HasTelemetry


class CloseRefusedError(Exception):
    """Something of ours should be gone, and the firewall refuses to let it go. Never final."""


def raise_if_close_refused(services: HasTelemetry, run: Run) -> None:
    """Raise CloseRefusedError where what should be gone still stands and was refused."""
    left = _left(run)
    if not left:
        return
    names = ", ".join(dict.fromkeys(change.target for change in left))
    services.telemetry.event("jit.close.refused", firewall=run.firewall_id, rules=names)
    reasons = "; ".join(dict.fromkeys(run.refused.get(change.id, "") for change in left))
    raise CloseRefusedError(f"{run.firewall_id} refuses to give up {names}: {reasons}")


def _left(run: Run) -> list[Change]:
    """Return the closes that were refused, and that no other way has made good."""
    if run.judged is None or not run.refused:
        return []
    wanted = {intent.key for intent in run.judged.desired.intents if intent.wanted}
    plan = run.judged.plan
    observed = run.provider.read(run.firewall_id)
    return [
        change
        for change in run.provider.plan(observed, run.judged.desired).changes
        if change.id in run.refused
        and not change.opens
        and wanted.isdisjoint(change.serves)
        and not (change.serves and all(plan.finding(key).agrees for key in change.serves))
    ]
