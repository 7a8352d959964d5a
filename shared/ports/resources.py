"""Raw reads of a cloud: resources as it describes them."""

from collections.abc import Iterable
from typing import Any, Protocol


class Resources(Protocol):
    """The resources of a cloud. Only an answer that something does not exist counts as that."""

    def get(self, path: str, api_version: str) -> dict[str, Any] | None:
        """Read one resource; None only where the cloud says that it does not exist."""
        ...

    def list_in(
        self, places: Iterable[str], resource_type: str, api_version: str
    ) -> list[dict[str, Any]]:
        """List the resources of a type in some places; a group that was deleted holds nothing."""
        ...
