"""The contract of a table, kept by the one in memory and by Table Storage."""

import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.data.tables import TableServiceClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.azurite import connection_string
from local.serving import BackgroundServer
from shared.adapters.tables import NAMES, AzureTable, AzureTables
from shared.ports import (
    OutsideError,
    Row,
    RowChangedError,
    RowExistsError,
    Table,
    Value,
)
from shared.store.codec import MAX_DOCUMENT, pack
from tests.fakes import MemoryTable

ODD_KEYS = [
    "|subscriptions|a-b|resourcegroups|my.group(1)",
    "it's",
    "' or RowKey ne '",
    "a b",
    "100%",
    "%27",
    "a+b&c=d",
    "@partition",
    '"quoted"',
    "gr\u00fc\u00dfe-\u65e5\u672c",
    "~",
]
ONCE: dict[str, int] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}


@pytest.fixture(params=["memory", "azure"])
def table(request: pytest.FixtureRequest) -> Table:
    """Give an empty table, in memory and in Azurite."""
    if request.param == "memory":
        return MemoryTable()
    return _real_table(request.getfixturevalue("azurite"))


@pytest.fixture
def real_table(azurite: str) -> AzureTable:
    """Give an empty table in Azurite."""
    return _real_table(azurite)


def _real_table(storage: str) -> AzureTable:
    service = TableServiceClient.from_connection_string(storage)
    return AzureTable(service.create_table(f"t{uuid.uuid4().hex}"))


def row(key: str = "k", partition: str = "p", version: str = "", **values: Value) -> Row:
    """Make a row."""
    return Row(partition, key, values or {"doc": "{}"}, version)


def keys(rows: list[Row]) -> list[str]:
    """Name rows by their keys."""
    return [each.key for each in rows]


def test_a_row_that_is_not_there_is_none(table: Table) -> None:
    """None is an answer: the store was asked and says that there is no such row."""
    table.insert(row("k"))
    assert table.get("p", "other") is None
    assert table.get("other", "k") is None


def test_values_come_back_as_they_were(table: Table) -> None:
    """Text, numbers and truth values keep their type and value, the empty text too."""
    values: dict[str, Value] = {
        "text": "line\n\ttab \u00fc \U0001f511 ' \" \\ @start",
        "empty": "",
        "yes": True,
        "no": False,
        "number": -7,
        "fraction": 2.5,
    }
    table.insert(Row("p", "k", values))
    held = table.get("p", "k")
    assert held is not None
    assert dict(held.values) == values
    assert {name: type(value) for name, value in held.values.items()} == {
        name: type(value) for name, value in values.items()
    }


def test_insert_never_overwrites(table: Table) -> None:
    """A second insert finds its place taken, and what was there stays."""
    version = table.insert(row(text="first"))
    with pytest.raises(RowExistsError):
        table.insert(row(text="second"))
    assert table.get("p", "k") == row(text="first", version=version)


def test_only_one_of_many_inserts_wins(table: Table) -> None:
    """Of inserts at the same time exactly one takes the place."""

    def attempt(number: int) -> bool:
        try:
            table.insert(row(number=number))
        except RowExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(8))) == 1


def test_each_write_gives_the_version_that_a_read_shows(table: Table) -> None:
    """Insert, replace and upsert each return the row's new version."""
    versions = [table.insert(row(number=1))]
    assert table.get("p", "k") == row(number=1, version=versions[-1])
    versions.append(table.replace(row(number=2, version=versions[-1])))
    assert table.get("p", "k") == row(number=2, version=versions[-1])
    versions.append(table.upsert(row(number=3)))
    assert table.get("p", "k") == row(number=3, version=versions[-1])
    assert table.query("p") == [row(number=3, version=versions[-1])]
    assert len(set(versions)) == 3


