"""sweep_expired, the guarantee that what was opened is closed; and reconcile."""

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases.timers import sweep
from shared.use_cases.timers.reconcile import reconcile as compare_with_reality

bp = func.Blueprint()


@bp.function_name("sweep_expired")
@bp.timer_trigger("timer", "0 * * * * *")
def sweep_expired(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by name
    """Close what has expired, and look after whatever else is due."""
    sweep.sweep_expired(app().services)


@bp.function_name("reconcile")
@bp.timer_trigger("timer", "30 */15 * * * *")
def reconcile(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by name
    """Find and repair what no due row leads to: drift, orphans, moved machines."""
    compare_with_reality(app().services)
