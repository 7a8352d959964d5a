"""A requestor opens a port in the page, extends it, ends it, and sees it end."""

import re

from playwright.sync_api import Locator, Page, expect

from local.browser import Visitor
from tests.browser.conftest import Visit
from tests.browser.settings import name_of, protect
from tests.e2e.playing import SOURCE, Play, Site, until


def open_form(visitor: Visitor, site: Site) -> Locator:
    """Open the form of a machine from the list of machines, and enter an address."""
    page = visitor.go("#/machines")
    page.get_by_label("Search by name").fill(name_of(site.vm))
    page.get_by_role("button", name="Request access").click()
    form = visitor.dialog()
    form.get_by_label("From address").fill(SOURCE)
    return form


def send(form: Locator) -> None:
    """Press the form's button."""
    form.get_by_role("button", name="Request access").click()


def open_access(visitor: Visitor, site: Site) -> Page:
    """Request access, and return the request's screen once the port is open."""
    form = open_form(visitor, site)
    expect(form).to_contain_text("This will open within seconds.")
    send(form)
    expect(visitor.page.locator(".state")).to_contain_text("Open until")
    return visitor.page


def test_a_requestor_opens_extends_and_ends_an_access(visit: Visit, page_play: Play) -> None:
    """The page opens a port, shows how to connect, moves its end, closes it and offers it again."""
    site = page_play.protected()
    alice = visit("alice")
    page = open_access(alice, site)
    assert page_play.azure.allowed(site.vm)
    expect(page.locator("code")).to_have_text(f"ssh {site.addresses[0]}")
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^\d\d:\d\d left$"))

    page.get_by_role("button", name="Extend").click()
    alice.dialog().get_by_label("New end").select_option(index=0)
    alice.dialog().get_by_role("button", name="Extend").click()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^(5\d:\d\d|1:00:\d\d) left$"))
    expect(page.locator(".timeline")).to_contain_text("gave a later end")

    page.get_by_role("button", name="End now").click()
    alice.dialog().get_by_label("Comment").fill("done early")
    alice.dialog().get_by_role("button", name="End now").click()
    expect(page.locator(".state")).to_contain_text("Ended early")
    until(lambda: not page_play.azure.allowed(site.vm), "the port is closed")

    page = alice.go("#/access")
    row = page.get_by_role("row").filter(has_text=name_of(site.vm))
    expect(row).to_contain_text("Ended early")
    row.get_by_role("button", name="Again").click()
    expect(alice.dialog().get_by_label("From address")).to_have_value(SOURCE)


def test_an_access_is_seen_to_expire_without_a_reload(visit: Visit, page_play: Play) -> None:
    """The request's screen turns from open to closed at the end, while it is looked at."""
    site = page_play.azure.build()
    protect(page_play, site, maxRequestAccessDuration="PT15S")
    alice = visit("alice")
    form = open_form(alice, site)
    expect(form.get_by_label("For")).to_contain_text("15 seconds (the longest)")
    send(form)
    page = alice.page
    expect(page.locator("h1")).to_contain_text(f"port 22 of {name_of(site.vm)}")
    page.evaluate("window.loadedOnce = true")
    expect(page.locator(".state")).to_contain_text("Closed at its end")
    assert page.evaluate("window.loadedOnce") is True
    assert not page_play.azure.allowed(site.vm)
    expect(page.locator(".timeline")).to_contain_text("closed")


def test_unmet_conditions_are_shown_before_and_after_sending(visit: Visit, page_play: Play) -> None:
    """The form names each unmet condition at once, and the API's refusal where it is sent so."""
    site = page_play.azure.build()
    protect(
        page_play,
        site,
        allowedSourceAddressPrefix="10.0.0.0/8",
        conditions={"justificationRequired": True},
    )
    alice = visit("alice")
    with alice.refused():
        form = open_form(alice, site)
        expect(form).to_contain_text("This would be refused:")
        expect(form.locator(".note li")).to_have_count(2)
        send(form)
        alert = form.get_by_role("alert")
        expect(alert).to_contain_text("Change the request and send it again.")
        expect(alert).to_contain_text("10.0.0.0/8")
    expect(form.get_by_role("button", name="Request access")).to_be_enabled()
    form.get_by_label("From address").fill("10.1.2.3")
    form.get_by_label("Reason").fill("INC12345")
    expect(form).to_contain_text("This will open within seconds.")
    assert not page_play.azure.allowed(site.vm)
