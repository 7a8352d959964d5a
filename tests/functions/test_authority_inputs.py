"""Forged input: tokens, headers, bodies, addresses. None gets through, none is a 500."""

import json
import random
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from functions.web import caller_address, plain_address
from local.hostile_tokens import HOSTILE, hostile_tokens
from local.issuer import AUDIENCE, Claims
from shared.bootstrap import using
from tests.functions.authority_app import Authority, GuardedApp, governed, known
from tests.functions.test_authority_table import BODY, OWNER, SHORT
from tests.functions.web_app import nothing_changes
from tests.world import NSG_NIC, POLICY, SOURCE, WEB

INITIATE = f"{POLICY}/initiate"
FORGED = "198.51.100.66"


def bearer(token: str) -> Mapping[str, str]:
    """Return the headers of the caller that holds a token."""
    return {"Authorization": f"Bearer {token}"}


def rules(app: GuardedApp) -> str:
    """Return everything that our rules say."""
    return str(app.world.firewall.ours(NSG_NIC))


# --- tokens --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", INITIATE), ("PUT", POLICY), ("DELETE", POLICY)]
)
def test_a_hostile_token_changes_nothing(
    app: GuardedApp, guard: Authority, case: str, method: str, path: str
) -> None:
    """RFC 8725: no algorithm but ours, no key from the token, no other issuer or audience: 401."""
    token = hostile_tokens(guard.issuer, roles=["Jit.Admin", "Jit.Request"])[case]
    with nothing_changes(app.world):
        refused = app.call(method, path, BODY, who=bearer(token))
    assert (refused.status, refused.error["code"]) == (401, "AuthenticationFailed")
    assert not app.world.tables.activity.rows or "refused" not in str(
        app.world.tables.activity.rows
    )


def _odd(claims: Claims, **change: Any) -> Claims:
    changed = {**claims, **change}
    return {name: value for name, value in changed.items() if value is not ...}


ODD: dict[str, tuple[Claims, str]] = {
    "for ARM": ({"aud": "https://management.azure.com"}, AUDIENCE),
    "for ARM, old": ({"aud": "https://management.core.windows.net/"}, AUDIENCE),
    "for Graph": ({"aud": "00000003-0000-0000-c000-000000000000"}, AUDIENCE),
    "an ID token for a client": (
        {"aud": "cccccccc-0000-4000-8000-000000000001", "scp": ...},
        AUDIENCE,
    ),
    "an ID token for us": (
        {"scp": ..., "azp": ..., "appid": ...},
        f"{AUDIENCE}/user_impersonation",
    ),
    "an ID token that names a client": ({"scp": ...}, f"{AUDIENCE}/user_impersonation"),
    "another scope": ({"scp": "openid"}, f"{AUDIENCE}/user_impersonation"),
    "a scope like ours": ({"scp": "user_impersonation2 xuser_impersonation"}, AUDIENCE),
    "a guest's own tenant": ({"tid": "00000000-0000-4000-8000-000000000bad"}, "tenant"),
    "audiences, none ours": ({"aud": ["x", "y"]}, AUDIENCE),
    "an audience that begins like ours": ({"aud": f"{AUDIENCE}-2"}, AUDIENCE),
    "an audience in another case": ({"aud": AUDIENCE.upper()}, AUDIENCE),
}


