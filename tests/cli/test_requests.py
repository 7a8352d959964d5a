"""Requests on the command line: each step of a life, each outcome, in pipes and terminals."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.terminal import CTRL_C, Done, Jit
from tests.e2e.playing import SOURCE, Play, Site

Person = Callable[..., Jit]
_ID = re.compile(r"[0-9a-f]{24}-[0-9a-f]{20,}")


@pytest.fixture(scope="module")
def guarded(play: Play) -> Site:
    """Protect a VM whose policy wants an approval and a reason."""
    site = play.azure.build()
    conditions = {"approversNeeded": 1, "justificationRequired": True}
    properties = {"virtualMachines": site.listed(22), "conditions": conditions}
    play.admin.call("PUT", site.policy_id, {"kind": "Basic", "properties": properties})
    play.admin.wait_for_policy(site.policy_id)
    return site


def name_of(site: Site) -> str:
    """Return the name of the site's VM."""
    return site.vm.rpartition("/")[2]


def answer_of(done: Done) -> Any:
    """Return the JSON that a command wrote."""
    return json.loads(done.out)


def test_a_life_through_pipes(person: Person, play: Play) -> None:
    """Request, list, extend, end: JSON alone on stdout, talk alone on stderr, no escape codes."""
    alice = person("alicia", "Jit.Request")  # no other test ends all of hers
    site = play.protected()
    opened = alice.run("request", name_of(site), "--for", "10m", "-j", "INC1")
    request = answer_of(opened)
    assert (request["status"], request["justification"]) == ("Initiated", "INC1")
    assert f"jit end {request['id']}" in opened.err
    assert "\x1b" not in opened.err
    assert "\r" not in opened.err
    assert play.azure.allowed(site.vm)

    mine = ("ls", "--mine", "--open", "--vm", name_of(site))
    assert alice.run(*mine, "-o", "tsv", "--query", "[].id").out.split() == [request["id"]]
    longer = answer_of(alice.run("extend", request["id"], "--for", "30m"))
    assert _end_of(longer) > _end_of(request)

    ended = alice.run("end", "--all", "-j", "done")
    assert [each["status"] for each in answer_of(ended)] == ["Revoked"]
    assert answer_of(ended)[0]["closedAt"]
    assert not play.azure.allowed(site.vm)
    assert "ended early" in alice.run("wait", request["id"], "-o", "text", code=7).out
    assert answer_of(alice.run(*mine)) == []


def _end_of(request: Any) -> str:
    end: str = request["virtualMachines"][0]["ports"][0]["endTimeUtc"]
    return end


def test_a_request_on_a_terminal(alice: Jit, vm: str) -> None:
    """A person reads until when, from where, how to connect and how to end it."""
    done = alice.on_terminal("request", vm, "--for", "10m")

    assert done.code == 0
    assert re.search(rf"{vm}: open until \d\d:\d\d \(10 min\) from {SOURCE}", done.out)
    assert f"connect with: jit ssh {vm}" in done.out
    assert f"jit end {_ID.search(done.out)[0]}" in done.out  # type: ignore[index]


def test_a_quiet_request_says_nothing_but_its_result(alice: Jit, vm: str) -> None:
    """-q leaves stderr empty; --no-wait returns while it is still opening."""
    done = alice.run("request", vm, "--no-wait", "-q")

    assert done.err == ""
    assert answer_of(done)["status"] == "Initiating"


def test_several_vms_are_several_requests(alice: Jit, play: Play) -> None:
    """Each VM has a request of its own, and the result is a list."""
    site = play.protected(2)
    names = [vm.rpartition("/")[2] for vm in site.vms]

    found = answer_of(alice.run("request", *names, "--no-wait"))

    assert [each["virtualMachines"][0]["id"] for each in found] == list(site.vms)
    assert len({each["id"] for each in found}) == 2


def test_outside_the_policy_each_line_is_told(alice: Jit, vm: str) -> None:
    """Exit code 9, a line for each thing that is wrong, and what to do."""
    done = alice.run("request", vm, "--for", "9h", "--source", "0.0.0.0/0", code=9)

    assert done.out == ""
    assert "DurationTooLong" in done.err
    assert "SourceNotAllowed" in done.err
    assert "-> " in done.err
    assert "--for" in done.err


