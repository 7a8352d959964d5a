"""The page's form offers Azure Bastion where a host reaches the VM, in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright import sync_api

from local.browser import Visitor, chromium_path, launch
from tests.cli.bastion_hosts import PREFIX, add_bastion
from tests.e2e.playing import Play, Site

CHROMIUM = chromium_path()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="not installed: chromium")


def name_of(site: Site) -> str:
    """Return the name of the site's VM."""
    return site.vm.rpartition("/")[2]


@pytest.fixture
def page(play: Play) -> Iterator[Any]:
    """Return the page with alice signed in."""
    with sync_api.sync_playwright() as playwright:
        browser = launch(playwright, str(CHROMIUM))
        yield Visitor(browser, play.stack.api, "alice").go()
        browser.close()


def form_for(page: Any, site: Site) -> Any:
    """Open the form for a VM."""
    page.get_by_role("searchbox").fill(name_of(site))
    row = page.get_by_role("row").filter(has_text=name_of(site))
    row.get_by_role("button", name="Request access").click()
    return page.get_by_role("dialog")


def test_the_form_requests_bastion(page: Any, play: Play) -> None:
    """The form names the host; chosen, it needs no address, and the port opens to the subnet."""
    site = play.protected()
    host_id = add_bastion(play, site)
    page.reload()
    dialog = form_for(page, site)
    dialog.get_by_label("Connect").select_option(host_id)
    assert dialog.get_by_label("From address").is_disabled()
    dialog.get_by_text("This will open within seconds.").wait_for()
    dialog.get_by_role("button", name="Request access").click()
    page.get_by_text(f"jit ssh {name_of(site)} -p 22 --via bastion").wait_for()
    (rule,) = play.azure.ours(site.nic_nsg, "Allow").values()
    assert rule["sourceAddressPrefix"] == PREFIX


def test_the_form_has_no_choice_without_a_host(page: Any, play: Play) -> None:
    """Where no host reaches the VM, the form asks for an address alone."""
    site = play.protected()
    page.reload()
    dialog = form_for(page, site)
    assert dialog.get_by_label("From address").is_enabled()
    assert dialog.get_by_label("Connect").count() == 0
