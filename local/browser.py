"""Drive the page in Debian's Chromium, as one of the sample people."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright

# Generous: it is reached only where something is wrong.
PATIENCE_MS = 90_000
# The browser reports each refused call on the console, whatever the page does about it.
_FAILED_LOAD = "Failed to load resource"
_REPORT_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI}`))"""


def chromium_path() -> str | None:
    """Return the path of the installed Chromium; None if there is none."""
    return shutil.which("chromium")


def launch(playwright: Playwright, path: str) -> Browser:
    """Start a browser without a window."""
    # Its sandbox cannot start as root in a container; it shows no page but the local stack's.
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


class Visitor:
    """A person with a browser window of their own."""

    def __init__(self, browser: Browser, base: str, name: str, **options: Any) -> None:
        self.name = name
        self.base = base
        self.trouble: list[str] = []
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(_REPORT_VIOLATIONS)
        self.page: Page = self.context.new_page()
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))

    def go(self, screen: str = "#/machines") -> Page:
        """Load a screen anew, signing in if asked to, and return the page once it is shown."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.base}/ui/{screen}")
        self.choose_if_asked()
        self.heading().wait_for()
        return self.page

    def choose_if_asked(self) -> None:
        """Choose this person on the issuer's page, if the browser is sent there."""
        chosen = self.page.locator(f"[id='{self.name}']")
        chosen.or_(self.page.locator("main h1, main [role=alert]")).first.wait_for()
        if chosen.is_visible():
            chosen.click()

    def heading(self) -> Locator:
        """Return the heading of the screen, or the failure that is shown in its place."""
        return self.page.locator("main h1, main [role=alert]").first

    def dialog(self) -> Locator:
        """Return the dialog that is open."""
        return self.page.get_by_role("dialog")

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Expect calls that the API refuses: the browser reports them on the console."""
        before = len(self.trouble)
        yield
        found = self.trouble[before:]
        self.trouble[before:] = [text for text in found if not text.startswith(_FAILED_LOAD)]

    def troubles(self) -> list[str]:
        """Return the errors on the console since the last call."""
        found, self.trouble = self.trouble, []
        return found

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.trouble.append(f"{message.text} ({message.location['url']})")
