"""The command `jit doctor`: each step on the way to access, with a remedy."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import click

from jit_access.commands.base import JitCommand
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session

_UNHEALTHY = "Unhealthy"


@dataclass(frozen=True)
class Finding:
    """One check: is it in order, what was seen, what to do."""

    check: str
    ok: bool
    seen: str
    remedy: str = ""
    code: Exit = Exit.DONE


@click.command("doctor", cls=JitCommand)
@click.pass_obj
def doctor(session: Session) -> int:
    """Check configuration, service and sign-in; name a remedy for each failure."""
    from jit_access.commands.output import Result

    findings = list(_examine(session))
    rows = [{**asdict(finding), "code": int(finding.code)} for finding in findings]
    columns: dict[str, Callable[[Any], str]] = {
        "CHECK": lambda row: row["check"],
        "": lambda row: "ok" if row["ok"] else "WRONG",
        "SEEN": lambda row: row["seen"],
        "REMEDY": lambda row: "" if row["ok"] else row["remedy"],
    }
    session.show(Result(rows, columns=columns))
    return max((finding.code for finding in findings if not finding.ok), default=Exit.DONE)


def _examine(session: Session) -> Iterator[Finding]:
    """Yield each finding; a step is not tried where one that it needs has failed."""
    ssh = shutil.which("ssh") or ""
    yield Finding("ssh", bool(ssh), ssh or "not found", "Install OpenSSH.", Exit.DONE)
    steps = (_configuration, _service, _token, _token_is_current, _accepted, _machines)
    for step in steps:
        finding = step(session)
        yield finding
        if not finding.ok and finding.seen != _UNHEALTHY:
            return


def _configuration(session: Session) -> Finding:
    from jit_access.commands.settings import config_path

    try:
        profile = session.profile
    except CommandError as error:
        return Finding("configuration", False, error.message, error.advice, Exit.USAGE)
    if not profile.url:
        remedy = "Name the service: jit config init https://..."
        return Finding("configuration", False, f"no url in {config_path()}", remedy, Exit.USAGE)
    return Finding("configuration", True, f"profile '{profile.name}', {profile.url}")


def _service(session: Session) -> Finding:
    from jit_access.client.errors import JitError, UnsafeAddressError

    try:
        health = session.client.get_health()
    except UnsafeAddressError as error:
        return Finding("service", False, str(error), "Set an https:// address.", Exit.USAGE)
    except JitError as error:
        remedy = "Check the address, the network, and that the function app runs."
        return Finding("service", False, str(error), remedy, Exit.SERVICE)
    if health.status == _UNHEALTHY:
        remedy = "Tell the operator: the app may not close what it opens."
        return Finding("service", False, health.status, remedy, Exit.SERVICE)
    return Finding("service", True, health.status)


def _token(session: Session) -> Finding:
    from jit_access.client.errors import TokenError

    try:
        session.token()
    except TokenError as error:
        remedy = "Sign in with `az login`, or set JIT_TOKEN or token_command."
        return Finding("token", False, str(error), remedy, Exit.NOT_PERMITTED)
    name = session.claims.get("preferred_username") or session.claims.get("oid") or "unreadable"
    return Finding("token", True, str(name))


def _token_is_current(session: Session) -> Finding:
    expires = session.claims.get("exp")
    if not isinstance(expires, int):
        return Finding("expiry", True, "the token does not say")
    at = datetime.fromtimestamp(expires, UTC)
    seen = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    remedy = "Get another token; or set this machine's clock, if it is wrong."
    return Finding("expiry", at > datetime.now(UTC), seen, remedy, Exit.NOT_PERMITTED)


def _accepted(session: Session) -> Finding:
    from jit_access.client.codes import advice_for
    from jit_access.client.errors import ApiError

    try:
        session.client.list_requests()
    except ApiError as error:
        code = Exit.NOT_PERMITTED if error.status in {401, 403} else Exit.SERVICE
        return Finding("sign-in", False, error.message, advice_for(error.code), code)
    return Finding("sign-in", True, "the service accepts the token")


def _machines(session: Session) -> Finding:
    from jit_access.client.errors import ApiError
    from jit_access.commands.vms import list_machines

    try:
        found = list_machines(session)
    except ApiError as error:
        remedy = "Names of VMs need Microsoft.Compute/virtualMachines/read; ids work without."
        code = Exit.NOT_PERMITTED if error.status in {401, 403} else Exit.SERVICE
        return Finding("machines", False, error.message, remedy, code)
    return Finding("machines", True, f"{len(found)} VMs")
