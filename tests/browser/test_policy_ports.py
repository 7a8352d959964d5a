"""An administrator changes the ports of a policy in the page."""

from typing import Any

from playwright.sync_api import Locator, Page, expect

from local.browser import Visitor
from tests.browser.conftest import Visit
from tests.browser.settings import name_of
from tests.e2e.playing import Json, Play, Site


def policy_address(site: Site) -> str:
    """Return the address of the screen of a site's policy."""
    return f"#/policies/{site.policy_id.replace('/', '%2F')}"


def open_ports(visitor: Visitor, site: Site) -> Locator:
    """Open the form of the ports of a site's first machine."""
    row = visitor.go(policy_address(site)).get_by_role("row").filter(has_text=name_of(site.vm))
    row.get_by_role("button", name="Change the ports").click()
    return visitor.dialog()


def save(page: Page, form: Locator) -> None:
    """Save the form, and wait until the change is applied."""
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def ports_of(play: Play, site: Site) -> list[list[Json]]:
    """Read the ports of each machine of a site's policy."""
    with play.admin.client() as client:
        listed: Any = client.get_policy(site.policy_id).raw["properties"]["virtualMachines"]
    return [vm["ports"] for vm in listed]


def test_ports_are_added_changed_and_removed(visit: Visit, page_play: Play) -> None:
    """A port is added after a preview of its rule, then changed, then the first one removed."""
    site = page_play.protected()
    erin = visit("erin")
    form = open_ports(erin, site)
    form.get_by_role("button", name="Add a port").click()
    added = form.get_by_role("group", name="New port")
    added.get_by_label("Port", exact=True).fill("5986")
    added.get_by_label("Longest access, in hours").fill("1.5")
    added.get_by_label("Allowed addresses").fill("203.0.113.0/24, 198.51.100.7")
    form.get_by_role("button", name="Preview").click()
    form.get_by_text("Rules that are written").click()
    expect(form).to_contain_text("5986")
    assert len(ports_of(page_play, site)[0]) == 1
    save(erin.page, form)
    main = erin.page.locator("main")
    expect(main).to_contain_text("5986 TCP: at most 1 hour 30 minutes")
    expect(main).to_contain_text("from 203.0.113.0/24, 198.51.100.7")
    (ports,) = ports_of(page_play, site)
    assert {port["number"] for port in ports} == {22, 5986}
    assert {22, 5986} <= denied_ports(page_play, site)

    form = open_ports(erin, site)
    form.get_by_role("group", name="Port 5986").get_by_label("Protocol").select_option("Any")
    form.get_by_role("group", name="Port 5986").get_by_label("Allowed addresses").fill("*")
    form.get_by_role("group", name="Port 22").get_by_role("button", name="Remove").click()
    save(erin.page, form)
    expect(main).to_contain_text("5986: at most 1 hour 30 minutes, from any address")
    ((port,),) = ports_of(page_play, site)
    assert (port["number"], port["protocol"]) == (5986, "*")
    assert port["allowedSourceAddressPrefix"] == "*"
    assert denied_ports(page_play, site) == {5986}


def denied_ports(play: Play, site: Site) -> set[int]:
    """Return the ports that our deny rules close."""
    rules = play.azure.ours(site.nic_nsg, "Deny").values()
    ranges = [
        each
        for rule in rules
        for each in rule.get("destinationPortRanges") or [rule["destinationPortRange"]]
    ]
    return {int(each) for each in ranges}


def test_a_stale_change_of_ports_is_refused(visit: Visit, page_play: Play) -> None:
    """Of two administrators who change the ports, the second is refused, and nothing is lost."""
    site = page_play.protected()
    erin, ada = visit("erin"), visit("ada")
    first, second = open_ports(erin, site), open_ports(ada, site)
    first.get_by_label("Longest access, in hours").fill("2")
    save(erin.page, first)
    second.get_by_label("Longest access, in hours").fill("1")
    with ada.refused():
        second.get_by_role("button", name="Save").click()
        expect(second.get_by_role("alert")).to_contain_text("Another administrator changed it.")
    assert ports_of(page_play, site)[0][0]["maxRequestAccessDuration"] == "PT2H"


def test_one_change_reaches_all_machines_of_a_policy(visit: Visit, page_play: Play) -> None:
    """Ports can be given to every machine of the policy at once; a wrong one is named."""
    site = page_play.protected(vms=2)
    erin = visit("erin")
    form = open_ports(erin, site)
    with erin.refused():
        form.get_by_label("Allowed addresses").fill("nowhere")
        form.get_by_role("button", name="Save").click()
        expect(form.get_by_role("alert")).to_contain_text("must be *, an IP address")
    form.get_by_label("Allowed addresses").fill("203.0.113.7")
    form.get_by_label("The same ports for all 2 machines").check()
    save(erin.page, form)
    for (port,) in ports_of(page_play, site):
        assert port["allowedSourceAddressPrefix"] == "203.0.113.7"
