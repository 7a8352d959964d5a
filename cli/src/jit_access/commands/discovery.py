"""Ask a service for its audience: its 401 names it."""

import re

from jit_access.client.errors import JitError
from jit_access.client.json_models import Model
from jit_access.client.operations import Operation
from jit_access.client.transport import Transport
from jit_access.commands.exits import CommandError, Exit

_RESOURCE = re.compile(r'resource="([^"]+)"')


def audience_of(url: str) -> str:
    """Return the audience; raises CommandError where the service does not name it."""
    # A call without a token; 401 is the answer that is wanted.
    operation = Operation("GET", "/api/requests", ((401, Model),), needs_token=False)
    transport = Transport(url, lambda: "")
    try:
        answer = transport.send(operation, operation.path)
    except JitError as error:
        raise CommandError(
            str(error), "Check the address, or give --audience.", Exit.SERVICE
        ) from None
    finally:
        transport.close()
    found = _RESOURCE.search(answer.headers.get("WWW-Authenticate", ""))
    if found is None:
        message = f"{url} does not say which audience its tokens need"
        raise CommandError(message, "Give --audience api://...", Exit.SERVICE)
    return found[1]
