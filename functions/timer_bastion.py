"""disconnect_sessions: the live Bastion sessions of closed accesses end, apart from every close."""

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases.timers import disconnect_sessions as disconnecting

bp = func.Blueprint()


@bp.function_name("disconnect_sessions")
@bp.timer_trigger("timer", "20 * * * * *")
def disconnect_sessions(timer: func.TimerRequest) -> None:  # noqa: ARG001 - passed by name
    """Disconnect the Bastion sessions of accesses that were closed, where that is switched on."""
    if app().settings.disconnect_bastion_sessions:
        disconnecting.disconnect_sessions(app().services, app().outside.bastion_sessions)
