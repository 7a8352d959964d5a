"""Security rules that the closer meets: ours, expired and not, and everybody else's."""

from datetime import datetime, timedelta

from shared.domain.ids import RuleNames, allow_description, deny_description
from tests.logic_apps.cloud import GRACE, GROUP, MARK, START, Json, rule
from tests.logic_apps.engine import Run

NAMES = RuleNames("SecurityCenter-JITRule", MARK)
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/app-1"
REQUEST = "0123456789abcdef01234567-8236178123456abcdef01"
END = START + timedelta(minutes=10)
# The first run at which the closer removes what ended at END.
DUE = END + GRACE + timedelta(seconds=1)


def name_of(port: int) -> str:
    """Name the allow rule of a grant."""
    return NAMES.allow(REQUEST, VM, port, 4)


def allow(port: int, until: datetime = END, requestor: str = "Alice") -> Json:
    """Make the allow rule of a grant, named and described as the app does."""
    return rule(name_of(port), allow_description(REQUEST, until, requestor))


DENY = rule(NAMES.deny(VM, 4), deny_description("app-1"), access="Deny")
HEX = "0123456789ABCDEF0123456789abcdef"
OVER = "JIT access request x until 2026-11-22T12:10:00Z"
FOREIGN = [
    DENY,
    rule("allow-https"),
    rule("SecurityCenter-JITRule-1170687618-8C18BF8921F041989344B4F1E3A0C370", OVER),
    rule(f"SecurityCenter-JITRule-another1-{HEX}", OVER),
    rule(f"SecurityCenter-JITRule-{MARK}-{HEX[:-1]}", OVER),
    rule(f"SecurityCenter-JITRule-{MARK}-{HEX}0", OVER),
    rule(f"SecurityCenter-JITRule-{MARK}-{HEX[:-1]}G", OVER),
    rule(f"SecurityCenter-JITRule-{MARK}_{HEX}", OVER),
    rule(f"SecurityCenter-JITRule-x{MARK}-{HEX}", OVER),
    rule(f"{MARK}-{HEX}", OVER),
    rule("a", OVER),
    rule(f"SecurityCenter-JITRule-{MARK}-{HEX[1:]}F", OVER, access="Deny"),
]
FOREIGN_NAMES = {each["name"] for each in FOREIGN}


def report(run: Run) -> list[str]:
    """List what a run reported, each line shortened to its first words and the last segment."""
    return sorted(
        f"{line.rpartition(' ')[0]} {line.rpartition('/')[2]}" for line in run.variables["report"]
    )
