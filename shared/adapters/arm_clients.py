"""Clients for Azure Resource Manager: one place for identities, time-outs and retries."""

import re
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

_CLIENT = {
    # Converging reads again and plans again, and the queue redelivers: a retry in here as well
    # would be the same failure retried at two layers, and would sleep through Retry-After while
    # holding the firewall's lease.
    "retry_total": 0,
    "connection_timeout": 10,
    "read_timeout": 60,
    "logging_enable": False,
}


_DEFAULT_RETRY_SECONDS = 10.0


def retry_after(header: str | None, message: str) -> float:
    """Say how many seconds a 429 asks to wait: by its header, or in the provider's own words."""
    told = re.search(r"retried in (\d+) seconds", message)
    seconds = header if header and header.isdigit() else told[1] if told else ""
    return float(seconds) if seconds else _DEFAULT_RETRY_SECONDS


class LocalName(SansIOHTTPPolicy[Any, Any]):
    """Names an identity to the simulator on this machine, where no real token may go."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def on_request(self, request: PipelineRequest[Any]) -> None:
        """Add the name where a token would stand."""
        request.http_request.headers["Authorization"] = f"Bearer local:{self._name}"


class _NoCredential:
    """Satisfies clients that insist on a credential; the policy above is used instead."""

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        """Refuse: it is never asked."""
        raise NotImplementedError


def _authentication(credential: TokenCredential | LocalName) -> dict[str, Any]:
    if isinstance(credential, LocalName):
        return {"credential": _NoCredential(), "authentication_policy": credential}
    return {"credential": credential}


def network_client(arm_url: str, credential: TokenCredential | LocalName, subscription: str) -> Any:
    """Make Microsoft's network client for a subscription; imported here, on the worker path."""
    from azure.mgmt.network import NetworkManagementClient

    options = {**_CLIENT, **_authentication(credential)}
    return NetworkManagementClient(
        subscription_id=subscription,
        base_url=arm_url,
        credential_scopes=[f"{arm_url}/.default"],
        **options,
    )


def arm_client(
    arm_url: str, credential: TokenCredential | LocalName, *, seconds: int = 60
) -> ARMPipelineClient[HttpRequest, HttpResponse]:
    """Make a client for the few other reads; a slow answer is waited for so many seconds."""
    from azure.core.pipeline.policies import (
        HeadersPolicy,
        RequestIdPolicy,
        RetryPolicy,
        UserAgentPolicy,
    )
    from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

    authentication: Any = (
        credential
        if isinstance(credential, LocalName)
        else ARMChallengeAuthenticationPolicy(credential, f"{arm_url}/.default")
    )
    return ARMPipelineClient(
        base_url=arm_url,
        policies=[
            RequestIdPolicy(),
            HeadersPolicy(),
            UserAgentPolicy("jit-vm-access"),
            RetryPolicy(retry_total=0),
            authentication,
        ],
        connection_timeout=min(10, seconds),
        read_timeout=seconds,
    )
