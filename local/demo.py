"""The demo: one access played end to end on this machine, told as it happens, and checked."""

import argparse
import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, TypeVar

from jit_access.client import JitError
from local.arm.client import ArmClient
from local.command_line import CommandFailedError, CommandLine
from local.stack import ESTATE, Stack, StackError

VM, PORT, SECONDS = "app-1", 22, 20
PERSON, HER_ADDRESS, STRANGER = "alice", "203.0.113.7", "198.51.100.23"
ADMINISTRATOR = "carol"
JUSTIFICATION = "INC-4711: the disk of app-1 is full"
ROLES = {PERSON: ["Jit.Request"], ADMINISTRATOR: ["Jit.Admin"]}
POLICY = "providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies/default"
APP_CALLER = "network"  # the app's own name in the simulator's log
OUTSIDE_POLICY, CLOSED = 9, 7  # exit codes of jit
# The sweep runs every minute and is the guarantee; the delayed message is only faster.
_CLOSED_WITHIN = 90.0
_GREEN, _RED, _BOLD, _FAINT, _HEADING = "32", "31", "1", "2", "1;36"

Json = dict[str, Any]
Groups = Mapping[str, dict[str, Json]]  # by group and rule name
Found = TypeVar("Found")


class StoryError(Exception):
    """Something did not happen as told, in one line."""


class Teller:
    """Tells the story: live and in colour on a terminal, plain lines anywhere else."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self.is_live = output.isatty() and os.environ.get("TERM") != "dumb"
        self._is_coloured = self.is_live and not os.environ.get("NO_COLOR")

    def chapter(self, text: str) -> None:
        """Begin a chapter."""
        self.say(f"\n{self.paint(text, _HEADING)}")

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, file=self._output, flush=True)

    def aside(self, text: str) -> None:
        """Print a line that matters less."""
        self.say(self.paint(text, _FAINT))

    def tick(self, text: str) -> None:
        """Show on a terminal how the waiting goes on; the next tick takes its place."""
        print(f"\r{text:<76}\r", end="", file=self._output, flush=True)

    def paint(self, text: str, style: str) -> str:
        """Colour a text, where colours are shown."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._is_coloured else text


class Witness:
    """Sees from outside what the app does: through ARM, and through the simulator's controls."""

    def __init__(self, arm: str, subscription: str) -> None:
        self._arm = arm
        self._subscription = subscription

    def groups(self) -> Groups:
        """Read the rules of every network security group through ARM."""
        client = ArmClient(self._arm, "local:demo")
        found: dict[str, dict[str, Json]] = {}
        path = f"{self._subscription}/providers/Microsoft.Network/networkSecurityGroups"
        while path:
            page = client.call("GET", path).body
            for group in page["value"]:
                rules = group["properties"]["securityRules"]
                found[group["id"].lower()] = {rule["name"]: rule["properties"] for rule in rules}
            path = page.get("nextLink", "")
        client.close()
        return found

    def access(self, vm_id: str, source: str) -> Json:
        """Ask whether an address reaches the port now, and which rules decide."""
        client = ArmClient(self._arm)
        answer: Json = client.ask("access", vm=vm_id, port=PORT, source=source)
        client.close()
        return answer

    def writes(self) -> list[Json]:
        """List the writes that ARM got from the app, oldest first."""
        client = ArmClient(self._arm)
        calls: list[Json] = client.ask("log")["calls"]
        client.close()
        return [c for c in calls if c["method"] != "GET" and c["caller"] == APP_CALLER]


