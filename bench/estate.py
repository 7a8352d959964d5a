"""Grants that are open already, as the app's own rows say it, and their rules."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bench.place import SOURCE, Cloud, Place, VmPort
from bench.tables import Collected
from shared.adapters.telemetry import LogTelemetry
from shared.domain.ids import RuleNames
from shared.domain.model import (
    MINUTE,
    AccessRequest,
    Front,
    PortRequest,
    Principal,
    Protection,
    Status,
)
from shared.firewalls.nsg.rules import Band, allow_rules, deny_rules
from shared.firewalls.nsg.wire import write_rule
from shared.ports import Row
from shared.store.due import DueRows
from shared.store.firewalls import FirewallStore
from shared.store.keys import new_request_id
from shared.store.requests import RequestRows
from shared.use_cases.grants import grant_of

_ASKED_BEFORE = timedelta(hours=1)


@dataclass
class Estate:
    """Rows and rules of grants that are open."""

    names: RuleNames
    now: datetime

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._tables = {name: Collected() for name in ("requests", "firewalls", "due")}
        telemetry = LogTelemetry()
        self._requests = RequestRows(self._tables["requests"])
        self._rows = FirewallStore(self._tables["firewalls"], telemetry)
        self._due = DueRows(self._tables["due"], telemetry)
        self._count = 0

    @property
    def rows(self) -> dict[str, list[Row]]:
        """Return every row, by table."""
        return {name: table.rows for name, table in self._tables.items()}

    def protect(self, place: Place) -> None:
        """Protect every VM of a place."""
        for protection in _protections(place):
            self._rows.put_protection(protection)

    def open(self, place: Place, vm_port: VmPort, ends_at: datetime) -> None:
        """Open a port of a VM."""
        self._count += 1
        asked = self.now - _ASKED_BEFORE + timedelta(milliseconds=self._count)
        port = PortRequest(
            vm_id=vm_port.vm_id,
            port=vm_port.port,
            protocol="TCP",
            sources=(SOURCE,),
            end_at=ends_at,
            status=Status.INITIATED,
            fronts=(Front(vm_port.nsg_id, (vm_port.address,), opened_at=asked),),
            opened_at=asked,
        )
        request = AccessRequest(
            id=new_request_id(place.policy_id, asked, f"{self._count:08x}"),
            policy_id=place.policy_id,
            requestor=Principal("tenant", f"person-{self._count % 500}"),
            requested_at=asked,
            ports=(port,),
        )
        assert port.fronts is not None
        grant = grant_of(request, port, port.fronts[0])
        self._due.add(ends_at, "firewall", vm_port.nsg_id, since=asked)
        self._due.add(ends_at + MINUTE, "request", request.id, since=asked)
        self._requests.note_live(request)
        self._requests.insert(request)
        self._rows.insert_grant(replace(grant, proven=True))

    def put_rules(self, cloud: Cloud, place: Place) -> None:
        """Put the rules of a place's rows on its groups."""
        for nsg in place.nsgs:
            held = self._rows.read(nsg)
            rules = [rule for grant in held.grants for rule in allow_rules(grant, self.names)]
            placed: list[dict[str, Any]] = [
                write_rule(replace(rule, priority=Band().allow_from + at))
                for at, rule in enumerate(rules)
            ]
            placed += [
                write_rule(replace(rule, priority=Band().deny_from + at))
                for at, rule in enumerate(deny_rules(held.protections, self.names))
            ]
            cloud.edit(nsg=nsg, put=placed)


def _protections(place: Place) -> list[Protection]:
    return [
        Protection(
            firewall_id=nsg,
            policy_id=place.policy_id,
            vm_id=vm,
            ports=tuple(place.numbers),
            addresses=(address,),
            proven=True,
        )
        for vm, _, nsg, address in place.vms()
    ]
