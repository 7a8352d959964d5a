"""An app and people that the workflows talk to, played from a script."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from functions.http_decisions import DecisionWire
from functions.request_body import ShortRequestWire
from tests.logic_apps.engine import Answer, Call, Engine, NobodyAnsweredError

WORKFLOWS = Path(__file__).parents[2] / "infra" / "workflows"
API, AUDIENCE = "https://func-jit.example", "api://tenant/jit"
VM = (
    "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815/resourceGroups/app-rg/providers"
    "/Microsoft.Compute/virtualMachines/app-1"
)
REQUEST = "0123456789abcdef01234567-8236178123456abcdef01"
ALICE = "0b5e7a70-1111-4111-8111-00000000000a"
BOB, CAROL = "0b5e7a70-2222-4111-8111-00000000000b", "0b5e7a70-3333-4111-8111-00000000000c"
NAMES = {ALICE: "alice@contoso.example", BOB: "bob@contoso.example", CAROL: "carol@contoso.example"}
Json = dict[str, Any]


def definition(name: str) -> Json:
    """Read a workflow as it is deployed: with the identity it runs as."""
    text = (WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")
    found: Json = json.loads(text.replace("{relayIdentity}", "/identities/relay"))
    return found


class ScriptedApp:
    """The API as docs/api.md has it, with as much memory as one request needs."""

    def __init__(self, needed: int = 1, status: str = "PendingApproval") -> None:
        self.needed = needed
        self.status = status
        self.requestor = ALICE
        self.justification = "INC-4711"
        self.votes: dict[str, str] = {}
        self.refused: list[str] = []
        self.asked: ShortRequestWire | None = None
        self.trouble: list[Answer] = []
        self.polls_until_open = 2
        self.longer_end = ""
        self.summary: Sequence[str] | None = (
            "app-1 (resource group app-rg): port 22, TCP, from 203.0.113.7, for 30 minutes",
        )

    def __call__(self, call: Call) -> Answer:
        """Answer a call."""
        assert call.url.startswith(API)
        assert call.headers["Authorization"] == f"Bearer /identities/relay>{AUDIENCE}"
        if self.trouble:
            return self.trouble.pop(0)
        path = call.url.removeprefix(API).split("/")
        if call.method == "POST" and path[1:] == ["api", "requests"]:
            return self._ask(call.body)
        assert path[1:4] == ["api", "requests", REQUEST]
        return self._read() if call.method == "GET" else self._decide(path[4], call.body)

    def _ask(self, body: Any) -> Answer:
        self.asked = ShortRequestWire.model_validate(body)
        assert self.asked.on_behalf_of is not None
        self.requestor = self.asked.on_behalf_of.object_id
        return self._waiting()

    def _read(self) -> Answer:
        if self.status == "Initiating":
            self.polls_until_open -= 1
            if self.polls_until_open <= 0:
                self.status = "Initiated"
        if self.status in {"PendingApproval", "Initiating"}:
            return self._waiting()
        return Answer(200, self._body())

    def _decide(self, decision: str, body: Any) -> Answer:
        read = DecisionWire.model_validate(body)
        assert read.on_behalf_of is not None
        person = read.on_behalf_of.object_id
        awaited = self.longer_end or self.status == "PendingApproval"
        if person == self.requestor or not awaited:
            self.refused.append(person)
            return Answer(403, {"error": {"code": "ApproverNotAllowed", "message": "no"}})
        self.votes[person] = decision
        agreed = [each for each in self.votes.values() if each == "approve"]
        if decision == "deny" or len(agreed) >= self.needed:
            self._settle(decision)
        return Answer(200, self._body())

    def _settle(self, decision: str) -> None:
        if self.longer_end:
            self.longer_end = ""
        else:
            self.status = {"deny": "Denied", "approve": "Initiating"}[decision]

    def _waiting(self) -> Answer:
        headers = {"Location": f"{API}/api/requests/{REQUEST}", "Retry-After": "2"}
        return Answer(202, self._body(), headers)

    def _body(self) -> Json:
        later = {"endTimeUtc": self.longer_end} if self.longer_end else {}
        return {
            "approval": {**later, "summary": self.summary},
            "id": REQUEST,
            "status": self.status,
            "requestor": NAMES[self.requestor],
            "justification": self.justification,
            "virtualMachines": [{"id": VM, "ports": [{"number": 22}]}],
        }


class People:
    """People at their mailbox or in Teams: each question takes the next answer of the script."""

    def __init__(self, *answers: tuple[str, str] | None, then: Callable[[], None] | None = None):
        self._answers = list(answers)
        self._then = then
        self.mails: list[Json] = []
        self.cards: list[Json] = []

    def connectors(self) -> dict[str, Callable[[Json], Any]]:
        """Return what stands for Outlook, the directory and Teams."""
        return {
            "/approvalmail/$subscriptions": self._mail,
            "/codeless/v1.0/users/": self._look_up,
            "/v1.0/teams/conversation/gatherinput/poster/Flow bot/location/Channel": self._card,
        }

    def _answer(self) -> tuple[str, str]:
        if self._then is not None:
            self._then()
        found = self._answers.pop(0) if self._answers else None
        if found is None:
            raise NobodyAnsweredError("no answer")
        return found

    def _mail(self, inputs: Json) -> Json:
        self.mails.append(inputs["body"]["Message"])
        person, decision = self._answer()
        return {"SelectedOption": decision, "UserEmailAddress": NAMES[person]}

    def _look_up(self, inputs: Json) -> Json:
        mail = inputs["path"].rpartition("/")[2].replace("%40", "@")
        person = next(each for each, name in NAMES.items() if name == mail)
        return {"id": person, "userPrincipalName": mail}

    def _card(self, inputs: Json) -> Json:
        body = inputs["body"]["body"]
        self.cards.append({**json.loads(body["messageBody"]), "recipient": body["recipient"]})
        person, decision = self._answer()
        return {
            "data": {"decision": decision.lower(), "comment": f"{decision} it"},
            "responder": {"objectId": person, "userPrincipalName": NAMES[person]},
        }


def engine(
    name: str, app: Callable[[Call], Answer], people: People, channel: str, page: str = ""
) -> Engine:
    """Make an engine for a workflow as the deployment configures it."""
    return Engine(
        definition(name),
        {
            "apiUrl": API,
            "audience": AUDIENCE,
            "channel": channel,
            "$connections": {
                each: {"connectionId": f"/connections/{each}"}
                for each in ("office365", "office365users", "teams")
            },
            "approverMail": "approvers@contoso.example",
            "teamsGroupId": "team",
            "teamsChannelId": "channel",
            **({"pageUrl": page} if page else {}),
        },
        app,
        connectors=people.connectors(),
    )
