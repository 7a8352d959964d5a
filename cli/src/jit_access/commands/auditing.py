"""The command `jit activity --verify`: check the exported audit record and compare it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jit_access.commands.exits import CommandError, Exit

if TYPE_CHECKING:
    from jit_access.audit.record import Finding
    from jit_access.commands.session import Session

_LAG = timedelta(minutes=30)  # a younger event may still be on its way to the files
_READ_ALL = "Microsoft.Security/locations/jitNetworkAccessActivities/read"
_STORAGE_HOSTS = (
    ".blob.core.windows.net",
    ".blob.core.usgovcloudapi.net",
    ".blob.core.chinacloudapi.cn",
)
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})


def verify(
    session: "Session", where: str, deployment: str, anchors: str, since: datetime | None
) -> Exit:
    """Verify the record, show the report, and return the exit code."""
    from jit_access.audit.comparing import compare_with_service
    from jit_access.audit.record import check_heads, read_record

    until = datetime.now(UTC) - _LAG
    since = since or until - timedelta(days=1)
    # The service comes first: an event that is exported in between is then in the files.
    events = _events(session, since, until)
    files, findings = _files(session, where, deployment)
    record = read_record(files)
    findings += record.findings
    heads = _heads(Path(anchors)) if anchors else []
    findings += check_heads(record, heads)
    findings += compare_with_service(record, events, since, until)
    report = {
        "files": len(files),
        "lines": record.last,
        "head": record.head,
        "compared": len(events),
        "anchors": len(heads),
        "findings": [
            {"kind": each.kind, "what": each.what, "where": each.where} for each in findings
        ],
    }
    _show(session, report, findings)
    return Exit.BROKEN if findings else Exit.DONE


def _show(session: "Session", report: dict[str, Any], findings: "list[Finding]") -> None:
    from jit_access.commands.output import Result

    lines = [
        f"files: {report['files']}; lines: {report['lines']}; head: {report['head']}",
        f"compared with {report['compared']} events of the service",
        *map(str, findings),
        "broken" if findings else "sound",
    ]
    columns = {name.upper(): lambda row, name=name: str(row[name]) for name in report}
    session.show(Result(report, text="\n".join(lines), columns=columns))
    if not report["anchors"]:
        session.say("no --anchors: a cut end or a chain made anew would not show by itself")


def _events(session: "Session", since: datetime, until: datetime) -> list[dict[str, Any]]:
    """Read the events of everybody; raises CommandError where only one's own would be shown."""
    me = session.client.get_me()
    if not any(_READ_ALL in held.actions for held in me.permissions):
        raise CommandError(
            "you may not read everybody's audit events, so there is nothing to compare with",
            f"The action is {_READ_ALL}.",
            Exit.NOT_PERMITTED,
        )
    page = session.client.get_activity(since=since, until=until, top=1000)
    return [dict(event.raw) for event in session.client.every(page)]


def _files(
    session: "Session", where: str, deployment: str
) -> "tuple[dict[str, bytes], list[Finding]]":
    """Read the files of one deployment; raises CommandError where there is none."""
    from jit_access.audit.blobs import Container, ContainerError, read_folder
    from jit_access.audit.record import Finding

    findings = []
    if urlsplit(where).scheme in {"http", "https"}:
        container = Container(where, _token(session, where))
        try:
            files = container.read(deployment)
            is_protected = container.is_immutable() or urlsplit(where).hostname in _THIS_MACHINE
        except ContainerError as error:
            raise CommandError(f"could not look: {error}", code=Exit.SERVICE) from None
        if not is_protected:
            findings = [Finding("unprotected", "the container has no immutability policy")]
    else:
        prefix = f"{deployment}/" if deployment else ""
        found = read_folder(Path(where))
        files = {name: held for name, held in found.items() if name.startswith(prefix)}
    deployments = sorted({name.rpartition("/")[0] for name in files})
    if len(deployments) != 1:
        there = ", ".join(deployments) or "no file"
        raise CommandError(f"could not look: there is {there}", "Name one: --deployment ID.")
    return files, findings


def _token(session: "Session", where: str) -> Any:
    """Return how a token for storage is had; None: the address carries a signature.

    The token opens every account that its owner may read, so it goes to Azure Storage alone.
    """
    from jit_access.commands.tokens import storage_token

    parts = urlsplit(where)
    if parts.query:
        return None
    if parts.scheme != "https" or not (parts.hostname or "").endswith(_STORAGE_HOSTS):
        raise CommandError(
            f"{where} is no address of Azure Storage, so no token is sent there",
            "Name https://ACCOUNT.blob.core.windows.net/audit, or a folder.",
        )
    return lambda: storage_token(session.profile)


def _heads(path: Path) -> list[tuple[int, str]]:
    """Read anchored heads: a JSON object a line, from the log or a `jit.auditAnchored` event."""
    heads = []
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        try:
            anchor = json.loads(line)
            anchor = anchor.get("data", anchor)
            heads.append((int(anchor["sequence"]), str(anchor["head"])))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CommandError(f"no anchor in {path}: {line}") from None
    return heads
