"""The page where the session has ended, the app is down, or the network is slow."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.rewriting import change_answers
from tests.browser.test_requestor import open_access, open_form, send
from tests.e2e.playing import Play

# What msal-browser keeps of an access token; the page's clock is not turned, as the new
# sign-in's tokens would be late by it.
_EXPIRE_TOKENS = """() => {
  for (const [key, text] of Object.entries(sessionStorage)) {
    if (!key.includes("accesstoken")) continue;
    sessionStorage.setItem(key, JSON.stringify({ ...JSON.parse(text), expiresOn: "1", extendedExpiresOn: "1" }));
  }
  return Object.keys(sessionStorage).filter((key) => key.includes("accesstoken")).length;
}"""
_SLOW = {
    "offline": False,
    "latency": 1500,
    "downloadThroughput": 50_000,
    "uploadThroughput": 50_000,
}
_FAST = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


def test_an_ended_session_signs_in_again_and_returns_to_the_screen(
    visit: Visit, page_play: Play
) -> None:
    """With token and session ended, the next call leads through sign-in back to the screen."""
    alice = visit("alice")
    page = alice.go("#/access")
    page_play.stack._issuer.sign_in.end_sessions()
    assert page.evaluate(_EXPIRE_TOKENS) > 0
    with alice.refused():
        page.get_by_role("link", name="Machines").click()
        page.locator("#alice").click()
        expect(page.locator("h1")).to_have_text("Machines")
    assert page.url.endswith("#/machines")
    # Tokens are kept for this window alone.
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.includes('token'))") == []


def test_an_open_request_is_followed_again_once_the_app_is_back(
    visit: Visit, page_play: Play
) -> None:
    """While the app is down the screen stays and says so; it recovers without a reload."""
    site = page_play.protected()
    alice = visit("alice")
    page = open_access(alice, site)
    with alice.refused():
        page_play.stack.stop_host()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("The service does not answer.")
        expect(alert).to_contain_text("What is open closes on time all the same.")
        expect(page.locator(".state")).to_contain_text("Open until")
        page.get_by_role("link", name="Machines").click()
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        page_play.stack.start_host()
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("h1")).to_have_text("Machines")
        page.go_back()
        expect(page.locator(".state")).to_contain_text("Open until")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_slow_network_shows_progress_and_sends_once(visit: Visit, page_play: Play) -> None:
    """While an answer is awaited the page says so, and a second press sends no second request."""
    site = page_play.protected()
    alice = visit("alice")
    form = open_form(alice, site)
    expect(form).to_contain_text("This will open within seconds.")
    page = alice.page
    sent: list[str] = []
    page.on("request", lambda call: sent.append(f"{call.method} {call.url}"))
    network = alice.context.new_cdp_session(page)
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", _SLOW)
    try:
        send(form)
        expect(form.get_by_role("button", name="Request access")).to_be_disabled()
        form.locator("form").evaluate("form => form.querySelector('.primary').click()")
        expect(page.locator("main")).to_have_text("Loading ...")
        expect(page.locator(".state")).to_contain_text("Open until")
        page.get_by_role("link", name="Machines").click()
        expect(page.locator("main")).to_have_text("Loading ...")
        expect(page.locator("h1")).to_have_text("Machines")
    finally:
        network.send("Network.emulateNetworkConditions", _FAST)
        network.detach()
    made = [call for call in sent if re.fullmatch(r"POST \S+/api/requests", call)]
    assert len(made) == 1, sent


def test_parts_of_a_cloud_that_did_not_answer_are_named(visit: Visit) -> None:
    """Where an account or region did not answer, Machines says so and shows the others."""
    alice = visit("alice")
    reason = "account 111122223333 in eu-west-1 did not answer: <b>timed out</b>"
    change_answers(
        alice.page, "**/api/machines*", lambda found: {**found, "unanswered": [reason, reason]}
    )
    page = alice.go("#/machines")
    note = page.get_by_role("note")
    expect(note).to_contain_text("Machines may be missing")
    expect(note.get_by_role("listitem")).to_have_text(["A" + reason[1:]])
    expect(page.get_by_role("tablist")).to_be_visible()
    page.unroute_all(behavior="ignoreErrors")
    expect(alice.go("#/machines").get_by_role("note")).to_have_count(0)
