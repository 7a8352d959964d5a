"""Every screen: axe finds nothing in light and dark, and hostile texts are shown as text."""

from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import ViewportSize, expect

from local.browser import Visitor
from local.stack import ROOT
from tests.browser.conftest import Visit
from tests.browser.settings import HOSTILE_PERSON, name_of
from tests.e2e.playing import SOURCE, Play

Arrive = Callable[[str, str], Visitor]
AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
FINDINGS = """async () => (await axe.run()).violations.map(({ id, nodes }) =>
  `${id}: ${nodes.map((node) => node.html).join(" | ")}`)"""
REASON = '<img src=x onerror="hit=1"> <b>INC</b> ' + "long" * 20
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PHONE: ViewportSize = {"width": 375, "height": 720}
DESK: ViewportSize = {"width": 1280, "height": 720}
SCREENS = {
    "machines": ("erin", "#/machines"),
    "my access": (HOSTILE_PERSON, "#/access"),
    "approvals": ("carol", "#/approvals"),
    "policies": ("erin", "#/policies"),
    "activity": ("erin", "#/activity"),
    "operations": ("erin", "#/operations"),
}


def check(visitor: Visitor) -> None:
    """Run axe in both colour schemes; nothing of the page ran what a name holds."""
    page = visitor.page
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(AXE)
        assert page.evaluate(FINDINGS) == [], scheme
    page.emulate_media(color_scheme="light")
    assert page.evaluate("() => window.hit") is None


@pytest.fixture(scope="module")
def request_path(page_play: Play) -> str:
    """Return the screen of a request whose requestor and reason hold markup."""
    site = page_play.protected()
    eve = page_play.person(HOSTILE_PERSON, "Jit.Request")
    location = eve.initiate(site.policy_id, site.asked(duration="PT1H"), REASON)
    eve.wait(location, "Initiated")
    request_id = location.partition("?")[0].rpartition("/")[2]
    return f"#/requests/{request_id}"


@pytest.fixture
def arrive(visit: Visit) -> Arrive:
    """Bring a person to a screen that has loaded all."""

    def at(person: str, address: str) -> Visitor:
        visitor = visit(person)
        visitor.go(address).wait_for_load_state("networkidle")
        return visitor

    return at


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_is_accessible(screen: str, arrive: Arrive, request_path: str) -> None:
    """Axe finds nothing on a screen, in light and dark."""
    assert request_path
    check(arrive(*SCREENS[screen]))


def test_a_request_with_markup_is_shown_as_text(arrive: Arrive, request_path: str) -> None:
    """The requestor's name and the reason stand there letter by letter."""
    visitor = arrive("erin", request_path)
    expect(visitor.page.locator("main")).to_contain_text(REASON)
    expect(visitor.page.locator("main")).to_contain_text(HOSTILE_PERSON)
    check(visitor)


def test_the_form_of_a_request_is_accessible(arrive: Arrive, page_play: Play) -> None:
    """Axe finds nothing in the form, filled in and judged."""
    site = page_play.protected()
    visitor = arrive("alice", "#/machines")
    page = visitor.page
    page.get_by_label("Search by name").fill(name_of(site.vm))
    page.get_by_role("button", name="Request access").click()
    visitor.dialog().get_by_label("From address").fill(SOURCE)
    expect(visitor.dialog()).to_contain_text("This will open within seconds.")
    check(visitor)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_fits_a_phone(screen: str, arrive: Arrive) -> None:
    """At 375 pixels the page itself does not scroll sideways; wide tables do so by themselves."""
    page = arrive(*SCREENS[screen]).page
    page.set_viewport_size(PHONE)
    width = page.evaluate("() => document.documentElement.scrollWidth")
    page.set_viewport_size(DESK)
    assert width <= PHONE["width"]


def test_axe_would_tell(arrive: Arrive) -> None:
    """A field without a label is found, so that an empty list of findings means something."""
    page = arrive("erin", "#/operations").page
    page.evaluate("() => document.querySelector('main').append(document.createElement('input'))")
    page.evaluate(AXE)
    assert any(found.startswith("label:") for found in page.evaluate(FINDINGS))
