"""The timer that exports audit events, over the composition root."""

from typing import Any

import azure.functions as func
import pytest

from functions.timer_audit import export_audit
from shared.bootstrap import App, using
from shared.settings import Settings
from tests.fakes import MemoryTables
from tests.world import SUBSCRIPTION

RUN = export_audit.build().get_user_function()


class Timer(func.TimerRequest):
    """What the host passes to a timer."""

    past_due = False


def app_with(container: str) -> App:
    """Return an app whose tables are in memory, and that exports to a container."""
    app = App(
        Settings.model_validate(
            {
                "deployment_id": "local1",
                "tenant_id": "11111111-1111-4111-8111-111111111111",
                "audience": ("api://jit",),
                "scopes": (f"/subscriptions/{SUBSCRIPTION}",),
                "arm_url": "http://127.0.0.1:9",
                "audit_container": container,
                "JitStorage": "UseDevelopmentStorage=true",  # never reached
            }
        )
    )
    app.__dict__["_tables"] = MemoryTables()
    return app


def told(caplog: pytest.LogCaptureFixture) -> str:
    """Return what was logged."""
    return "\n".join(record.getMessage() for record in caplog.records)


def test_without_a_container_nothing_is_exported(caplog: pytest.LogCaptureFixture) -> None:
    """A deployment without an audit container runs the timer and does nothing."""
    with using(app_with("")) as app:
        RUN(Timer())
        assert not app.services.export_audit
    assert "jit.audit" not in told(caplog)


def test_an_account_that_is_away_is_reported_and_raises_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The timer ends well, the fault is in the log, and the first lines wait in the table."""
    with using(app_with("http://127.0.0.1:9/audit")) as app:
        RUN(Timer())
        RUN(Timer())
        state: Any = app.services.exports.read_state()
    assert told(caplog).count("jit.audit.export.failed") == 2
    assert "does not answer" in told(caplog)
    assert state.pending.startswith('{"seq":1,')
