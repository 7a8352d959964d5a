"""Audit files in memory, which refuse what an immutable container refuses."""

from datetime import timedelta

from shared.ports import OutsideError, PositionError
from shared.use_cases.timers.export_audit import AuditExport, export_audit
from tests.world import World

DEPLOYMENT = "test1"


class MemoryBlobs:
    """Append-only files. They can be created and extended; a test alone changes them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.is_away = False
        self.appends = 0

    def create(self, name: str) -> None:
        """Create an empty file; one that exists stays as it is."""
        self._answer()
        self.files.setdefault(name, b"")

    def append(self, name: str, offset: int, content: bytes) -> None:
        """Append to a file that is `offset` bytes long."""
        self._answer()
        if len(self.files.get(name, b"")) != offset or name not in self.files:
            raise PositionError(name)
        self.files[name] += content
        self.appends += 1

    def read(self, name: str, start: int, length: int) -> bytes:
        """Read bytes of a file."""
        self._answer()
        return self.files.get(name, b"")[start : start + length]

    def _answer(self) -> None:
        if self.is_away:
            raise OutsideError("audit storage does not answer")


def export_of(world: World, blobs: MemoryBlobs) -> AuditExport:
    """Return the parts that export a world's audit events."""
    services = world.services
    return AuditExport(services.exports, blobs, services.telemetry, services.clock, DEPLOYMENT)


def run_export(world: World, blobs: MemoryBlobs) -> int:
    """Run the export once, as its timer does."""
    return export_audit(export_of(world, blobs))


def hours_later(world: World, hours: float) -> None:
    """Let time pass without any work."""
    world.clock.now += timedelta(hours=hours)
