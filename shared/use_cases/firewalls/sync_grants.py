"""Bring the grants of a firewall in line with their requests before anything acts on them.

The request row decides; a grant is its copy. Only grants that are expired, unproven, sealed,
uncovered or replaced are looked up, so that the cost follows what changes, not what is live.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

from shared.domain.grants import is_covered, is_held, superseded
from shared.domain.ids import key_of
from shared.domain.model import (
    LONGEST_GRANT,
    AccessRequest,
    CloseReason,
    FirewallRows,
    Front,
    Grant,
    PortRequest,
    Status,
)
from shared.domain.request import change_ports, close
from shared.ports import OutsideError, Row, RowChangedError
from shared.store.requests import RequestRow
from shared.use_cases.firewalls.failures import Failures
from shared.use_cases.firewalls.known_requests import KnownRequests
from shared.use_cases.grants import CloseParts, close_early, grant_of, seal_row
from shared.use_cases.parts import HasWorkers


class SyncParts(CloseParts, HasWorkers, Protocol):
    """The parts for bringing grants in line with their requests."""


_TOGETHER = 2  # grants that end at once, for which fewer calls are made together


class _UnansweredError(OutsideError):
    """The row of a request could not be read: whether it still stands is not known."""


class GrantSync:
    """Brings the grants of one firewall in line with their requests."""

    def __init__(
        self,
        services: SyncParts,
        firewall_id: str,
        failures: Failures | None = None,
        known: KnownRequests | None = None,
    ) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._failures = Failures(services, firewall_id) if failures is None else failures
        self._requests: dict[str, AccessRequest | None] = {}
        self.known = known or KnownRequests(services)
        self._unanswered: dict[str, _UnansweredError] = {}
        self._unwritable: dict[str, Exception] = {}

    def sync(self, rows: FirewallRows, now: datetime) -> FirewallRows:
        """Return the rows as they stand once they agree with their requests."""
        rows = self._expire_together(rows, now)
        newer_exists = {grant.key for grant in self._replaced(rows, now)}
        looked_at = {
            grant.key: grant.request_id
            for grant in rows.grants
            if self._needs_a_look(grant, rows, now) or grant.key in newer_exists
        }
        self.known.read_all(list(dict.fromkeys(looked_at.values())))

        def sync_request(request: list[Grant]) -> list[Grant]:
            return [
                self._try(grant, rows, now, replaced=grant.key in newer_exists)
                if grant.key in looked_at
                else grant
                for grant in request
            ]

        synced = self._services.workers(sync_request, by_request(rows.grants))
        return replace(rows, grants=tuple(grant for those in synced for grant in those))

    def _expire_together(self, rows: FirewallRows, now: datetime) -> FirewallRows:
        """Write the reason to all requests whose grants have ended, then seal those together.

        Exceptions and failures are left to the step that looks at each grant by itself.
        """
        ended = ended_grants(rows, now)
        return self._expire_all(rows, ended, now)[0] if len(ended) >= _TOGETHER else rows

    def expire_with_lease(
        self, rows: FirewallRows, now: datetime, lease: Row
    ) -> tuple[FirewallRows, Row | None]:
        """Write the reason to the requests whose grants have ended, then seal those and take a lease.

        Return the rows, and the lease where it was taken.
        """
        return self._expire_all(rows, ended_grants(rows, now), now, lease)

    def _expire_all(
        self, rows: FirewallRows, ended: list[Grant], now: datetime, lease: Row | None = None
    ) -> tuple[FirewallRows, Row | None]:
        ids = list(dict.fromkeys(grant.request_id for grant in ended))
        self.known.read_all(ids)
        found = dict(zip(ids, self._services.workers(self._try_request, ids), strict=True))
        end = partial(_end_expired, now=now)
        changed = self.known.change_all(
            {each: lambda held: change_ports(held, end) for each in ids if found[each]}
        )
        for request_id, request in changed.items():
            if isinstance(request, Exception):
                self._unwritable[request_id] = request
            else:
                self._requests[request_id] = request
        closing = [grant for grant in ended if self._is_closing(grant)]
        return self._seal_together(rows, closing, now, lease if closing else None)

    def _try_request(self, request_id: str) -> AccessRequest | None:
        """Read a request; one that fails is met again by each of its grants."""
        try:
            return self._request(request_id)
        except Exception:  # noqa: BLE001 - whatever it is, the others must still close
            return None

    def _is_closing(self, grant: Grant) -> bool:
        request = self._requests.get(grant.request_id)
        port = request.port(grant.vm_id, grant.port) if request else None
        return port is not None and port.closing is not None

    def _seal_together(
        self, rows: FirewallRows, grants: list[Grant], now: datetime, lease: Row | None
    ) -> tuple[FirewallRows, Row | None]:
        self.known.told |= {grant.key for grant in grants if grant.proven}
        sealed, taken = self._services.rows.mark_grants(
            [replace(grant, sealed_at=now, proven=False) for grant in grants], lease
        )
        by_key = {each.key: each for each in sealed if isinstance(each, Grant)}
        grants_now = tuple(by_key.get(each.key, each) for each in rows.grants)
        return replace(rows, grants=grants_now), taken

    @staticmethod
    def _replaced(rows: FirewallRows, now: datetime) -> tuple[Grant, ...]:
        return superseded(
            grant for grant in rows.grants if is_held(grant, now) and is_covered(grant, rows)
        )

    @staticmethod
    def _needs_a_look(grant: Grant, rows: FirewallRows, now: datetime) -> bool:
        if grant.is_sealed:
            return not grant.proven
        return not grant.proven or not is_held(grant, now) or not is_covered(grant, rows)

    def _try(self, grant: Grant, rows: FirewallRows, now: datetime, *, replaced: bool) -> Grant:
        """Sync one grant; where that fails, it is wanted no more, and no other grant is held up.

        A request that did not answer proves nothing: its grant stays as it is until its end, and
        is not opened.
        """
        try:
            return self._sync(grant, rows, now, replaced=replaced)
        except _UnansweredError as error:
            self._failures.note(grant, error)
            if is_held(grant, now) and is_covered(grant, rows) and not replaced:
                self._failures.withheld.add(grant.key)
                return grant
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must still close
            self._failures.note(grant, error)
        return grant if grant.is_sealed else replace(grant, sealed_at=now, proven=False)

    def _sync(self, grant: Grant, rows: FirewallRows, now: datetime, *, replaced: bool) -> Grant:
        request, port, front = self._place(grant)
        if request is None or port is None or front is None or not _may_be_open(port):
            # Closing, ended or never accepted: a forged row, or one whose request was lost, has
            # no request behind it. It fails closed.
            return self._seal(grant)
        if grant.is_sealed:
            self._close(grant, CloseReason.FAILED, "its grant was sealed without a reason")
            return grant
        grant = self._copy(grant, grant_of(request, port, front))
        if not is_held(grant, now):
            return self._expire(grant)
        if not is_covered(grant, rows):
            self._close(grant, CloseReason.REVOKED, "the policy no longer covers this port")
        elif replaced:
            self._close(grant, CloseReason.NEWER, "")
        else:
            return grant
        return self._seal(grant)

    def _place(self, grant: Grant) -> tuple[AccessRequest | None, PortRequest | None, Front | None]:
        request = self._request(grant.request_id)
        port = request.port(grant.vm_id, grant.port) if request else None
        key = key_of(self._firewall_id)
        fronts = port.fronts or () if port else ()
        return request, port, next((f for f in fronts if key_of(f.firewall_id) == key), None)

    def _request(self, request_id: str) -> AccessRequest | None:
        if request_id in self._unanswered:
            raise self._unanswered[request_id]
        if request_id not in self._requests:
            held = self._read(request_id)
            self._requests[request_id] = held.request if held else None
        return self._requests[request_id]

    def _read(self, request_id: str) -> RequestRow | None:
        try:
            return self.known.read(request_id)
        except OutsideError as error:
            self._unanswered[request_id] = _UnansweredError(str(error))
            raise self._unanswered[request_id] from error

    def _copy(self, grant: Grant, truth: Grant) -> Grant:
        """Take over what the request says: a later end, or what another writer changed in the row."""
        current = replace(truth, proven=grant.proven, version=grant.version)
        if current == grant:
            return grant
        try:
            return self._services.rows.replace_grant(replace(current, proven=False))
        except RowChangedError:
            return self._again(grant)

    def _expire(self, grant: Grant) -> Grant:
        """Write the reason, then seal; an extension that came first wins.

        One write ends all ports of the request that have expired.
        """
        now = self._services.clock()

        def end(port: PortRequest) -> PortRequest:
            if not port.names(grant.vm_id, grant.port) and not _has_expired(port, now):
                return port
            if port.end_at is not None and port.end_at > now + LONGEST_GRANT:
                message = "its end lies further ahead than any grant may last"
                return close(port, CloseReason.FAILED, now, message=message)
            return close(port, CloseReason.EXPIRED, now)

        self._requests[grant.request_id] = self._write(
            grant.request_id,
            lambda: self.known.change(grant.request_id, lambda held: change_ports(held, end)),
        )
        request, port, front = self._place(grant)
        if request is None or port is None or front is None or port.closing:
            return self._seal(grant)
        return self._copy(grant, grant_of(request, port, front))

    def _close(self, grant: Grant, reason: CloseReason, message: str) -> None:
        self.known.drop(grant.request_id)
        self._requests[grant.request_id] = self._write(
            grant.request_id,
            lambda: close_early(
                self._services,
                grant.request_id,
                lambda port: port.names(grant.vm_id, grant.port),
                reason,
                message=message,
            ),
        )

    def _write(
        self, request_id: str, write: Callable[[], AccessRequest | None]
    ) -> AccessRequest | None:
        """Write to a request; one that cannot be written is tried once, not for each port."""
        if request_id in self._unwritable:
            raise self._unwritable[request_id]
        try:
            return write()
        except Exception as error:
            self._unwritable[request_id] = error
            raise

    def _seal(self, grant: Grant) -> Grant:
        if grant.is_sealed:
            return grant
        if grant.proven:
            self.known.told.add(grant.key)
        return seal_row(self._services, grant) or self._again(grant)

    def _again(self, grant: Grant) -> Grant:
        """Read a grant that changed under us; if it is gone or still wanted, act on neither.

        Raises RowChangedError where it did not change after all.
        """
        fresh = self._services.rows.get_grant(
            grant.firewall_id, grant.request_id, grant.vm_id, grant.port
        )
        if fresh is not None and fresh.version == grant.version:
            raise RowChangedError(f"a grant of {grant.request_id} cannot be written")
        return fresh if fresh is not None else replace(grant, sealed_at=self._services.clock())


def ended_grants(rows: FirewallRows, now: datetime) -> list[Grant]:
    """Return the grants that have ended and are not sealed yet."""
    return [grant for grant in rows.grants if not grant.is_sealed and not is_held(grant, now)]


def by_request(grants: Iterable[Grant]) -> list[list[Grant]]:
    """Group grants by request, so that two workers never write to the same request row."""
    groups: dict[str, list[Grant]] = {}
    for grant in grants:
        groups.setdefault(grant.request_id, []).append(grant)
    return list(groups.values())


def _end_expired(port: PortRequest, *, now: datetime) -> PortRequest:
    over = _may_be_open(port) and _has_expired(port, now)
    return close(port, CloseReason.EXPIRED, now) if over else port


def _has_expired(port: PortRequest, now: datetime) -> bool:
    return port.fronts is not None and port.closes_at is not None and port.closes_at <= now


def _may_be_open(port: PortRequest) -> bool:
    return port.status in {Status.INITIATING, Status.INITIATED} and port.closing is None
