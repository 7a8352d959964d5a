"""The interface of a client that reads and writes network security groups."""

from collections.abc import Sequence
from typing import Any, Protocol

from shared.firewalls.nsg.model import Snapshot
from shared.firewalls.nsg.rules import Plan


class Firewall(Protocol):
    """A kind of firewall: read whole, written by plan."""

    def read(self, firewall_id: str) -> Snapshot:
        """Read a settled snapshot; raises SettlingError within seconds where it stays busy."""
        ...

    def look(self, firewall_id: str) -> tuple[dict[str, Any], Snapshot | None]:
        """Read a group once, as it is, and a snapshot where that can be planned from."""
        ...

    def write(self, snapshot: Snapshot, plan: Plan) -> None:
        """Carry out a plan, or its first change; raises the errors above. Proves nothing."""
        ...

    def list_with_our_rules(self, scopes: Sequence[str]) -> list[str]:
        """Find every firewall in scope that holds a rule of ours, from the service itself."""
        ...

    def writes_whole(self) -> bool:
        """Tell whether several changes go in one guarded write, and properties can be set."""
        ...

    def probe(self) -> str:
        """Ask whether guarded whole writes are honoured: honoured, ignored or unknown."""
        ...
