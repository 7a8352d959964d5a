"""The interface of Azure Resource Manager that the providers need."""

from typing import Any, Protocol

Body = dict[str, Any]


class FirewallCloud(Protocol):
    """Reads and writes single resources. A write is started, never waited for.

    Every method raises ThrottledError or OutsideError. Writes also raise SettlingError while
    another write is under way, FirewallChangedError where the etag is stale, and RefusedError
    with the service's code and text where the write is refused for good.
    """

    def get(self, resource_id: str) -> Body | None:
        """Read a resource; None only where the service says it does not exist."""
        ...

    def list(self, path: str) -> list[Body]:
        """Read a whole list."""
        ...

    def put(self, resource_id: str, body: Body, etag: str = "") -> None:
        """Start a PUT, over the version with an etag where there is one."""
        ...

    def delete(self, resource_id: str, etag: str = "") -> None:
        """Start a DELETE; a resource that is gone is fine."""
        ...
