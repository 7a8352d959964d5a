"""`jit activity --verify`, with events of the local stack and the files of an export of them."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.stack import Stack
from shared.adapters.tables import AzureTables
from shared.store.audit import ActivityRows, AuditEvent
from shared.store.audit_export import ExportRows
from shared.use_cases.timers.export_audit import AuditExport, export_audit
from tests.audit_files import MemoryBlobs
from tests.cli.terminal import Jit
from tests.e2e.playing import Site
from tests.fakes import MemoryTelemetry

Person = Callable[..., Jit]


@pytest.fixture
def record(stack: Stack, site: Site, tmp_path: Path) -> Path:
    """Export what the stack's table holds, two events of two hours ago among it, to a folder."""
    del site  # its events are in the table
    tables = AzureTables.connect(stack.storage, None)
    now = datetime.now(UTC)
    for number in range(2):
        name = f"{tmp_path.name}-{number}"
        event = AuditEvent(
            name, now - timedelta(hours=2, seconds=number), "refused", reason="no role"
        )
        ActivityRows(tables.activity).record(event)
    rows = ExportRows(tables.due, tables.activity, lambda: now)
    # Every test has a chain of its own, in a due table that it empties of the one before.
    for partition in ("audit-export", "audit-export-state"):
        for row in tables.due.query(partition):
            tables.due.delete(row)
    for row in tables.activity.scan("0", ":"):
        rows.add(row.partition, row.key)
        values = {key: value for key, value in row.values.items() if key != "exported"}
        tables.activity.replace(type(row)(row.partition, row.key, values, row.version))
    blobs = MemoryBlobs()
    export_audit(AuditExport(rows, blobs, MemoryTelemetry(), lambda: now, "local"))
    for name, content in blobs.files.items():
        path = tmp_path / "record" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "record"


def test_a_sound_record_is_compared_with_the_service(carol: Jit, record: Path) -> None:
    """The exit code is 0; the report counts lines and events and has the head."""
    done = carol.run("activity", "--verify", "--container", str(record), "--from", "3h")
    report = json.loads(done.out)

    assert report["findings"] == []
    assert report["compared"] >= 2
    assert report["lines"] > report["compared"]
    assert len(report["head"]) == 64
    assert "no --anchors" in done.err
    text = carol.run("activity", "--verify", "--container", str(record), "-o", "text").out
    assert text.splitlines()[-1] == "sound"


def test_what_was_done_to_the_record_is_named(carol: Jit, record: Path, tmp_path: Path) -> None:
    """A removed line, and a cut end against an anchor, end with exit code 10 and their places."""
    (file,) = record.rglob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    head = json.loads(carol.run("activity", "--verify", "--container", str(record)).out)
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(
        json.dumps({"type": "jit.auditAnchored", "data": {**head, "sequence": head["lines"]}})
    )
    verify = ("activity", "--verify", "--container", str(record), "--anchors", str(anchors))
    assert carol.run(*verify, "-q").err == ""

    file.write_bytes(b"".join(lines[:-1]))
    found = [each["kind"] for each in json.loads(carol.run(*verify, code=10).out)["findings"]]
    assert "cut" in found
    file.write_bytes(b"".join([lines[0], *lines[2:]]))
    text = carol.run(*verify, "--from", "3h", "-o", "text", code=10).out
    assert "missing: lines 2 to 2" in text
    assert text.splitlines()[-1] == "broken"


def test_an_event_that_the_table_lacks_is_named(carol: Jit, record: Path, stack: Stack) -> None:
    """An audit event that was deleted from the table still has its line."""
    tables = AzureTables.connect(stack.storage, None)
    old = next(row for row in tables.activity.scan("0", ":") if record.parent.name in str(row))
    tables.activity.delete(old)
    verify = ("activity", "--verify", "--container", str(record), "--from", "3h")
    (found,) = json.loads(carol.run(*verify, code=10).out)["findings"]
    assert found["kind"] == "blob only"
    assert old.key in found["what"]


def test_what_cannot_be_looked_at_is_no_verdict(
    person: Person, carol: Jit, record: Path, tmp_path: Path
) -> None:
    """Without a record, a right, or an address that answers, nothing is called sound or broken."""
    assert "--container" in carol.run("activity", "--verify", code=2).err
    (tmp_path / "empty").mkdir()
    empty = ("activity", "--verify", "--container", str(tmp_path / "empty"))
    assert "there is no file" in carol.run(*empty, code=2).err
    closed = ("activity", "--verify", "--container", "http://127.0.0.1:9/audit?sig=1")
    assert "could not look" in carol.run(*closed, code=1).err
    for url in (
        "https://a.blob.core.windows.net.evil.example/x",
        "http://a.blob.core.windows.net/x",
    ):
        elsewhere = ("activity", "--verify", "--container", url)
        assert "no token is sent there" in carol.run(*elsewhere, code=2).err
    (tmp_path / "bad").write_text("{}", encoding="utf-8")
    bad = ("activity", "--verify", "--container", str(record), "--anchors", str(tmp_path / "bad"))
    assert "no anchor" in carol.run(*bad, code=2).err
    alice = person("alice", "Jit.Request")
    refused = alice.run("activity", "--verify", "--container", str(record), code=4).err
    assert "jitNetworkAccessActivities/read" in refused
