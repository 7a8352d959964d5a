"""Limits by slow firewalls in front of a VM: the shortest access, the start of its close."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Protocol

from shared.domain.errors import Reason
from shared.domain.ids import key_of, name_of
from shared.domain.model import MINUTE, Attachment, CloseBy, Policy
from shared.domain.policy import AskedPort
from shared.domain.times import format_duration
from shared.use_cases.parts import HasClock, HasPace

_NONE = timedelta(0)


class LengthParts(HasClock, HasPace, Protocol):
    """The parts for judging how short an access may be."""


def check_lengths(
    services: LengthParts,
    policy: Policy,
    ports: Iterable[AskedPort],
    fronts: Mapping[str, tuple[str, ...]],
) -> tuple[Reason, ...]:
    """List the ports that are asked for too briefly, by the firewalls in front of their VM."""
    now, broken = services.clock(), []
    for port in ports:
        firewalls = fronts[key_of(port.vm_id)]
        problem = why_too_short(services, policy, port.vm_id, firewalls, port.length_at(now))
        if problem:
            field = "endTimeUtc" if port.duration is None else "duration"
            broken.append(Reason("DurationTooShort", problem, f"{port.at}.{field}"))
    return tuple(broken)


def why_too_short(
    services: HasPace,
    policy: Policy | None,
    vm_id: str,
    firewall_ids: Iterable[str],
    length: timedelta,
) -> str:
    """Say that an access is too short for the firewalls in front of a VM; empty: it is not."""
    firewalls = tuple(firewall_ids)
    slowest = max(firewalls, key=lambda each: services.pace(each).shortest, default="")
    shortest = services.pace(slowest).shortest if slowest else _NONE
    lead = close_lead(services, policy, firewalls)
    if length >= shortest + lead:
        return ""
    told = f", of which closing takes {format_duration(lead)}" if lead else ""
    return (
        f"the shortest access to VM '{name_of(vm_id)}' is {format_duration(shortest + lead)}{told}: "
        f"writes to '{name_of(slowest)}' in front of it take minutes"
    )


def close_lead(services: HasPace, policy: Policy | None, firewall_ids: Iterable[str]) -> timedelta:
    """Return how long before its end the close of an access begins, where its policy asks for it."""
    if policy is None or policy.conditions.close_by is not CloseBy.END:
        return _NONE
    settle = (services.pace(each).settle for each in firewall_ids)
    return max((each for each in settle if each > MINUTE), default=_NONE)


def opened_on(attachments: Iterable[Attachment]) -> list[str]:
    """Return the firewalls that grants are written to."""
    return [each.firewall_id for each in attachments if each.opens]
