"""The AWS scene: an EC2 instance governed, opened and restored on this machine, and checked."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from jit_access.client import JitClient, NewShortRequest
from jit_access.client.models import PolicyProperties, RequestStatus
from local import demo
from local.app_settings import aws_connector
from local.aws.estate import load_estate
from local.demo import ADMINISTRATOR, HER_ADDRESS, PERSON, ROLES, STRANGER, StoryError, Teller
from local.json_calls import call
from local.stack import Stack
from shared.domain.machine_ids import defender_id, instance_arn

SECONDS = 12
INSTANCE, GROUP, REGION = "i-0a1b2c3d4e5f60001", "sg-0a1b2c3d4e5f60001", "eu-central-1"
_POLL = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.5"}
_WITHIN = 90.0
Json = dict[str, Any]
Found = TypeVar("Found")


def main(arguments: Sequence[str]) -> int:
    """Play the scene and return its exit code: 0 only if everything happened as told."""
    left = [each for each in arguments if each not in {"aws", "--scene"}]
    return demo.main(left, _play)


def _play(tell: Teller, port: int, directory: Path) -> None:
    began = time.monotonic()
    tell.say("Just-in-time access to an EC2 instance, played on this machine")
    with Stack(port=port, directory=directory, settle=0.2, environment=_POLL, aws=True) as stack:
        AwsStory(stack, tell).play()
    tell.say(f"\nEverything happened as told, in {time.monotonic() - began:.0f} s.")


class AwsStory:
    """One access to one instance in mode revoke; what does not happen as told raises StoryError."""

    def __init__(self, stack: Stack, tell: Teller) -> None:
        self._stack = stack
        self._tell = tell
        scope = stack.environment["JIT_SCOPES"].split(",")[0]
        self._connector = aws_connector(scope.split("/")[2])
        self._vm = defender_id(self._connector, INSTANCE, REGION)
        self._policy = f"{'/'.join(self._connector.split('/')[:5])}/{demo.POLICY}"

    def play(self) -> None:
        """Play all of it."""
        before = self._rules()
        self._begin(before)
        self._govern(self._vm)
        self._see(she=False, stranger=False)
        location = self._ask()
        self._see_closed(location, self._see_open(location))
        self._delete_policy(before)

    def _begin(self, before: list[Json]) -> None:
        self._tell.chapter(f"1. {INSTANCE} in {REGION}: its owner lets SSH in from everywhere")
        for each in before:
            _, protocol, low, high, _, source = each["rule"]
            if low == 22:  # noqa: PLR2004 - SSH
                shown = f"{protocol} {low}-{high} from {source}"
                self._tell.say(f"   {GROUP}: {shown}, '{each['text']}', tags {each['tags']}")
        self._see(she=True, stranger=True)

    def _govern(self, *vms: str) -> None:
        self._tell.chapter("2. A policy governs port 22 in mode revoke; the owner's tag agrees")
        rule = {"number": 22, "protocol": "TCP", "maxRequestAccessDuration": "PT3H"}
        rule["allowedSourceAddressPrefix"] = "*"
        body = {
            "properties": {
                "virtualMachines": [{"id": vm, "ports": [rule]} for vm in vms],
                "conditions": {"revokeForeignRules": True},
            }
        }
        with self._client(ADMINISTRATOR) as client:
            client.put_policy(self._policy, body)
        self._wait_for(self._applied, "the policy is not applied")
        self._tell.say("   the owner's rule is taken; the app holds what restores it, twice")

    def _applied(self) -> PolicyProperties | None:
        with self._client(ADMINISTRATOR) as client:
            properties = client.get_policy(self._policy).properties
        if properties.provisioning_state == "Failed":
            raise StoryError(f"the policy failed: {properties}")
        return None if properties.provisioning_state == "Updating" else properties

    def _ask(self) -> str:
        account = load_estate()["account"]
        self._tell.chapter(
            f"3. {PERSON} asks for port 22 from {HER_ADDRESS}, by the instance's ARN"
        )
        body = NewShortRequest(
            virtual_machine=instance_arn(account, REGION, INSTANCE),
            ports=(22,),
            duration=f"PT{SECONDS}S",
            allowed_source_address_prefix=HER_ADDRESS,
        )
        with self._client(PERSON) as client:
            return client.request_access_short(body).location

    def _see_open(self, location: str) -> datetime:
        request = self._poll(location, "Initiated")
        if request.end is None:
            raise StoryError("the open request has no end")
        self._tell.say(f"   Initiated: open until {request.end.astimezone(UTC):%H:%M:%S}")
        self._see(she=True, stranger=False)
        return request.end

    def _see_closed(self, location: str, end: datetime) -> None:
        self._tell.chapter("4. The end passes; no person does anything")
        request = self._poll(location, "Revoked")
        closed = datetime.fromisoformat(str(request.raw["closedAt"])).astimezone(UTC)
        late = (closed - end) / timedelta(seconds=1)
        self._tell.say(f"   Revoked: gone {late:.1f} s after the end")
        self._see(she=False, stranger=False)

    def _delete_policy(self, before: list[Json]) -> None:
        self._tell.chapter("5. The policy is deleted: the owner's rules are as they were")
        with self._client(ADMINISTRATOR) as client:
            client.delete_policy(self._policy)
        self._wait_for(
            lambda: True if self._rules() == before else None,
            "the owner's rules are not restored",
        )
        self._tell.say("   every rule, its description and its tags: the same")
        self._see(she=True, stranger=True)

    def _see(self, *, she: bool, stranger: bool) -> None:
        """Check who reaches port 22 of the instance now."""
        for source, wanted in ((HER_ADDRESS, she), (STRANGER, stranger)):
            query = urlencode({"instance": INSTANCE, "port": 22, "source": source})
            _, answer = call("GET", f"{self._stack.aws}/_sim/access?{query}")
            if answer["allowed"] is not wanted:
                raise StoryError(f"{source} reaches {INSTANCE}: {answer}, not {wanted}")
        hers, theirs = ("yes" if each else "no" for each in (she, stranger))
        self._tell.say(
            f"   Who reaches it?  {hers:<4}{HER_ADDRESS} {PERSON};  {theirs:<4}{STRANGER}"
        )

    def _rules(self) -> list[Json]:
        _, answer = call("GET", f"{self._stack.aws}/_sim/rules?group={GROUP}")
        rules: list[Json] = answer["rules"]
        return rules

    def _poll(self, location: str, status: str) -> RequestStatus:
        return self._wait_for(
            partial(self._status, location.rpartition("/")[2], status), f"it is not {status}"
        )

    def _status(self, request_id: str, status: str) -> RequestStatus | None:
        with self._client(PERSON) as client:
            request = client.get_request(request_id)
        if request.status == "Failed":
            raise StoryError(f"the request failed: {request}")
        return request if request.status == status else None

    def _wait_for(self, look: Callable[[], Found | None], otherwise: str) -> Found:
        deadline = time.monotonic() + _WITHIN
        while time.monotonic() < deadline:
            found = look()
            if found is not None:
                return found
            time.sleep(0.3)
        raise StoryError(f"{otherwise} within {_WITHIN:.0f} s")

    def _client(self, user: str) -> JitClient:
        return JitClient(self._stack.api, lambda: self._stack.token(user, ROLES[user]))
