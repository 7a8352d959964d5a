"""Bodies as public scripts, PowerShell and forms send them: numbers as text, breaks, charsets."""

import json
import re
from typing import Any
from urllib.parse import quote

import pytest

from tests.functions.web_app import (
    AS_ADMIN,
    AS_ALICE,
    Answer,
    WebApp,
    asking,
    nothing_changes,
    policy_body,
    token,
)
from tests.world import POLICY, WEB

INITIATE = f"{POLICY}/initiate"
SHORT: dict[str, Any] = {
    "virtualMachine": WEB,
    "ports": [22],
    "duration": "PT1H",
    "allowedSourceAddressPrefix": "203.0.113.7",
}
NOT_WHOLE: list[Any] = [
    "22.0", 22.5, 22.0, 2.2e1, True, "true", "22; x", " 22", "22 ", "22\n", "+22", "-22", "022",
    "0x16", "2_2", "\u0662\u0662", "\uff12\uff12", "", "twenty-two", [22], {"n": 22}, "9" * 5000,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _policy(web: WebApp) -> None:
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()


def put_with(web: WebApp, field: str, value: Any) -> Answer:
    """PUT a policy with one condition or, for `number` and `mappedPort`, one field of a port."""
    body = policy_body(WEB, ports=(22,))
    rule = body["properties"]["virtualMachines"][0]["ports"][0]
    target = rule if field in {"number", "mappedPort"} else body["properties"].setdefault(
        "conditions", {}
    )  # fmt: skip
    target[field] = value
    return web.call("PUT", POLICY, body, who=AS_ADMIN)


# --- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text"),
    [("number", "22"), ("number", "0"), ("number", "65535"), ("mappedPort", "2222"),
     ("approversNeeded", "2"), ("widestSourcePrefixIpv4", "28"), ("widestSourcePrefixIpv6", "64")],
)  # fmt: skip
def test_a_policy_may_write_a_number_as_text(web: WebApp, field: str, text: str) -> None:
    """A policy whose whole numbers are texts of digits is the same policy."""
    as_text, as_number = put_with(web, field, text), put_with(web, field, int(text))
    assert as_text.status == 200, as_text.text
    assert as_text.json["properties"] == as_number.json["properties"]


@pytest.mark.parametrize(
    ("path", "body"),
    [(INITIATE, asking(port="22")), ("/api/requests", SHORT | {"ports": ["22"]})],  # type: ignore[arg-type]
)
def test_a_request_may_write_a_port_as_text(web: WebApp, path: str, body: Any) -> None:
    """A request for port "22" opens port 22 and answers the number."""
    taken = web.call("POST", path, body, who=AS_ALICE)
    assert taken.status == 202, taken.text
    assert taken.json["virtualMachines"][0]["ports"][0]["number"] == 22


def test_a_port_as_text_and_as_number_is_one_call(web: WebApp) -> None:
    """A call that is sent again with the other spelling is the same call."""
    sent = {"Repeatability-Request-ID": "one"}
    first = web.call("POST", INITIATE, asking(), who=AS_ALICE, headers=sent)
    again = web.call("POST", INITIATE, asking(port="22"), who=AS_ALICE, headers=sent)  # type: ignore[arg-type]
    assert first.headers["Location"] == again.headers["Location"]


@pytest.mark.parametrize("value", NOT_WHOLE)
@pytest.mark.parametrize(
    "field",
    ["number", "mappedPort", "approversNeeded", "widestSourcePrefixIpv4", "widestSourcePrefixIpv6"],
)
def test_what_is_no_whole_number_is_refused_in_a_policy(
    web: WebApp, field: str, value: Any
) -> None:
    """Fractions, signs, blanks, truths and digits of another script are named with their place."""
    with nothing_changes(web.world):
        refused = put_with(web, field, value)
    assert refused.status == 400
    assert refused.error["details"][0]["target"].endswith(field)
    said = "one value" if isinstance(value, list) else "number|integer"
    assert re.search(said, refused.error["message"])


@pytest.mark.parametrize("value", [*NOT_WHOLE, None])
def test_what_is_no_whole_number_is_refused_in_a_request(web: WebApp, value: Any) -> None:
    """The same in both forms of a request."""
    body = asking()
    body["virtualMachines"][0]["ports"][0]["number"] = value
    for path, sent in ((INITIATE, body), ("/api/requests", SHORT | {"ports": [value]})):
        with nothing_changes(web.world):
            refused = web.call("POST", path, sent, who=AS_ALICE)
        assert (refused.status, refused.error["code"]) == (400, "InvalidInitiateInput")


