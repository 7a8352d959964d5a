"""Enforce what the authorizer decides: deciding is one step, refusing another."""

from shared.domain.errors import NotPermittedError, Reason
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.use_cases.services import Services


def enforce(services: Services, principal: Principal, action: Action, scope: str) -> Decision:
    """Let a permitted action pass; raises NotPermittedError that names action and scope."""
    decision = services.authorize(principal, action, scope)
    if decision.allowed:
        return decision
    services.telemetry.event(
        "jit.permission.refused",
        principal=principal.key,
        action=action.value,
        scope=scope,
        failed_check=decision.failed_check,
        reason="; ".join(decision.reasons),
    )
    # ARM's own sentence: scripts look for it.
    raise NotPermittedError(
        f"The client '{principal.name or principal.app_id}' with object id "
        f"'{principal.object_id}' does not have authorization to perform action '{action}' over "
        f"scope '{scope}' or the scope is invalid.",
        details=tuple(Reason("NotHeld", reason, scope) for reason in decision.reasons),
    )