@pytest.mark.parametrize("case", ODD)
def test_a_token_for_something_else_is_told_what_to_ask_for(
    app: GuardedApp, guard: Authority, case: str
) -> None:
    """Well signed, and not for this API: the message says which audience or scope would be."""
    change, telling = ODD[case]
    claims = _odd(guard.issuer.person_claims("owner", roles=["Jit.Admin"]), **change)
    with nothing_changes(app.world):
        refused = app.call("POST", INITIATE, BODY, who=bearer(guard.issuer.sign(claims)))
    assert refused.status == 401
    assert telling in refused.error["message"]


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "RS256", "crit": ["exp"], "exp": 1},
        {"alg": "RS256", "zip": "DEF"},
        {"alg": "RS256", "typ": "JWE", "enc": "A256GCM"},
        {"alg": "RS256", "kid": "../../etc/passwd"},
        {"alg": "RS256", "kid": "' OR 1=1"},
        {"alg": "RS256", "kid": "\x00"},
        {"alg": "RS256", "kid": ["a"]},
        {"alg": "RS256", "kid": {"a": 1}},
        {"alg": ["RS256"]},
        {"alg": None},
        {"alg": "rs256"},
        {"alg": "RS256", "x5u": "https://evil.example/cert", "jku": "https://evil.example/keys"},
        {"alg": "RS256", "b64": False, "crit": ["b64"]},
        {},
    ],
)
def test_a_forged_token_header_is_refused(
    app: GuardedApp, guard: Authority, header: dict[str, Any]
) -> None:
    """For any request: the token was not signed by the tenant, and that is a 401."""
    claims = guard.issuer.person_claims("owner", roles=["Jit.Admin"])
    parts = [
        jwt.utils.base64url_encode(json.dumps(part).encode()).decode() for part in (header, claims)
    ]
    for signature in ("", "AAAA", "A" * 342):
        refused = app.call("GET", POLICY, who=bearer(".".join((*parts, signature))))
        assert refused.status == 401, refused.text


def test_noise_in_place_of_a_token_is_refused(app: GuardedApp, guard: Authority) -> None:
    """Three hundred damaged tokens: each is a 401, and none is a 500 or gets in."""
    chance = random.Random(8725)  # noqa: S311 - the same noise each time
    good = guard.person("owner")["Authorization"]
    for _ in range(300):
        letters = list(good)
        for _ in range(chance.randint(1, 6)):
            letters[chance.randrange(8, len(letters) - 1)] = chr(chance.randrange(0x20, 0x2FF))
        damaged = "".join(letters)
        if damaged != good:
            assert app.call("GET", POLICY, who={"Authorization": damaged}).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "X-MS-CLIENT-PRINCIPAL",
        "X-MS-CLIENT-PRINCIPAL-ID",
        "X-MS-CLIENT-PRINCIPAL-NAME",
        "X-MS-TOKEN-AAD-ACCESS-TOKEN",
        "X-Forwarded-User",
        "x-functions-key",
    ],
)
def test_headers_identify_no_caller(app: GuardedApp, guard: Authority, header: str) -> None:
    """Only the bearer token says who calls: without one, and beside one of another person."""
    owner = guard.person("owner")["Authorization"].removeprefix("Bearer ")
    given = {header: owner}
    assert app.call("GET", POLICY, headers=given).status == 401
    assert app.call("GET", POLICY, who=guard.person("norole"), headers=given).status == 403


@pytest.mark.parametrize(
    "field",
    ["requestor", "requestorObjectId", "principal", "oid", "tenant", "roles", "status", "callbackUrl",
     "notificationUrl", "approval", "authorizedBy", "relayedBy", "sourceAddress"],
)  # fmt: skip
@pytest.mark.parametrize("path", [INITIATE, "/api/requests"])
def test_a_body_identifies_no_caller(
    app: GuardedApp, guard: Authority, path: str, field: str
) -> None:
    """A field that would say who asks, or where to call back, is refused and not passed over."""
    body = {**(BODY if path == INITIATE else SHORT), field: OWNER["objectId"]}
    with nothing_changes(app.world):
        refused = app.call("POST", path, body, who=guard.person("alice", "Jit.Request"))
    assert refused.status == 400
    assert refused.error["details"][0]["target"] == field


@pytest.mark.parametrize(
    "person",
    [
        {},
        {"objectId": "x", "name": "x"},
        {"objectId": f"{OWNER['objectId']}' or '1", "name": "x"},
        {"objectId": OWNER["objectId"]},
        {"objectId": OWNER["objectId"], "name": ""},
        {"objectId": OWNER["objectId"], "name": "a\nb"},
        {"objectId": OWNER["objectId"], "name": "x" * 257},
        {"objectId": OWNER["objectId"], "name": "x", "roles": ["Jit.Admin"]},
        {"objectId": OWNER["objectId"], "name": "x", "tenant": "other"},
        OWNER["objectId"],
        [OWNER],
        7,
    ],
)
def test_a_relay_names_a_person_or_nothing(app: GuardedApp, guard: Authority, person: Any) -> None:
    """A GUID and a plain name; nothing else goes with them."""
    body = {**BODY, "onBehalfOf": person}
    with nothing_changes(app.world):
        refused = app.call("POST", INITIATE, body, who=guard.bot("relay", "Jit.Relay"))
    assert refused.status == 400


