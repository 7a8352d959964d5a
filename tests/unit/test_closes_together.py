"""Grants of one firewall that end together: few calls of tables for each, and none holds up another."""

from dataclasses import replace

import pytest

from shared.domain.model import Status
from shared.firewalls.nsg.model import Access
from shared.ports import OutsideError, Row, RowChangedError
from tests.counting import TABLES, Calls, CountedTables
from tests.world import ALICE, DB, NSG_SUBNET, World

MANY, FEW = 100, 8


class Closing(World):
    """Grants of several people behind one group, about to end at once."""

    def __init__(self, many: int, people: int) -> None:
        super().__init__()
        self.calls = Calls()
        self.protect(DB)
        self.asked = [
            self.ask(
                DB,
                who=replace(ALICE, object_id=f"person-{number % people}"),
                source=f"203.0.113.{number + 1}",
                minutes=30,
                work=False,
            ).id
            for number in range(many)
        ]
        self.pass_time(4)
        assert {self.status(each) for each in self.asked} == {Status.INITIATED}

    def end_all(self) -> None:
        """Deliver the message of the last end, once it has come."""
        ends = [each for each in self.queues.waiting if each.kind == "firewall"]
        last = max(ends, key=lambda each: each.visible_at)
        self.clock.now = last.visible_at
        self.rewire(tables=CountedTables(self.tables, self.calls))
        self.calls.start()
        self.deliver(last)

    @property
    def revoked(self) -> int:
        """Count the requests that have ended."""
        return sum(self.status(each) is Status.REVOKED for each in self.asked)


def test_closes_that_come_together_share_their_calls() -> None:
    """A hundred grants of twenty callers are closed by fewer than two calls of tables for each."""
    world = Closing(MANY, 20)
    world.end_all()
    calls = world.calls.of(*TABLES)
    assert world.revoked == MANY
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert calls <= 1.5 * MANY


@pytest.mark.parametrize("error", [OutsideError("away"), RowChangedError("k"), ValueError("odd")])
@pytest.mark.parametrize("what", ["grant", "request"])
def test_one_row_that_cannot_be_written_holds_up_no_other(what: str, error: Exception) -> None:
    """All others are closed and confirmed together with it; its rule is gone as well."""
    world = Closing(FEW, 3)
    victim = world.asked[5]
    table = world.tables.firewalls if what == "grant" else world.tables.requests
    write = table.replace
    mark = f"grant|{victim}" if what == "grant" else victim.partition("-")[2]

    def fail(row: Row) -> str:
        if row.key.startswith(mark):
            raise error
        return write(row)

    table.replace = fail  # type: ignore[method-assign]
    world.end_all()
    assert not world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert world.revoked >= FEW - 1
    proven = [grant for grant in world.services.rows.read(NSG_SUBNET).grants if grant.proven]
    assert {each.request_id for each in proven if each.is_sealed} == {*world.asked} - {victim}
    del table.replace
    world.pass_time(20)
    assert world.revoked == FEW
