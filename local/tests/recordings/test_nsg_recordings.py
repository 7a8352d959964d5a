"""The simulator answers as the real service was recorded to answer."""

from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from local.arm.client import ArmClient, Reply
from local.tests.arm.place import Clock
from local.tests.recordings.replay import (
    GUID,
    NIC,
    RECORDINGS,
    SETTLE_SECONDS,
    VM,
    Exchange,
    Player,
    exchanges,
    masked,
)

FILES = sorted(RECORDINGS.glob("*.json"))

pytestmark = pytest.mark.skipif(
    not FILES, reason="the recordings of the real service are not beside the repository"
)

# The headers a client acts on. Of the quota headers the name differs by year, see `named`.
MATTERING = {
    "azure-asyncoperation",
    "azure-asyncnotification",
    "location",
    "retry-after",
    "etag",
    "content-type",
    "x-ms-request-id",
    "x-ms-correlation-request-id",
    "x-ms-failure-cause",
    "x-ms-ratelimit",
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_exchanges_are_answered_as_recorded(file: Path, client: ArmClient, clock: Clock) -> None:
    """Every recorded call gets the recorded status, headers, body and error."""
    player = Player(client)
    played = exchanges(file)
    player.start(played)
    for at, exchange in enumerate(played):
        player.arrange(exchange, played[at + 1 :])
        if exchange.is_deployment:
            continue  # the recording's effect is arranged; no answer of the simulator is held to it
        if not exchange.is_simulated:
            assert_refused(player.play(exchange), exchange)
            continue
        if player.is_unknown_operation(exchange):
            continue
        if exchange.body == {"status": "Succeeded"}:
            clock.now += SETTLE_SECONDS
        reply = player.play(exchange)
        player.note(exchange)
        assert_same(reply, exchange)


def assert_refused(reply: Reply, exchange: Exchange) -> None:
    """Assert that what is not simulated is refused, not pretended."""
    assert (reply.status, reply.code) == (404, "NotSimulated"), exchange.label


def assert_same(reply: Reply, exchange: Exchange) -> None:
    """Assert that an answer equals the recorded one in all that matters."""
    assert reply.status == exchange.status, (exchange.label, reply.body)
    assert masked(reply.body) == masked(exchange.body), exchange.label
    assert named(reply.headers, exchange) == named(exchange.headers, exchange), exchange.label
    for name in ("azure-asyncoperation", "location", "retry-after"):
        if name in named(exchange.headers, exchange):
            mine, recorded = reply.headers[name], exchange.headers[name]
            assert shape(mine) == shape(recorded), (exchange.label, name)
    if "azure-asyncoperation" in exchange.headers:
        assert reply.headers["x-ms-request-id"] in reply.headers["azure-asyncoperation"]
    if "etag" in exchange.headers:
        assert reply.headers["etag"] == reply.body["etag"], exchange.label
    assert_same_length(reply, exchange)


def assert_same_length(reply: Reply, exchange: Exchange) -> None:
    """Assert the very layout: indented by the provider, compact from the front door.

    An interface's invented DNS suffix has a length of its own, and the compute provider indents
    only some of its members.
    """
    if exchange.kind not in (NIC, VM) or exchange.status >= HTTPStatus.BAD_REQUEST:
        recorded = int(exchange.headers["content-length"])
        assert len(reply.content) == recorded, (exchange.label, reply.content)


def named(headers: Any, exchange: Exchange) -> set[str]:
    """Return the names of the headers that matter.

    Deletes were counted under `-writes` in 2017 and under `-deletes` by 2020. The Java recorder
    wrote a Retry-After of its own into every answer.
    """
    found = {
        "x-ms-ratelimit" if name.startswith("x-ms-ratelimit-remaining-sub") else name
        for name in headers
    }
    ignored = {"retry-after"} if exchange.case.startswith("testManage") else set()
    return (found & MATTERING) - ignored


def shape(header: str) -> str:
    """Return a header without host and guids."""
    path = header.split("://", 1)[-1].partition("/")[2] if "://" in header else header
    return GUID.sub("GUID", path)
