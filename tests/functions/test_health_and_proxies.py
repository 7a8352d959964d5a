"""Health is read anew after some seconds, and says when nothing guards the proxies."""

import pytest

from shared.bootstrap import App
from shared.settings import Settings
from tests.fakes import MemoryTelemetry
from tests.functions.web_app import AS_READER, WebApp


def _reads(web: WebApp) -> int:
    return sum(table.rows_read for table in web.world.tables.all())


def test_health_is_kept_for_some_seconds(web: WebApp) -> None:
    """A flood of calls without a token reads the storage once in five seconds."""
    web.world.clock.advance(3600)
    first = web.call("GET", "/api/health")
    before = _reads(web)
    for _ in range(50):
        assert web.call("GET", "/api/health").json == first.json
    assert _reads(web) == before
    web.world.clock.advance(5)
    web.call("GET", "/api/health")
    assert _reads(web) > before


def test_a_clock_that_was_set_back_keeps_no_report(web: WebApp) -> None:
    """A report from the future is read anew."""
    web.call("GET", "/api/health")
    before = _reads(web)
    web.world.clock.advance(-60)
    web.call("GET", "/api/health")
    assert _reads(web) > before


def _with(web: WebApp, **settings: object) -> WebApp:
    web.settings = web.settings.model_copy(update=settings)
    return web


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, False),
        ({"trusted_proxies": 1}, True),
        ({"trusted_proxies": 1, "proxies_only": True}, False),
        ({"proxies_only": True}, False),
    ],
)
def test_proxies_that_nothing_guards_are_told(
    web: WebApp, settings: dict[str, object], told: bool
) -> None:
    """Start-up logs an event and health warns, where callers may pass the trusted proxies by."""
    app = _with(web, **settings)
    warnings = app.call("GET", "/api/health", who=AS_READER).json["warnings"]
    assert any("JIT_TRUSTED_PROXIES" in each for each in warnings) is told
    app.announce()
    assert bool(app.world.telemetry.named("jit.proxies.unguarded")) is told


def test_the_app_announces_it_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use of the app logs the event, before any call is answered."""
    from shared import bootstrap  # noqa: PLC0415 - its cache is this test's own

    telemetry = MemoryTelemetry()
    monkeypatch.setattr(bootstrap, "read_settings", lambda: _settings(trusted_proxies=1))
    monkeypatch.setattr(App, "services", type("Services", (), {"telemetry": telemetry})())
    bootstrap._from_environment.cache_clear()
    try:
        bootstrap._from_environment()
    finally:
        bootstrap._from_environment.cache_clear()
    assert telemetry.named("jit.proxies.unguarded")


def _settings(**more: object) -> Settings:
    return Settings.model_validate(
        {
            "deployment_id": "test1",
            "tenant_id": "8a1f9d4e-3f5c-5d1b-9a64-7d2f0c6b1e01",
            "audience": ("api://jit",),
            "scopes": ("/subscriptions/11111111-1111-4111-8111-111111111111",),
            **more,
        }
    )
