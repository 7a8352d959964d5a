"""The firewall scene: accesses through Azure Firewalls played on this machine, and checked."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from jit_access.client import JitClient, NewShortRequest
from jit_access.client.models import PolicyProperties, RequestStatus
from local import demo
from local.arm.client import ArmClient
from local.demo import ADMINISTRATOR, HER_ADDRESS, PERSON, ROLES, STRANGER, StoryError, Teller
from local.firewall_estate import FIREWALL_TYPES, firewall_estate, vm_id
from local.stack import Stack

SECONDS, WRITE_SECONDS = 12, 2.0
_POLL = {"AzureFunctionsJobHost__extensions__queues__maxPollingInterval": "00:00:00.5"}
_SHOWN = {
    "policy": "a firewall policy: one rule collection group of our own",
    "classic": "classic rules: two collections of our own",
    "group": "an IP group of ours, which the owner's rule names",
}
_WITHIN = 60.0
Found = TypeVar("Found")


def main(arguments: Sequence[str]) -> int:
    """Play the scene and return its exit code: 0 only if everything happened as told."""
    left = [each for each in arguments if each not in {"firewall", "--scene"}]
    return demo.main(left, _play)


def _play(tell: Teller, port: int, directory: Path) -> None:
    began = time.monotonic()
    estate = directory / "estate.json"
    estate.write_text(json.dumps(firewall_estate("local1")), encoding="utf-8")
    tell.say("Just-in-time VM access through Azure Firewall, played on this machine")
    with Stack(
        port=port, directory=directory, estate=estate, settle=0.2, environment=_POLL
    ) as stack:
        FirewallStory(stack, tell).play()
    tell.say(f"\nEverything happened as told, in {time.monotonic() - began:.0f} s.")


class FirewallStory:
    """One access behind each type of firewall; what does not happen as told raises StoryError."""

    def __init__(self, stack: Stack, tell: Teller) -> None:
        self._stack = stack
        self._tell = tell

    def play(self) -> None:
        """Play all of it."""
        self._simulate("firewalls", {"duration": WRITE_SECONDS})
        self._tell.chapter("1. Three VMs, each in a spoke behind a firewall in a hub")
        for firewall_type in FIREWALL_TYPES:
            self._tell.say(f"   {firewall_type + '-1':<10} {_SHOWN[firewall_type]}")
            self._protect(firewall_type)
        for firewall_type in FIREWALL_TYPES:
            self._wait_for(
                partial(self._is_applied, firewall_type), f"{firewall_type}: not protected"
            )
        self._see(she=False)
        locations = self._ask()
        ends = self._see_open(locations)
        self._see_closed(locations, ends)

    def _protect(self, firewall_type: str) -> None:
        rule = {"number": 22, "protocol": "TCP", "maxRequestAccessDuration": "PT3H"}
        rule["allowedSourceAddressPrefix"] = "*"
        body = {"properties": {"virtualMachines": [{"id": vm_id(firewall_type), "ports": [rule]}]}}
        with self._client(ADMINISTRATOR) as client:
            client.put_policy(_policy(firewall_type), body)

    def _is_applied(self, firewall_type: str) -> PolicyProperties | None:
        with self._client(ADMINISTRATOR) as client:
            properties = client.get_policy(_policy(firewall_type)).properties
        if properties.provisioning_state == "Updating":
            return None
        if properties.provisioning_state != "Succeeded":
            raise StoryError(f"{firewall_type}: {properties}")
        return properties

    def _ask(self) -> dict[str, str]:
        self._tell.chapter(f"2. {PERSON} asks for port 22 of each, from {HER_ADDRESS}")
        self._tell.say(
            f"   A write to a firewall takes {WRITE_SECONDS:.0f} s here, minutes in Azure."
        )
        found = {}
        with self._client(PERSON) as client:
            for firewall_type in FIREWALL_TYPES:
                body = NewShortRequest(
                    virtual_machine=vm_id(firewall_type),
                    ports=(22,),
                    duration=f"PT{SECONDS}S",
                    allowed_source_address_prefix=HER_ADDRESS,
                )
                found[firewall_type] = client.request_access_short(body).location
        return found

    def _see_open(self, locations: dict[str, str]) -> dict[str, datetime]:
        ends = {}
        for firewall_type, location in locations.items():
            request = self._poll(location, "Initiated")
            port = request.ports[0][1]
            self._tell.say(
                f"     {firewall_type + '-1':<10} Initiated: connect to {port.raw['connectTo']}"
            )
            if request.end is None:
                raise StoryError(f"{firewall_type}: the open request has no end")
            ends[firewall_type] = request.end
        self._see(she=True)
        return ends

    def _see_closed(self, locations: dict[str, str], ends: dict[str, datetime]) -> None:
        self._tell.chapter("3. Wait; the ports close by themselves")
        for firewall_type, location in locations.items():
            request = self._poll(location, "Revoked")
            port = request.ports[0][1]
            _require(
                port.status_reason == "Expired", f"{firewall_type} ended as {port.status_reason}"
            )
            closed = datetime.fromisoformat(str(request.raw["closedAt"])).astimezone(UTC)
            late = (closed - ends[firewall_type]) / timedelta(seconds=1)
            self._tell.say(
                f"     {firewall_type + '-1':<10} Revoked: gone everywhere {late:.1f} s after the end"
            )
        self._see(she=False)

    def _see(self, *, she: bool) -> None:
        """Check who reaches port 22 of each VM now, through whichever entry."""
        for firewall_type in FIREWALL_TYPES:
            for source, wanted in ((HER_ADDRESS, she), (STRANGER, False)):
                allowed = self._reaches(firewall_type, source)
                _require(
                    allowed is wanted,
                    f"{source} reaches {firewall_type}-1: {allowed}, not {wanted}",
                )
        answer = "yes" if she else "no"
        self._tell.say(f"   Who reaches them?  {answer:<4}{HER_ADDRESS} {PERSON};  no  {STRANGER}")

    def _reaches(self, firewall_type: str, source: str) -> bool:
        client = ArmClient(self._stack.arm)
        answer = client.ask("access", vm=vm_id(firewall_type), port=22, source=source)
        client.close()
        return bool(answer["allowed"])

    def _poll(self, location: str, status: str) -> RequestStatus:
        def look() -> RequestStatus | None:
            with self._client(PERSON) as client:
                request = client.get_request(location.rpartition("/")[2])
            if request.status == "Failed":
                raise StoryError(f"the request failed: {request}")
            return request if request.status == status else None

        return self._wait_for(look, f"a request is not {status}")

    def _wait_for(self, look: Callable[[], Found | None], otherwise: str) -> Found:
        deadline = time.monotonic() + _WITHIN
        while time.monotonic() < deadline:
            found = look()
            if found is not None:
                return found
            time.sleep(0.3)
        raise StoryError(f"{otherwise} within {_WITHIN:.0f} s")

    def _simulate(self, control: str, given: dict[str, float]) -> None:
        client = ArmClient(self._stack.arm)
        client.control(control, given)
        client.close()

    def _client(self, user: str) -> JitClient:
        return JitClient(self._stack.api, lambda: self._stack.token(user, ROLES[user]))


def _policy(firewall_type: str) -> str:
    group = "/".join(vm_id(firewall_type).split("/")[:5])
    return f"{group}/{demo.POLICY}"


def _require(happened: object, otherwise: str) -> None:
    if not happened:
        raise StoryError(otherwise)
