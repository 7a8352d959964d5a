"""The timer that disconnects Bastion's sessions, over the composition root."""

from dataclasses import replace
from datetime import UTC, datetime

import azure.functions as func

from functions.timer_bastion import disconnect_sessions
from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings as ArmSettings
from shared.bootstrap import App, using
from shared.domain.model import AccessRequest, PortRequest, Principal, Status
from shared.settings import Settings
from shared.store.bastion_closes import BastionClose
from tests.fakes import MemoryTables
from tests.infra.bicep import ROOT

SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
PROVIDERS = f"{SUBSCRIPTION}/resourceGroups/app-rg/providers"
HOST = f"{PROVIDERS}/Microsoft.Network/bastionHosts/app-bastion"
VM = f"{PROVIDERS}/Microsoft.Compute/virtualMachines/app-1"
POLICY = f"{PROVIDERS}/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies/default"
ALICE = Principal("tenant", "alice-id", "alice@contoso.example")
RUN = disconnect_sessions.build().get_user_function()


class Timer(func.TimerRequest):
    """The argument that the host passes to a timer."""

    past_due = False


def app_at(arm_url: str, *, is_on: bool) -> App:
    """Return an app whose tables are in memory and hold a close that was just noted."""
    app = App(
        Settings.model_validate(
            {
                "deployment_id": "local1",
                "tenant_id": "11111111-1111-4111-8111-111111111111",
                "audience": ("api://jit",),
                "scopes": (SUBSCRIPTION,),
                "arm_url": arm_url,
                "disconnect_bastion_sessions": is_on,
                "JitStorage": "UseDevelopmentStorage=true",  # never reached
            }
        )
    )
    app.outside.__dict__["tables"] = MemoryTables()
    now = datetime.now(UTC)
    port = PortRequest(VM, 22, "TCP", ("10.0.9.0/26",), bastion=HOST, status=Status.REVOKED)
    request = AccessRequest("20261122-1", POLICY, ALICE, now, (replace(port, closed_at=now),))
    app.services.requests.insert(request)
    app.services.bastion_closes.note(BastionClose(request.id, VM, 22, HOST, now))
    return app


def live_after_two_runs(*, is_on: bool) -> tuple[list[str], list[str], int]:
    """Run the timer twice; return the live sessions, the callers at ARM and what is noted."""
    with ArmServer(ROOT / "local" / "estate.json", settings=ArmSettings(settle=0.0)) as server:
        arm = ArmClient(server.url)
        held = {"sessionId": "s1", "targetResourceId": VM, "userName": ALICE.name}
        arm.control("sessions", {"bastion": HOST, "sessions": [held]})
        app = app_at(server.url, is_on=is_on)
        with using(app):
            RUN(Timer())
            RUN(Timer())
        live = [each["sessionId"] for each in arm.ask("sessions", bastion=HOST)["sessions"]]
        callers = [each["caller"] for each in arm.ask("log")["calls"]]
        arm.close()
        return live, callers, len(app.services.bastion_closes.first(10))


def test_by_default_no_session_is_looked_at() -> None:
    """The setting is off: the timer makes no call."""
    assert not Settings.model_fields["disconnect_bastion_sessions"].default
    assert live_after_two_runs(is_on=False) == (["s1"], [], 1)


def test_with_the_setting_the_network_identity_disconnects() -> None:
    """The session ends at ARM, and the close is taken off once the list shows it."""
    live, callers, noted = live_after_two_runs(is_on=True)
    assert (live, noted) == ([], 0)
    assert set(callers) == {"network"}
