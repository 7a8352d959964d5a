"""export_audit: audit events go to files and to subscribers, apart from every close."""

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases.timers import export_audit as exporting
from shared.use_cases.timers import send_notifications as notifying

bp = func.Blueprint()


@bp.function_name("export_audit")
@bp.timer_trigger("timer", "45 */5 * * * *")
def export_audit(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the host passes it by name
    """Export the audit events that are due, and send their notifications, as far as configured."""
    export = app().audit_export
    if export is not None:
        exporting.export_audit(export)
    delivery = app().notification_delivery
    if delivery is not None:
        notifying.send_notifications(delivery)
