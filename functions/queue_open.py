"""open_access, converge_firewall and apply_policy, and what happens when they cannot."""

import json
from datetime import datetime

import azure.functions as func

from shared.bootstrap import app
from shared.use_cases.firewalls.converge import converge_on_message
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import notify as notices
from shared.use_cases.requests import open as opening
from shared.use_cases.timers import sweep

_STORAGE = "JitStorage"

bp = func.Blueprint()


@bp.function_name("open_access")
@bp.queue_trigger("message", "jit-requests", _STORAGE)
def open_access(message: func.QueueMessage) -> None:
    """Open what a request asks for, and record when it ends."""
    try:
        opening.open_access(app().services, _key(message, "request"))
    finally:
        sweep.sweep_if_late(app().services)


@bp.function_name("converge_firewall")
@bp.queue_trigger("message", "jit-firewalls", _STORAGE)
def converge_firewall(message: func.QueueMessage) -> None:
    """Make one firewall hold what its rows say."""
    try:
        firewall_id = _key(message, "firewall")
        converge_on_message(app().services, firewall_id, _sent_at(message))
    finally:
        sweep.sweep_if_late(app().services)


@bp.function_name("apply_policy")
@bp.queue_trigger("message", "jit-policies", _STORAGE)
def apply_policy(message: func.QueueMessage) -> None:
    """Close the ports that a policy governs."""
    protection.apply_policy(app().services, _key(message, "policy"))


@bp.function_name("notify_approvers")
@bp.queue_trigger("message", "jit-notices", _STORAGE)
def notify_approvers(message: func.QueueMessage) -> None:
    """Tell the approval workflow that a request waits for people."""
    notices.notify(app().services, app().post_event, _key(message, "request"))


@bp.function_name("notify_approvers_failed")
@bp.queue_trigger("message", "jit-notices-poison", _STORAGE)
def notify_approvers_failed(message: func.QueueMessage) -> None:
    """Log a notice that failed. The request still waits, and can still be decided."""
    app().services.telemetry.event("jit.poison", queue="jit-notices", body=_text(message))


@bp.function_name("open_access_failed")
@bp.queue_trigger("message", "jit-requests-poison", _STORAGE)
def open_access_failed(message: func.QueueMessage) -> None:
    """End a request that could not be opened, with a reason and nothing left open."""
    services = app().services
    services.telemetry.event("jit.poison", queue="jit-requests", body=_text(message))
    told = "it could not be opened: Azure did not let the rule be written in several attempts"
    opening.fail_request(services, _key(message, "request"), told)


@bp.function_name("converge_failed")
@bp.queue_trigger("message", "jit-firewalls-poison", _STORAGE)
def converge_failed(message: func.QueueMessage) -> None:
    """Note that prompt converging failed. The due row stands, so the sweep goes on trying."""
    app().services.telemetry.event("jit.poison", queue="jit-firewalls", body=_text(message))


@bp.function_name("apply_policy_failed")
@bp.queue_trigger("message", "jit-policies-poison", _STORAGE)
def apply_policy_failed(message: func.QueueMessage) -> None:
    """Say on the policy that it could not be applied. Reconciling goes on trying."""
    services = app().services
    services.telemetry.event("jit.poison", queue="jit-policies", body=_text(message))
    protection.fail_policy(
        services, _key(message, "policy"), "it could not be applied in several attempts"
    )


def _key(message: func.QueueMessage, name: str) -> str:
    """Read the one key a message carries; anything else in it is ignored, never trusted."""
    value = json.loads(message.get_body())[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"the message carries no '{name}'")
    return value


def _sent_at(message: func.QueueMessage) -> datetime | None:
    """Return when a message was sent; None where it does not say so with an offset from UTC."""
    sent_at: datetime | None = message.insertion_time
    return sent_at if sent_at and sent_at.tzinfo else None


def _text(message: func.QueueMessage) -> str:
    return message.get_body().decode(errors="replace")
