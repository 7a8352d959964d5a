"""The live sessions of a Bastion host: the adapter against ARM's simulator, and Microsoft's client.

The answers follow the documented API: none was recorded.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.mgmt.network import NetworkManagementClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from local.serving import BackgroundServer
from shared.adapters.arm_bastion_sessions import ArmActions, ArmBastionSessions, connect
from shared.adapters.arm_clients import LocalName, arm_client, network_client
from shared.domain.bastion_sessions import BastionSession
from shared.ports import OutsideError
from tests.infra.bicep import ROOT

SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/providers"
HOST = f"{GROUP}/Microsoft.Network/bastionHosts/app-bastion"
VM = f"{GROUP}/Microsoft.Compute/virtualMachines/app-1"


def listed(name: str, user: str = "alice@contoso.example") -> dict[str, object]:
    """Return a session as ARM lists it."""
    return {"sessionId": name, "targetResourceId": VM, "userName": user, "protocol": "SSH"}


@pytest.fixture
def arm() -> Iterator[ArmClient]:
    """Return the simulator, whose host has three sessions in pages of two."""
    settings = Settings(settle=0.05, page_size=2)
    with ArmServer(ROOT / "local" / "estate.json", settings=settings) as server:
        client = ArmClient(server.url)
        begin(client, "s1", "s2", "s3")
        yield client
        client.close()


def begin(arm: ArmClient, *names: str) -> None:
    """Replace the live sessions of the host."""
    arm.control("sessions", {"bastion": HOST, "sessions": [listed(each) for each in names]})


def live(arm: ArmClient) -> list[str]:
    """Return the ids of the host's live sessions."""
    return [each["sessionId"] for each in arm.ask("sessions", bastion=HOST)["sessions"]]


def adapter(url: str, waits: list[float] | None = None) -> ArmBastionSessions:
    """Return the adapter; with a list, it notes its pauses there and does not sleep."""
    if waits is None:
        return connect(url, LocalName("network"))
    client = arm_client(url, LocalName("network"))
    return ArmBastionSessions(ArmActions(client, sleep=waits.append))


def test_every_page_of_a_long_running_list_is_read(arm: ArmClient) -> None:
    """The operation is polled until it ends, and the pages behind its first one are followed."""
    found = adapter(arm.url).list(HOST)
    assert found == tuple(
        BastionSession(each, VM, "alice@contoso.example") for each in ("s1", "s2", "s3")
    )
    calls = [(c["method"], c["path"].rsplit("/", 1)[-1]) for c in arm.ask("log")["calls"]]
    assert calls[0][0] == "POST"
    assert calls[-1][0] == "GET"


def test_the_named_sessions_alone_are_disconnected(arm: ArmClient) -> None:
    """A session that is gone already is no error."""
    adapter(arm.url).disconnect(HOST, ("s1", "s3", "gone"))
    assert live(arm) == ["s2"]


def test_a_host_without_sessions_lists_none(arm: ArmClient) -> None:
    """An empty list is an answer."""
    begin(arm)
    assert adapter(arm.url).list(HOST) == ()


def test_a_host_that_is_gone_is_an_error_of_the_moment(arm: ArmClient) -> None:
    """No session is taken for ended because its host was not found."""
    with pytest.raises(OutsideError):
        adapter(arm.url).list(f"{HOST}-gone")


def test_microsoft_s_client_reads_the_same_from_the_simulator(arm: ArmClient) -> None:
    """The simulator answers both calls as the SDK, made from Azure's specification, expects."""
    client: NetworkManagementClient = network_client(arm.url, LocalName("sdk"), SUBSCRIPTION)
    found = client.begin_get_active_sessions("app-rg", "app-bastion", polling_interval=0).result()
    assert [each.session_id for each in found] == ["s1", "s2", "s3"]
    states = client.disconnect_active_sessions("app-rg", "app-bastion", {"sessionIds": ["s2", "x"]})
    assert [(each.session_id, each.state) for each in states] == [
        ("s2", "Disconnected"),
        ("x", "NotFound"),
    ]
    assert live(arm) == ["s1", "s3"]


Handler = Callable[[Request], Response]


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], str]]:
    """Return how a handler is served at an address."""
    servers = []

    def start(handler: Handler) -> str:
        app = Starlette(routes=[Route("/{path:path}", handler, methods=["GET", "POST"])])
        server = BackgroundServer(app)
        servers.append(server)
        return server.url

    yield start
    for server in servers:
        server.stop()


def test_an_operation_that_never_ends_is_given_up(serve: Callable[[Handler], str]) -> None:
    """Polling ends after twenty seconds, whatever pause the answers ask for."""
    url = serve(
        lambda r: Response(status_code=202, headers={"Location": str(r.url), "Retry-After": "60"})
    )
    waits: list[float] = []
    with pytest.raises(OutsideError, match="has not ended after 20 s"):
        adapter(url, waits).list(HOST)
    assert waits == [5.0] * 4


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=202),
        Response(status_code=200, content="{"),
        JSONResponse({"value": "none"}),
        JSONResponse({"error": {"code": "AuthorizationFailed"}}, 403),
        JSONResponse({"value": [], "nextLink": "https://elsewhere.example/more?x=1"}),
    ],
    ids=["no location", "no JSON", "no list", "forbidden", "endless"],
)
def test_an_answer_that_is_no_list_is_an_error(
    serve: Callable[[Handler], str], answer: Response
) -> None:
    """Such an answer proves nothing, and a link's host is never followed."""
    with pytest.raises(OutsideError):
        adapter(serve(lambda _request: answer), []).list(HOST)


def test_an_answer_without_content_lists_nothing(serve: Callable[[Handler], str]) -> None:
    """204 ends an operation that has nothing to say."""
    assert adapter(serve(lambda _request: Response(status_code=204)), []).list(HOST) == ()


@pytest.mark.parametrize("item", [None, "s1", {}, {"sessionId": None, "userName": 7}])
def test_a_session_that_lacks_fields_matches_nothing(
    serve: Callable[[Handler], str], item: Any
) -> None:
    """Fields that a host leaves out are read as empty, and stop nothing."""
    (found,) = adapter(serve(lambda _request: JSONResponse({"value": [item]})), []).list(HOST)
    assert found.id == found.vm_id == ""
