"""Pictures of every screen of the page, in light, dark and phone width: make screenshots."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from playwright.sync_api import Browser, Page, Route, ViewportSize, expect, sync_playwright

from local.browser import PATIENCE_MS, Visitor, chromium_path, launch
from local.sample_access import SOURCE, SampleAccess, policy_id, vm_id
from local.stack import ROOT, Stack, StackError

IMAGES = ROOT / "docs" / "images"
ALL = IMAGES / "all"
DESK: ViewportSize = {"width": 1280, "height": 760}
PHONE: ViewportSize = {"width": 390, "height": 780}
LOOKS: tuple[tuple[str, ViewportSize, Literal["light", "dark"]], ...] = (
    ("light", DESK, "light"),
    ("dark", DESK, "dark"),
    ("phone", PHONE, "light"),
)
# The pictures that the documentation shows; all others stay out of the repository.
CHOSEN = {
    "access-light": "page",
    "machines-light": "machines",
    "exposed-dark": "exposed-dark",
    "request-light": "request-form",
    "request-refused-phone": "request-refused-phone",
    "one-light": "one-request",
    "approvals-light": "approvals",
    "policy-light": "policy",
    "policy-ports-light": "policy-ports",
    "activity-light": "activity",
    "operations-light": "operations",
}


def _as_it_is(_page: Page, _sample: SampleAccess) -> None:
    """Leave the screen as it was loaded."""


@dataclass(frozen=True)
class Shot:
    """One picture: who looks, at which address, and what is done there first."""

    person: str
    address: str
    arrange: Callable[[Page, SampleAccess], None] = _as_it_is


def _tab(name: str) -> Callable[[Page, SampleAccess], None]:
    return lambda page, _: page.get_by_role("tab", name=name).click()


def _request(page: Page, _: SampleAccess) -> None:
    _ask(page, "web-1")
    page.get_by_label("Reason").fill("INC20750: read the log of the shop")
    expect(page.get_by_role("dialog")).to_contain_text("This will open within seconds.")
    page.get_by_text("Rules that are written").click()


def _request_refused(page: Page, _: SampleAccess) -> None:
    _ask(page, "win-1")
    expect(page.get_by_role("dialog")).to_contain_text("This would be refused")


def _ask(page: Page, vm: str) -> None:
    row = page.get_by_role("row").filter(has_text=vm)
    row.get_by_role("button", name="Request access").click()
    page.get_by_label("From address").fill(SOURCE)


def _protect(page: Page, _: SampleAccess) -> None:
    _tab("Not configured")(page, _)
    page.get_by_label("app-1").check()
    page.get_by_role("button", name="Protect the selected machines").click()
    expect(page.get_by_role("dialog")).to_contain_text("Every machine can be protected.")
    page.get_by_text("Rules that are written").click()


def _button(name: str) -> Callable[[Page, SampleAccess], None]:
    return lambda page, _: page.get_by_role("button", name=name).first.click()


def _preview(page: Page, _: SampleAccess) -> None:
    _button("Change the conditions")(page, _)
    page.get_by_label("Approvers needed").fill("2")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("dialog")).to_contain_text("No rule changes.")


def _conflict(page: Page, sample: SampleAccess) -> None:
    _button("Change the conditions")(page, sample)
    sample.change_policy(2)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Another administrator")


def _ports(page: Page, _: SampleAccess) -> None:
    _button("Change the ports")(page, _)
    page.get_by_role("button", name="Add a port").click()
    added = page.get_by_role("group", name="New port")
    added.get_by_label("Port", exact=True).fill("5986")
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("Rules that are written").click()


def _unanswered(page: Page, _: SampleAccess) -> None:
    def changed(route: Route) -> None:
        answer = route.fetch()
        told = ["account 111122223333, region eu-west-1: AWS did not answer in time"]
        route.fulfill(response=answer, json={**answer.json(), "unanswered": told})

    page.route("**/api/machines*", changed)
    page.reload()
    page.get_by_role("note").wait_for()


def _down(page: Page, _: SampleAccess) -> None:
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_role("link", name="Approvals").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")


def _signed_out(page: Page, _: SampleAccess) -> None:
    page.evaluate("sessionStorage.clear()")
    page.reload()
    page.get_by_role("link", name="alice@contoso.example").wait_for()


def _encoded(text: str) -> str:
    return quote(text, safe="")


# `{open}` and the like are ids that the sample access knows.
SHOTS = {
    "sign-in": Shot("alice", "#/machines", _signed_out),
    "machines": Shot("alice", "#/machines"),
    "not-configured": Shot("erin", "#/machines", _tab("Not configured")),
    "exposed": Shot("erin", "#/machines", _tab("Exposed")),
    "unsupported": Shot("erin", "#/machines", _tab("Unsupported")),
    "protect": Shot("erin", "#/machines", _protect),
    "request": Shot("alice", "#/machines", _request),
    "request-refused": Shot("alice", "#/machines", _request_refused),
    "unanswered": Shot("alice", "#/machines", _unanswered),
    "machine": Shot("erin", f"#/machines/{_encoded(vm_id('open-1'))}"),
    "access": Shot("alice", "#/access"),
    "access-empty": Shot("carol", "#/access"),
    "extend": Shot("alice", "#/access", _button("Extend")),
    "end": Shot("alice", "#/access", _button("End now")),
    "one": Shot("alice", "#/requests/{open}"),
    "one-denied": Shot("alice", "#/requests/{denied}"),
    "one-waiting": Shot("carol", "#/requests/{waiting}"),
    "approvals": Shot("carol", "#/approvals"),
    "approve": Shot("carol", "#/approvals", _button("Approve")),
    "approvals-empty": Shot("alice", "#/approvals"),
    "policies": Shot("erin", "#/policies"),
    "policy": Shot("erin", f"#/policies/{_encoded(policy_id('default', 'ops-rg'))}"),
    "policy-preview": Shot(
        "erin", f"#/policies/{_encoded(policy_id('default', 'ops-rg'))}", _preview
    ),
    "policy-ports": Shot("erin", f"#/policies/{_encoded(policy_id('default', 'ops-rg'))}", _ports),
    "policy-conflict": Shot(
        "erin", f"#/policies/{_encoded(policy_id('default', 'ops-rg'))}", _conflict
    ),
    "activity": Shot("rita", "#/activity"),
    "operations": Shot("erin", "#/operations"),
    "revoke-all": Shot("erin", "#/operations", _button("Revoke all ...")),
    "no-rights": Shot("nora", "#/machines"),
    "not-found": Shot("alice", "#/requests/00000000-0000-0000-0000-000000000000"),
    "api-down": Shot("alice", "#/machines", _down),
}


def take(browser: Browser, sample: SampleAccess, names: Sequence[str]) -> None:
    """Take pictures in every look."""
    for name in names:
        shot = SHOTS[name]
        visitor = Visitor(browser, sample.stack.api, shot.person, viewport=DESK)
        page = visitor.go(shot.address.format(**sample.requests))
        shot.arrange(page, sample)
        page.wait_for_load_state("networkidle")
        for look, size, scheme in LOOKS:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.screenshot(path=ALL / f"{name}-{look}.png", full_page=not visitor.dialog().count())
        visitor.context.close()
        print(f"took {name}", file=sys.stderr)


def main(names: Sequence[str]) -> int:
    """Take every picture, or those named, and copy the chosen ones to where they are shown."""
    path = chromium_path()
    if path is None:
        print("local: chromium is not installed (apt-get install chromium)", file=sys.stderr)
        return 1
    ALL.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_MS)
    with (
        tempfile.TemporaryDirectory() as directory,
        Stack(directory=Path(directory)) as stack,
        sync_playwright() as playwright,
    ):
        sample = SampleAccess(stack)
        sample.build()
        browser = launch(playwright, path)
        take(browser, sample, names or list(SHOTS))
        browser.close()
        sample.close()
    for taken, shown in CHOSEN.items():
        if (ALL / f"{taken}.png").exists():
            shutil.copyfile(ALL / f"{taken}.png", IMAGES / f"{shown}.png")
    print(f"all pictures: {ALL}; the chosen ones: {IMAGES}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as error:
        print(f"local: {error}", file=sys.stderr)
        sys.exit(1)
