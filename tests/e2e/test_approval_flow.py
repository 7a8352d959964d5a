"""Approval over the running stack, with stand-ins for Logic Apps on both sides of the app.

A front-door workflow asks and polls; the app tells the approval workflow, as it is deployed, of
what waits; people answer it; it relays their decisions.
"""

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.issuer import AUDIENCE, object_id
from local.serving import BackgroundServer
from local.stack import ROOT, Stack
from tests.conftest import IMPATIENT, SETTLE_SECONDS
from tests.e2e.playing import APP_RG, SOURCE, SUBSCRIPTION, Azure, Play, Site, until
from tests.logic_apps.engine import Answer, Call, Engine, Run

Json = dict[str, Any]
WORKFLOW = Path(ROOT) / "infra" / "workflows" / "approval.json"
SECURITY_ADMIN = "fb1c8493-542b-48eb-b624-b4c8fea62acd"
PEOPLE = {name: f"{name}@contoso.example" for name in ("rita", "dora", "mallory")}


@dataclass
class Trigger:
    """The approval workflow's trigger: ill at first, then it takes what it is told."""

    trouble: list[int] = field(default_factory=lambda: [503, 408])
    told: list[Json] = field(default_factory=list)
    tries: int = 0

    async def take(self, request: Request) -> Response:
        """Take an event, or fail."""
        body = await request.json()
        self.tries += 1
        if self.trouble:
            return Response(status_code=self.trouble.pop())
        self.told.append(body)
        return Response(status_code=202)

    def of(self, request_id: str, *, extension: bool = False) -> Json | None:
        """Return what was told of a request."""
        asked = (request_id, extension)
        return next((t for t in self.told if (t["requestId"], t["isExtension"]) == asked), None)