def test_a_relay_s_rights_are_not_the_person_s(app: GuardedApp, guard: Authority) -> None:
    """With any permission of the app itself: the named person needs the right by Azure role."""
    everything = ("Jit.Relay", "Jit.Request", "Jit.Admin", "Jit.Approve", "Jit.BreakGlass")
    bot = guard.bot("relay", *everything)
    norole = {"objectId": known("norole").object_id, "name": "norole"}
    with nothing_changes(app.world):
        refused = app.call("POST", INITIATE, {**BODY, "onBehalfOf": norole}, who=bot)
    assert (refused.status, refused.error["code"]) == (403, "AuthorizationFailed")
    glass = {**BODY, "breakGlass": True, "onBehalfOf": OWNER}
    assert app.call("POST", INITIATE, glass, who=bot).status == 403
    taken = app.call("POST", "/api/requests", {**SHORT, "onBehalfOf": OWNER}, who=bot)
    request = app.world.request(taken.json["id"])
    assert (taken.status, request.requestor.key) == (202, known("owner").key)
    assert request.relayed_by is not None
    assert request.relayed_by.is_app


@pytest.mark.parametrize("break_glass", ["yes", 1, None, [], "true"])
def test_break_glass_is_true_or_false(
    app: GuardedApp, guard: Authority, break_glass: object
) -> None:
    """Nothing else is read as one of the two."""
    body = {**BODY, "breakGlass": break_glass}
    refused = app.call("POST", INITIATE, body, who=guard.person("glass", "Jit.BreakGlass"))
    assert refused.status == 400


# --- the caller's address ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:50123", "203.0.113.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:443", "203.0.113.7"),
        ("", ""),
        ("unknown", ""),
        ("_hidden", ""),
        ("203.0.113.7/0", ""),
        ("203.0.113", ""),
        ("203.0.113.007", ""),
        ("0x7f.1", ""),
        ("3405803783", ""),
        ("fe80::1%eth0", ""),
        ("[fe80::1%25eth0]:443", ""),
        ("[2001:db8::1", "2001:db8::1"),
        ("203.0.113.7 ", ""),
        ("203.0.113.7\r\nX: y", ""),
        ("\u0662\u0660\u0663.0.113.7", ""),
        ("*", ""),
        ("Internet", ""),
    ],
)
def test_a_hop_is_one_plain_address_or_none(hop: str, address: str) -> None:
    """With a port or in brackets, as App Service writes it; nothing else reaches a rule."""
    assert plain_address(hop) == address


class _Headers:
    def __init__(self, forwarded: str | None) -> None:
        self.headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}


@pytest.mark.parametrize(
    ("forwarded", "proxies", "address"),
    [
        (None, 0, ""),
        ("203.0.113.7:1", 0, "203.0.113.7"),
        (f"{FORGED}, 203.0.113.7:1", 0, "203.0.113.7"),
        (f"{FORGED}:1,{FORGED}:1,203.0.113.7:1", 0, "203.0.113.7"),
        (f"203.0.113.7:1, {FORGED}x", 0, ""),
        (f"{FORGED}, 203.0.113.7, 10.0.0.1:5", 1, "203.0.113.7"),
        (f"{FORGED}, 203.0.113.7, 10.0.0.1, 10.0.0.2:5", 2, "203.0.113.7"),
        ("10.0.0.1:5", 1, ""),
        ("", 1, ""),
        (",,,", 2, ""),
    ],
)
def test_the_last_hop_counts(
    guard: Authority, forwarded: str | None, proxies: int, address: str
) -> None:
    """The address that platform and named proxies append counts; the caller wrote the rest."""
    with using(GuardedApp(governed(), guard, trusted_proxies=proxies)):
        assert caller_address(_Headers(forwarded)) == address  # type: ignore[arg-type]


