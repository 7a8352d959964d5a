"""Names of machines, people and policies, and reasons, that are markup, turn text, or are long."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from local.browser import Visitor
from tests.browser.conftest import Visit
from tests.browser.rewriting import replace_texts
from tests.browser.settings import name_of, protect
from tests.e2e.playing import POLICIES, Play

PHONE: ViewportSize = {"width": 375, "height": 720}
DESK: ViewportSize = {"width": 1280, "height": 720}
REASON, PERSON = "the named reason", "alice@contoso.example"
HOSTILE = {
    "markup": '<img src=x onerror="hit=1"><b>{}&lt;',
    "turned": "\u05d3\u05e0\u05d4 \u0645\u0631\u062d\u0628\u0627 \u202egnp.{}",
    "closing": "\u2069\u202e\u05d3{}\u202c\u2069",
    "long": "{}" + "long" * 30,
}
# What stands in an element of its own, so that its direction turns nothing beside it.
LOOSE = r"""() => {
  const turning = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/;
  const texts = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const { parentElement, data } = texts.currentNode;
    const isolated = parentElement.closest("bdi, option, pre");
    if (turning.test(data) && !isolated) found.push(data);
    // A part of our own sentence must not stand within what a name turns.
    if (parentElement.closest("bdi") && / requests ports? |^Reason: /.test(data)) found.push(data);
  }
  return found;
}"""


@dataclass(frozen=True)
class Case:
    """A request that waits, and one that is open, with the names to be replaced."""

    vm: str
    policy: str
    nsg: str
    request: str
    opened: str

    def texts(self, hostile: str) -> dict[str, str]:
        """Return the hostile text for each name."""
        form = HOSTILE[hostile]
        return {
            name_of(self.vm): form.format("vm"),
            name_of(self.nsg): form.format("nsg"),
            PERSON: form.format("person"),
            REASON: form.format("reason"),
            name_of(self.policy): form.format("policy"),
        }


@pytest.fixture(scope="module")
def case(page_play: Play) -> Case:
    """Make a machine with one open request and another with one that waits."""
    site, other = page_play.azure.build(), page_play.protected()
    site = replace(site, policy_id=f"{POLICIES}/the-named-policy")
    protect(page_play, site, conditions={"approversNeeded": 1})
    waiting = page_play.alice.initiate(site.policy_id, site.asked(duration="PT1H"), REASON)
    opened = page_play.alice.initiate(other.policy_id, other.asked(duration="PT1H"), REASON)
    page_play.alice.wait(opened, "Initiated")
    ids = [each.partition("?")[0].rpartition("/")[2] for each in (waiting, opened)]
    return Case(site.vm, site.policy_id, site.nic_nsg, *ids)


SCREENS = {
    "machines": ("erin", "#/machines", "vm"),
    "machine": ("erin", "#/machines/{vm}", "vm"),
    "my access": ("alice", "#/access", "reason"),
    "one request": ("erin", "#/requests/{request}", "reason"),
    "one open request": ("erin", "#/requests/{opened}", "reason"),
    "approvals": ("carol", "#/approvals", "reason"),
    "policies": ("erin", "#/policies", "policy"),
    "policy": ("erin", "#/policies/{policy}", "vm"),
    "activity": ("erin", "#/activity", "reason"),
    "operations": ("erin", "#/operations", "person"),
}


@pytest.fixture
def look(visit: Visit) -> Iterator[Visit]:
    """Give windows whose answers may be changed; afterwards they are as they were."""
    seen: list[Visitor] = []

    def at(name: str) -> Visitor:
        seen.append(visit(name))
        return seen[-1]

    yield at
    for visitor in seen:
        visitor.page.unroute_all(behavior="ignoreErrors")


def check(page: Page) -> None:
    """Nothing ran, nothing is turned, and a phone shows it without scrolling sideways."""
    assert page.evaluate("() => window.hit") is None
    assert page.locator("main img, main b, dialog img, dialog b").count() == 0
    assert page.evaluate(LOOSE) == []
    page.set_viewport_size(PHONE)
    width = page.evaluate("() => document.documentElement.scrollWidth")
    page.set_viewport_size(DESK)
    assert width <= PHONE["width"]


@pytest.mark.parametrize("screen", SCREENS)
def test_hostile_names_are_shown_as_text(screen: str, look: Visit, case: Case) -> None:
    """Each hostile name stands on each screen letter by letter, and changes nothing around it."""
    person, address, told = SCREENS[screen]
    ids = {name: quote(getattr(case, name), safe="") for name in case.__dataclass_fields__}
    visitor = look(person)
    for hostile, form in HOSTILE.items():
        replace_texts(visitor.page, case.texts(hostile))
        page = visitor.go(address.format(**ids))
        if screen == "machines":
            page.get_by_role("tab", name="Configured", exact=False).first.click()
        expect(page.locator("main")).to_contain_text(form.format(told))
        page.wait_for_load_state("networkidle")
        check(page)
        page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_shown_as_text_in_forms(hostile: str, look: Visit, case: Case) -> None:
    """The forms of a decision and of revoking all show hostile names as text."""
    form = HOSTILE[hostile]
    carol, erin = look("carol"), look("erin")
    for visitor in (carol, erin):
        replace_texts(visitor.page, case.texts(hostile))
    page = carol.go("#/approvals")
    card = page.locator(".card").filter(has_text=form.format("reason")).first
    card.get_by_role("button", name="Approve").click()
    expect(carol.dialog()).to_contain_text(form.format("person"))
    check(page)
    page = erin.go("#/operations")
    page.get_by_role("button", name="Revoke all ...").click()
    expect(erin.dialog()).to_contain_text("The firewalls close at once")
    check(page)
