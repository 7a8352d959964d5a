"""Table Storage: rows in and out, and its errors in the words of the use cases."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from http.client import HTTPException
from typing import Any

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import (
    TableClient,
    TableServiceClient,
    TableTransactionError,
    UpdateMode,
)

from shared.adapters.transport import make_transport
from shared.ports import (
    MOST_WRITES,
    OutsideError,
    Row,
    RowChangedError,
    RowExistsError,
    Value,
    Verb,
    Write,
)

NAMES = ("policies", "requests", "firewalls", "due", "activity")
_KEYS = frozenset({"PartitionKey", "RowKey"})
# A store that does not answer is known within a quarter of a minute: what has ended is then closed
# without it, by the rules' own texts.
_CONNECT_SECONDS, _READ_SECONDS, _RETRIES = 3, 6, 1
_LONGEST_PAGE = 1000  # the service refuses to be asked for more at once
_CHANGED = frozenset(
    {"UpdateConditionNotSatisfied", "ConditionNotMet", "ResourceNotFound", "EntityNotFound"}
)
_EXISTS = frozenset({"EntityAlreadyExists", "ResourceAlreadyExists"})


class AzureTable:
    """One table. Retries are the SDK's; what it gives up on is an OutsideError, never `None`."""

    def __init__(self, client: TableClient) -> None:
        self._client = client

    def get(self, partition: str, key: str) -> Row | None:
        """Read one row."""
        try:
            return _row(self._client.get_entity(partition, key))
        except ResourceNotFoundError as error:
            self._require_table(error)
            return None
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def query(
        self,
        partition: str,
        *,
        start: str = "",
        stop: str = "",
        limit: int = 0,
        columns: Sequence[str] = (),
    ) -> list[Row]:
        """Read a partition's rows in key order."""
        wanted = "PartitionKey eq @partition"
        values: dict[str, Any] = {"partition": partition}
        if start:
            wanted, values["start"] = f"{wanted} and RowKey ge @start", start
        if stop:
            wanted, values["stop"] = f"{wanted} and RowKey lt @stop", stop
        return self._read(wanted, values, limit, columns)

    def scan(self, start: str, stop: str, *, limit: int = 0, **equal: Value) -> list[Row]:
        """Read rows of several partitions whose values equal the given ones."""
        wanted = "PartitionKey ge @start and PartitionKey lt @stop"
        for name in equal:
            wanted += f" and {name} eq @{name}"
        return self._read(wanted, {"start": start, "stop": stop, **equal}, limit)

    def insert(self, row: Row) -> str:
        """Add a row."""
        try:
            return _version(self._client.create_entity(_entity(row)))
        except ResourceExistsError as error:
            raise RowExistsError(row.key) from error
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def replace(self, row: Row) -> str:
        """Write over the version that was read."""
        try:
            answer = self._client.update_entity(
                _entity(row),
                mode=UpdateMode.REPLACE,
                etag=row.version,
                match_condition=MatchConditions.IfNotModified,
            )
        except (ResourceModifiedError, ResourceNotFoundError) as error:
            self._require_table(error)
            raise RowChangedError(row.key) from error
        except AzureError as error:
            raise OutsideError(str(error)) from error
        return _version(answer)

    def upsert(self, row: Row) -> str:
        """Write a row whatever was there."""
        try:
            return _version(self._client.upsert_entity(_entity(row), mode=UpdateMode.REPLACE))
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def delete(self, row: Row) -> None:
        """Remove the version that was read; the SDK passes over a row that is gone."""
        try:
            self._client.delete_entity(
                row.partition,
                row.key,
                etag=row.version,
                match_condition=MatchConditions.IfNotModified,
            )
        except ResourceModifiedError as error:
            raise RowChangedError(row.key) from error
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def remove(self, row: Row) -> None:
        """Remove a row whatever its version; the SDK passes over a row that is gone."""
        try:
            self._client.delete_entity(row.partition, row.key)
        except AzureError as error:
            raise OutsideError(str(error)) from error

    def transact(self, writes: Sequence[Write]) -> list[str]:
        """Make writes to rows of one partition, all or none."""
        if len(writes) > MOST_WRITES:
            raise OutsideError(f"{len(writes)} writes are too many for one transaction")
        try:
            answers = self._client.submit_transaction([_operation(each) for each in writes])
        except TableTransactionError as error:
            raise _meaning(error, writes) from error
        except (AzureError, ValueError, HTTPException) as error:
            raise OutsideError(str(error)) from error
        return [str(answer.get("etag") or "") for answer in answers]

    def _require_table(self, error: AzureError) -> None:
        """Raise OutsideError for a missing table: its 404 proves nothing about a row."""
        if getattr(error, "error_code", "") == "TableNotFound":
            raise OutsideError(f"table {self._client.table_name} is missing") from error

    def _read(
        self, wanted: str, values: dict[str, Any], limit: int, columns: Sequence[str] = ()
    ) -> list[Row]:
        found: list[Row] = []
        select = [*_KEYS, *columns] if columns else None
        try:
            pages = self._client.query_entities(
                wanted,
                parameters=values,
                results_per_page=min(limit, _LONGEST_PAGE) or None,
                select=select,
            )
            for entity in pages:
                found.append(_row(entity))
                if limit and len(found) == limit:
                    break
        except AzureError as error:
            raise OutsideError(str(error)) from error
        return found


