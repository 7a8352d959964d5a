"""The running stack, as clients of Defender's API meet it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.security import SecurityCenter

from local.stack import Stack
from tests.e2e.playing import SUBSCRIPTION, Azure, Caller, Site

ADMIN_ROLES = ("Jit.Admin", "Jit.Request", "Jit.Read")


class OurToken(SansIOHTTPPolicy[Any, Any]):
    """Puts a token for this app where the client would put one for ARM."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the header."""
        request.http_request.headers["Authorization"] = f"Bearer {self._token}"


class NoCredential:
    """Satisfies the client, which insists on a credential; the policy above is used instead."""

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """Refuse: it is never asked."""
        raise NotImplementedError


@dataclass(frozen=True)
class Clients:
    """Callers of the running stack."""

    stack: Stack
    azure: Azure

    def token(self, name: str, *roles: str, app: bool = False) -> str:
        """Return an access token."""
        return self.stack.token(name, roles or ADMIN_ROLES, app=app)

    def caller(self, name: str, *roles: str, app: bool = False) -> Caller:
        """Return a caller over plain HTTP."""
        return Caller(self.stack.api, self.token(name, *roles, app=app))

    def sdk(self, name: str, *roles: str) -> Any:
        """Return Microsoft's own client for the operations on policies."""
        client = SecurityCenter(
            NoCredential(),
            SUBSCRIPTION,
            base_url=self.stack.api,
            authentication_policy=OurToken(self.token(name, *roles)),
        )
        return client.jit_network_access_policies


@pytest.fixture(scope="session")
def clients(stack: Stack) -> Clients:
    """Give everybody who calls."""
    return Clients(stack, Azure(stack.arm))


@pytest.fixture
def site(clients: Clients) -> Iterator[Site]:
    """Put two VMs there, and take their policy away afterwards."""
    built = clients.azure.build(vms=2)
    yield built
    clients.caller("admin").call("DELETE", built.policy_id)
