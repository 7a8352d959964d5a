"""Dry runs and machines as they are answered: what Defender's API has no words for."""

from typing import Any

from functions.answers import policy_answer, port_rule, request_answer
from functions.schemas.base import (
    COUNT,
    FLAG,
    ID,
    INSTANT,
    PORT,
    TEXT,
    Schema,
    list_of,
    object_of,
    one_of,
    or_null,
    paged,
)
from functions.schemas.policies import PORT_RULE
from shared.domain.bastion import BastionHost
from shared.domain.errors import Reason
from shared.domain.exposure import Exposure
from shared.domain.times import format_instant
from shared.ports import Machine
from shared.use_cases.reports.dry_run import DryRun, FirewallChange
from shared.use_cases.reports.machines import Category, MachineReport, State


def dry_run_request_answer(result: DryRun) -> dict[str, Any]:
    """Write the result of a request's dry run."""
    request = result.request
    return {
        **_dry_run(result),
        "request": request_answer(request) if request else None,
    }


def dry_run_policy_answer(result: DryRun) -> dict[str, Any]:
    """Write the result of a PUT's dry run."""
    policy = result.policy
    return {**_dry_run(result), "policy": policy_answer(policy, []) if policy else None}


def _dry_run(result: DryRun) -> dict[str, Any]:
    return {
        "dryRun": True,
        "allowed": result.decision.allowed,
        "reasons": [_reason(each) for each in result.decision.broken],
        "problems": [_reason(each) for each in result.problems],
        "firewalls": [_change(each) for each in result.changes],
    }


def _reason(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "message": reason.message, "target": reason.target}


def _change(change: FirewallChange) -> dict[str, Any]:
    return {
        "id": change.firewall_id,
        "put": list(change.put),
        "remove": list(change.remove),
        "blocked": [{"rule": name, "reason": why} for name, why in change.blocked.items()],
    }


def machine_answer(
    report: MachineReport, bastions: tuple[BastionHost, ...] | None
) -> dict[str, Any]:
    """Write where a VM stands, and the Bastion hosts that reach it; None: they are not known."""
    machine = report.machine
    return {
        "id": machine.id,
        "location": machine.location,
        "system": machine.system or None,
        "privateIpAddresses": list(private_addresses(machine)),
        "category": report.category.value,
        "reason": report.reason,
        "exposedBy": [_opening(each) for each in report.openings],
        "recommendation": {"state": report.state.value, "reason": report.state_reason},
        "policies": list(report.policies),
        "ports": [port_rule(rule) for rule in report.ports],
        "firewalls": [each.firewall_id for each in machine.attachments],
        "bastions": None if bastions is None else [_bastion(host) for host in bastions],
        "lastAccess": format_instant(report.last_access_at) if report.last_access_at else None,
        "lastRequestor": report.last_requestor or None,
    }


def _bastion(host: BastionHost) -> dict[str, Any]:
    return {
        "id": host.id,
        "name": host.name,
        "sku": host.sku,
        "enableTunneling": host.takes_tunnels,
    }


def private_addresses(machine: Machine) -> tuple[str, ...]:
    """Return the private addresses of a VM, each once, in the order of its interfaces."""
    behind = (address for each in machine.attachments for address in each.addresses)
    return tuple(dict.fromkeys((*behind, *machine.bare_addresses)))


def _opening(exposure: Exposure) -> dict[str, Any]:
    """Write an exposure, in the words of its kind of firewall where it has any."""
    opening = exposure.opening
    return {
        "firewall": exposure.firewall_id,
        "port": exposure.port,
        "rule": opening.what,
        "sources": list(opening.sources),
        **opening.shown,
    }


_MACHINE = object_of(
    {
        "id": ID,
        "location": TEXT,
        "system": or_null(TEXT),
        "privateIpAddresses": list_of(TEXT),
        "category": one_of(*(category.value for category in Category)),
        "reason": TEXT,
        "exposedBy": list_of(
            object_of(
                {"firewall": ID, "rule": TEXT, "port": PORT, "sources": list_of(TEXT)},
                {"priority": COUNT},
            )
        ),
        "recommendation": object_of(
            {"state": one_of(*(state.value for state in State)), "reason": TEXT}
        ),
        "policies": list_of(ID),
        "ports": list_of(PORT_RULE),
        "firewalls": list_of(ID),
        "bastions": or_null(
            list_of(object_of({"id": ID, "name": TEXT, "sku": TEXT, "enableTunneling": FLAG}))
        ),
        "lastAccess": or_null(INSTANT),
        "lastRequestor": or_null(TEXT),
    }
)

SCHEMAS: dict[str, Schema] = {"MachineList": paged(_MACHINE, unanswered=list_of(TEXT))}
