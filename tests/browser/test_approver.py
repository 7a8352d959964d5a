"""An approver decides in the page about another person's request."""

from playwright.sync_api import Page, expect

from local.browser import Visitor
from tests.browser.conftest import Visit
from tests.browser.settings import name_of, protect
from tests.browser.test_requestor import open_form, send
from tests.e2e.playing import Play, Site


def waiting(visitor: Visitor, site: Site) -> Page:
    """Request access that waits for approval, and return the request's screen."""
    form = open_form(visitor, site)
    form.get_by_label("Reason").fill("disk is full")
    expect(form).to_contain_text("This will wait for approval.")
    send(form)
    expect(visitor.page.locator(".state")).to_contain_text("Waits for an approver")
    return visitor.page


def decide(visitor: Visitor, site: Site, action: str, comment: str) -> None:
    """Decide about the request of a site's machine from the inbox."""
    page = visitor.go("#/approvals")
    card = page.locator(".card").filter(has_text=name_of(site.vm))
    expect(card).to_contain_text("disk is full")
    card.get_by_role("button", name=action).click()
    visitor.dialog().get_by_label("Comment").fill(comment)
    visitor.dialog().get_by_role("button", name=action).click()
    expect(card).to_have_count(0)


def test_a_second_person_approves_and_the_requestor_sees_it_open(
    visit: Visit, page_play: Play
) -> None:
    """The requestor's screen, left as it is, turns to open once an approver has agreed."""
    site = protect(page_play, page_play.azure.build(), conditions={"approversNeeded": 1})
    requestor = waiting(visit("alice"), site)
    assert not page_play.azure.allowed(site.vm)
    decide(visit("carol"), site, "Approve", "go ahead")
    expect(requestor.locator(".state")).to_contain_text("Open until")
    expect(requestor.get_by_role("heading", name="Approval: 1 of 1")).to_be_visible()
    expect(requestor.locator("main")).to_contain_text("carol@contoso.example approved")
    expect(requestor.locator("main")).to_contain_text("go ahead")
    assert page_play.azure.allowed(site.vm)


def test_a_denied_request_says_why_and_what_to_do(visit: Visit, page_play: Play) -> None:
    """The requestor's screen shows the denial with its comment, and nothing is opened."""
    site = protect(page_play, page_play.azure.build(), conditions={"approversNeeded": 1})
    requestor = waiting(visit("bob"), site)
    decide(visit("dave"), site, "Deny", "use the jump host")
    expect(requestor.locator(".state")).to_contain_text("Denied")
    expect(requestor.locator("main")).to_contain_text("use the jump host")
    expect(requestor.get_by_role("alert")).to_contain_text("Ask the approver")
    assert not page_play.azure.allowed(site.vm)


def test_a_requestor_withdraws_a_request_that_waits(visit: Visit, page_play: Play) -> None:
    """A request that waits can be withdrawn, and leaves the inbox of the approver."""
    site = protect(page_play, page_play.azure.build(), conditions={"approversNeeded": 1})
    alice = visit("alice")
    page = waiting(alice, site)
    page.get_by_role("button", name="Withdraw").click()
    alice.dialog().get_by_role("button", name="Withdraw").click()
    expect(page.locator(".state")).to_contain_text("Ended early")
    carol = visit("carol").go("#/approvals")
    expect(carol.locator(".card").filter(has_text=name_of(site.vm))).to_have_count(0)
