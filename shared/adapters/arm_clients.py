"""Clients for Azure Resource Manager: one place for identities, time-outs and retries."""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import HTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

_CLIENT = {
    # Converging reads again and plans again, and the queue redelivers: a retry in here as well
    # would be the same failure retried at two layers, and would sleep through Retry-After while
    # holding the firewall's lease.
    "retry_total": 0,
    "logging_enable": False,
}
_CONNECT_SECONDS, _READ_SECONDS = 10, 60

_DEFAULT_RETRY_SECONDS = 10.0


def retry_after(header: str | None, message: str) -> float:
    """Say how many seconds a 429 asks to wait: by its header, or in the provider's own words."""
    told = re.search(r"retried in (\d+) seconds", message)
    seconds = header if header and header.isdigit() else told[1] if told else ""
    return float(seconds) if seconds else _DEFAULT_RETRY_SECONDS


class LocalName(HTTPPolicy[Any, Any]):
    """Names an identity to the simulator on this machine, where no real token may go."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Add the name where a token would stand."""
        request.http_request.headers["Authorization"] = f"Bearer local:{self._name}"
        return self.next.send(request)


class IdentityByPlace(HTTPPolicy[Any, Any]):
    """Authenticates each call as the identity that is chosen for its path.

    ARM counts calls for each identity and subscription, so that several have several quotas.
    """

    def __init__(
        self, policies: Mapping[str, HTTPPolicy[Any, Any]], choose: Callable[[str], str]
    ) -> None:
        super().__init__()
        self._policies = policies
        self._choose = choose

    def send(self, request: PipelineRequest[Any]) -> PipelineResponse[Any, Any]:
        """Let the chosen identity authenticate the call."""
        chosen = self._policies[self._choose(urlsplit(request.http_request.url).path)]
        chosen.next = self.next
        return chosen.send(request)


Identity = TokenCredential | LocalName | IdentityByPlace


def identity_by_place(
    arm_url: str,
    identities: Mapping[str, TokenCredential | LocalName],
    choose: Callable[[str], str],
) -> IdentityByPlace:
    """Make one identity of several; `choose` returns the key of one of them for a path."""
    policies = {key: _policy(arm_url, each) for key, each in identities.items()}
    return IdentityByPlace(policies, choose)


def _policy(arm_url: str, identity: Identity) -> HTTPPolicy[Any, Any]:
    from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

    if isinstance(identity, LocalName | IdentityByPlace):
        return identity
    return ARMChallengeAuthenticationPolicy(identity, f"{arm_url}/.default")


class _NoCredential:
    """Satisfies clients that insist on a credential; a policy above is used instead."""

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """Refuse: it is never asked."""
        raise NotImplementedError


def _authentication(credential: Identity) -> dict[str, Any]:
    if isinstance(credential, LocalName | IdentityByPlace):
        return {"credential": _NoCredential(), "authentication_policy": credential}
    return {"credential": credential}


def network_client(arm_url: str, credential: Identity, subscription: str) -> Any:
    """Make Microsoft's network client for a subscription; imported here, on the worker path."""
    from azure.mgmt.network import NetworkManagementClient

    from shared.adapters.transport import make_transport

    transport = make_transport(connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS)
    options = {**_CLIENT, **_authentication(credential), "transport": transport}
    return NetworkManagementClient(
        subscription_id=subscription,
        base_url=arm_url,
        credential_scopes=[f"{arm_url}/.default"],
        **options,
    )


def arm_client(
    arm_url: str, credential: Identity, *, seconds: int = _READ_SECONDS
) -> ARMPipelineClient[HttpRequest, HttpResponse]:
    """Make a client for the few other reads; a slow answer is waited for so many seconds."""
    from azure.core.pipeline.policies import (
        HeadersPolicy,
        RequestIdPolicy,
        RetryPolicy,
        UserAgentPolicy,
    )

    from shared.adapters.transport import make_transport

    return ARMPipelineClient(
        base_url=arm_url,
        policies=[
            RequestIdPolicy(),
            HeadersPolicy(),
            UserAgentPolicy("jit-vm-access"),
            RetryPolicy(retry_total=0),
            _policy(arm_url, credential),
        ],
        transport=make_transport(
            connect_seconds=min(_CONNECT_SECONDS, seconds), read_seconds=seconds
        ),
    )
