"""The contract of the audit files, kept by those in memory and by append blobs in Azurite."""

import http.server
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from azure.storage.queue import (
    AccountSasPermissions,
    ResourceTypes,
    Services,
    generate_account_sas,
)

from local.azurite import Azurite
from shared.adapters.audit_blobs import AppendBlobs
from shared.adapters.tables import AzureTables
from shared.ports import AuditBlobs, OutsideError, PositionError
from shared.store.audit import ActivityRows, AuditEvent
from shared.store.audit_export import ExportRows
from shared.use_cases.timers.export_audit import AuditExport, export_audit
from tests.audit_files import MemoryBlobs
from tests.fakes import MemoryTelemetry
from tools.verify_audit import BROKEN, SOUND, UNSEEN, main

NAME = "test1/2026-11-22.jsonl"


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Run Azurite."""
    with Azurite(log=tmp_path_factory.mktemp("azurite") / "log") as running:
        yield running


def container_url(azurite: Azurite, name: str) -> str:
    """Make a container and return its address, signed for an hour."""
    parts = dict(part.split("=", 1) for part in azurite.connection_string.split(";") if part)
    signature = generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, add=True, create=True, list=True, write=True),
        datetime.now(UTC) + timedelta(hours=1),
        services=Services(blob=True),
    )
    url = f"{parts['BlobEndpoint']}/{name}?{signature}"
    made = Request(f"{url}&restype=container", method="PUT")  # noqa: S310 - our own Azurite
    with urlopen(made) as answer:  # noqa: S310
        assert answer.status == HTTPStatus.CREATED
    return url


@pytest.fixture(params=["memory", "azurite"])
def blobs(request: pytest.FixtureRequest) -> AuditBlobs:
    """Return empty files, in memory and in Azurite."""
    if request.param == "memory":
        return MemoryBlobs()
    azurite: Azurite = request.getfixturevalue("azurite")
    name = f"audit-{abs(hash(request.node.name)) % 10**8}"
    return AppendBlobs(container_url(azurite, name), None)


def test_appends_follow_one_another(blobs: AuditBlobs) -> None:
    """Bytes appended at the end of a file are read there."""
    blobs.create(NAME)
    blobs.append(NAME, 0, b"first\n")
    blobs.append(NAME, 6, b"second\n")

    assert blobs.read(NAME, 6, 7) == b"second\n"
    assert blobs.read(NAME, 6, 100) == b"second\n"


def test_creating_a_file_again_leaves_it(blobs: AuditBlobs) -> None:
    """A file that exists is not emptied."""
    blobs.create(NAME)
    blobs.append(NAME, 0, b"first\n")
    blobs.create(NAME)

    assert blobs.read(NAME, 0, 100) == b"first\n"


@pytest.mark.parametrize("offset", [0, 3, 7])
def test_an_append_elsewhere_than_at_the_end_is_refused(blobs: AuditBlobs, offset: int) -> None:
    """A position that is not the end changes nothing."""
    blobs.create(NAME)
    blobs.append(NAME, 0, b"first\n")
    with pytest.raises(PositionError):
        blobs.append(NAME, offset, b"second\n")

    assert blobs.read(NAME, 0, 100) == b"first\n"


def test_a_file_that_does_not_exist_takes_no_append(blobs: AuditBlobs) -> None:
    """A file that is gone is not made anew by an append, and reads as nothing."""
    with pytest.raises(PositionError):
        blobs.append(NAME, 0, b"first\n")
    assert blobs.read(NAME, 0, 10) == b""


def test_reading_past_the_end_gives_nothing(blobs: AuditBlobs) -> None:
    """Where a file ends before, there is nothing to read."""
    blobs.create(NAME)
    blobs.append(NAME, 0, b"first\n")
    assert blobs.read(NAME, 6, 10) == b""


def test_names_are_listed_and_files_read_whole(azurite: Azurite) -> None:
    """An auditor lists the files and reads them."""
    made = AppendBlobs(container_url(azurite, "listed"), None)
    for name in (NAME, "test1/2026-11-23.jsonl"):
        made.create(name)
    made.append(NAME, 0, b"first\n")

    assert made.names() == [NAME, "test1/2026-11-23.jsonl"]
    assert made.read_whole(NAME) == b"first\n"
    assert not made.is_immutable()


def test_a_missing_container_is_an_error_and_no_empty_list(azurite: Azurite) -> None:
    """Nothing is concluded from a container that does not exist."""
    url = container_url(azurite, "present").replace("/present?", "/missing?")
    missing = AppendBlobs(url, None)
    for call in (
        missing.names,
        missing.is_immutable,
        lambda: missing.read_whole(NAME),
        lambda: missing.read(NAME, 0, 1),
        lambda: missing.create(NAME),
        lambda: missing.append(NAME, 0, b"x"),
    ):
        with pytest.raises(OutsideError):
            call()


def test_storage_that_does_not_answer_is_an_outside_error() -> None:
    """A refused connection says nothing about a file."""
    with pytest.raises(OutsideError, match="does not answer"):
        AppendBlobs("http://127.0.0.1:9/audit", None).create(NAME)


def answering(status: int, code: str, body: bytes = b"") -> Iterator[str]:
    """Serve one answer to every call, and yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("x-ms-error-code", code)
            self.send_header("x-ms-has-immutability-policy", "true")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = _answer  # noqa: N815 - the names the server calls

        def log_message(self, *_args: object) -> None:
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/audit"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code"), [(409, "BlobAlreadyExists"), (409, "BlobImmutableDueToPolicy"), (412, "")]
)
def test_every_answer_that_says_a_file_exists_is_taken(status: int, code: str) -> None:
    """A protected container words it in its own way."""
    for url in answering(status, code):
        AppendBlobs(url, None).create(NAME)


