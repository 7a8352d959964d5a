"""The HTTP transport of Azure's SDKs, with room for all calls that an instance makes at once.

Requests keeps ten connections to a host and drops each further one after its call. An instance
handles dozens of messages side by side, so that most calls to storage would begin with a TLS
handshake.
"""

import os
from typing import Any
from urllib.request import getproxies

from azure.core.pipeline.transport import RequestsTransport

_HOSTS, _CONNECTIONS = 10, 128  # to each host
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def make_transport(*, connect_seconds: float, read_seconds: float) -> RequestsTransport:
    """Return a transport for one client, which keeps many connections to a host.

    Proxies and certificates are looked for in the environment at each call only where it names any.
    """
    named = bool(getproxies()) or any(os.environ.get(each) for each in _CERTIFICATES)
    transport = RequestsTransport(
        use_env_settings=named, connection_timeout=connect_seconds, read_timeout=read_seconds
    )
    transport.open()
    session: Any = transport.session
    for adapter in session.adapters.values():
        adapter.init_poolmanager(_HOSTS, _CONNECTIONS)
    return transport
