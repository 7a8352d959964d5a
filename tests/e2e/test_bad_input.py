"""Bad input is refused with the field and a right value; nothing is kept."""

import copy
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.queue import QueueServiceClient, TextBase64DecodePolicy

from shared.adapters.queues import NAMES as QUEUES
from shared.adapters.tables import NAMES as TABLES
from shared.store.keys import policy_key
from tests.e2e.playing import APP_RG, SOURCE, Answer, Json, Play, Site, utc

PORT = "virtualMachines[0].ports[0]"
PAST = utc(datetime(2020, 1, 1, tzinfo=UTC))
FAR = utc(datetime.now(UTC) + timedelta(days=2))
ISO_DURATION = r"ISO 8601|PT"
ISO_INSTANT = r"ISO 8601|UTC|Z\b"
PREFIX = r"address|prefix"
Change = Callable[[Json], object]


@pytest.fixture(scope="module")
def site(stack_play: Play) -> Site:
    """Protect a VM: port 22, an hour at most, from 203.0.113.0/24."""
    found = stack_play.azure.build()
    stack_play.admin.put_policy(
        found.policy_id,
        found.listed(
            22,
            allowedSourceAddressPrefix="203.0.113.0/24",
            maxRequestAccessDuration="PT1H",
        ),
    )
    return found


def port(body: Json) -> Json:
    """Return the one port of a body."""
    found: Json = body["virtualMachines"][0]["ports"][0]
    return found


def sets(**fields: object) -> Change:
    """Set fields of the port; None takes one out."""

    def change(body: Json) -> None:
        given = {**port(body), **fields}
        body["virtualMachines"][0]["ports"][0] = {k: v for k, v in given.items() if v is not None}

    return change


def lasting(duration: object) -> Change:
    """Ask for a duration."""
    return sets(duration=duration, endTimeUtc=None)


def ending(end: object) -> Change:
    """Ask for an end."""
    return sets(endTimeUtc=end, duration=None)


def vm(value: object) -> Change:
    """Ask for another VM."""
    return lambda body: body["virtualMachines"][0].update(id=value)


def whole(**fields: object) -> Change:
    """Set members of the body itself."""
    return lambda body: body.update(fields)