class Story:
    """One access on a running stack; whatever does not happen as told raises StoryError."""

    def __init__(self, stack: Stack, tell: Teller) -> None:
        self._stack = stack
        self._tell = tell
        self._vms = _vm_ids()
        self._vm = self._vms[VM]
        parts = self._vm.split("/")
        self._policy = f"{'/'.join(parts[:5])}/{POLICY}"
        self._jit = CommandLine(stack.api, self._token, tell.say)
        self._see = Witness(stack.arm, "/".join(parts[:3]))
        self._firewalls: list[str] = []

    def play(self) -> None:
        """Play all of it."""
        foreign = self._see.groups()  # the app has written nothing yet
        self._protect(foreign)
        protecting = len(self._see.writes())
        self._ask_for_too_much()
        _check(len(self._see.writes()) == protecting, "a refused request wrote to a firewall")
        before = self._see.groups()
        request = self._ask()
        end_at = self._see_it_open(request, before)
        opening = len(self._see.writes()) - protecting
        shut_at = self._wait(end_at)
        self._see_it_closed(request["id"], before, end_at, shut_at)
        self._sum_up(foreign, protecting, opening)

    def _protect(self, foreign: Groups) -> None:
        self._tell.chapter("1. Close the management ports")
        behind = {
            name: self._see.access(vm_id, STRANGER)["rules"] for name, vm_id in self._vms.items()
        }
        machines = self._jit.run(ADMINISTRATOR, "vm", "ls")
        fit = {each["id"] for each in machines if each["category"] == "Not configured"}
        listed = [{"id": vm_id} for vm_id in self._vms.values() if vm_id in fit]
        left = ", ".join(name for name, vm_id in self._vms.items() if vm_id not in fit)
        self._tell.say(
            f"   {ADMINISTRATOR} protects {len(listed)} VMs with one policy"
            f" (not {left}: no firewall stands in front, or one that cannot be read)."
        )
        body = json.dumps({"id": self._policy, "properties": {"virtualMachines": listed}})
        applied = self._jit.run(ADMINISTRATOR, "policy", "put", "-", given=body)["properties"]
        _check(applied["provisioningState"] == "Succeeded", f"the policy failed: {applied}")
        self._firewalls = [rule["firewall"].lower() for rule in behind[VM]]
        _check(len(self._firewalls) == 2, f"{VM} does not stand behind two firewalls")  # noqa: PLR2004 - the subnet's and the interface's
        self._tell.say(f"   {VM} stands behind two network security groups; each denies now:")
        self._show_new_rules(foreign, "Deny", "*")
        self._see_who_reaches(she=False)

    def _ask_for_too_much(self) -> None:
        self._tell.chapter("2. Ask for too much")
        self._tell.say(f"   {PERSON} asks for port {PORT} of {VM} from 0.0.0.0/0.")
        self._request("0.0.0.0/0", code=OUTSIDE_POLICY)
        self._tell.say(f"     {self._tell.paint(f'exit code {OUTSIDE_POLICY}', _RED)}")

    def _ask(self) -> Json:
        self._tell.chapter("3. Ask for what is needed")
        self._tell.say(
            f"   {PERSON} asks for port {PORT} of {VM} from {HER_ADDRESS} for {SECONDS} seconds,"
        )
        self._tell.say("   and says why.")
        asked_at = time.monotonic()
        request: Json = self._request(HER_ADDRESS)
        took = time.monotonic() - asked_at
        self._tell.say(f"   Open {took:.1f} s later: seen open on every firewall.")
        return request

    def _request(self, source: str, code: int = 0) -> Any:
        options = ("--source", source, "--for", f"{SECONDS}s", "-j", JUSTIFICATION)
        return self._jit.run(PERSON, "request", VM, *options, code=code)

    def _see_it_open(self, request: Json, before: Groups) -> datetime:
        """See what the opening has changed; return when it is to end."""
        _check(request["status"] == "Initiated", f"the request was not opened: {request}")
        self._show_new_rules(before, "Allow", HER_ADDRESS)
        self._see_who_reaches(she=True)
        return _instant(request["virtualMachines"][0]["ports"][0]["endTimeUtc"])

    def _wait(self, end_at: datetime) -> datetime:
        """Wait until she gets through no more; return when that was first seen."""
        self._tell.chapter("4. Wait; the port closes by itself")
        told = -1
        while (now := datetime.now(UTC)) < end_at + timedelta(seconds=_CLOSED_WITHIN):
            if not self._see.access(self._vm, HER_ADDRESS)["allowed"]:
                _check(now >= end_at, f"it was closed before its end at {end_at:%H:%M:%S}")
                return now
            told = self._count_down((end_at - now).total_seconds(), told)
            time.sleep(0.1)
        raise StoryError(f"{HER_ADDRESS} still gets through {_CLOSED_WITHIN:.0f} s after the end")

    def _count_down(self, left: float, told: int) -> int:
        """Tell each second on a terminal, each fifth elsewhere; return what was told."""
        seconds = max(0, int(left + 1))
        if seconds == told:
            return told
        if self._tell.is_live:
            self._tell.tick(f"   {seconds:2} s left {self._tell.paint('#' * seconds, _GREEN)}")
        elif told < 0 or seconds % 5 == 0:
            self._tell.say(f"   {seconds:2} s left")
        return seconds

    def _see_it_closed(
        self, request_id: str, before: Groups, end_at: datetime, shut_at: datetime
    ) -> None:
        if self._tell.is_live:
            self._tell.tick("")
        self._tell.chapter("5. Closed")
        request = self._closed(request_id)
        port = request["virtualMachines"][0]["ports"][0]
        outcome = f"{port['status']}, {port['statusReason']}"
        _check(outcome == "Revoked, Expired", f"the request ended as {outcome}")
        _check(self._see.groups() == before, "a firewall is not as it was before the request")
        self._tell.say(f"   {outcome}: both rules are gone.")
        self._see_who_reaches(she=False)
        removed_at = _instant(self._see.writes()[-1]["at"])
        self._tell.say(f"   How late, measured from the end at {end_at:%H:%M:%S.%f}"[:-5] + " UTC?")
        self._tell.say(f"     {_late(removed_at, end_at)}  last removal sent (the simulator's log)")
        self._tell.say(f"     {_late(shut_at, end_at)}  first seen shut out (tried every 0.1 s)")
        self._tell.say(f"     closedAt of the request: {request['closedAt']}, as the app saw it")

    def _closed(self, request_id: str) -> Json:
        """Return the request once the app has seen every firewall closed."""
        deadline = time.monotonic() + _CLOSED_WITHIN
        while time.monotonic() < deadline:
            request: Json = self._jit.run(PERSON, "show", request_id)
            if request["status"] != "Initiated":
                return request
            time.sleep(1)
        raise StoryError(f"the request is not closed after {_CLOSED_WITHIN:.0f} s")

    def _sum_up(self, foreign: Groups, protecting: int, opening: int) -> None:
        self._tell.chapter("What it took")
        closing = len(self._see.writes()) - protecting - opening
        self._tell.say(
            f"   ARM writes: {protecting} to protect, {opening} to open, {closing} to close."
        )
        now = self._see.groups()
        for group, rules in foreign.items():
            kept = {name: rule for name, rule in now[group].items() if name in rules}
            _check(kept == rules, f"a foreign rule of {_name(group)} was touched")
        count = sum(len(rules) for rules in foreign.values())
        self._tell.say(
            f"   Foreign rules: all {count} in {len(foreign)} groups are as they were,"
            " Defender's own among them."
        )

    def _show_new_rules(self, before: Groups, access: str, source: str) -> None:
        """Show the one rule that each firewall of the VM has gained."""
        now = self._see.groups()
        for firewall in self._firewalls:
            new = [item for item in now[firewall].items() if item[0] not in before[firewall]]
            _check(len(new) == 1, f"{_name(firewall)} gained {len(new)} rules, not one")
            name, rule = new[0]
            got = (rule["access"], rule["sourceAddressPrefix"], rule["destinationPortRange"])
            _check(got == (access, source, str(PORT)), f"{name} is another rule: {got}")
            self._tell.say(
                f"     {_name(firewall):<16}priority {rule['priority']:<5}"
                f"{self._tell.paint(access, _GREEN if access == 'Allow' else _RED)} "
                f"{source} -> {rule['destinationAddressPrefix']}:{PORT}"
            )
            self._tell.aside(f"     {'':<16}{name}")
            self._tell.aside(f"     {'':<16}{rule['description']}")

    def _see_who_reaches(self, *, she: bool) -> None:
        self._tell.say(f"   Who reaches port {PORT} of {VM}?")
        for source, who, wanted in ((HER_ADDRESS, PERSON, she), (STRANGER, "a stranger", False)):
            allowed = self._see.access(self._vm, source)["allowed"]
            _check(allowed is wanted, f"{source} reaches port {PORT}: {allowed}, not {wanted}")
            shown = self._tell.paint("yes" if allowed else "no ", _GREEN if allowed else _RED)
            self._tell.say(f"     {shown}  {source:<14} {who}")

    def _token(self, user: str) -> str:
        return self._stack.token(user, ROLES[user])


