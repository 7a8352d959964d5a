"""Screens ask for what they show side by side, not one answer after the other."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from local.browser import Visitor
from tests.browser.rewriting import API, POLICIES
from tests.e2e.playing import Play, until

MOST = 2
ME, MACHINES = "/api/me", "/api/machines"
# The calls of each screen, by round: a round begins once the one before is answered.
ROUNDS = {
    "": [{ME, MACHINES}],
    "#/machines": [{ME, MACHINES}],
    "#/access": [{ME, "/api/requests"}],
    "#/approvals": [{ME, "/api/requests"}],
    "#/policies": [{ME}, {"/jitNetworkAccessPolicies"}],
    "#/policies/{policy}": [{ME, "/jitNetworkAccessPolicies/"}],
    "#/machines/{vm}": [{ME, MACHINES, "/api/requests"}],
    "#/requests/{request}": [{ME, "/api/requests/"}, {"/api/activity"}],
    "#/activity": [{ME, "/api/activity"}],
    "#/operations": [
        {ME, "/api/health", "status=Initiated", "status=Initiating", "status=PendingApproval"}
    ],
}


class Gate:
    """Holds every call of the API until it is let go."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.held: list[Route] = []
        for pattern in (API, POLICIES):
            page.route(pattern, self._hold)

    def _hold(self, route: Route) -> None:
        self.held.append(route)

    def wait_for(self, calls: set[str]) -> None:
        """Wait until the calls are held, all of them at once."""
        until(lambda: self._are_held(calls), f"{calls} are asked for side by side")

    def open(self) -> None:
        """Let go what is held."""
        held, self.held[:] = list(self.held), []
        for route in held:
            route.continue_()

    def _are_held(self, calls: set[str]) -> bool:
        self.page.wait_for_timeout(20)  # the browser's events come while the page waits
        asked = [route.request.url for route in self.held]
        return all(any(call in url for url in asked) for call in calls)


@pytest.fixture
def window(browser: Browser, page_play: Play) -> Iterator[Visitor]:
    """Give an administrator's new window: nothing is cached, and no person is signed in."""
    visitor = Visitor(browser, page_play.stack.api, "erin")
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="module")
def ids(page_play: Play) -> dict[str, str]:
    """Return the ids of a machine, its policy and a request."""
    site = page_play.protected()
    location = page_play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    page_play.alice.wait(location, "Initiated")
    request = location.partition("?")[0].rpartition("/")[2]
    named = {"vm": site.vm, "policy": site.policy_id, "request": request}
    return {name: value.replace("/", "%2F") for name, value in named.items()}


@pytest.mark.parametrize("address", ROUNDS)
def test_a_screen_is_shown_after_two_round_trips(
    address: str, window: Visitor, ids: dict[str, str]
) -> None:
    """After sign-in a screen is complete once two rounds of calls, or one, are answered."""
    rounds = ROUNDS[address]
    assert len(rounds) <= MOST
    page = window.page
    gate = Gate(page)
    page.goto(f"{window.base}/ui/{address.format(**ids)}")
    page.locator("#erin").click()
    for calls in rounds:
        gate.wait_for(calls)
        gate.open()
    page.locator("main h1").wait_for()
    # The screen is shown while any later call is still held.
    expect(page.get_by_text("Loading ...")).to_have_count(0)
    assert page.locator("main [role=alert]").count() == 0
    page.unroute_all(behavior="ignoreErrors")
    assert not window.troubles()