@pytest.mark.parametrize("path", [INITIATE, "/api/requests"])
def test_a_forged_hop_never_reaches_a_rule(app: GuardedApp, guard: Authority, path: str) -> None:
    """Without a source it is opened to where the call came from, and recorded as that."""
    alice = guard.person("alice", "Jit.Request")
    long = {"virtualMachines": [{"id": WEB, "ports": [{"number": 22, "duration": "PT10M"}]}]}
    short = {"virtualMachine": WEB, "ports": [22], "duration": "PT10M"}
    headers = {
        "X-Forwarded-For": f"{FORGED}, 203.0.113.99:5",
        "X-Real-IP": FORGED,
        "Client-IP": FORGED,
        "X-Azure-ClientIP": FORGED,
        "Forwarded": f"for={FORGED}",
    }
    body = long if path == INITIATE else short
    assert app.call("POST", path, body, who=alice, headers=headers).status == 202
    app.world.work()
    assert "203.0.113.99" in rules(app)
    assert FORGED not in rules(app)
    assert FORGED not in str(app.world.tables.activity.rows)


@pytest.mark.parametrize("who", ["app", "relay", "a person who relays"])
def test_who_sits_elsewhere_names_the_source(app: GuardedApp, guard: Authority, who: str) -> None:
    """A pipeline's or a workflow's own address is not where its user sits."""
    callers = {
        "app": guard.bot("pipeline", "Jit.Request"),
        "relay": guard.bot("relay", "Jit.Relay"),
        "a person who relays": guard.person("rita", "Jit.Relay"),
    }
    behalf = {} if who == "app" else {"onBehalfOf": OWNER}
    short = {"virtualMachine": WEB, "ports": [22], "duration": "PT10M", **behalf}
    with nothing_changes(app.world):
        refused = app.call("POST", "/api/requests", short, who=callers[who])
    assert refused.status == 400
    assert "must name the source" in refused.error["message"]
    named = {**short, "allowedSourceAddressPrefix": "203.0.113.50"}
    assert app.call("POST", "/api/requests", named, who=callers[who]).status == 202


@pytest.mark.parametrize("source", [SOURCE, "198.51.100.9"])
@pytest.mark.parametrize("relay", ["app", "person"])
def test_a_relay_s_address_is_no_person_s_own(guard: Authority, relay: str, source: str) -> None:
    """A policy that opens to one's own address only opens nothing for a relay, and says why."""
    app = GuardedApp(governed(own_address_only=True), guard)
    who = guard.bot("bot", "Jit.Relay") if relay == "app" else guard.person("rita", "Jit.Relay")
    headers = {**who, "X-Forwarded-For": SOURCE}
    body = {**SHORT, "allowedSourceAddressPrefix": source, "onBehalfOf": OWNER}
    with nothing_changes(app.world):
        refused = app.call("POST", "/api/requests", body, who=headers)
    assert (refused.status, refused.error["code"]) == (400, "RequestNotWithinPolicy")
    (line,) = refused.error["details"]
    assert line["code"] == "SourceNotOwnAddress"
    assert "a relay calls from its own, not from that of the person" in line["message"]
    alone = {**SHORT, "allowedSourceAddressPrefix": SOURCE}
    owner = {**guard.person("owner"), "X-Forwarded-For": SOURCE}
    assert app.call("POST", "/api/requests", alone, who=owner).status == 202


def test_an_address_that_cannot_be_told_is_no_source(app: GuardedApp, guard: Authority) -> None:
    """Neither all addresses nor none: the caller has to name one."""
    short = {"virtualMachine": WEB, "ports": [22], "duration": "PT10M"}
    alice = guard.person("alice", "Jit.Request")
    for hop in ("", "unknown", "fe80::1%eth0", "*"):
        answer = app.call(
            "POST", "/api/requests", short, who=alice, headers={"X-Forwarded-For": hop}
        )
        assert (answer.status, "name the source" in answer.error["message"]) == (400, True)
