"""Telling people of what waits for them."""

from typing import Any

from shared.use_cases.requests.notify import notify
from tests.unit.approving import APPROVER, asking, decide, extend, opened
from tests.world import ALICE, POLICY, SOURCE, WEB


def test_who_decides_is_told_what_waits() -> None:
    """A notification names requestor, reason, port, duration and the approver's deadline."""
    world = asking(1)
    request = world.ask(minutes=10)
    posted: list[dict[str, Any]] = []
    notify(world.services, posted.append, request.id)
    assert posted == [
        {
            "event": "approvalRequested",
            "requestId": request.id,
            "policyId": POLICY,
            "requestor": ALICE.name,
            "requestorObjectId": ALICE.object_id,
            "justification": "because",
            "breakGlass": False,
            "summary": [f"web (resource group app): port 22, TCP, from {SOURCE}, for 10 minutes"],
            "isExtension": False,
            "extensionUntil": "",
            "approvalsNeeded": 1,
            "deadline": "2026-11-22T15:00:00Z",
            "ports": [
                {
                    "virtualMachine": WEB,
                    "resourceGroup": "app",
                    "number": 22,
                    "protocol": "TCP",
                    "sources": [SOURCE],
                    "until": "",
                    "minutes": 10,
                }
            ],
        }
    ]
    assert world.telemetry.named("jit.approval.notified") == [{"request": request.id}]


def test_a_longer_end_is_told_as_one() -> None:
    """With the end as it stands."""
    world = asking(1)
    request = opened(world)
    extend(world, request, 60)
    posted: list[dict[str, Any]] = []
    notify(world.services, posted.append, request.id)
    (told,) = posted
    assert (told["isExtension"], told["ports"][0]["until"]) == (True, "2026-11-22T14:10:00Z")
    assert told["extensionUntil"] == "2026-11-22T15:00:00Z"


def test_no_approver_is_notified_of_what_waits_no_more() -> None:
    """Decided meanwhile, unknown, or without an approver."""
    world = asking(1)
    request = world.ask()
    posted: list[dict[str, Any]] = []
    notify(world.services, None, request.id)
    notify(world.services, posted.append, "x-y")
    decide(world, request, APPROVER)
    notify(world.services, posted.append, request.id)
    assert posted == []
    assert world.telemetry.named("jit.approval.notified") == []
