"""Find the firewalls in front of machines although a part of a cloud does not answer."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from shared.domain.ids import is_within, key_of
from shared.ports import Firewalls, Machine, OutsideError, Unanswered
from shared.use_cases.firewalls.paths import with_firewalls


def attach_answering(
    firewalls: Firewalls,
    vms: Sequence[Machine],
    instances: Sequence[Machine],
    unanswered: Iterable[Unanswered],
) -> list[Machine]:
    """Return machines with their firewalls; an instance whose region is silent is unreadable.

    Raises OutsideError where Azure does not answer: then nothing is known of any VM.
    """
    reasons = {_part(each.scope, each.location): each.reason for each in unanswered}
    silent = {key_of(each.id): _reason(each, reasons) for each in instances}
    asked = [each for each in instances if not silent[key_of(each.id)]]
    lost = [
        replace(each, unreadable=silent[key_of(each.id)])
        for each in instances
        if silent[key_of(each.id)]
    ]
    try:
        return [*with_firewalls(firewalls, [*vms, *asked]), *lost]
    except OutsideError:
        found = with_firewalls(firewalls, vms)
    for part in _parts(asked):
        try:
            found += with_firewalls(firewalls, part)
        except OutsideError as error:
            found += [replace(each, unreadable=str(error)) for each in part]
    return [*found, *lost]


def _part(scope: str, location: str) -> tuple[str, str]:
    return key_of(scope), location.casefold()


def _reason(machine: Machine, reasons: dict[tuple[str, str], str]) -> str:
    """Return why the region of an instance is not known; empty: it answered."""
    return next(
        (
            reason
            for (scope, location), reason in reasons.items()
            if is_within(machine.id, scope) and machine.location.casefold() == location
        ),
        "",
    )


def _parts(machines: Iterable[Machine]) -> list[list[Machine]]:
    """Group machines by connector and region: they answer, or do not, as one."""
    parts: dict[tuple[str, str], list[Machine]] = {}
    for each in machines:
        connector = each.id.rpartition("/securityentitydata/")[0]
        parts.setdefault(_part(connector, each.location), []).append(each)
    return list(parts.values())
