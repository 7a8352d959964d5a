"""The session of a command: profile, client, and the two streams."""

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jit_access.commands.exits import CommandError
from jit_access.commands.settings import Profile, load_profile

if TYPE_CHECKING:
    from jit_access.client import JitClient
    from jit_access.commands.output import Result


class Session:
    """One run of a command: results go to stdout, everything else to stderr."""

    def __init__(
        self,
        *,
        output: str | None = None,
        query: str | None = None,
        quiet: bool = False,
        profile: str | None = None,
    ) -> None:
        self.format = output or ("text" if sys.stdout.isatty() else "json")
        self.query = query
        self.quiet = quiet
        self.profile_option = profile or ""
        self._left: list[str] = []
        self._token = ""
        self._is_on_a_line = False
        self._last_progress = ""

    @cached_property
    def profile(self) -> Profile:
        """Return the profile; raises CommandError where the configuration is wrong."""
        return load_profile(self.profile_option)

    @cached_property
    def client(self) -> "JitClient":
        """Return a client of the profile's service."""
        from jit_access.client import JitClient, Limits

        if not self.profile.url:
            raise CommandError(
                "no service is configured", "Name it once: jit config init https://..."
            )
        return JitClient(self.profile.url, self.token, limits=Limits(backoff_seconds=0.25))

    def token(self) -> str:
        """Return the access token, asked for once in a run."""
        from jit_access.commands.tokens import service_token

        if not self._token:
            self._token = service_token(self.profile)
        return self._token

    @cached_property
    def claims(self) -> dict[str, Any]:
        """Return the claims of the token, for display and to tell own requests from others."""
        from jit_access.commands.tokens import claims_of

        return claims_of(self.token())

    def show(self, result: "Result") -> None:
        """Write the result to stdout in the chosen form."""
        from jit_access.commands.output import write

        self._end_line()
        write(result, self.format, self.query)

    def say(self, text: str) -> None:
        """Write a line for people to stderr."""
        if not self.quiet:
            self._end_line()
            _write(f"{_harmless(text)}\n")

    def progress(self, text: str) -> None:
        """Show how the waiting goes on: in place on a terminal, else a line for each change."""
        if self.quiet:
            return
        text = _harmless(text)
        if sys.stderr.isatty():
            _write(f"\r\x1b[K{text}")
            self._is_on_a_line = True
        elif text != self._last_progress:
            _write(f"{text}\n")
        self._last_progress = text

    def complain(self, message: str, advice: str = "") -> None:
        """Write an error and what to do next, `-q` or not."""
        self._end_line()
        _write(f"jit: {_harmless(message)}\n")
        if advice:
            _write(f"  -> {_harmless(advice)}\n")

    def leaves(self, request_id: str) -> None:
        """Note a request that stays when this run stops here."""
        if request_id not in self._left:
            self._left.append(request_id)

    def settles(self, request_id: str) -> None:
        """Note that a request has ended, or that the way to end it was told."""
        if request_id in self._left:
            self._left.remove(request_id)

    def interrupted(self) -> None:
        """Say what Ctrl-C leaves behind, wherever it came."""
        left = self._left
        if not left:
            self.complain("interrupted")
            return
        noun, verb = ("request", "stays") if len(left) == 1 else ("requests", "stay")
        ways = " and ".join(f"jit end {request_id}" for request_id in left)
        named = ", ".join(left)
        end = "End it with" if len(left) == 1 else "End them with"
        self.complain(f"interrupted; {noun} {named} {verb}", f"{end}: {ways}")

    def close(self) -> None:
        """Close the client's connections."""
        self._end_line()
        if "client" in self.__dict__:
            self.client.close()

    def _end_line(self) -> None:
        if self._is_on_a_line:
            _write("\r\x1b[K")
            self._is_on_a_line = False


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _harmless(text: str) -> str:
    """Keep lines, and replace what else could move the cursor: texts of others are among them."""
    from jit_access.commands.output import printable

    return "\n".join(printable(line) for line in text.split("\n"))
