"""The suite fails where Azure does not do what the app relies on."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.live.playing import BUILDING, Cloud
from tools.live.names import Run
from tools.live.outside import LiveError, SshPort
from tools.live.report import FAILED, PASSED, Line, Report, estimate
from tools.live.suite import play


def test_a_cloud_that_ignores_if_match_fails_the_suite(cloud: Cloud) -> None:
    """A stale etag that is overlooked changes a group: the step says what it saw."""
    cloud.control("faults", {"faults": [{"kind": "ignoreIfMatch"}]})

    report = play(cloud.session(), cloud.journal, steps=BUILDING[:3], say=lambda _line: None)

    assert report.verdict_of("If-Match") == FAILED
    assert "If-Match is ignored" in report.lines[2].seen
    assert not report.is_good


def test_the_report_names_each_step_its_verdict_and_what_is_left() -> None:
    """A Markdown table with a row for each step, what was left, and the cost."""
    report = Report(Run("abcd1234", "s", "westeurope"))
    report.lines.append(Line("whole life", PASSED, 421.4, "open 2 s after Initiated"))
    report.left.append("a group")

    assert report.text().splitlines()[4:] == [
        "| whole life | passed | 421 s | open 2 s after Initiated |",
        "",
        "- left: a group",
        "- about $0.08 at list prices",
    ]


def test_the_estimate_grows_with_the_options_and_the_hours() -> None:
    """An hour is the least; Bastion is the dearest part."""
    plain = Run("abcd1234", "s", "westeurope")
    dearer = Run("abcd1234", "s", "westeurope", bastion=True)

    assert estimate(plain, 0.3) == estimate(plain, 1.0) < 0.2
    assert estimate(dearer, 2.0) == pytest.approx(2 * (estimate(plain, 1.0) + 0.20))


def serve(talk: Callable[[socket.socket], None]) -> socket.socket:
    """Serve connections on a loopback port, one after the other."""
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                found, _ = listening.accept()
            except OSError:
                return
            with found, contextlib.suppress(ConnectionError):
                talk(found)

    threading.Thread(target=accept, daemon=True).start()
    return listening


@pytest.fixture
def greeting() -> Iterator[int]:
    """Run a server that greets, reads a line and sends its keys, as an SSH server does."""

    def talk(found: socket.socket) -> None:
        found.sendall(b"SSH-2.0-server\r\n")
        if found.recv(100):
            found.sendall(b"keys")

    with serve(talk) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def cutting() -> Iterator[int]:
    """Run a server that greets and closes the connection."""
    with serve(lambda found: found.sendall(b"SSH-2.0-server\r\n")) as listening:
        yield listening.getsockname()[1]


def test_a_port_that_greets_is_reached(greeting: int) -> None:
    """A connection that answers the client's greeting is alive."""
    port = SshPort(greeting)

    assert port.reaches("127.0.0.1")
    assert port.connect("127.0.0.1").answers()


def test_a_connection_that_was_cut_does_not_answer(cutting: int) -> None:
    """A connection that was closed after the greeting is not alive."""
    assert not SshPort(cutting).connect("127.0.0.1").answers()


def test_a_port_without_a_server_is_not_reached() -> None:
    """A refused connection is a closed port, and cannot be held."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]
    port = SshPort(number)

    assert not port.reaches("127.0.0.1")
    with pytest.raises(LiveError, match="does not greet"):
        port.connect("127.0.0.1")
