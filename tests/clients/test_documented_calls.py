"""The calls of docs/api.md, run as a reader pastes them."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.clients.conftest import Clients
from tests.e2e.playing import SUBSCRIPTION, Answer, Caller, Site

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(
    r"<!-- (?P<how>[^>]+) -->\n```(?P<language>\w+)\n(?P<text>.*?)\n```", re.DOTALL
)
FENCE = re.compile(r"^```\w+$", re.MULTILINE)
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = [found.groupdict() for found in EXAMPLE.finditer(PAGE)]


def _texts(how: str) -> list[str]:
    return [each["text"] for each in EXAMPLES if each["how"].startswith(how)]


@pytest.fixture
def variables(clients: Clients, site: Site) -> Iterator[dict[str, str]]:
    """Set the variables that the page names."""
    token = clients.token("pasting")
    named = {
        "JIT": clients.stack.api,
        "TOKEN": token,
        "AUDIENCE": "api://jit-local",
        "SUBSCRIPTION": SUBSCRIPTION,
        "GROUP": "app-rg",
        "VM": site.vm,
        "POLICY": site.policy_id.rpartition("/")[0] + "/default",
    }
    yield named
    clients.caller("pasting").call("DELETE", named["POLICY"])


def test_every_example_is_run_or_marked() -> None:
    """None is only hoped to work, and each language is there."""
    assert len(EXAMPLES) == len(FENCE.findall(PAGE))
    assert {each["how"].split(":")[0] for each in EXAMPLES} == {"run", "not run"}
    assert {each["language"] for each in EXAMPLES} == {"sh", "python", "powershell"}


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_examples_work(variables: dict[str, str], tmp_path: Path) -> None:
    """In the order of the page; curl itself fails on any refusal."""
    for text in _texts("run: curl"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        assert done.stdout.startswith("{")
    assert json.loads((tmp_path / "answer.json").read_text())["status"] == "Initiated"


def test_python_examples_work(variables: dict[str, str]) -> None:
    """One after the other, in one interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(_texts("run: python"))],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Succeeded",
        "pasting@contoso.example Initiating",
        "Initiated UserRequested",
    ]


def test_az_rest_examples_work(variables: dict[str, str]) -> None:
    """Sent as azure-cli's send_raw_request (azure-cli-core 2.91.0) builds them."""
    for text in _texts("run: az rest"):
        for command in _commands(text, variables):
            answer = _az_rest(command, variables)
            assert answer.status in {200, 202}, (command, answer.content)
            assert answer.json


def _commands(text: str, variables: dict[str, str]) -> list[list[str]]:
    """Split a block into commands, its variables filled in by a shell's rules."""
    filled = re.sub(r"\$(\w+)", lambda name: variables[name[1]], text)
    words = shlex.split(filled)
    starts = [at for at, word in enumerate(words) if words[at : at + 2] == ["az", "rest"]]
    return [words[at:end] for at, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def _az_rest(command: list[str], variables: dict[str, str]) -> Answer:
    options = dict(zip(command[2::2], command[3::2], strict=True))
    assert options["--resource"].startswith("api://")
    headers = {
        "User-Agent": "python/3.12.10 (Linux-x86_64) AZURECLI/2.91.0",
        "Accept-Encoding": "gzip, deflate",
        "Accept": "*/*",
        "Connection": "keep-alive",
        "x-ms-client-request-id": str(uuid.uuid4()),
        "CommandName": "rest",
        "ParameterSetName": " ".join(options),
    }
    body = None
    if "--body" in options:
        body = json.dumps(json.loads(options["--body"])).encode()  # with blanks, as az writes it
    return Caller(variables["JIT"], variables["TOKEN"]).call(
        options["--method"].upper(), options["--url"], body, headers=headers
    )


# As Microsoft.Azure.Management.Security 4.0.0, which the Az module uses, sent them (recorded in
# Azure/azure-powershell, StartResourceGroupLevelResource, 2022): compact, end with seven digits.
POWERSHELL_PUT = (
    '{"kind":"Basic","properties":{"virtualMachines":[{"id":"VM","ports":[{"number":22,'
    '"protocol":"TCP","allowedSourceAddressPrefix":"127.0.0.1",'
    '"maxRequestAccessDuration":"PT3H"}]}]}}'
)
POWERSHELL_START = (
    '{"virtualMachines":[{"id":"VM","ports":[{"number":22,'
    '"allowedSourceAddressPrefix":"127.0.0.1","endTimeUtc":"END"}]}]}'
)


def test_powershell_s_requests_are_accepted(clients: Clients, site: Site) -> None:
    """Byte for byte as the cmdlets send them, but for the VM and the hour."""
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept-Language": "en-US",
        "User-Agent": "Microsoft.Azure.Management.Security.SecurityCenterClient/4.0.0.0",
        "x-ms-client-request-id": str(uuid.uuid4()),
    }
    caller = clients.caller("powershell", app=True)
    version = "?api-version=2020-01-01"
    put = POWERSHELL_PUT.replace("VM", site.vm)
    assert caller.call("PUT", site.policy_id + version, put.encode(), headers=headers).status == 200
    end = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S.5921811Z")
    start = POWERSHELL_START.replace("VM", site.vm).replace("END", end)
    path = f"{site.policy_id}/initiate{version}"
    taken = caller.call("POST", path, start.encode(), headers=headers)
    assert taken.status == 202
    status = ',"status":"Initiating","statusReason":"UserRequested"'
    told = start.removesuffix("}]}]}").encode() + status.encode() + b'}]}],"startTimeUtc":"'
    assert taken.content.startswith(told)
    assert taken.content.endswith(b'","requestor":""}')