@pytest.mark.parametrize("code", ["BlockCountExceedsLimit", "BlobIsSealed", "InvalidBlobType"])
def test_a_file_that_takes_no_more_is_a_question_of_position(code: str) -> None:
    """A full or sealed file leads to the next part."""
    for url in answering(409, code):
        with pytest.raises(PositionError):
            AppendBlobs(url, None).append(NAME, 0, b"x")


def test_a_missing_right_is_an_error_for_every_call() -> None:
    """403 is neither a file nor the lack of one."""
    for url in answering(403, "AuthorizationPermissionMismatch"):
        with pytest.raises(OutsideError, match="AuthorizationPermissionMismatch"):
            AppendBlobs(url, None).create(NAME)
        with pytest.raises(OutsideError, match="AuthorizationPermissionMismatch"):
            AppendBlobs(url, None).append(NAME, 0, b"x")


def test_a_list_that_is_no_xml_is_an_error_and_a_policy_is_seen() -> None:
    """A list that cannot be read is not an empty one."""
    for url in answering(200, "", b"<no"):
        with pytest.raises(OutsideError, match="no list"):
            AppendBlobs(url, None).names()
        assert AppendBlobs(url, None).is_immutable()


def test_a_list_without_an_end_is_an_error() -> None:
    """A list that names the next page for ever is given up."""
    page = b"<R><Blobs/><NextMarker>again</NextMarker></R>"
    for url in answering(200, "", page):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("shared.adapters.audit_blobs._MOST_PAGES", 3)
            with pytest.raises(OutsideError, match="does not end"):
                AppendBlobs(url, None).names()


def exported(azurite: Azurite, container: str) -> tuple[AppendBlobs, str, list[str]]:
    """Record two events in tables, export them, and return how the command is called for them."""
    url = container_url(azurite, container)
    blobs = AppendBlobs(url, None)
    tables = AzureTables.connect(azurite.connection_string, None)
    tables.create()
    rows = ExportRows(tables.due, tables.activity, lambda: datetime.now(UTC))
    for name in ("a", "b"):
        ActivityRows(tables.activity, rows).record(AuditEvent(name, datetime.now(UTC), "requested"))
    telemetry = MemoryTelemetry()
    export_audit(AuditExport(rows, blobs, telemetry, lambda: datetime.now(UTC), "test1"))
    assert telemetry.faults == []
    return blobs, url, ["--container", url, "--tables", azurite.connection_string]


def test_the_command_verifies_an_export_and_names_what_was_added(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says sound and exits 0; after a foreign line it names it and exits 1."""
    with Azurite(log=tmp_path / "log") as azurite:
        blobs, url, arguments = exported(azurite, "verified")
        assert main(arguments) == SOUND
        printed = capsys.readouterr().out
        assert "table: 2 events" in printed
        assert printed.endswith("sound\n")

        (name,) = blobs.names()
        content = blobs.read_whole(name)
        anchors, folder = tmp_path / "anchors", tmp_path / "audit"
        (folder / "test1").mkdir(parents=True)
        (folder / name).write_bytes(content)
        anchors.write_text('{"sequence":3,"head":"' + "0" * 64 + '"}\n\n', encoding="utf-8")
        assert main(["--folder", str(folder)]) == SOUND
        assert "no anchors" in capsys.readouterr().out
        assert main(["--folder", str(folder), "--anchors", str(anchors)]) == BROKEN
        assert "replaced: line 3" in capsys.readouterr().out

        forged = content.splitlines(keepends=True)[-1].replace(b'"seq":3', b'"seq":4')
        blobs.append(name, len(content), forged)
        assert main(arguments) == BROKEN
        assert "changed: line 3" in capsys.readouterr().out
        assert main(["--container", url.replace("/verified?", "/none?")]) == UNSEEN


def test_the_command_does_not_pass_where_it_saw_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty folder, several deployments and an anchor that is none are no success."""
    assert main(["--folder", str(tmp_path)]) == UNSEEN
    assert "nothing was verified" in capsys.readouterr().err
    for name in ("a/2026-11-22.jsonl", "b/2026-11-22.jsonl"):
        path = tmp_path / "files" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    folder = ["--folder", str(tmp_path / "files")]
    assert main(folder) == UNSEEN
    assert main([*folder, "--deployment", "a"]) == BROKEN
    anchors = tmp_path / "anchors"
    anchors.write_text("{}", encoding="utf-8")
    assert main([*folder, "--deployment", "a", "--anchors", str(anchors)]) == UNSEEN
    assert main(["--container", "http://127.0.0.1:9/audit"]) == UNSEEN