def test_a_stale_replace_changes_nothing(table: Table) -> None:
    """A version that was overtaken, and a row that is gone, both refuse the write."""
    stale = table.insert(row(text="first"))
    current = table.replace(row(text="second", version=stale))
    with pytest.raises(RowChangedError):
        table.replace(row(text="third", version=stale))
    assert table.get("p", "k") == row(text="second", version=current)
    table.delete(row(version=current))
    with pytest.raises(RowChangedError):
        table.replace(row(text="third", version=current))
    assert table.get("p", "k") is None


def test_replace_and_upsert_leave_no_former_value(table: Table) -> None:
    """A write puts the whole row: a longer document's last column does not outlive it."""
    version = table.insert(row(doc="a", doc1="b"))
    table.replace(row(doc="c", version=version))
    held = table.get("p", "k")
    assert held is not None
    assert dict(held.values) == {"doc": "c"}
    table.upsert(row(other="d"))
    held = table.get("p", "k")
    assert held is not None
    assert dict(held.values) == {"other": "d"}


def test_only_one_of_many_replaces_wins(table: Table) -> None:
    """Of writers that have read the same version exactly one gets through."""
    version = table.insert(row(number=0))

    def attempt(number: int) -> bool:
        try:
            table.replace(row(number=number, version=version))
        except RowChangedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(1, 9))) == 1


def test_a_write_without_a_version_is_never_unconditional(table: Table) -> None:
    """Replace and delete of a row that was not read change nothing."""
    version = table.insert(row(text="first"))
    with pytest.raises((RowChangedError, ValueError)):
        table.replace(row(text="second"))
    with pytest.raises((RowChangedError, ValueError)):
        table.delete(row())
    assert table.get("p", "k") == row(text="first", version=version)


def test_delete_removes_the_version_that_was_read(table: Table) -> None:
    """A stale version deletes nothing, the right one does, and twice is fine."""
    stale = table.insert(row(text="first"))
    current = table.upsert(row(text="second"))
    with pytest.raises(RowChangedError):
        table.delete(row(version=stale))
    assert table.get("p", "k") is not None
    table.delete(row(version=current))
    assert table.get("p", "k") is None
    table.delete(row(version=current))
    table.delete(row("never there", version=current))


def test_a_query_reads_one_partition_in_key_order(table: Table) -> None:
    """Rows come by key, whatever the order of writing, and no other partition's."""
    for key in ("b", "a|2", "c", "a|1", "a|10", "B"):
        table.insert(row(key))
    table.insert(row("a", partition="p2"))
    table.insert(row("a", partition="o"))
    assert keys(table.query("p")) == ["B", "a|1", "a|10", "a|2", "b", "c"]
    assert table.query("nothing there") == []


def test_a_query_begins_with_start_and_ends_before_stop(table: Table) -> None:
    """The key is at least start and less than stop; an empty bound does not bound."""
    for key in ("a", "b", "c", "d"):
        table.insert(row(key))
    assert keys(table.query("p", start="b")) == ["b", "c", "d"]
    assert keys(table.query("p", stop="c")) == ["a", "b"]
    assert keys(table.query("p", start="b", stop="d")) == ["b", "c"]
    assert keys(table.query("p", start="bb", stop="cc")) == ["c"]
    assert table.query("p", start="d", stop="b") == []


def test_a_query_reads_the_named_columns_alone(table: Table) -> None:
    """Keys and version come with them; a row that lacks a column comes without it."""
    versions = [table.insert(Row("p", key, values)) for key, values in _WITH_COLUMNS.items()]
    found = table.query("p", columns=("sealed",))
    assert [(row.partition, row.key, row.version) for row in found] == [
        ("p", key, version) for key, version in zip(_WITH_COLUMNS, versions, strict=True)
    ]
    assert [dict(row.values) for row in found] == [{"sealed": True}, {}]


_WITH_COLUMNS: dict[str, dict[str, Value]] = {
    "a": {"sealed": True, "doc": "x" * 100},
    "b": {"doc": "y"},
}


