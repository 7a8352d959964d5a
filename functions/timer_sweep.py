"""sweep_expired: the guarantee that what was opened is closed, with nobody watching."""

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases import sweep

bp = func.Blueprint()


@bp.function_name("sweep_expired")
@bp.timer_trigger("timer", "0 * * * * *")
def sweep_expired(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by name
    """Close what has expired, and look after whatever else is due."""
    sweep.sweep_expired(app().services)
