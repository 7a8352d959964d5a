"""The HTTP transport of Azure's SDKs, with room for all calls that an instance makes at once.

Requests keeps ten connections to a host and drops each further one after its call. An instance
handles dozens of messages side by side, so that most calls to storage would begin with a TLS
handshake.
"""

import os
from urllib.request import getproxies

import requests
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

_CONNECTIONS = 128  # to one host
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def make_transport(*, connect_seconds: float, read_seconds: float) -> RequestsTransport:
    """Return a transport for one client; the pipeline above it retries, and it does not.

    Proxies and certificates are looked for in the environment at each call only where it names any.
    """
    session = requests.Session()
    no_retries = Retry(total=False, redirect=False, raise_on_status=False)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=no_retries))
    session.trust_env = bool(getproxies()) or any(os.environ.get(each) for each in _CERTIFICATES)
    return RequestsTransport(
        session=session, connection_timeout=connect_seconds, read_timeout=read_seconds
    )
