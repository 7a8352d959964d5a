"""The timer that exports audit events, over the composition root."""

from typing import Any

import azure.functions as func
import pytest

from functions.timer_audit import export_audit
from shared.bootstrap import App, using
from shared.settings import Settings
from shared.store.audit import AuditEvent
from tests.fakes import MemoryTables
from tests.world import SUBSCRIPTION

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # the example of Standard Webhooks
RUN = export_audit.build().get_user_function()


class Timer(func.TimerRequest):
    """The argument that the host passes to a timer."""

    past_due = False


def app_with(container: str, events_url: str = "", events_key: str = "") -> App:
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
                "events_url": events_url,
                "events_key": events_key,
                "JitStorage": "UseDevelopmentStorage=true",  # never reached
            }
        )
    )
    vars(app.outside)["tables"] = MemoryTables()
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


def record_request(app: App) -> None:
    """Put a request on the record of an app."""
    app.services.activity.record(AuditEvent("e", app.services.clock(), "requested"))


@pytest.mark.parametrize(
    ("url", "key", "reason"),
    [
        ("http://127.0.0.1:9/hook", KEY, "does not answer"),
        ("http://127.0.0.1:9/hook", "@Microsoft.KeyVault(SecretUri=x)", "JIT_EVENTS_KEY is no key"),
        ("https://hooks.example.com/jit", "", "is no Event Grid topic"),
    ],
)
def test_a_channel_that_cannot_be_used_is_reported_and_raises_nothing(
    caplog: pytest.LogCaptureFixture, url: str, key: str, reason: str
) -> None:
    """The timer ends well, the fault is in the log without the key, and the event stays due."""
    with using(app_with("", url, key)) as app:
        record_request(app)
        RUN(Timer())
        assert len(app.services.notifications.due(5)) == 1
    assert told(caplog).count("jit.notifications.failed") == 1
    assert reason in told(caplog)
    assert KEY not in told(caplog)
    assert "whsec_x" not in repr(app_with("", url, "whsec_x").settings)


def test_without_a_channel_nothing_is_noted() -> None:
    """A deployment without JIT_EVENTS_URL notes no notification."""
    with using(app_with("")) as app:
        record_request(app)
        RUN(Timer())
        assert app.services.notifications.due(5) == []