# What is wrong, how it comes to be, the field that is to be named, and what is to be said of it.
WRONG: dict[str, tuple[Change, str, str]] = {
    "no machines": (lambda b: b.pop("virtualMachines"), "virtualMachines", "required"),
    "machines are null": (whole(virtualMachines=None), "virtualMachines", "list|array"),
    "machines are a text": (whole(virtualMachines="web-1"), "virtualMachines", "list|array"),
    "machines are none": (whole(virtualMachines=[]), "virtualMachines", "1"),
    "a machine is a text": (whole(virtualMachines=["web-1"]), "virtualMachines[0]", ""),
    "a justification is a number": (whole(justification=7), "justification", "string|text"),
    "a justification is too long": (whole(justification="x" * 5000), "justification", r"\d"),
    "no id": (lambda b: b["virtualMachines"][0].pop("id"), "virtualMachines[0].id", "required"),
    "an id is a number": (vm(7), "virtualMachines[0].id", "string|text"),
    "an id is a name": (vm("web-1"), "virtualMachines[0].id", "/subscriptions/"),
    "an id is of an interface": (
        vm(f"{APP_RG}/providers/Microsoft.Network/networkInterfaces/web-1-nic"),
        "virtualMachines[0].id",
        "(?i)virtualMachines",
    ),
    "no ports": (
        lambda b: b["virtualMachines"][0].pop("ports"),
        "virtualMachines[0].ports",
        "required",
    ),
    "ports are none": (
        lambda b: b["virtualMachines"][0].update(ports=[]),
        "virtualMachines[0].ports",
        "1",
    ),
    "no number": (sets(number=None), f"{PORT}.number", "required"),
    "port 0": (sets(number=0), f"{PORT}.number", r"\b1\b|\b22\b"),
    "port -1": (sets(number=-1), f"{PORT}.number", r"\b[01]\b"),
    "port 65536": (sets(number=65536), f"{PORT}.number", "65535"),
    "a port is a text": (sets(number="22; x"), f"{PORT}.number", "integer|number"),
    "a port is a fraction": (sets(number=22.5), f"{PORT}.number", "integer|number"),
    "a port is a truth": (sets(number=True), f"{PORT}.number", "integer|number"),
    "a port not in the policy": (sets(number=3389), f"{PORT}.number", "22"),
    "a source outside the policy": (
        sets(allowedSourceAddressPrefix="198.51.100.7"),
        f"{PORT}.allowedSourceAddressPrefix",
        r"203\.0\.113\.0/24",
    ),
    "everybody": (
        sets(allowedSourceAddressPrefix="0.0.0.0/0"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a star": (
        sets(allowedSourceAddressPrefix="*"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "all of IPv6": (
        sets(allowedSourceAddressPrefix="::/0"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a host name": (
        sets(allowedSourceAddressPrefix="jump.contoso.example"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a service tag": (
        sets(allowedSourceAddressPrefix="Internet"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a source is a number": (
        sets(allowedSourceAddressPrefix=7),
        f"{PORT}.allowedSourceAddressPrefix",
        "string|text|" + PREFIX,
    ),
    "an octet too large": (
        sets(allowedSourceAddressPrefix="203.0.113.256"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a prefix too long": (
        sets(allowedSourceAddressPrefix="203.0.113.7/33"),
        f"{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "no source in a list": (
        sets(allowedSourceAddressPrefix=None, allowedSourceAddressPrefixes=[]),
        f"{PORT}.allowedSourceAddressPrefixes",
        "1",
    ),
    "both forms of source": (
        sets(allowedSourceAddressPrefixes=[SOURCE]),
        PORT,
        "(?i)only one",
    ),
    "a month": (lasting("P1M"), f"{PORT}.duration", ISO_DURATION),
    "a year": (lasting("P1Y"), f"{PORT}.duration", ISO_DURATION),
    "no time at all": (lasting("PT0S"), f"{PORT}.duration", "zero|shortest|longer"),
    "negative": (lasting("-PT1H"), f"{PORT}.duration", ISO_DURATION),
    "negative inside": (lasting("PT-1H"), f"{PORT}.duration", ISO_DURATION),
    "in words": (lasting("3 hours"), f"{PORT}.duration", ISO_DURATION),
    "a number of hours": (lasting(3), f"{PORT}.duration", ISO_DURATION + "|string|text"),
    "a time span": (lasting("03:00:00"), f"{PORT}.duration", ISO_DURATION),
    "empty": (lasting(""), f"{PORT}.duration", ISO_DURATION),
    "only a P": (lasting("P"), f"{PORT}.duration", ISO_DURATION),
    "over the maximum": (lasting("PT1H1S"), f"{PORT}.duration", "PT1H"),
    "far over the maximum": (lasting("P9999D"), f"{PORT}.duration", "PT1H"),
    "an end in the past": (ending(PAST), f"{PORT}.endTimeUtc", "past"),
    "an end too far away": (ending(FAR), f"{PORT}.endTimeUtc", "PT1H"),
    "an end without an offset": (ending("2026-11-22T15:00:00"), f"{PORT}.endTimeUtc", ISO_INSTANT),
    "an end in words": (ending("tomorrow"), f"{PORT}.endTimeUtc", ISO_INSTANT),
    "an end that never was": (ending("2026-02-30T00:00:00Z"), f"{PORT}.endTimeUtc", ""),
    "an end is a number": (ending(1_790_000_000), f"{PORT}.endTimeUtc", "string|text"),
    "both an end and a duration": (sets(endTimeUtc=FAR), PORT, "(?i)only one"),
    "neither end nor duration": (sets(duration=None), PORT, "(?i)only one"),
    "twice the same port": (
        lambda b: b["virtualMachines"][0]["ports"].append(port(b)),
        "virtualMachines[0].ports[1]",
        "twice",
    ),
    "a misspelt field": (
        sets(allowedSourceAdressPrefix=SOURCE),
        f"{PORT}.allowedSourceAdressPrefix",
        "",
    ),
}


def asked(site: Site) -> Json:
    """Make a body that nothing is wrong with."""
    return {"virtualMachines": site.asked(duration="PT5M"), "justification": "because"}


def kept(play: Play, mark: str) -> list[str]:
    """Name everything in the tables and queues that bears a mark."""
    tables = TableServiceClient.from_connection_string(play.stack.storage)
    queues = QueueServiceClient.from_connection_string(play.stack.storage)
    held = [
        f"{name}: {entity}"
        for name in TABLES
        for entity in tables.get_table_client(name).list_entities()
    ]
    for name in QUEUES:
        queue = queues.get_queue_client(name, message_decode_policy=TextBase64DecodePolicy())
        held += [f"{name}: {message.content}" for message in queue.peek_messages(32)]
    return [each for each in held if mark.casefold() in each.casefold()]


def requests_kept(play: Play, policy_id: str) -> list[str]:
    """Name everything that speaks of a policy's requests: their ids begin with its key."""
    return kept(play, f"{policy_key(policy_id)}-") + [
        row for row in kept(play, policy_key(policy_id)) if row.startswith("requests:")
    ]


def envelope(answer: Answer) -> Json:
    """Return the error of ARM's envelope, which is all that there is."""
    assert answer.headers["content-type"].startswith("application/json")
    body: Json = answer.json
    assert set(body) == {"error"}
    error: Json = body["error"]
    assert set(error) <= {"code", "message", "details", "target"}
    assert re.fullmatch(r"[A-Z][A-Za-z]+", error["code"])
    assert error["message"]
    return error


def told_of(error: Json, target: str) -> str:
    """Return what is said of a field, by a detail with it as target or by the message."""
    details = [each for each in error.get("details", []) if each.get("target") == target]
    if details:
        return " ".join(each["message"] for each in details)
    assert target.rpartition(".")[2] in error["message"]
    return str(error["message"])


@pytest.mark.parametrize("what", WRONG)
def test_a_bad_request_is_refused_with_its_field(play: Play, site: Site, what: str) -> None:
    """A 400 in ARM's envelope names the field and what would be right; nothing is kept."""
    change, target, right = WRONG[what]
    body = copy.deepcopy(asked(site))
    change(body)
    answer = play.alice.call("POST", f"{site.policy_id}/initiate", body)
    assert answer.status == 400
    assert re.search(right, told_of(envelope(answer), target))
    assert requests_kept(play, site.policy_id) == []


def test_every_wrong_field_is_named_at_once(play: Play, site: Site) -> None:
    """All faults are named at once, so that a caller mends a request in one go."""
    body = asked(site)
    body["virtualMachines"] *= 2
    body = copy.deepcopy(body)
    body["virtualMachines"][0]["ports"][0]["number"] = 65536
    body["virtualMachines"][1]["ports"][0]["duration"] = "3 hours"
    error = envelope(play.alice.call("POST", f"{site.policy_id}/initiate", body))
    targets = {each["target"] for each in error["details"]}
    assert targets >= {f"{PORT}.number", "virtualMachines[1].ports[0].duration"}


def test_every_broken_line_of_the_policy_is_named_at_once(play: Play, site: Site) -> None:
    """Port, length and source are each told, of every port that was asked for."""
    body = asked(site)
    wrong = {"allowedSourceAddressPrefix": "198.51.100.7", "duration": "PT2H"}
    body["virtualMachines"][0]["ports"] = [{"number": 22, **wrong}, {"number": 443, **wrong}]
    error = envelope(play.alice.call("POST", f"{site.policy_id}/initiate", body))
    targets = {each["target"] for each in error["details"]}
    assert targets >= {
        f"{PORT}.duration",
        f"{PORT}.allowedSourceAddressPrefix",
        "virtualMachines[0].ports[1].number",
    }


BROKEN = {
    "nothing": b"",
    "half an object": b'{"virtualMachines": [',
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "not UTF-8": b'{"justification": "\xff"}',
    "two documents": b"{}{}",
    "NaN": b'{"virtualMachines": NaN}',
    "a member twice": b'{"justification": "a", "justification": "b"}',
    "deeper than anybody needs": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "XML": b"<virtualMachines/>",
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("route", ["initiate", "PUT", "short"])
def test_broken_json_is_refused(play: Play, site: Site, route: str, what: str) -> None:
    """A body that is not one JSON object gets a 400 in ARM's envelope; nothing is kept."""
    ways = {
        "initiate": (play.alice, "POST", f"{site.policy_id}/initiate"),
        "PUT": (play.admin, "PUT", f"{site.policy_id}-broken"),
        "short": (play.alice, "POST", "/api/requests"),
    }
    who, method, path = ways[route]
    answer = who.call(method, path, BROKEN[what])
    assert answer.status == 400
    assert re.search("JSON|body|nested", envelope(answer)["message"])
    assert requests_kept(play, site.policy_id) == []
    assert play.admin.call("GET", f"{site.policy_id}-broken").status == 404


SHORT: dict[str, tuple[Json, str, str]] = {
    "no machine": ({"virtualMachine": None}, "virtualMachine", "required"),
    "a machine by its name": ({"virtualMachine": "web-1"}, "virtualMachine", "/subscriptions/"),
    "no ports": ({"ports": None}, "ports", "required"),
    "ports are none": ({"ports": []}, "ports", "1"),
    "a port is a text": ({"ports": ["ssh"]}, "ports[0]", "integer|number"),
    "port 65536": ({"ports": [22, 65536]}, "ports[1]", "65535"),
    "a month": ({"duration": "P1M"}, "duration", ISO_DURATION),
    "in words": ({"duration": "3 hours"}, "duration", ISO_DURATION),
    "a host name": (
        {"allowedSourceAddressPrefix": "jump.contoso.example"},
        "allowedSourceAddressPrefix",
        PREFIX,
    ),
    "a misspelt field": ({"durration": "PT1H"}, "durration", ""),
}


@pytest.mark.parametrize("what", SHORT)
def test_a_bad_short_request_is_refused_with_its_field(play: Play, site: Site, what: str) -> None:
    """The short form is held to the same."""
    change, target, right = SHORT[what]
    good = {
        "virtualMachine": site.vm,
        "ports": [22],
        "duration": "PT5M",
        "allowedSourceAddressPrefix": SOURCE,
    }
    body = {key: value for key, value in {**good, **change}.items() if value is not None}
    answer = play.alice.call("POST", "/api/requests", body)
    assert answer.status == 400
    assert re.search(right, told_of(envelope(answer), target))
    assert requests_kept(play, site.policy_id) == []


@pytest.mark.parametrize("route", ["initiate", "short"])
def test_an_unknown_vm_is_refused(play: Play, site: Site, route: str) -> None:
    """A VM in no policy is a 4xx that names it, before anything of it is read from Azure."""
    stranger = f"{APP_RG}/providers/Microsoft.Compute/virtualMachines/e2e-absent"
    if route == "initiate":
        body: Json = {"virtualMachines": site.asked(stranger, duration="PT5M")}
        answer = play.alice.call("POST", f"{site.policy_id}/initiate", body)
    else:
        body = {"virtualMachine": stranger, "ports": [22], "duration": "PT5M"}
        body["allowedSourceAddressPrefix"] = SOURCE
        answer = play.alice.call("POST", "/api/requests", body)
    assert answer.status in {400, 404}
    error = envelope(answer)
    told = [error["message"], *(each["message"] for each in error.get("details", []))]
    assert any("e2e-absent" in each for each in told)
    assert requests_kept(play, site.policy_id) == []
    assert not any("e2e-absent" in call["path"] for call in play.azure.ask("log")["calls"])


def test_an_unknown_policy_is_refused(play: Play, site: Site) -> None:
    """There is nothing to be within."""
    answer = play.alice.call("POST", f"{site.policy_id}-none/initiate", asked(site))
    assert answer.status == 404
    assert "none" in envelope(answer)["message"]
    assert requests_kept(play, f"{site.policy_id}-none") == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("GET", "/api/nothing"),
        ("POST", "/subscriptions"),
        ("DELETE", "/api/requests"),
    ],
)
def test_an_unknown_route_is_a_404_in_the_envelope(play: Play, method: str, path: str) -> None:
    """Also where nothing is served the answer has ARM's form."""
    answer = play.admin.call(method, path)
    assert answer.status in {404, 405}
    envelope(answer)


POLICY: dict[str, tuple[Change, str, str]] = {
    "no properties": (lambda b: b.pop("properties"), "properties", "required"),
    "no machines": (
        lambda b: b["properties"].pop("virtualMachines"),
        "properties.virtualMachines",
        "required",
    ),
    "an id is a name": (
        lambda b: b["properties"]["virtualMachines"][0].update(id="web-1"),
        "properties.virtualMachines[0].id",
        "/subscriptions/",
    ),
    "port 65536": (
        lambda b: port(b["properties"]).update(number=65536),
        f"properties.{PORT}.number",
        "65535",
    ),
    "another protocol": (
        lambda b: port(b["properties"]).update(protocol="ICMP"),
        f"properties.{PORT}.protocol",
        "TCP",
    ),
    "a month": (
        lambda b: port(b["properties"]).update(maxRequestAccessDuration="P1M"),
        f"properties.{PORT}.maxRequestAccessDuration",
        ISO_DURATION,
    ),
    "no time at all": (
        lambda b: port(b["properties"]).update(maxRequestAccessDuration="PT0S"),
        f"properties.{PORT}.maxRequestAccessDuration",
        ISO_DURATION,
    ),
    "longer than the deployer allows": (
        lambda b: port(b["properties"]).update(maxRequestAccessDuration="P2D"),
        f"properties.{PORT}.maxRequestAccessDuration",
        "P1D",
    ),
    "a host name": (
        lambda b: port(b["properties"]).update(allowedSourceAddressPrefix="jump.example"),
        f"properties.{PORT}.allowedSourceAddressPrefix",
        PREFIX,
    ),
    "twice the same port": (
        lambda b: b["properties"]["virtualMachines"][0]["ports"].append(port(b["properties"])),
        "properties.virtualMachines[0].ports[1].number",
        "twice",
    ),
    "twice the same machine": (
        lambda b: b["properties"]["virtualMachines"].append(b["properties"]["virtualMachines"][0]),
        "properties.virtualMachines[1].id",
        "twice",
    ),
}


@pytest.mark.parametrize("what", POLICY)
def test_a_bad_policy_is_refused_with_its_field(play: Play, site: Site, what: str) -> None:
    """A PUT is held to the same: a 400 with the field, and no policy."""
    change, target, right = POLICY[what]
    policy_id = f"{site.policy_id}-bad-{list(POLICY).index(what)}"
    body: Json = copy.deepcopy({"properties": {"virtualMachines": site.listed(22)}})
    change(body)
    answer = play.admin.call("PUT", policy_id, body)
    assert answer.status == 400
    assert re.search(right, told_of(envelope(answer), target))
    assert play.admin.call("GET", policy_id).status == 404
    assert kept(play, policy_id) == []
