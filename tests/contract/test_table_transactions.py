"""The contract of a transaction, kept by the table in memory and by Table Storage."""

import uuid
from collections.abc import Callable

import pytest
from azure.data.tables import TableServiceClient

from shared.adapters.tables import AzureTable
from shared.adapters.threads import side_by_side
from shared.ports import (
    MOST_WRITES,
    OutsideError,
    Row,
    RowChangedError,
    RowExistsError,
    Table,
    Value,
    Verb,
    Write,
)
from shared.store.together import raise_first, write_together
from tests.fakes import MemoryTable

STALE = "W/\"datetime'2026-01-01T00%3A00%3A00.0000000Z'\""


@pytest.fixture(params=["memory", "azure"])
def table(request: pytest.FixtureRequest) -> Table:
    """Give an empty table, in memory or in Azurite."""
    if request.param == "memory":
        return MemoryTable()
    service = TableServiceClient.from_connection_string(request.getfixturevalue("azurite"))
    return AzureTable(service.create_table(f"t{uuid.uuid4().hex}"))


def row(key: str, version: str = "", partition: str = "p", **values: Value) -> Row:
    """Make a row."""
    return Row(partition, key, values or {"doc": "{}"}, version)


def keys(table: Table, partition: str = "p") -> list[str]:
    """Name the rows of a partition by their keys."""
    return [each.key for each in table.query(partition)]


def test_all_writes_are_made_and_give_their_versions(table: Table) -> None:
    """Each verb works as the method of its name, and a later write goes on from it."""
    old = table.insert(row("b", number=1))
    gone = table.insert(row("c"))
    table.insert(row("d"))
    table.insert(row("e", number=1, text="before"))
    versions = table.transact(
        [
            Write(Verb.INSERT, row("a")),
            Write(Verb.REPLACE, row("b", old, number=2)),
            Write(Verb.DELETE, row("c", gone)),
            Write(Verb.REMOVE, row("d")),
            Write(Verb.UPSERT, row("e", number=3)),
        ]
    )
    assert [dict(each.values) for each in table.query("p")] == [
        {"doc": "{}"},
        {"number": 2},
        {"number": 3},
    ]
    assert [each.version for each in table.query("p")] == [versions[0], versions[1], versions[4]]
    table.replace(row("b", versions[1], number=4))


REFUSED: dict[str, tuple[Write, type[Exception]]] = {
    "insert": (Write(Verb.INSERT, row("held")), RowExistsError),
    "replace": (Write(Verb.REPLACE, row("held", STALE)), RowChangedError),
    "replace of nothing": (Write(Verb.REPLACE, row("none", STALE)), RowChangedError),
    "delete": (Write(Verb.DELETE, row("held", STALE)), RowChangedError),
    "delete of nothing": (Write(Verb.DELETE, row("none", STALE)), RowChangedError),
    "remove of nothing": (Write(Verb.REMOVE, row("none")), RowChangedError),
}


@pytest.mark.parametrize("what", REFUSED)
def test_one_refused_write_keeps_all_from_being_made(table: Table, what: str) -> None:
    """The error is that of the single write, and names the row that is to blame."""
    version = table.insert(row("held", number=1))
    write, error = REFUSED[what]
    others = [Write(Verb.INSERT, row("a")), Write(Verb.INSERT, row("b"))]
    with pytest.raises(error) as raised:
        table.transact([others[0], write, others[1]])
    assert raised.value.args == (write.row.key,)
    assert table.query("p") == [row("held", version, number=1)]


@pytest.mark.parametrize("verb", [Verb.REPLACE, Verb.DELETE])
def test_a_write_without_a_version_is_never_unconditional(table: Table, verb: Verb) -> None:
    """A row that was never read is not written over, nor deleted."""
    table.insert(row("k", number=1))
    with pytest.raises((OutsideError, RowChangedError)):
        table.transact([Write(verb, row("k", number=2)), Write(Verb.INSERT, row("a"))])
    assert [dict(each.values) for each in table.query("p")] == [{"number": 1}]