def test_a_limit_gives_the_first_rows(table: Table) -> None:
    """The first in key order, within the bounds; 0 means all."""
    for key in ("d", "c", "b", "a"):
        table.insert(row(key))
    assert keys(table.query("p", limit=2)) == ["a", "b"]
    assert keys(table.query("p", start="b", limit=1)) == ["b"]
    assert keys(table.query("p", limit=9)) == ["a", "b", "c", "d"]
    assert keys(table.query("p", limit=0)) == ["a", "b", "c", "d"]


def test_no_row_is_lost_between_pages(real_table: AzureTable) -> None:
    """Storage answers a thousand rows at a time; a query and a scan read to the end."""
    client = real_table._client
    wanted = [f"{number:05d}" for number in range(1050)]
    for start in range(0, len(wanted), 100):
        client.submit_transaction(
            [
                ("create", {"PartitionKey": "p", "RowKey": key, "kind": "x"})
                for key in wanted[start : start + 100]
            ]
        )
    assert keys(real_table.query("p")) == wanted
    assert keys(real_table.scan("p", "q", kind="x")) == wanted
    assert keys(real_table.query("p", limit=1020)) == wanted[:1020]
    assert keys(real_table.query("p", start=wanted[1])) == wanted[1:]


def test_a_scan_crosses_partitions(table: Table) -> None:
    """Rows with start <= partition < stop, by partition and key."""
    for partition in ("sub|a|west", "sub|b|west", "sub|a|east", "suc|a|west"):
        table.insert(row("2", partition=partition))
        table.insert(row("1", partition=partition))
    found = table.scan("sub|", "sub|~")
    assert [(each.partition, each.key) for each in found] == [
        (partition, key)
        for partition in ("sub|a|east", "sub|a|west", "sub|b|west")
        for key in ("1", "2")
    ]
    assert table.scan("sub|a|east", "sub|a|east") == []


def test_a_scan_may_be_cut_short(table: Table) -> None:
    """The first rows of the range, by partition and key: enough to walk over partitions."""
    for partition in ("2026-01-02", "2026-01-01", "abc", "abc1", "closes", "live|b", "repeat|a"):
        table.insert(row("2", partition=partition))
        table.insert(row("1", partition=partition))
    days = table.scan("0", "2026-01-02", limit=3)
    assert [(each.partition, each.key) for each in days] == [
        ("2026-01-01", "1"),
        ("2026-01-01", "2"),
    ]
    met = [""]
    while found := table.scan(met[-1] and met[-1] + "!", "~", limit=1):
        assert keys(found) == ["1"]
        met.append(found[0].partition)
    assert met[1:] == [
        "2026-01-01", "2026-01-02", "abc", "abc1", "closes", "live|b", "repeat|a"
    ]  # fmt: skip
    assert [each.partition for each in table.scan("live}", "~", limit=1)] == ["repeat|a"]
    assert table.scan("s", "~", limit=1) == []


def test_a_scan_keeps_the_rows_with_equal_values(table: Table) -> None:
    """All given values have to be equal, a missing one is not, and quotes are only text."""
    table.insert(row("1", kind="vm", vm="it's", open=True, port=22))
    table.insert(row("2", kind="vm", vm="other", open=True, port=22))
    table.insert(row("3", kind="policy", vm="it's", open=False, port=3389))
    table.insert(row("4", other="x"))
    assert keys(table.scan("", "~", kind="vm")) == ["1", "2"]
    assert keys(table.scan("", "~", kind="vm", vm="it's")) == ["1"]
    assert keys(table.scan("", "~", open=True)) == ["1", "2"]
    assert keys(table.scan("", "~", port=3389)) == ["3"]
    assert table.scan("", "~", vm="x' or 'a' eq 'a") == []
    assert keys(table.scan("", "~")) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("odd", ODD_KEYS)
