"""VMs, policies, activity, configuration: what each prints, and in which form."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from local.stack import Stack
from tests.cli.terminal import Jit
from tests.e2e.playing import Azure, Play, Site, until

Person = Callable[..., Jit]


def test_vms_in_each_form(alice: Jit, vm: str, site: Site) -> None:
    """json, table, tsv and a query have the same VMs; an unwanted category fails with 8."""
    rows = json.loads(alice.run("vm", "ls").out)
    assert site.vm in [row["id"] for row in rows]
    lines = alice.run("vm", "ls", "-o", "tsv").out.splitlines()
    assert len(lines) == len(rows)
    assert [line.split("\t")[0] for line in lines].count(vm) == 1
    table = alice.run("vm", "ls", "-o", "table", "--fail-on", "not-configured", code=8).out
    assert table.startswith("VM ")
    assert "\t" not in table
    query = f"[?ends_with(id, '/{vm}')].{{category: category, id: id}}"
    assert alice.run("vm", "ls", "--query", query, "-o", "tsv").out.startswith("Configured\t/")


def test_one_vm(alice: Jit, vm: str) -> None:
    """The rules of its policy are shown in words."""
    text = alice.run("vm", "show", vm, "-o", "text").out
    assert "22 TCP, 3 h at most, from *" in text


def test_a_policy_is_written_shown_and_removed(carol: Jit, play: Play, tmp_path: Path) -> None:
    """A file as JSON and as YAML; a dry run shows the difference and writes nothing."""
    site = play.azure.build()
    file = tmp_path / "policy.yaml"
    body = {"id": site.policy_id, "properties": {"virtualMachines": site.listed(22)}}
    file.write_text(yaml.safe_dump(body), encoding="utf-8")

    dry = carol.run("policy", "put", str(file), "--dry-run", "-o", "text").out
    assert "+      maxRequestAccessDuration: PT3H" in dry
    assert "Deny * -> 22" in dry
    assert play.azure.ours(site.nic_nsg) == {}

    put = json.loads(carol.run("policy", "put", str(file)).out)
    assert put["properties"]["provisioningState"] == "Succeeded"
    assert len(play.azure.ours(site.nic_nsg, "Deny")) == 1
    name = site.policy_id.rpartition("/")[2]
    assert name in carol.run("policy", "ls", "-o", "table").out

    shown = carol.run("policy", "show", name, "-o", "text").out
    again = shown.replace("PT3H", "PT1H")
    difference = carol.run("policy", "put", "-", name, "--dry-run", "-o", "text", given=again).out
    assert "-      maxRequestAccessDuration: PT3H" in difference
    assert "+      maxRequestAccessDuration: PT1H" in difference
    assert carol.run("policy", "put", "-", given=json.dumps(yaml.safe_load(again)), code=0).out

    assert "-y" in carol.run("policy", "rm", name, code=2).err
    carol.run("policy", "rm", name, "-y")
    assert carol.run("policy", "show", name, code=3).out == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [("properties: [", "not YAML"), ("{", "not JSON"), ("- a", "an object"), ("a: 1", "no 'id'")],
)
def test_a_policy_file_that_is_none(carol: Jit, text: str, told: str) -> None:
    """Exit code 2; nothing is sent."""
    assert told in carol.within("policy", "put", "-", given=text, code=2).err


def test_activity_in_each_form(carol: Jit, person: Person, play: Play) -> None:
    """Audit events as JSON, and as CSV with one heading; filters reach the service."""
    site = play.protected()
    name = site.vm.rpartition("/")[2]
    person("alice", "Jit.Request").run("request", name)

    events = json.loads(carol.run("activity", "--from", "1h", "--vm", name).out)
    assert {"requested", "opened"} <= {event["operation"] for event in events}
    text = carol.run("activity", "--vm", name, "-o", "csv").out
    assert [row["operation"] for row in csv.DictReader(text.splitlines())] == [
        event["operation"] for event in events
    ]
    only = json.loads(carol.run("activity", "--operation", "refused").out)
    assert {event["operation"] for event in only} <= {"refused"}


def test_who_and_whether_all_is_well(alice: Jit, stack: Stack) -> None:
    """Whoami shows the token's names; the doctor's checks are all in order."""
    me = json.loads(alice.run("whoami").out)
    assert me["name"] == "alice@contoso.example"
    assert me["service"] == stack.api
    stack.invoke("sweep_expired")
    caller = Play(stack, Azure(stack.arm)).alice
    until(lambda: caller.call("GET", "/api/health").status == 200, "the app has swept")
    checks = json.loads(alice.run("doctor").out)
    assert [check["check"] for check in checks if check["ok"]] == [
        *("ssh", "configuration", "service", "token", "expiry", "sign-in", "machines")
    ]


def test_configuration_from_nothing(jit: Jit, stack: Stack) -> None:
    """No profile: it says how to begin; init asks the service for its audience."""
    assert "jit config init" in jit.within("ls", code=2).err
    told = json.loads(jit.run("config", "init", stack.api, "--name", "local").out)
    assert told == {"local": {"url": stack.api, "audience": "api://jit-local"}}
    jit.within("config", "init", stack.api, "--name", "other", "--audience", "api://x")
    jit.within("config", "use", "local")
    jit.within("config", "set", "duration", 'a "quoted" \\ value')
    shown = json.loads(jit.within("config", "show").out)
    assert shown["profile"] == "local"
    assert shown["profiles"]["local"]["duration"] == 'a "quoted" \\ value'
    jit.within("config", "set", "duration", "")
    assert "duration" not in json.loads(jit.within("config", "show").out)["profiles"]["local"]
    path = Path(jit.within("config", "path", "-o", "text").out.strip())
    assert path.stat().st_mode & 0o777 == 0o600


def test_names_are_completed(alice: Jit, vm: str) -> None:
    """VM names come from the last list that was seen; each shell has its script."""
    alice.run("vm", "ls")
    asked = alice.using(_JIT_COMPLETE="bash_complete", COMP_WORDS="jit ssh e2e", COMP_CWORD="2")
    assert f"plain,{vm}" in asked.run().out.splitlines()
    for shell in ("bash", "zsh", "fish", "powershell"):
        assert "_JIT_COMPLETE" in alice.within("completion", shell).out
