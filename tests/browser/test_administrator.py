"""Administrators protect machines, change policies and end access in the page."""

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from local.browser import Visitor
from tests.browser.conftest import Visit
from tests.browser.foreign_rules import SSH_TO_ALL, add_rule, remove_rule
from tests.browser.settings import name_of, protect
from tests.e2e.playing import SOURCE, Play, Site


def search(page: Page, site: Site, tab: str) -> Locator:
    """Look for a site's machine under one category, and return the list."""
    page.get_by_label("Search by name").fill(name_of(site.vm))
    page.get_by_role("tab", name=tab, exact=False).first.click()
    return page.get_by_role("tabpanel")


def edit_conditions(visitor: Visitor, site: Site) -> Locator:
    """Open the form of a policy's conditions."""
    page = visitor.go(f"#/policies/{site.policy_id.replace('/', '%2F')}")
    page.get_by_role("button", name="Change the conditions").click()
    return visitor.dialog()


def test_an_administrator_protects_a_machine(visit: Visit, page_play: Play) -> None:
    """A machine under Not configured is protected after a dry run, and then Configured."""
    site = page_play.azure.build()
    erin = visit("erin")
    page = erin.go("#/machines")
    found = search(page, site, "Not configured")
    found.get_by_label(name_of(site.vm)).check()
    found.get_by_role("button", name="Protect the selected machines").click()
    expect(erin.dialog()).to_contain_text("Every machine can be protected.")
    erin.dialog().get_by_role("button", name="Protect").click()
    expect(erin.dialog()).to_have_count(0)
    row = page.get_by_role("tabpanel").get_by_role("row").filter(has_text=name_of(site.vm))
    expect(row).to_contain_text("22")
    expect(page.get_by_role("tab", name="Configured (1)", exact=True)).to_be_visible()
    assert page_play.azure.ours(site.nic_nsg, "Deny")


def test_an_exposed_machine_names_the_rule_that_exposes_it(visit: Visit, page_play: Play) -> None:
    """Under Exposed the page names the port, the rule, its priority and the security group."""
    site = page_play.protected()
    add_rule(page_play.azure, site.nic_nsg, "let-all-in", SSH_TO_ALL)
    page = visit("erin").go("#/machines")
    row = search(page, site, "Exposed").get_by_role("row").filter(has_text=name_of(site.vm))
    expect(row).to_contain_text("Port 22 is left open to")
    expect(row).to_contain_text("by rule let-all-in (priority 100)")
    expect(row).to_contain_text(name_of(site.nic_nsg))
    row.get_by_role("link", name=name_of(site.vm)).click()
    expect(page.locator("main")).to_contain_text("Remove or narrow that rule, then look again.")
    remove_rule(page_play.azure, site.nic_nsg, "let-all-in")


def test_of_two_administrators_the_second_is_refused(visit: Visit, page_play: Play) -> None:
    """A change of a policy that another administrator has changed meanwhile is not written."""
    site = page_play.protected()
    erin, ada = visit("erin"), visit("ada")
    first, second = edit_conditions(erin, site), edit_conditions(ada, site)
    first.get_by_label("Approvers needed").fill("2")
    first.get_by_role("button", name="Save").click()
    expect(erin.page.locator("main")).to_contain_text("2 people must approve")

    second.get_by_label("Own address only").check()
    with ada.refused():
        second.get_by_role("button", name="Preview").click()
        expect(second).to_contain_text("Another administrator changed it.")
        second.get_by_role("button", name="Save").click()
        expect(second.get_by_role("alert")).to_contain_text("Reload, then make your change again.")
    page = ada.go(f"#/policies/{site.policy_id.replace('/', '%2F')}")
    expect(page.locator("main")).to_contain_text("2 people must approve")
    expect(page.locator("main")).to_contain_text("Access may be requested for another address.")


def test_an_administrator_revokes_all_on_a_machine(visit: Visit, page_play: Play) -> None:
    """Revoke all asks for a confirmation, names what it ends, and ends it."""
    site = page_play.protected()
    location = page_play.alice.initiate(site.policy_id, site.asked(duration="PT30M"))
    page_play.alice.wait(location, "Initiated")
    erin = visit("erin")
    page = erin.go("#/operations")
    page.get_by_label("Revoke all").select_option(label=name_of(site.vm))
    page.get_by_role("button", name="Revoke all ...").click()
    dialog = erin.dialog()
    expect(dialog).to_contain_text(f"port 22 of {name_of(site.vm)} from {SOURCE}")
    dialog.get_by_role("button", name="Revoke all").click()
    expect(dialog).to_be_visible()  # without the confirmation the browser sends nothing
    dialog.get_by_label("I want to end all of it").check()
    dialog.get_by_role("button", name="Revoke all").click()
    expect(dialog).to_have_count(0)
    page_play.alice.wait(location, "Revoked")


def test_an_auditor_reads_and_downloads_the_activity(
    visit: Visit, page_play: Play, tmp_path: Path
) -> None:
    """A reader finds events of one machine, and gets the same as CSV; no action is offered."""
    site = protect(page_play, page_play.azure.build(), conditions={"approversNeeded": 1})
    location = page_play.alice.initiate(
        site.policy_id, site.asked(duration="PT30M"), "audited reason"
    )
    rita = visit("rita")
    page = rita.go("#/activity")
    page.get_by_label("Machine").fill(name_of(site.vm))
    page.get_by_role("button", name="Show").click()
    row = page.get_by_role("row").filter(has_text="audited reason")
    expect(row).to_contain_text("alice@contoso.example")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    saved = tmp_path / "activity.csv"
    download.value.save_as(saved)
    assert "audited reason" in saved.read_text(encoding="utf-8")
    row.get_by_role("link").first.click()
    expect(page.locator("h1")).to_contain_text(name_of(site.vm))
    expect(page.locator("main button")).to_have_count(0)
    with page_play.alice.client() as client:
        client.revoke_request(location.rpartition("/")[2].partition("?")[0])


NO_RIGHTS = {
    "machines": "Ask an administrator for the missing permission.",
    "access": "You have requested nothing in the last 30 days.",
    "approvals": "No request awaits your decision.",
    "policies": "Ask an administrator for the missing permission.",
    "operations": "Nothing is open or waits, as far as you may see.",
}


def test_a_person_without_rights_is_told_what_to_do(visit: Visit, page_play: Play) -> None:
    """Each screen that a person may not see says so and names the next step; none stays empty."""
    assert page_play.stack.failed_part() is None
    nora = visit("nora")
    with nora.refused():
        for screen, text in NO_RIGHTS.items():
            page = nora.go(f"#/{screen}")
            expect(page.locator("main")).to_contain_text(text)