@pytest.mark.parametrize("top", ["0", "1001", " 5", "+5", "5.0", "\u0665", "1_0", "many"])
def test_what_is_no_whole_number_is_refused_in_a_query(web: WebApp, top: str) -> None:
    """The page size of the activity is read by the same rule."""
    who = token("rita", "Jit.Read")
    assert web.call("GET", f"/api/activity?top={quote(top)}", who=who).status == 400


# --- line breaks -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["one\r\ntwo", "one\rtwo", "one\ntwo", "\tone\r\n\r\ntwo\r"])
@pytest.mark.parametrize("path", [INITIATE, "/api/requests"])
def test_a_justification_may_break_lines_in_any_way(web: WebApp, path: str, text: str) -> None:
    """Text from a form or from Windows is taken, and kept with one type of line break."""
    body = (asking() if path == INITIATE else SHORT) | {"justification": text}
    taken = web.call("POST", path, body, who=AS_ALICE)
    assert taken.status == 202, taken.text
    assert taken.json["justification"] == text.replace("\r\n", "\n").replace("\r", "\n")


def test_a_justification_as_long_as_it_may_be_has_any_breaks(web: WebApp) -> None:
    """A line break counts once, however it is written."""
    body = asking() | {"justification": "x\r\n" * 512}
    assert web.call("POST", INITIATE, body, who=AS_ALICE).status == 202


def test_a_justification_in_other_breaks_is_the_same_call(web: WebApp) -> None:
    """A repeat from another system says the same."""
    sent = {"Repeatability-Request-ID": "one"}
    answers = [
        web.call("POST", INITIATE, asking() | {"justification": text}, who=AS_ALICE, headers=sent)
        for text in ("a\r\nb", "a\nb", "a\rb")
    ]
    assert len({each.headers["Location"] for each in answers}) == 1


@pytest.mark.parametrize("text", ["one\r\ntwo", "one\rtwo"])
def test_comments_may_break_lines_in_any_way(web: WebApp, text: str) -> None:
    """So may what is said when access is revoked, for one request or for all of a VM."""
    taken = web.call("POST", INITIATE, asking(), who=AS_ALICE)
    said = {"comment": text}
    revoked = web.call("POST", f"{taken.headers['Location']}/revoke", said, who=AS_ALICE)
    assert revoked.status == 200, revoked.text
    everything = {"virtualMachine": WEB, **said}
    assert web.call("POST", "/api/revoke", everything, who=AS_ADMIN).status == 200


@pytest.mark.parametrize(
    ("text", "told"),
    [("a\x00b", "U+0000"), ("a\x07", "U+0007"), ("\x1b[31m", "U+001B"), ("a\x0bb", "U+000B"),
     ("a\x0c", "U+000C"), ("a\x85b", "U+0085"), ("\u2028", "U+2028"), ("a\u202eb", "U+202E")],
)  # fmt: skip
def test_other_control_characters_are_refused_by_name(web: WebApp, text: str, told: str) -> None:
    """The sentence names the character and where it stands, and what is taken."""
    body = asking() | {"justification": text}
    refused = web.call("POST", INITIATE, body, who=AS_ALICE)
    assert refused.status == 400
    assert refused.error["details"][0]["target"] == "justification"
    assert told in refused.error["message"]
    assert "line breaks and tabs" in refused.error["message"]


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\rb", "a\tb", "a\x00b", "a\u202eb", ""])
def test_the_name_of_a_person_is_one_line(web: WebApp, name: str) -> None:
    """The name that a relay gives stands in logs and rule texts."""
    person = {"objectId": "33333333-3333-4333-8333-333333333333", "name": name}
    body = asking() | {"onBehalfOf": person}
    refused = web.call("POST", INITIATE, body, who=token("relay", "Jit.Relay", app=True))
    assert refused.status == 400
    assert refused.error["details"][0]["target"] == "onBehalfOf.name"


# --- charsets ----------------------------------------------------------------------------------


