"""Compare everything with reality: every policy anew, and every firewall that holds our rules."""

from collections.abc import Callable
from functools import partial

from shared.domain.ids import key_of
from shared.use_cases.firewalls.converge import converge
from shared.use_cases.policies.apply import apply_policy
from shared.use_cases.policies.findings import note_warnings
from shared.use_cases.services import Services
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reindex import list_missing
from shared.use_cases.timers.retention import forget_old


def reconcile(services: Services) -> int:
    """Find and repair what no due row leads to; return how many pieces failed.

    Policies are applied again, which resolves their VMs' addresses and firewalls anew. Then every
    NSG in reach that holds a rule of ours, found by listing and not from the tables, so that a
    rule whose rows were lost is found by its name, and goes. At last what is old is forgotten.
    """
    try:
        return _compare(services)
    finally:
        forget_old(services)
        list_missing(services)


def _compare(services: Services) -> int:
    started = services.clock()
    done: set[str] = set()
    failed = 0
    policies: list[str] = []
    failed += not _try(services, "policies", partial(_list_policies, policies))
    for policy_id in policies:
        failed += not _try(services, policy_id, partial(_apply_policy, done))
    found: set[str] = set()
    for scope in services.scopes:
        failed += not _try(services, scope, partial(_list_into, found))
    for firewall_id in sorted(found):
        if key_of(firewall_id) not in done:
            failed += not _try(services, firewall_id, converge)
    reached = done | {key_of(each) for each in found}
    open_ports: dict[str, int] = {}
    for firewall_id in sorted(reached):
        failed += not _try(services, firewall_id, partial(_count_open, open_ports))
    failed += not _try(services, "warnings", lambda given, _: note_warnings(given))
    services.telemetry.event(
        "jit.reconcile.completed",
        firewalls=len(reached),
        grants=sum(open_ports.values()),
        failed=failed,
        seconds=(services.clock() - started).total_seconds(),
    )
    watch.may_write_whole(services)  # asks the service again once the kept answer is a day old
    return failed


def _list_into(found: set[str], services: Services, scope: str) -> None:
    for provider in services.firewalls:
        found.update(provider.find_ours(scope))


def _list_policies(found: list[str], services: Services, _subject: str) -> None:
    found += [policy.id for policy in services.policies.everything()]


def _apply_policy(done: set[str], services: Services, policy_id: str) -> None:
    firewalls = _firewalls_of(services, policy_id)
    apply_policy(services, policy_id)
    done |= firewalls


def _count_open(found: dict[str, int], services: Services, firewall_id: str) -> None:
    grants = services.rows.read(firewall_id).grants
    found[firewall_id] = sum(grant.proven and not grant.is_sealed for grant in grants)


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