def _check(happened: object, otherwise: str) -> None:
    if not happened:
        raise StoryError(otherwise)


def _vm_ids() -> dict[str, str]:
    resources = json.loads(ESTATE.read_text(encoding="utf-8"))["resources"]
    machine_type = "microsoft.compute/virtualmachines"
    return {
        _name(each["id"]): each["id"] for each in resources if each["type"].lower() == machine_type
    }


def _name(resource_id: str) -> str:
    return resource_id.rsplit("/", 1)[-1]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _late(at: datetime, end_at: datetime) -> str:
    return f"{(at - end_at).total_seconds():4.1f} s"


Play = Callable[[Teller, int, Path], None]


def main(arguments: Sequence[str] | None = None, play: Play | None = None) -> int:
    """Play the demo and return its exit code: 0 only if everything happened as told."""
    parser = argparse.ArgumentParser(prog="python -m local demo", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port of the app; 0: any free one")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    directory = Path(tempfile.mkdtemp(prefix="jit-demo-"))
    try:
        (play or _play)(Teller(sys.stdout), options.port, directory)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    except (
        *(StackError, StoryError, CommandFailedError, JitError),
        *(OSError, http.client.HTTPException),
    ) as error:
        print(f"demo: {error}{_logs(directory)}", file=sys.stderr)
        return 1
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _logs(directory: Path) -> str:
    """Say where the logs are; nothing is left behind where there are none."""
    if any(directory.iterdir()):
        return f" (logs: {directory})"
    directory.rmdir()
    return ""


def _play(tell: Teller, port: int, directory: Path) -> None:
    began = time.monotonic()
    tell.say(tell.paint("Just-in-time VM access, played end to end on this machine", _BOLD))
    with Stack(port=port, directory=directory) as stack:
        tell.aside(
            f"   The stack is up in {time.monotonic() - began:.1f} s: the app at {stack.api},\n"
            f"   a simulator of Azure Resource Manager at {stack.arm}."
        )
        Story(stack, tell).play()
    took = time.monotonic() - began
    tell.say(tell.paint(f"\nEverything happened as told, in {took:.0f} s.", _BOLD))
