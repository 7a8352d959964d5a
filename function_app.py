"""The function app: registers the triggers, nothing else."""

import azure.functions as func

from functions import (
    http_access,
    http_decisions,
    http_me,
    http_operations,
    http_page,
    http_policies,
    http_reports,
    queue_open,
    timer_audit,
    timer_bastion,
    timer_sweep,
)

# Keys are shared secrets that identify no caller. Every HTTP trigger verifies a token by itself.
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for part in (
    http_access,
    http_decisions,
    http_me,
    http_operations,
    http_page,
    http_policies,
    http_reports,
    queue_open,
    timer_audit,
    timer_bastion,
    timer_sweep,
):
    app.register_functions(part.bp)
