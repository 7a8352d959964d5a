"""Links behind a proxy: they stand on the address that callers use."""

from typing import Any

import pytest

from functions import http_policies
from shared.settings import Settings, SettingsError, read_settings
from tests.functions.web_app import AS_ADMIN, AS_ALICE, AS_READER, HOST, WebApp, asking, policy_body
from tests.world import GROUP, POLICY, SUBSCRIPTION, WEB, World

INITIATE = f"{POLICY}/initiate"
LEAST = {
    "JIT_DEPLOYMENT_ID": "test1",
    "JIT_TENANT_ID": "22222222-2222-4222-8222-222222222222",
    "JIT_AUDIENCE": "api://jit",
    "JIT_SCOPES": f"/subscriptions/{SUBSCRIPTION}",
}


def serve(public_url: str) -> WebApp:
    """Serve a fresh world behind a proxy."""
    web = WebApp(World())
    checked = {**web.settings.model_dump(by_alias=False), "public_url": public_url}
    web.settings = Settings.model_validate(checked)
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()
    return web


@pytest.mark.parametrize(
    ("public_url", "root"),
    [
        ("", HOST),
        ("https://jit.contoso.com", "https://jit.contoso.com"),
        ("https://jit.contoso.com/", "https://jit.contoso.com"),
        ("https://contoso.com:8443/jit/eu/", "https://contoso.com:8443/jit/eu"),
        ("http://localhost:7071", "http://localhost:7071"),
    ],
)
def test_every_link_stands_on_the_public_address(
    public_url: str, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Location, the nextLink of each list and the API's description name one address."""
    web = serve(public_url)
    other = POLICY.replace("/default", "/other")
    web.call("PUT", other, policy_body(ports=(443,)), who=AS_ADMIN)
    taken = [web.call("POST", INITIATE, asking(port=port), who=AS_ALICE) for port in (22, 3389)]
    for each in taken:
        assert each.headers["Location"].startswith(f"{root}/api/requests/")
    waiting = web.call("GET", taken[0].headers["Location"].removeprefix(root), who=AS_ALICE)
    assert waiting.headers["Location"] == taken[0].headers["Location"]
    activity = web.call("GET", "/api/activity?top=1", who=AS_READER).json
    assert activity["nextLink"].startswith(f"{root}/api/activity?")
    described = web.call("GET", "/api/openapi.json").json
    assert [each["url"] for each in described["servers"]] == [root]
    monkeypatch.setattr(http_policies, "_PAGE", 1)
    path = f"{GROUP}/providers/Microsoft.Security/jitNetworkAccessPolicies"
    link = web.call("GET", f"{path}?api-version=2020-01-01", who=AS_ADMIN).json["nextLink"]
    assert link.startswith(f"{root}{path}?api-version=2020-01-01&$skipToken=")
    rest = web.call("GET", link.removeprefix(root), who=AS_ADMIN).json
    assert [each["name"] for each in rest["value"]] == ["other"]


def test_a_next_link_in_another_script_is_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that the host hands on decoded is encoded in the link."""
    web = serve("")
    group = "财务"
    for name in ("one", "two"):
        policy = POLICY.replace("/app/", f"/{group}/").replace("/default", f"/{name}")
        web.call("PUT", policy, policy_body(WEB), who=AS_ADMIN)
    monkeypatch.setattr(http_policies, "_PAGE", 1)
    path = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Security"
    link = web.call("GET", f"{path}/jitNetworkAccessPolicies", who=AS_ADMIN).json["nextLink"]
    assert link.isascii()
    rest = web.call("GET", link.removeprefix(HOST), who=AS_ADMIN).json
    assert [each["name"] for each in rest["value"]] == ["two"]


@pytest.mark.parametrize(
    "value",
    ["jit.contoso.com", "//jit.contoso.com", "http://jit.contoso.com", "ftp://jit.contoso.com",
     "https://", "https:///jit", "https://user@jit.contoso.com", "https://jit.contoso.com?x=1",
     "https://jit.contoso.com/#a", "https://jit.contoso.com/a b", "https://jit.contoso.com:0",
     "https://jit.contoso.com:99999", "https://jit.contoso.com:x", "https://jit.contoso.com/../x",
     "https://jit.contoso.com/%2e%2e", "https://jit.contoso.com\r\nX: y", "https://jit.contoso.com\\x",
     "https://jit.contoso.com//evil.example", "https://münchen.example"],
)  # fmt: skip
def test_what_is_no_public_address_stops_the_app(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The setting is named, at the start and not at the first answer."""
    settings: dict[str, Any] = {**LEAST, "JIT_PUBLIC_URL": value}
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SettingsError, match=r"^JIT_PUBLIC_URL: "):
        read_settings()