def _wrong() -> dict[str, list[Write]]:
    many = [Write(Verb.INSERT, row(f"{number:03}")) for number in range(MOST_WRITES + 1)]
    return {
        "none": [],
        "too many": many,
        "two partitions": [many[0], Write(Verb.INSERT, row("b", partition="q"))],
        "a row twice": [many[0], Write(Verb.UPSERT, many[0].row)],
    }


@pytest.mark.parametrize("what", [name for name in _wrong() if name != "none"])
def test_what_is_no_transaction_is_refused(table: Table, what: str) -> None:
    """More rows than fit, two partitions, and one row twice are refused as a whole."""
    with pytest.raises(OutsideError):
        table.transact(_wrong()[what])
    assert keys(table) == []


def test_a_full_transaction_is_taken(table: Table) -> None:
    """As many writes as one transaction takes are made at once."""
    table.transact([Write(Verb.INSERT, row(f"{number:03}")) for number in range(MOST_WRITES)])
    assert len(keys(table)) == MOST_WRITES


def test_remove_needs_no_version(table: Table) -> None:
    """A row is removed whatever was written to it meanwhile, and one that is gone is fine."""
    table.insert(row("k"))
    table.upsert(row("k", number=2))
    table.remove(row("k"))
    table.remove(row("k"))
    assert keys(table) == []


def test_a_transaction_on_a_missing_table_proves_nothing(azurite: str) -> None:
    """A table that is not there is a failure, and never a row that has changed."""
    client = TableServiceClient.from_connection_string(azurite, retry_total=0)
    table = AzureTable(client.get_table_client("nosuchtable"))
    with pytest.raises(OutsideError):
        table.transact([Write(Verb.REPLACE, row("a", STALE)), Write(Verb.INSERT, row("b"))])


# --- rows that are written together --------------------------------------------------------------


def test_rows_of_several_partitions_are_written_in_any_number(table: Table) -> None:
    """Each answer stands where its write stood, and more than one transaction takes is cut."""
    writes = [
        Write(Verb.INSERT, row(f"{number:03}", partition=f"p{number % 2}", number=number))
        for number in range(2 * MOST_WRITES + 10)
    ]
    written = write_together(table, writes, side_by_side)
    raise_first(written)
    held = {(each.partition, each.key): each.version for each in table.scan("p", "q")}
    assert written == [held[write.row.partition, write.row.key] for write in writes]


def test_a_row_that_cannot_be_written_holds_up_no_other(table: Table) -> None:
    """The others are written one at a time, and the failed row is the only one that tells why."""
    table.insert(row("b", number=1))
    writes = [Write(Verb.REPLACE if key == "b" else Verb.INSERT, row(key, STALE)) for key in "abc"]
    first, second, third = write_together(table, writes, side_by_side)
    assert isinstance(second, RowChangedError)
    assert [first, third] == [each.version for each in table.query("p") if each.key != "b"]
    with pytest.raises(RowChangedError):
        raise_first([first, second, third])


def test_large_rows_are_cut_into_transactions_that_are_taken() -> None:
    """No transaction is sent that takes more than storage does."""
    sizes: list[int] = []
    table = MemoryTable()
    transact: Callable[[list[Write]], list[str]] = table.transact

    def noted(writes: list[Write]) -> list[str]:
        sizes.append(sum(len(str(write.row.values)) for write in writes))
        return transact(writes)

    table.transact = noted  # type: ignore[method-assign, assignment]
    text = {f"doc{number}": "x" * 30_000 for number in range(14)}
    writes = [Write(Verb.INSERT, Row("p", f"{number:02}", text)) for number in range(20)]
    raise_first(write_together(table, writes, side_by_side))
    assert len(sizes) > 1
    assert max(sizes) < 4_000_000
    assert len(keys(table)) == len(writes)


def test_one_row_written_twice_is_written_in_order(table: Table) -> None:
    """The second write of a row is made after the first."""
    writes = [Write(Verb.UPSERT, row("a", number=number)) for number in (1, 2)]
    raise_first(write_together(table, writes, lambda work, items: [work(i) for i in items]))
    assert [dict(each.values) for each in table.query("p")] == [{"number": 2}]
