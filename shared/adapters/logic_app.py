"""Tell the approval workflow of a request: one event to the Logic App the deployer named."""

from typing import Any

from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import (
    BearerTokenCredentialPolicy,
    RedirectPolicy,
    UserAgentPolicy,
)
from azure.core.rest import HttpRequest, HttpResponse

from shared.ports import OutsideError

_SECONDS = 20
_FIRST_ERROR = 300


class LogicApp:
    """Posts events to one trigger, from the settings alone: no caller can name another.

    The trigger is protected by the app's own identity, not by a secret in its address. Redirects
    are not followed: our token goes where the deployer said, and nowhere else.
    """

    def __init__(self, url: str, credential: Any, audience: str) -> None:
        authentication = (
            [BearerTokenCredentialPolicy(credential, f"{audience}/.default")] if credential else []
        )
        self._url = url
        self._client: PipelineClient[HttpRequest, HttpResponse] = PipelineClient(
            url,
            policies=[
                UserAgentPolicy("jit-vm-access"),
                RedirectPolicy(permit_redirects=False),
                *authentication,
            ],
        )

    def post(self, event: dict[str, Any]) -> None:
        """Send an event; raises OutsideError, so that the queue tries again."""
        request = HttpRequest("POST", self._url, json=event)
        try:
            answer = self._client.send_request(
                request, connection_timeout=_SECONDS, read_timeout=_SECONDS
            )
        except AzureError as error:
            raise OutsideError(f"the approval workflow cannot be reached: {error}") from error
        if answer.status_code >= _FIRST_ERROR:
            raise OutsideError(f"the approval workflow answered {answer.status_code}")
