"""Tables of which chosen rows fail, in every way, for as long as a test says."""

from collections.abc import Callable
from datetime import timedelta

from shared.domain.ids import digest, key_of
from shared.domain.model import Attachment
from shared.ports import Row
from tests.fakes import MemoryTable
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, WEB, World, vm_id

NSG_FAR = NSG_NIC.replace("nic-nsg", "far-nsg")
FAR = vm_id("far")
END = timedelta(minutes=5)
GARBAGE: dict[str, str | int | bool | float] = {"doc": "{", "until": 7}
ROWS: dict[str, tuple[str, Callable[[str, Row | None, str], bool]]] = {
    "request": ("requests", lambda key, _row, victim: victim.partition("-")[2] == key),
    "grant": ("firewalls", lambda key, _row, victim: key.startswith(f"grant|{victim}")),
    "protection": (
        "firewalls",
        lambda key, _row, _v: key.startswith("protection|") and key.endswith(digest(key_of(WEB))),
    ),
    "due": (
        "due",
        lambda key, _row, victim: key.endswith((digest(key_of(victim)), digest(key_of(NSG_NIC)))),
    ),
    "activity": ("activity", lambda _key, row, victim: row is not None and victim in str(row)),
    "lease": ("firewalls", lambda key, _row, _v: key == "lease"),
    "vm": ("policies", lambda key, _row, _v: key.endswith(digest(key_of(WEB)))),
}


class BreakingWorld(World):
    """Four accesses behind three firewalls, one of them the victim; all end together."""

    def __init__(self) -> None:
        super().__init__()
        self.firewall.add(NSG_FAR)
        self.machines.add(FAR, Attachment(NSG_FAR, ("10.0.1.4",)))
        self.protect(WEB, DB, FAR)
        self.victim = self.ask(WEB, minutes=5).id
        self.ask(WEB, 3389, who=BOB, source="192.0.2.9", minutes=5)
        self.ask(DB, who=BOB, source="192.0.2.9", minutes=5)
        self.ask(FAR, who=ALICE, minutes=5)
        self.end = self.clock() + END
        self.denies = {rule.name for rule in self.firewall.ours(NSG_NIC) if "_" in rule.name}
        self.late = 0.0
        self._wrap_writes()

    def _wrap_writes(self) -> None:
        write = self.firewall.write

        def noted(snapshot: object, plan: object) -> None:
            write(snapshot, plan)  # type: ignore[arg-type]
            if any(self.allows()) and self.clock() > self.end:
                return
            self.late = max(self.late, (self.clock() - self.end).total_seconds())

        self.firewall.write = noted  # type: ignore[method-assign]

    def allows(self) -> list[str]:
        """Return the names of the rules of ours that let anybody in."""
        return [
            rule.name
            for nsg in (NSG_NIC, NSG_SUBNET, NSG_FAR)
            for rule in self.firewall.ours(nsg)
            if rule.access == "Allow"
        ]

    def garble(self, subject: str) -> None:
        """Make the victim's rows of a type undecodable, those that exist."""
        table, chooses = ROWS[subject]
        rows = getattr(self.tables, table).rows
        for place, row in list(rows.items()):
            if chooses(row.key, row, self.victim):
                rows[place] = Row(row.partition, row.key, GARBAGE, row.version)

    def break_rows(self, subject: str, methods: str, error: Callable[[], Exception]) -> None:
        """Let every read, or every write, of the victim's rows of a type fail."""
        name, chooses = ROWS[subject]
        table: MemoryTable = getattr(self.tables, name)
        for method in methods.split():
            setattr(table, method, self._failing(getattr(table, method), chooses, error))

    def _failing(
        self,
        work: Callable[..., object],
        chooses: Callable[..., bool],
        error: Callable[[], Exception],
    ) -> Callable[..., object]:
        def failing(first: Row | str, *more: str, **named: object) -> object:
            row = first if isinstance(first, Row) else None
            key = row.key if row else more[0] if more else ""
            if chooses(key, row, self.victim):
                raise error()
            return work(first, *more, **named)

        return failing

    def mend(self) -> None:
        """Let every row be read and written again."""
        for table in self.tables.all():
            for method in ("get", "insert", "replace", "upsert", "delete", "remove", "query"):
                table.__dict__.pop(method, None)
