"""The summary of a request, in lines of plain text that approvers decide by."""

from datetime import timedelta

from shared.domain.machine_ids import parse_machine_id
from shared.domain.model import AccessRequest, PortRequest
from shared.domain.times import format_instant

MAX_LINES = 20
_MAX_SOURCES = 8
_MAX_LINE = 400
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def summarize(request: AccessRequest) -> tuple[str, ...]:
    """Say which ports open, from where and for how long: a bounded number of bounded lines."""
    lines = [_line(port)[:_MAX_LINE] for port in request.ports]
    if request.break_glass:
        lines.insert(0, "opened by break-glass, without approval")
    if len(lines) <= MAX_LINES:
        return tuple(lines)
    return (*lines[: MAX_LINES - 1], f"and {len(lines) - MAX_LINES + 1} more")


def _line(port: PortRequest) -> str:
    protocol = "any protocol" if port.protocol == "*" else port.protocol
    machine = parse_machine_id(port.vm_id)
    return (
        f"{machine.name} ({machine.where}): port {port.port}, "
        f"{protocol}, from {_sources(port)}, {_length(port)}"
    )


def _sources(port: PortRequest) -> str:
    if not port.sources:
        return "an address that is not shown"
    shown = ", ".join(port.sources[:_MAX_SOURCES])
    left = len(port.sources) - _MAX_SOURCES
    return f"{shown} and {left} more" if left > 0 else shown


def _length(port: PortRequest) -> str:
    if port.end_at is not None:
        return f"until {format_instant(port.end_at)}"
    return f"for {spoken(port.duration or timedelta(0))}"


def spoken(length: timedelta) -> str:
    """Write a duration as people say it: 1 hour 30 minutes."""
    seconds = int(length.total_seconds())
    parts = []
    for unit, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 seconds"