class AzureTables:
    """The app's tables, each client made when first used."""

    def __init__(self, service: TableServiceClient) -> None:
        self._service = service

    @classmethod
    def connect(cls, connection: str, credential: TokenCredential | None) -> "AzureTables":
        """Connect by connection string (local) or by account address and identity (Azure)."""
        transport = make_transport(connect_seconds=_CONNECT_SECONDS, read_seconds=_READ_SECONDS)
        options: dict[str, Any] = {"transport": transport, "retry_total": _RETRIES}
        if credential is None:
            return cls(TableServiceClient.from_connection_string(connection, **options))
        return cls(TableServiceClient(connection, credential=credential, **options))

    def create(self) -> None:
        """Make the tables that are missing; infra makes them in Azure, the local stack here."""
        for name in NAMES:
            self._service.create_table_if_not_exists(name)

    @cached_property
    def policies(self) -> AzureTable:
        """Return the table of policies."""
        return self._table("policies")

    @cached_property
    def requests(self) -> AzureTable:
        """Return the table of requests."""
        return self._table("requests")

    @cached_property
    def firewalls(self) -> AzureTable:
        """Return the table of firewalls."""
        return self._table("firewalls")

    @cached_property
    def due(self) -> AzureTable:
        """Return the table of what is due."""
        return self._table("due")

    @cached_property
    def activity(self) -> AzureTable:
        """Return the table of activity."""
        return self._table("activity")

    def _table(self, name: str) -> AzureTable:
        return AzureTable(self._service.get_table_client(name))


def _operation(write: Write) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return a write in the SDK's words."""
    entity = _entity(write.row)
    guarded = {"etag": write.row.version, "match_condition": MatchConditions.IfNotModified}
    replacing = {"mode": UpdateMode.REPLACE}
    operations: dict[Verb, tuple[str, dict[str, Any]]] = {
        Verb.INSERT: ("create", {}),
        Verb.REPLACE: ("update", replacing | guarded),
        Verb.UPSERT: ("upsert", replacing),
        Verb.DELETE: ("delete", guarded),
        Verb.REMOVE: ("delete", {}),
    }
    name, how = operations[write.verb]
    return name, entity, how


def _meaning(error: TableTransactionError, writes: Sequence[Write]) -> Exception:
    """Return the error that a transaction's refusal means; the SDK names the write concerned."""
    told = getattr(error, "error_code", "")
    code = str(getattr(told, "value", told))
    key = writes[min(error.index, len(writes) - 1)].row.key
    if code in _EXISTS:
        return RowExistsError(key)
    return RowChangedError(key) if code in _CHANGED else OutsideError(str(error))


def _entity(row: Row) -> dict[str, Any]:
    return {"PartitionKey": row.partition, "RowKey": row.key, **row.values}


def _row(entity: Mapping[str, Any]) -> Row:
    # A column that was asked for and that a row lacks comes as null.
    values = {
        name: value for name, value in entity.items() if name not in _KEYS and value is not None
    }
    return Row(entity["PartitionKey"], entity["RowKey"], values, _version(entity.metadata))  # type: ignore[attr-defined]


def _version(answer: Mapping[str, Any]) -> str:
    return str(answer["etag"])