def send(web: WebApp, text: bytes, **headers: str) -> Answer:
    """Send the bytes of an initiate under some headers; underscores stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.send("POST", INITIATE, text, {**AS_ALICE, **named})


def said(text: str) -> str:
    """Write a request with a justification, in characters and not escaped."""
    return json.dumps(asking() | {"justification": text}, ensure_ascii=False)


@pytest.mark.parametrize(
    "content_type",
    ["", "application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8",
     'application/json; charset="utf-8"', "application/json; charset=utf8",
     "application/json; odata.metadata=minimal; charset=Utf-8", "application/json; charset=",
     "application/json ;  charset = utf-8", "text/plain; charset=utf-8", "application/json;"],
)  # fmt: skip
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_utf_8_is_read_however_it_is_declared(web: WebApp, content_type: str, mark: bytes) -> None:
    """With or without a byte order mark, and in each spelling that clients send."""
    taken = send(web, mark + said("Größe 财务").encode(), Content_Type=content_type)
    assert taken.status == 202, taken.text
    assert taken.json["justification"] == "Größe 财务"


@pytest.mark.parametrize("charset", ["us-ascii", "US-ASCII", "ascii"])
def test_ascii_is_read(web: WebApp, charset: str) -> None:
    """ASCII is UTF-8; bytes beyond it are not what was declared."""
    declared = f"application/json; charset={charset}"
    assert send(web, said("INC1").encode(), Content_Type=declared).status == 202
    refused = send(web, said("ö").encode(), Content_Type=declared)
    assert refused.status == 400
    assert "US-ASCII" in refused.error["message"]


@pytest.mark.parametrize(
    ("declared", "named"),
    [("iso-8859-1", "iso-8859-1"), ('"ISO-8859-1"', "ISO-8859-1"), ("windows-1252", "windows-1252"),
     ("utf-16", "utf-16"), ("utf-16le", "utf-16le"), ("utf-32", "utf-32"), ("utf-7", "utf-7"),
     ("latin1", "latin1"), ("shift_jis", "shift_jis"), ("rot13", "rot13"), ("nonsense", "nonsense"),
     ("ü", "ü"), ("x" * 300, "x" * 300)],
)  # fmt: skip
def test_a_charset_that_is_not_read_is_named(web: WebApp, declared: str, named: str) -> None:
    """415 names the charset and says which one is needed, even where the bytes would be read."""
    with nothing_changes(web.world):
        refused = send(
            web, said("INC1").encode(), Content_Type=f"application/json; charset={declared}"
        )
    assert (refused.status, refused.error["code"]) == (415, "UnsupportedMediaType")
    assert f"'{named}'" in refused.error["message"]
    assert "UTF-8" in refused.error["message"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "GZIP", "gzip, identity"])
def test_a_content_encoding_is_named(web: WebApp, coding: str) -> None:
    """A compressed body is no broken JSON: 415 says that it is not read."""
    refused = send(web, b"\x1f\x8b\x08\x00", Content_Encoding=coding)
    assert (refused.status, refused.error["code"]) == (415, "UnsupportedMediaType")
    assert f"'{coding}'" in refused.error["message"]
    assert send(web, said("a").encode(), Content_Encoding="identity").status == 202


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("latin-1", "0xF6"), ("cp1252", "0xF6"), ("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"),
     ("utf-16-be", "UTF-16"), ("utf-32", "UTF-16 or UTF-32"), ("cp037", "byte 0x")],
)  # fmt: skip
@pytest.mark.parametrize("path", [INITIATE, POLICY, "/api/requests", "/api/requests/x/approve"])
def test_a_body_in_another_encoding_says_which_is_needed(
    web: WebApp, encoding: str, told: str, path: str
) -> None:
    """The answer says UTF-8, and how PowerShell sends it."""
    method = "PUT" if path == POLICY else "POST"
    refused = web.send(method, path, said("hören").encode(encoding), AS_ADMIN)
    assert (refused.status, refused.error["code"]) == (400, "InvalidRequestContent")
    assert told in refused.error["message"]
    assert "-ContentType 'application/json; charset=utf-8'" in refused.error["message"]


def test_a_decision_without_a_body_has_no_charset(web: WebApp) -> None:
    """An empty body with a charset is accepted."""
    taken = web.call("POST", INITIATE, asking(), who=AS_ALICE)
    headers = {**AS_ALICE, "Content-Type": "application/json; charset=utf-16"}
    assert web.send("POST", f"{taken.headers['Location']}/revoke", b"", headers).status == 200
