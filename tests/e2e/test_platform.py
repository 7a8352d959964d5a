"""The package that is deployed, on a host that behaves as the real one."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.json_calls import call
from local.stack import Stack
from tests.conftest import IMPATIENT, SETTLE_SECONDS
from tests.e2e.playing import Azure, Json, Play, Site, until

NOT_REGISTERED = (
    "The binding type(s) 'queueTrigger' are not registered. "
    "Please ensure the type is correct and the binding extension is installed."
)
# Loggers whose records belong in the log: our events, and the local host's own lines.
OWN_LOGGERS = {"jit", "functions_host", "functions_host.queue", "functions_host.timer"}
RECORD = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) (?P<logger>\S+) ")


@pytest.fixture(scope="module")
def bare(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Run the package with the extension bundle taken out of its host.json."""
    app = tmp_path_factory.mktemp("bare") / "app"
    shutil.copytree(package, app)
    host_json = json.loads((app / "host.json").read_text(encoding="utf-8"))
    del host_json["extensionBundle"]
    (app / "host.json").write_text(json.dumps(host_json), encoding="utf-8")
    with Stack(
        app=app,
        directory=app.parent / "stack",
        settle=SETTLE_SECONDS,
        environment=IMPATIENT,
    ) as running:
        yield Play(running, Azure(running.arm))


@pytest.fixture(scope="module")
def proxied(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """Run the package as if one proxy of the deployer stood before the platform's front end."""
    with Stack(
        app=package,
        directory=tmp_path_factory.mktemp("proxied"),
        settle=SETTLE_SECONDS,
        environment={**IMPATIENT, "JIT_TRUSTED_PROXIES": "1"},
    ) as running:
        yield Play(running, Azure(running.arm))


def _log(stack: Stack) -> str:
    return stack.host_log.read_text(encoding="utf-8")


def _queue_functions(stack: Stack) -> set[str]:
    _, functions = call("GET", f"{stack.api}/admin/functions")
    return {
        str(function["name"])
        for function in functions
        if function["config"]["bindings"][0]["type"] == "queueTrigger"
    }


def test_without_the_bundle_each_queue_function_is_in_error(bare: Play) -> None:
    """The host names each in the real host's sentence, and none that needs no extension."""
    found = dict(re.findall(r"The '(\w+)' function is in error: (.*)", _log(bare.stack)))
    assert len(found) >= 3
    assert found == dict.fromkeys(_queue_functions(bare.stack), NOT_REGISTERED)


def test_without_the_bundle_requests_are_taken_and_nothing_runs(bare: Play) -> None:
    """HTTP answers as ever and the messages stay where they are: what Azure did to the app."""
    site = bare.azure.build()
    body = {"kind": "Basic", "properties": {"virtualMachines": site.listed(22)}}
    admin = bare.admin
    assert admin.call("PUT", site.policy_id, body).status == 200
    bare.stack.invoke("sweep_expired")
    until(lambda: "Executed 'Functions.sweep_expired'" in _log(bare.stack), "the timer runs")
    assert admin.call("GET", site.policy_id).json["properties"]["provisioningState"] == "Updating"
    executed = set(re.findall(r"Executing 'Functions\.(\w+)'", _log(bare.stack)))
    assert executed & _queue_functions(bare.stack) == set()


def test_with_the_bundle_nothing_is_in_error(play: Play) -> None:
    """The package as it is deployed has every function running; the other tests play its life."""
    assert "is in error" not in _log(play.stack)
    assert len(_queue_functions(play.stack)) >= 3


def test_events_of_firewalls_handled_at_once_are_in_the_log(play: Play) -> None:
    """Writes to two groups side by side are logged for both, though done in threads."""
    site = play.protected(on_subnet=True)
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    play.alice.wait(location, "Initiated")
    assert len(site.nsgs) == 2
    for nsg in site.nsgs:
        written = _events(play.stack, "jit.firewall.written", nsg)
        assert sum(event["put"] for event in written) >= 2  # the deny, then the allow


def test_no_library_logs_its_calls(play: Play) -> None:
    """After a whole life the log holds the app's own records and none of an SDK."""
    site = play.protected()
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    play.alice.wait(location, "Initiated")
    assert play.alice.call("POST", f"{location}/revoke", {}).status == 200
    play.alice.wait(location, "Revoked")
    records = [found for line in _log(play.stack).splitlines() if (found := RECORD.match(line))]
    assert {record["logger"] for record in records if record["level"] == "INFO"} <= OWN_LOGGERS
    assert any(record["logger"] == "jit" for record in records)


def _events(stack: Stack, name: str, firewall: str) -> list[Json]:
    lines = (line.partition(" jit ")[2] for line in _log(stack).splitlines())
    events = (json.loads(line) for line in lines if line.startswith("{"))
    return [
        event
        for event in events
        if event["event"] == name and event.get("firewall", "").lower() == firewall.lower()
    ]


def _ask_for_myself(play: Play, site: Site, forwarded: str) -> Json:
    """Request access without a source, so for the caller's own address; return the answer."""
    body = {"virtualMachine": site.vm, "ports": [22], "duration": "PT1H", "justification": "x"}
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    answer: Json = play.alice.call("POST", "/api/requests", body, headers=headers).json
    return answer


@pytest.mark.parametrize("forged", ["", "203.0.113.9", "203.0.113.9:50123, 198.51.100.1"])
def test_my_own_address_is_what_the_front_end_saw(play: Play, forged: str) -> None:
    """Without proxies of the deployer only the hop that the platform appends is believed."""
    site = play.azure.build()
    play.admin.put_policy(
        site.policy_id, site.listed(22, allowedSourceAddressPrefix="127.0.0.0/24")
    )
    (vm,) = _ask_for_myself(play, site, forged)["virtualMachines"]
    assert [port["allowedSourceAddressPrefix"] for port in vm["ports"]] == ["127.0.0.1"]


def test_my_own_address_behind_a_proxy(proxied: Play) -> None:
    """With one trusted proxy the hop before the platform's is the caller, and nothing before it."""
    site = proxied.protected()
    answer = _ask_for_myself(proxied, site, "198.51.100.1, 203.0.113.9")
    (vm,) = answer["virtualMachines"]
    assert [port["allowedSourceAddressPrefix"] for port in vm["ports"]] == ["203.0.113.9"]
    until(lambda: proxied.azure.allowed(site.vm, source="203.0.113.9"), "it opens for them")
    assert not proxied.azure.allowed(site.vm, source="198.51.100.1")


def test_where_to_sign_in_is_told_without_a_token(play: Play) -> None:
    """The metadata for `az cloud register` has the stack's issuer and audience."""
    answer = play.bearer("").call("GET", "/metadata/endpoints?api-version=2022-09-01")
    assert answer.status == 200
    assert answer.json["resourceManager"] == f"{play.stack.api}/"
    assert answer.json["authentication"]["loginEndpoint"] == play.stack.issuer
    assert answer.json["authentication"]["audiences"] == [play.stack.environment["JIT_AUDIENCE"]]


def test_activity_as_csv_names_one_charset(play: Play) -> None:
    """The header that reaches the client has one charset."""
    answer = play.admin.call("GET", "/api/activity?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
