"""Put refusals on record: who was refused what, where and why."""

from dataclasses import dataclass
from typing import Protocol

from shared.domain.audit import Operation
from shared.domain.errors import JitError
from shared.domain.machine_ids import is_machine_id
from shared.domain.model import Principal
from shared.store.audit import AuditEvent
from shared.store.keys import is_request_id
from shared.use_cases.parts import HasActivity, HasClock, HasTelemetry

_LONGEST = 2000


class RefusalParts(HasActivity, HasClock, HasTelemetry, Protocol):
    """The parts for recording a refusal."""


@dataclass(frozen=True)
class Refusal:
    """A refusal: the call's id, its caller, the person it was for, and the resource it named."""

    id: str
    caller: Principal
    what: str
    error: JitError
    person: Principal | None = None  # whom a relay spoke for
    source_address: str = ""
    request_id: str = ""
    policy_id: str = ""


def record_refusal(services: RefusalParts, refusal: Refusal) -> None:
    """Record one refusal; the call's id makes the event's, so that each is recorded once."""
    acting = refusal.person or refusal.caller
    targets = [each.target for each in refusal.error.details]
    event = AuditEvent(
        id=f"refused|{refusal.id}",
        at=services.clock(),
        operation=Operation.REFUSED,
        principal=acting.key,
        principal_name=acting.name,
        relayed_by=refusal.caller.key if refusal.person else "",
        request_id=refusal.request_id if is_request_id(refusal.request_id) else "",
        vm_id=next((each for each in targets if is_machine_id(each)), ""),
        policy_id=refusal.policy_id,
        source_address=refusal.source_address,
        reason=_reason(refusal),
    )
    services.activity.record(event)
    services.telemetry.event(
        "jit.access.refused",
        id=refusal.id,
        principal=event.principal,
        relayed_by=event.relayed_by,
        what=refusal.what,
        code=refusal.error.code,
        source=event.source_address,
    )


def _reason(refusal: Refusal) -> str:
    error = refusal.error
    told = [f"{refusal.what}: {error.code}: {error.message}"]
    told += [f"{each.code}: {each.message}" for each in error.details]
    whole = "; ".join(told)
    return "".join(letter if letter.isprintable() else "?" for letter in whole)[:_LONGEST]
