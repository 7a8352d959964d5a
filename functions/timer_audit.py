"""export_audit: audit events go to files that the app cannot change, apart from every close."""

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases.timers import export_audit as exporting

bp = func.Blueprint()


@bp.function_name("export_audit")
@bp.timer_trigger("timer", "45 */5 * * * *")
def export_audit(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by name
    """Export the audit events that are due, where a deployment exports them."""
    export = app().audit_export
    if export is not None:
        exporting.export_audit(export)
