"""Calls that an instance makes at once keep their connections."""

import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from shared.adapters.tables import AzureTables
from shared.adapters.transport import make_transport

_AT_ONCE = 40


def test_forty_calls_at_once_drop_no_connection(
    azurite: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Each would begin with a TLS handshake the next time."""
    tables = AzureTables.connect(azurite, None)
    tables.create()
    table = tables.requests
    barrier = Barrier(_AT_ONCE)

    def read(number: int) -> object:
        barrier.wait(30)
        return table.get("partition", str(number))

    with caplog.at_level(logging.WARNING, "urllib3"), ThreadPoolExecutor(_AT_ONCE) as pool:
        assert list(pool.map(read, range(_AT_ONCE))) == [None] * _AT_ONCE
    assert "Connection pool is full" not in caplog.text


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "REQUESTS_CA_BUNDLE"])
def test_the_environment_is_honoured_where_it_names_a_proxy_or_certificates(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it is not looked at for each call."""
    for each in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
        monkeypatch.delenv(each.lower(), raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    plain = make_transport(connect_seconds=3, read_seconds=6)
    assert plain.session.trust_env is False
    assert (plain.connection_config.timeout, plain.connection_config.read_timeout) == (3, 6)
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert make_transport(connect_seconds=3, read_seconds=6).session.trust_env is True
