"""The live sessions of Bastion hosts: ARM's calls that list and disconnect them, bounded in time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.rest import HttpRequest, HttpResponse

from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import Identity, arm_client
from shared.domain.bastion_sessions import BastionSession
from shared.ports import OutsideError

_NETWORK = "2024-05-01"
_ACCEPTED, _NO_CONTENT = 202, 204
_MOST_PAGES = 50
_ANSWER_SECONDS = 15  # for one answer
_SECONDS = 20.0  # for the polls of one call
_USUAL_PAUSE, _LONGEST_PAUSE = 1.0, 5.0  # between polls, in seconds


class ArmBastionSessions:
    """Lists the live sessions of Bastion hosts, and asks for their end."""

    def __init__(self, arm: "ArmActions") -> None:
        self._arm = arm

    def list(self, host_id: str) -> Sequence[BastionSession]:
        """Return every live session of a host; raises OutsideError."""
        path = f"{host_id}/getActiveSessions"
        return tuple(_session(each) for each in self._arm.post(path, _NETWORK))

    def disconnect(self, host_id: str, session_ids: Sequence[str]) -> None:
        """Ask a host to disconnect some sessions; raises OutsideError.

        The host's answer for each session is no proof: the next list is.
        """
        path = f"{host_id}/disconnectActiveSessions"
        for _ in self._arm.post(path, _NETWORK, {"sessionIds": [*session_ids]}):
            continue


def connect(arm_url: str, identity: Identity) -> ArmBastionSessions:
    """Return the live sessions as an identity sees them; no answer is waited for longer than 15 s."""
    client = arm_client(arm_url, identity, seconds=_ANSWER_SECONDS)
    return ArmBastionSessions(ArmActions(client))


class ArmActions(ArmReader):
    """Calls actions of resources that answer a list, at once or as a long-running operation."""

    def post(
        self, path: str, api_version: str, body: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Call an action and return the items of its answer, page by page."""
        parameters = {"api-version": api_version}
        request = HttpRequest("POST", quote(path, safe="/"), params=parameters, json=body)
        answer = self._completed(self._send(request))
        for _ in range(_MOST_PAGES):
            page = {"value": []} if answer.status_code == _NO_CONTENT else self._body(answer)
            if not isinstance(page.get("value"), list):
                raise OutsideError(f"no list from ARM for {path}")
            yield from page["value"]
            if not page.get("nextLink"):
                return
            answer = self._send(_get(page["nextLink"]))
        raise OutsideError(f"the list of {path} does not end")

    def _completed(self, answer: HttpResponse) -> HttpResponse:
        """Poll a long-running operation until it has ended or its time is over."""
        waited = 0.0
        while answer.status_code == _ACCEPTED:
            location = answer.headers.get("Location")
            if not location or waited >= _SECONDS:
                raise OutsideError(f"{answer.request.url} has not ended after {waited:.0f} s")
            pause = _pause(answer.headers.get("Retry-After"))
            self._sleep(pause)
            waited += pause
            answer = self._send(_get(location))
        return answer


def _get(link: str) -> HttpRequest:
    """Return the read of a link; its host is not followed: our token goes to our ARM only."""
    parts = urlsplit(link)
    return HttpRequest("GET", f"{parts.path}?{parts.query}")


def _pause(header: str | None) -> float:
    asked = float(header) if header and header.isdigit() else _USUAL_PAUSE
    return min(max(asked, _USUAL_PAUSE), _LONGEST_PAUSE)


def _session(listed: Any) -> BastionSession:
    """Return a session; what a host leaves out is empty, and matches nothing."""
    held = listed if isinstance(listed, dict) else {}
    names = ("sessionId", "targetResourceId", "userName")
    return BastionSession(*(str(held.get(name) or "") for name in names))
