"""A typed client of the JIT API."""

from jit_access.client.bodies import (
    NewDecision,
    NewEnd,
    NewPolicy,
    NewPort,
    NewRequest,
    NewShortRequest,
    NewVm,
    RevokeAll,
)
from jit_access.client.client import Accepted, Conditions, JitClient, policy_parts
from jit_access.client.errors import ApiError, JitError
from jit_access.client.transport import Limits, Repeat
from jit_access.client.waiting import WaitTimeoutError, wait_for_request

__all__ = [
    "Accepted",
    "ApiError",
    "Conditions",
    "JitClient",
    "JitError",
    "Limits",
    "NewDecision",
    "NewEnd",
    "NewPolicy",
    "NewPort",
    "NewRequest",
    "NewShortRequest",
    "NewVm",
    "Repeat",
    "RevokeAll",
    "WaitTimeoutError",
    "policy_parts",
    "wait_for_request",
]
