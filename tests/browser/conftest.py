"""One stack and one browser for all tests of the page, and people who look at it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from local import sign_in
from local.browser import PATIENCE_MS, Visitor, chromium_path, launch
from local.stack import Stack
from tests.browser.settings import HOSTILE_PERSON, LONG_PERSON, RTL_PERSON
from tests.conftest import IMPATIENT, SETTLE_SECONDS
from tests.e2e.playing import Azure, Play

Visit = Callable[[str], Visitor]
MORE_PEOPLE = {
    "ada": ("Jit.Admin",),
    HOSTILE_PERSON: ("Jit.Request",),
    RTL_PERSON: ("Jit.Request",),
    LONG_PERSON: ("Jit.Request",),
}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Run Chromium. Where there is none, skip; with JIT_BROWSER_REQUIRED, fail."""
    path = chromium_path()
    if path is None:
        assert not os.environ.get("JIT_BROWSER_REQUIRED"), "chromium is not installed"
        pytest.skip("chromium is not installed (apt-get install chromium)")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        running = launch(playwright, path)
        yield running
        running.close()


@pytest.fixture(scope="session")
def page_play(
    browser: Browser, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Play]:
    """Run a stack for the page alone: other tests leave hundreds of machines in theirs."""
    assert browser.is_connected()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sign_in, "SAMPLE_PEOPLE", {**sign_in.SAMPLE_PEOPLE, **MORE_PEOPLE})
        with Stack(
            app=package,
            directory=tmp_path_factory.mktemp("page-stack"),
            settle=SETTLE_SECONDS,
            environment=IMPATIENT,
        ) as running:
            yield Play(running, Azure(running.arm))


@pytest.fixture(scope="session")
def visitors(browser: Browser) -> Iterator[dict[str, Visitor]]:
    """Keep the windows of all people, so that each person signs in once."""
    found: dict[str, Visitor] = {}
    assert browser.is_connected()
    yield found
    for visitor in found.values():
        visitor.context.close()


@pytest.fixture
def visit(browser: Browser, page_play: Play, visitors: dict[str, Visitor]) -> Iterator[Visit]:
    """Give a person's window; afterwards no window has an error on its console."""

    def opened(name: str) -> Visitor:
        if name not in visitors:
            visitors[name] = Visitor(browser, page_play.stack.api, name)
        return visitors[name]

    yield opened
    troubles = {name: each.troubles() for name, each in visitors.items()}
    # No window goes on asking while another test stops the app.
    for visitor in visitors.values():
        visitor.page.goto("about:blank")
    assert not any(troubles.values()), troubles