def test_odd_characters_are_only_characters(table: Table, odd: str) -> None:
    """Keys with quotes, signs and letters of any script are found, changed and removed."""
    table.insert(row("decoy", partition="decoy"))
    version = table.insert(row(odd, partition=odd, text=odd))
    assert table.get(odd, odd) == row(odd, partition=odd, version=version, text=odd)
    assert keys(table.query(odd, start=odd)) == [odd]
    assert table.query(odd, stop=odd) == []
    assert keys(table.scan(odd, odd + "~~", text=odd)) == [odd]
    version = table.replace(row(odd, partition=odd, version=version, text="new"))
    table.delete(row(odd, partition=odd, version=version))
    assert table.get(odd, odd) is None
    assert table.get("decoy", "decoy") is not None


def test_the_longest_document_fits(table: Table) -> None:
    """A document as long as the codec allows is kept and comes back whole."""
    values = pack("x" * (MAX_DOCUMENT - 2))
    table.insert(Row("p", "k", values))
    held = table.get("p", "k")
    assert held is not None
    assert dict(held.values) == values


WAYS: dict[str, Callable[[Table], object]] = {
    "get": lambda table: table.get("p", "k"),
    "query": lambda table: table.query("p"),
    "limited query": lambda table: table.query("p", start="a", stop="b", limit=1),
    "scan": lambda table: table.scan("a", "z", kind="x"),
    "insert": lambda table: table.insert(row()),
    "replace": lambda table: table.replace(row(version='W/"x"')),
    "upsert": lambda table: table.upsert(row()),
    "delete": lambda table: table.delete(row(version='W/"x"')),
}
# NB. The SDK passes over every 404 of a delete; what was to be gone is gone with its table.
ANSWERED_404 = {name: way for name, way in WAYS.items() if name != "delete"}


def _connected(storage: str, name: str = "policies") -> AzureTable:
    service = TableServiceClient.from_connection_string(storage, **ONCE)
    return AzureTable(service.get_table_client(name))


@pytest.mark.parametrize("way", ANSWERED_404)
def test_a_missing_table_proves_nothing(azurite: str, way: str) -> None:
    """A table that is not there is a failure, never an empty answer."""
    with pytest.raises(OutsideError):
        ANSWERED_404[way](_connected(azurite, "nosuchtable"))


@pytest.mark.parametrize("way", WAYS)
def test_unreachable_storage_proves_nothing(way: str) -> None:
    """Without a server at the address every operation fails."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and no process listens
        port = taken.getsockname()[1]
        with pytest.raises(OutsideError):
            WAYS[way](_connected(connection_string(port, port, port)))


@pytest.fixture(scope="module", params=["<h1>Not found</h1>", "", "{}", '{"odata.error":{}}'])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve what is no Table Storage: every call is a 404 in words of its own."""

    async def not_found(call: Request) -> Response:
        del call
        return Response(request.param, status_code=404, media_type="application/json")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    with BackgroundServer(Starlette(routes=[Route("/{p:path}", not_found, methods=methods)])) as it:
        port = int(it.url.rpartition(":")[2])
        yield connection_string(port, port, port)


@pytest.mark.parametrize("way", ANSWERED_404)
def test_a_404_of_a_stranger_proves_nothing(stranger: str, way: str) -> None:
    """Only storage's own word for a missing row counts, not a proxy's page."""
    with pytest.raises(OutsideError):
        ANSWERED_404[way](_connected(stranger))


def test_the_tables_are_made_once(azurite: str) -> None:
    """Making the tables twice is fine, and each keeps its own rows."""
    tables = AzureTables.connect(azurite, None)
    tables.create()
    tables.create()
    mark = uuid.uuid4().hex
    each: list[Table] = [getattr(tables, name) for name in NAMES]
    for number, table in enumerate(each):
        table.insert(row(mark, number=number))
    held = [table.get("p", mark) for table in each]
    assert [one.values["number"] for one in held if one] == list(range(len(NAMES)))
