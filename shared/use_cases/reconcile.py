"""Compare everything with reality: every policy anew, and every firewall that holds our rules."""

from collections.abc import Callable
from functools import partial

from shared.domain.arm_ids import key_of
from shared.use_cases import watch
from shared.use_cases.converge import converge
from shared.use_cases.protection import apply_policy
from shared.use_cases.services import Services


def reconcile(services: Services) -> int:
    """Find and repair what no due row leads to; return how many pieces failed.

    Policies are applied again, which resolves their VMs' addresses and firewalls anew. Then every
    NSG in reach that holds a rule of ours, found by listing and not from the tables, so that a
    rule whose rows were lost is found by its name, and goes.
    """
    started = services.clock()
    watch.may_write_whole(services)  # asks the service again once the kept answer is a day old
    done: set[str] = set()
    failed = 0
    for policy in services.policies.everything():
        firewalls = _firewalls_of(services, policy.id)
        if _try(services, policy.id, apply_policy):
            done |= firewalls
        else:
            failed += 1
    found: set[str] = set()
    for scope in services.scopes:
        failed += not _try(services, scope, partial(_list_into, found))
    for firewall_id in sorted(found):
        if key_of(firewall_id) not in done:
            failed += not _try(services, firewall_id, converge)
    reached = done | {key_of(each) for each in found}
    services.telemetry.event(
        "jit.reconcile.completed",
        firewalls=len(reached),
        grants=sum(_open_on(services, firewall_id) for firewall_id in reached),
        failed=failed,
        seconds=(services.clock() - started).total_seconds(),
    )
    return failed


def _list_into(found: set[str], services: Services, scope: str) -> None:
    found.update(services.firewall.list_with_our_rules([scope]))


def _open_on(services: Services, firewall_id: str) -> int:
    grants = services.rows.read(firewall_id).grants
    return sum(grant.proven and not grant.is_sealed for grant in grants)


def _firewalls_of(services: Services, policy_id: str) -> set[str]:
    rows = services.policies.vm_rows(policy_id)
    return {key_of(firewall) for row in rows for firewall in row.firewalls}


def _try(services: Services, subject: str, work: Callable[[Services, str], object]) -> bool:
    """Do one piece; what fails is tried again next time and stops no other."""
    try:
        work(services, subject)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others must be looked at
        services.telemetry.fault("jit.reconcile.failed", error, subject=subject)
        return False
    return True
