"""Our answers to the recorded requests are the recorded answers: field by field, and in order.

The recordings are of the real service (Azure PowerShell's session records, 2020 to 2022). Only
times and ids that a service makes up differ.
"""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.domain.model import Attachment
from shared.domain.times import parse_instant
from tests.functions.web_app import Answer, WebApp, token
from tests.world import NSG_NIC, World

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "jit"
FILES = sorted(RECORDINGS.glob("*.json"))
# The caller of the recordings was a service principal.
AS_RECORDER = token("recorder", "Jit.Admin", "Jit.Request", app=True)
SAME_HEADERS = (
    "Cache-Control",
    "Pragma",
    "Expires",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
)

pytestmark = pytest.mark.skipif(not FILES, reason="the recordings are not here (../shared)")


def _web(entries: list[Any]) -> WebApp:
    """Serve a world with the recorded subscription's VM, at the recorded time."""
    subscription = entries[0]["request"]["uri"].split("/")[2]
    world = World()
    web = WebApp(world)
    scope = f"/subscriptions/{subscription}"
    web.settings = web.settings.model_copy(update={"scopes": (scope,)})
    object.__setattr__(world.services, "scopes", (scope,))
    for vm in {vm["id"] for entry in entries for vm in _vms(entry["request"]["body"])}:
        world.machines.add(vm, Attachment(NSG_NIC, ("10.0.0.4",)))
    return web


def _vms(body: Any) -> list[Any]:
    held = (body or {}).get("properties", body) or {}
    found: list[Any] = held.get("virtualMachines", [])
    return found


def _replayed(web: WebApp, entry: Any) -> Answer:
    sent = entry["request"]
    ends = [p["endTimeUtc"] for vm in _vms(sent["body"]) for p in vm["ports"] if "endTimeUtc" in p]
    if ends:  # recorded years ago: asked two hours before its end, as it was
        web.world.clock.now = parse_instant(ends[0]) - timedelta(hours=2)
    headers = {**AS_RECORDER, **sent.get("headers", {})}
    return web.call(sent["method"], sent["uri"], sent["body"], headers=headers)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recorded_requests_get_the_recorded_answers(file: Path) -> None:
    """Status, body to the byte but for the start's own digits, and the headers that matter."""
    entries = json.loads(file.read_text(encoding="utf-8"))["entries"]
    web = _web(entries)
    for entry in entries:
        wanted = entry["response"]
        answer = _replayed(web, entry)
        assert answer.status == wanted["status"]
        assert {n: answer.headers[n] for n in SAME_HEADERS} == {
            n: wanted["headers"][n] for n in SAME_HEADERS
        }
        assert answer.headers["x-ms-request-id"]
        _compare(answer.text, wanted)


def _compare(text: str, wanted: Any) -> None:
    """Compare bodies as they were on the wire, where key order shows."""
    if wanted["body"] is None:
        assert text == ""
        return
    body = json.loads(text)
    if "startTimeUtc" in body:
        body["startTimeUtc"] = wanted["body"]["startTimeUtc"]
    compact = json.dumps(body, separators=(",", ":"))
    assert compact == json.dumps(wanted["body"], separators=(",", ":"))
    assert len(compact) == int(wanted["headers"]["Content-Length"])
