"""Firewalls in memory whose writes take minutes, one at a time for each tree of firewalls."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain.model import Attachment
from shared.domain.network import covers
from shared.ports import FirewallChangedError

WRITE = timedelta(minutes=4)


@dataclass(frozen=True)
class Translation:
    """One rule: an entry port of the firewall leads to a port of a machine, for some sources."""

    name: str
    entry_port: int
    protocol: str
    sources: tuple[str, ...]
    address: str
    port: int
    text: str = ""


Content = dict[str, Translation]


@dataclass
class Wall:
    """One firewall: what it enforces, and the write that is under way."""

    tree: str
    public_address: str
    content: Content = field(default_factory=dict)
    version: int = 0
    writing: Content | None = None
    settles_at: datetime | None = None


class Cloud:
    """The service."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self.walls: dict[str, Wall] = {}
        self.refuse: Callable[[str, str], str] = lambda _verb, _target: ""
        self.before_call: Callable[[str, str], None] = lambda _verb, _target: None
        self.busy_seconds = 0.0
        self.faulted_writes = 0  # how many accepted writes will not come true
        self.calls: list[str] = []
        self.attached: dict[str, tuple[Attachment, ...]] = {}  # by the id of a machine

    def add(
        self, firewall_id: str, *, tree: str = "tree", public_address: str = "20.1.2.3"
    ) -> None:
        """Put a firewall there."""
        self.walls[firewall_id] = Wall(tree, public_address)

    def edit(self, firewall_id: str, *put: Translation, remove: tuple[str, ...] = ()) -> None:
        """Edit a firewall as another writer, at once."""
        wall = self._settled(firewall_id)
        wall.content = {
            **{name: rule for name, rule in wall.content.items() if name not in remove},
            **{rule.name: rule for rule in put},
        }
        wall.version += 1

    def wall(self, firewall_id: str) -> Wall | None:
        """Return a firewall as it is now; None: there is none."""
        return self._settled(firewall_id) if firewall_id in self.walls else None

    def busy_until(self, firewall_id: str) -> datetime | None:
        """Return when the write under way in a firewall's tree settles; None: there is none."""
        tree = self.walls[firewall_id].tree
        ends = [
            wall.settles_at
            for key in self.walls
            if (wall := self._settled(key)).tree == tree and wall.settles_at
        ]
        return max(ends, default=None)

    def write(self, firewall_id: str, version: str, content: Content) -> None:
        """Accept a write, which is enforced when it has settled."""
        wall = self._settled(firewall_id)
        if str(wall.version) != version:
            raise FirewallChangedError(firewall_id)
        self.calls.append(firewall_id)
        wall.writing, wall.settles_at = dict(content), self.clock() + WRITE

    def reaches(
        self, firewall_id: str, source: str, address: str, port: int, protocol: str
    ) -> bool:
        """Tell whether some entry leads packets from a source to a machine's port."""
        return any(
            rule.protocol in {protocol, "any"}
            and (rule.address, rule.port) == (address, port)
            and covers(rule.sources, source)
            for rule in self._settled(firewall_id).content.values()
        )

    def _settled(self, firewall_id: str) -> Wall:
        wall = self.walls[firewall_id]
        if wall.settles_at and wall.settles_at <= self.clock():
            if self.faulted_writes:
                self.faulted_writes -= 1
            else:
                wall.content = wall.writing or {}
            self.walls[firewall_id] = wall = replace(
                wall, version=wall.version + 1, writing=None, settles_at=None
            )
        return wall