def test_a_dry_run_changes_nothing(alice: Jit, play: Play, vm: str, site: Site) -> None:
    """The rules are shown, the exit code is that of the real call, and nothing is written."""
    before = len(play.azure.writes(site.nic_nsg))

    text = alice.run("request", vm, "--dry-run", "--source", "203.0.113.77", "-o", "text").out

    assert re.search(r"\+ \d+ Allow 203\.0\.113\.77 -> 22", text)
    assert (
        "would be refused"
        in alice.run("request", vm, "--dry-run", "--for", "9h", "-o", "text", code=9).out
    )
    assert len(play.azure.writes(site.nic_nsg)) == before


def test_an_approval_is_waited_for(alice: Jit, person: Person, guarded: Site) -> None:
    """Exit code 5 when the time is over; then approved, the wait ends with 0."""
    waiting = alice.run("request", name_of(guarded), "-j", "INC1", "--timeout", "1s", code=5)
    request = answer_of(waiting)
    assert "waits for 1 of 1 approvals" in waiting.err
    assert f"jit wait {request['id']}" in waiting.err

    carol = person("carol", "Jit.Approve")
    assert request["id"] in [each["id"] for each in answer_of(carol.run("approve"))]
    approved = answer_of(carol.run("approve", request["id"], "-c", "go"))
    assert approved["approval"]["decisions"][0]["comment"] == "go"
    assert "open until" in alice.run("wait", request["id"], "-o", "text").out
    assert "approved" in alice.run("show", request["id"], "-o", "text").out


def test_a_denial_names_who_and_why(alice: Jit, person: Person, guarded: Site) -> None:
    """The waiting ends with exit code 6; an extension of what is not open is refused."""
    sent = alice.run("request", name_of(guarded), "-j", "INC1", "--no-wait", "-q")
    request_id = answer_of(sent)["id"]

    person("carol", "Jit.Approve").run("deny", request_id, "-c", "not now")

    assert "denied by carol@contoso.example: not now" in (
        alice.run("wait", request_id, "-o", "text", code=6).out
    )
    refused = alice.run("extend", request_id, "--for", "1h", code=1)
    assert "jit request" in refused.err


def test_ctrl_c_leaves_the_request_and_says_how_to_end_it(alice: Jit, guarded: Site) -> None:
    """Ctrl-C while waiting: exit code 130, and the command that ends the request."""
    keys = {"waits for 1 of 1": CTRL_C}

    done = alice.on_terminal("request", name_of(guarded), "-j", "INC1", keys=keys)

    assert done.code == 130
    assert re.search(rf"End it with: jit end {_ID.pattern}", done.out)


def test_a_reason_is_asked_for_where_the_policy_wants_one(alice: Jit, guarded: Site) -> None:
    """On a terminal the person is asked; without one the exit code is 9 and names -j."""
    keys = {"Reason": "INC2\n", "waits for 1 of 1": CTRL_C}

    assert alice.on_terminal("request", name_of(guarded), keys=keys).code == 130

    newest = answer_of(alice.run("ls", "--mine", "--pending", "--vm", name_of(guarded)))[0]
    assert newest["justification"] == "INC2"
    assert "-j" in alice.run("request", name_of(guarded), code=9).err


def test_everything_of_a_vm_is_revoked(carol: Jit, person: Person, play: Play) -> None:
    """It is confirmed on a terminal or with -y; without either nothing happens."""
    site = play.protected()
    person("alice", "Jit.Request").run("request", name_of(site), "-q")

    assert "-y" in carol.run("revoke", "--vm", name_of(site), code=2).err
    assert carol.on_terminal("revoke", "--vm", name_of(site), keys={"[y/N]": "n\n"}).code == 2
    done = carol.on_terminal("revoke", "--vm", name_of(site), keys={"[y/N]": "y\n"})
    assert done.code == 0
    assert "alice@contoso.example" in done.out


def test_a_watched_list_ends_on_ctrl_c(alice: Jit, vm: str) -> None:
    """--watch shows the list again and again; Ctrl-C ends it with 130."""
    alice.run("request", vm, "--no-wait", "-q")
    done = alice.on_terminal("ls", "--vm", vm, "--watch", keys={f"{vm}:22": CTRL_C})
    assert done.code == 130
