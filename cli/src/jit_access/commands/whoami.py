"""The command `jit whoami`."""

import click

from jit_access.commands.base import JitCommand
from jit_access.commands.session import Session


@click.command("whoami", cls=JitCommand)
@click.pass_obj
def whoami(session: Session) -> None:
    """Show the caller: name, roles and expiry of the access token."""
    from jit_access.commands.output import Result, printable

    data = identity(session)
    lines = (f"{name:<10}{printable(str(value))}" for name, value in data.items() if value)
    session.show(Result(data, "\n".join(lines)))


def identity(session: Session) -> dict[str, object]:
    """Return the caller as the token names them; raises CommandError if it is unreadable."""
    from datetime import UTC, datetime

    from jit_access.client.json_models import write_instant
    from jit_access.commands.exits import CommandError, Exit

    claims = session.claims
    if not claims:
        message = "the access token cannot be read"
        raise CommandError(message, "`jit doctor` tries it on the service.", Exit.NOT_PERMITTED)
    expires = claims.get("exp")
    return {
        "name": claims.get("preferred_username") or claims.get("upn") or claims.get("appid") or "",
        "objectId": claims.get("oid", ""),
        "tenant": claims.get("tid", ""),
        "audience": claims.get("aud", ""),
        "roles": claims.get("roles", []),
        "expires": write_instant(datetime.fromtimestamp(expires, UTC)) if expires else "",
        "service": session.profile.url,
        "profile": session.profile.name,
    }