@dataclass
class Wire:
    """Carries an engine's calls to the app, and notes when; some answers get lost on the way."""

    lose: int = 0
    calls: list[tuple[float, Call, Answer]] = field(default_factory=list)

    def __call__(self, call: Call) -> Answer:
        """Make a call."""
        at = time.monotonic()
        parts = urlsplit(call.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        body = None if call.body is None else json.dumps(call.body)
        headers = {**call.headers, **({"Content-Type": "application/json"} if body else {})}
        try:
            connection.request(call.method, parts.path, body, headers)
            given = connection.getresponse()
            text = given.read()
            answer = Answer(
                given.status, json.loads(text) if text else None, dict(given.getheaders())
            )
        finally:
            connection.close()
        if self.lose:
            self.lose -= 1
            answer = Answer(503)
        self.calls.append((at, call, answer))
        return answer


@dataclass(frozen=True)
class Scene:
    """The running stack, the trigger it tells, and both workflows."""

    play: Play
    trigger: Trigger

    def front_door(self, wire: Wire, site: Site, who: str, **more: Any) -> Engine:
        """Make a workflow that asks for a person and waits for the outcome."""
        body = {
            "virtualMachine": site.vm,
            "ports": [22],
            "allowedSourceAddressPrefix": SOURCE,
            "duration": "PT5S",
            "justification": "INC-4711",
            "onBehalfOf": {"objectId": object_id(who), "name": PEOPLE[who]},
            **more,
        }
        headers = {
            "Content-Type": "application/json",
            "Accept-Language": "nl",
            "Cookie": "a=b",
            "Host": "evil.example",
            "Repeatability-Request-ID": f"run-{site.policy_id[-12:]}",
        }
        inputs = {
            "method": "POST",
            "uri": f"{self.play.stack.api}/api/requests",
            "headers": headers,
            "body": body,
            "authentication": {"type": "ManagedServiceIdentity", "audience": AUDIENCE},
            "retryPolicy": {"type": "fixed", "count": 4, "interval": "PT1S"},
        }
        definition = {
            "triggers": {"access": {"type": "Request", "inputs": {"schema": {"type": "object"}}}},
            "actions": {"Ask": {"type": "Http", "inputs": inputs, "runAfter": {}}},
        }
        return Engine(definition, {}, wire, token=self.token, sleep=time.sleep)

    def approvals(self, wire: Wire, answers: list[tuple[str, str]]) -> Engine:
        """Make the deployed approval workflow, with people who answer its card in turn."""

        def card(_inputs: Json) -> Json:
            who, decision = answers.pop(0)
            responder = {"objectId": object_id(who), "userPrincipalName": PEOPLE[who]}
            return {
                "data": {"decision": decision, "comment": f"{who} says"},
                "responder": responder,
            }

        text = WORKFLOW.read_text(encoding="utf-8").replace("{relayIdentity}", "relay")
        parameters = {
            "apiUrl": self.play.stack.api,
            "audience": AUDIENCE,
            "channel": "teams",
            "$connections": {"teams": {"connectionId": "/connections/teams"}},
            "teamsGroupId": "team",
            "teamsChannelId": "channel",
        }
        connectors: Mapping[str, Callable[[Json], Any]] = {"/v1.0/teams/": card}
        return Engine(
            json.loads(text),
            parameters,
            wire,
            connectors=connectors,
            token=self.token,
            sleep=time.sleep,
        )

    def token(self, audience: str, identity: str) -> str:
        """Return the token of a workflow's managed identity."""
        assert audience == AUDIENCE
        return self.play.stack.token(f"workflow {identity}", ["Jit.Relay"], app=True)

    def site(self, **conditions: Any) -> Site:
        """Put a VM there whose policy asks for approval."""
        site = self.play.azure.build()
        properties = {
            "virtualMachines": site.listed(22),
            "conditions": {"approversNeeded": 1, **conditions},
        }
        answer = self.play.admin.call("PUT", site.policy_id, {"properties": properties})
        assert answer.status == 200, answer
        self.play.admin.wait_for_policy(site.policy_id)
        return site


@pytest.fixture(scope="module")
def scene(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Run a stack that tells a workflow; two people hold a role that asks and approves."""
    trigger = Trigger()
    app = Starlette(routes=[Route("/notice", trigger.take, methods=["POST"])])
    with BackgroundServer(app) as server:
        told = {"JIT_LOGIC_APP_URL": f"{server.url}/notice", **IMPATIENT}
        with Stack(
            app=package,
            directory=tmp_path_factory.mktemp("stack"),
            settle=SETTLE_SECONDS,
            environment=told,
        ) as stack:
            azure = Azure(stack.arm)
            azure.control(
                "edit", {"resources": [_security_admin(each) for each in ("rita", "dora")]}
            )
            yield Scene(Play(stack, azure), trigger)


def _security_admin(who: str) -> Json:
    role = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions"
    name = object_id(f"{who} as Security Admin")
    return {
        "id": f"{APP_RG}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"{role}/{SECURITY_ADMIN}",
            "principalId": object_id(who),
            "principalType": "User",
            "scope": APP_RG,
            "condition": None,
        },
    }


def _begin(
    pool: ThreadPoolExecutor, scene: Scene, wire: Wire, site: Site
) -> tuple[Future[Run], str]:
    """Let Rita's workflow ask; return its run and the request's id."""
    run = pool.submit(scene.front_door(wire, site, "rita").run, {})
    until(lambda: wire.calls or run.done(), "the app has answered")
    answers = [answer for _, _, answer in wire.calls if answer.status == 202]
    until(lambda: [a for _, _, a in wire.calls if a.status == 202] or run.done(), "it is taken in")
    answers = [answer for _, _, answer in wire.calls if answer.status == 202]
    assert answers, wire.calls
    return run, str(answers[0].body["id"])


def _check_polling(wire: Wire) -> None:
    """Hold the app and the engine to the pattern: 202, the same headers, no poll too soon."""
    polled = [(at, call, answer) for at, call, answer in wire.calls if answer.status in {200, 202}]
    for (asked, _, told), (again, call, _) in itertools.pairwise(polled):
        assert told.status == 202
        location, wait = told.header("Location"), told.header("Retry-After")
        assert location is not None
        assert wait is not None
        assert (call.method, call.url) == ("GET", location)
        assert again - asked >= float(wait)
    assert polled[-1][2].status == 200


def _activity(scene: Scene, request_id: str) -> list[Json]:
    reader = scene.play.person("auditor", "Jit.Read")
    found = reader.call("GET", "/api/activity?top=1000").json["value"]
    return [each for each in found if each.get("requestId") == request_id]


def test_a_request_is_approved_by_another_person_opens_and_closes(scene: Scene) -> None:
    """From the asking workflow over the notice to a person's answer, the open port and its end.

    The requestor answers the card first: that counts for nothing, and it is asked again.
    """
    site = scene.site()
    wire, relay = Wire(), Wire()
    with ThreadPoolExecutor(1) as pool:
        run, request_id = _begin(pool, scene, wire, site)
        notice = until(lambda: scene.trigger.of(request_id), "the workflow is told")
        assert notice["requestor"] == PEOPLE["rita"]
        assert scene.trigger.tries >= 3, "what failed was tried again"
        assert not scene.play.azure.allowed(site.vm)
        decided = scene.approvals(relay, [("rita", "approve"), ("dora", "approve")]).run(notice)
        ended = run.result(timeout=60)
    assert decided.status == "Succeeded"
    statuses = [answer.status for _, call, answer in relay.calls if call.url.endswith("/approve")]
    assert statuses == [403, 200]
    body = ended.results["Ask"].outputs["body"]
    assert body["status"] in {"Initiated", "Revoked"}
    _check_polling(wire)
    assert scene.play.azure.allowed(site.vm) or body["status"] == "Revoked"
    until(lambda: not scene.play.azure.ours(site.nic_nsg, "Allow"), "it is closed again")
    _check_record(scene, request_id)


def _whole_record(scene: Scene, request_id: str) -> list[Json]:
    found = _activity(scene, request_id)
    return found if any(each["operation"] == "closed" for each in found) else []


def _check_record(scene: Scene, request_id: str) -> None:
    """Everything is on record under both identities, the refusal included."""
    events = until(lambda: _whole_record(scene, request_id), "the record is complete")
    told = {event["operation"]: event for event in events}
    assert {"requested", "refused", "approved", "opened", "closed"} <= set(told)
    people = {name: f"/{object_id(name)}" for name in PEOPLE}
    workflow = object_id("workflow relay"), object_id("workflow ")
    assert told["requested"]["principal"].endswith(people["rita"])
    assert told["requested"]["relayedBy"].endswith(workflow[1])
    assert "role 'Security Admin'" in told["requested"]["authorizedBy"]
    assert told["approved"]["principal"].endswith(people["dora"])
    assert told["approved"]["relayedBy"].endswith(workflow[0])
    assert told["approved"]["reason"] == "dora says"
    assert told["refused"]["principal"].endswith(people["rita"])
    assert "requestors cannot approve their own requests" in told["refused"]["reason"]
    assert told["closed"]["latenessSeconds"] >= 0


def _both_agree(scene: Scene, request_id: str, *, extension: bool) -> None:
    """Let the workflow ask two people, and hold it to asking each of them once."""
    notice = until(
        lambda: scene.trigger.of(request_id, extension=extension), "the workflow is told"
    )
    assert notice["approvalsNeeded"] == 2
    relay = Wire()
    run = scene.approvals(relay, [("rita", "approve"), ("dora", "approve")]).run(notice)
    assert run.status == "Succeeded"
    answers = [answer for _, call, answer in relay.calls if call.url.endswith("/approve")]
    assert [answer.status for answer in answers] == [200, 200]


def test_a_longer_end_asks_as_many_people_as_the_opening(scene: Scene) -> None:
    """One notice for each, and the workflow asks until both have agreed; then the end moves."""
    site = scene.site(approversNeeded=2, approveExtensions=True)
    location = scene.play.alice.initiate(site.policy_id, site.asked(duration="PT10M"))
    path = urlsplit(location).path
    request_id = path.rpartition("/")[2]
    _both_agree(scene, request_id, extension=False)
    scene.play.alice.wait(location, "Initiated")
    asked = scene.play.alice.call("POST", f"{path}/extend", {"duration": "PT20M"})
    waiting = asked.json["approval"]
    assert (waiting["agreed"], waiting["needed"]) == (0, 2)
    _both_agree(scene, request_id, extension=True)
    (port,) = scene.play.alice.status(location)["virtualMachines"][0]["ports"]
    assert port["endTimeUtc"].startswith(waiting["endTimeUtc"].removesuffix("Z"))


def test_the_requestor_approves_nothing(scene: Scene) -> None:
    """Neither with a token of their own nor through a workflow; nor does a caller without the permission."""
    site = scene.site()
    alice = scene.play.person("alice", "Jit.Request", "Jit.Approve")
    location = alice.initiate(site.policy_id, site.asked(duration="PT5M"))
    path = urlsplit(location).path
    refused = alice.call("POST", f"{path}/approve", {})
    assert (refused.status, refused.json["error"]["code"]) == (403, "ApproverNotAllowed")
    workflow = scene.play.bearer(scene.token(AUDIENCE, "relay"))
    for who in ("alice", "mallory"):
        behalf = {"objectId": object_id(who), "name": f"{who}@contoso.example"}
        answer = workflow.call("POST", f"{path}/approve", {"onBehalfOf": behalf})
        assert answer.status == 403, answer
    assert workflow.call("POST", f"{path}/approve", {}).status == 403
    assert scene.play.alice.status(location)["status"] == "PendingApproval"
    assert not scene.play.azure.allowed(site.vm)


def test_a_denial_is_an_outcome_and_no_error(scene: Scene) -> None:
    """200 with a status that a workflow can branch on, and the reason; nothing was opened."""
    site = scene.site()
    wire = Wire()
    with ThreadPoolExecutor(1) as pool:
        run, request_id = _begin(pool, scene, wire, site)
        approver = scene.play.person("dora", "Jit.Approve")
        path = f"/api/requests/{request_id}/deny"
        assert approver.call("POST", path, {"comment": "not today"}).status == 200
        ended = run.result(timeout=60)
    outputs = ended.results["Ask"].outputs
    assert (ended.status, outputs["statusCode"]) == ("Succeeded", 200)
    assert outputs["body"]["status"] == "Denied"
    assert "not today" in json.dumps(outputs["body"])
    _check_polling(wire)
    assert not scene.play.azure.ours(site.nic_nsg, "Allow")


def test_an_answer_that_is_lost_asks_for_nothing_twice(scene: Scene) -> None:
    """The engine sends the same body again; under the run's id it is the same request."""
    site = scene.site(approversNeeded=0)
    wire = Wire(lose=2)
    ended = scene.front_door(wire, site, "rita", duration="PT5M").run({})
    posts = [call for _, call, _ in wire.calls if call.method == "POST"]
    assert len(posts) == 3
    assert all(post.body == posts[0].body for post in posts)
    assert ended.results["Ask"].outputs["body"]["status"] == "Initiated"
    _check_polling(wire)
    held = scene.play.admin.call("GET", site.policy_id).json["properties"]["requests"]
    assert len(held) == 1
    assert len(scene.play.azure.ours(site.nic_nsg, "Allow")) == 1


def test_a_refusal_is_final(scene: Scene) -> None:
    """403 and 400 end the polling at once, and the workflow's action has failed."""
    site = scene.site()
    for who, more, status in (("mallory", {}, 403), ("rita", {"duration": "PT20H"}, 400)):
        wire = Wire()
        ended = scene.front_door(wire, site, who, **more).run({})
        assert ended.results["Ask"].status == "Failed"
        assert [answer.status for _, _, answer in wire.calls] == [status]
