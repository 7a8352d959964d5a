"""The errors ARM and the network provider answer, in their own words.

Where no comment says otherwise the text is a recorded or quoted one. ARM's front door writes
compact JSON without `details`; the network provider writes indented JSON with `details`.
"""

from collections.abc import Mapping
from typing import Any

from local.arm import ids

Detail = Mapping[str, str]


class ArmError(Exception):
    """An answer other than success, with its envelope."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: tuple[Detail, ...] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.headers = dict(headers or {})

    @property
    def from_provider(self) -> bool:
        """Tell whether the network provider answered, rather than the front door."""
        return self.details is not None

    @property
    def body(self) -> dict[str, Any]:
        """Return the envelope ARM puts around every error."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = [dict(detail) for detail in self.details]
        return {"error": error}


def front_door(status: int, code: str, message: str, **headers: str) -> ArmError:
    """Return an error of ARM's front door."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ArmError(status, code, message, headers=named)


def provider(status: int, code: str, message: str, *details: Detail) -> ArmError:
    """Return an error of the network provider."""
    return ArmError(status, code, message, details=details)


def detail(code: str, message: str) -> Detail:
    """Return one entry of `details`."""
    return {"code": code, "message": message}


def retryable(inner: Detail, retry_after: int | None = None, word: str = "occured") -> ArmError:
    """Return the provider's 429; its misspelling is recorded, and gone from newer answers."""
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    message = f"A retryable error {word}."
    return ArmError(429, "RetryableError", message, details=(inner,), headers=headers)


def resource_not_found(full_type: str, resource_id: str) -> ArmError:
    """Return the front door's 404 for a top-level resource that is not in its cache."""
    group = ids.segment(resource_id, "resourceGroups")
    return front_door(
        404,
        "ResourceNotFound",
        f"The Resource '{full_type}/{ids.last_name(resource_id)}' under resource group "
        f"'{group}' was not found.",
        x_ms_failure_cause="gateway",
    )


def child_not_found(resource_id: str) -> ArmError:
    """Return the provider's 404 for a child of a resource that exists."""
    return provider(404, "NotFound", f"Resource {resource_id} not found.")


def parent_not_found(child_type: str, parent_id: str) -> ArmError:
    """Return the front door's 404 for writing below a missing resource (text from memory)."""
    return front_door(
        404,
        "ParentResourceNotFound",
        f"Failed to perform 'write' on resource(s) of type '{child_type}', because the parent "
        f"resource '{parent_id}' could not be found.",
        x_ms_failure_cause="gateway",
    )


def group_not_found(group: str) -> ArmError:
    """Return the front door's 404 for an unknown resource group."""
    return front_door(
        404,
        "ResourceGroupNotFound",
        f"Resource group '{group}' could not be found.",
        x_ms_failure_cause="gateway",
    )


def subscription_not_found(subscription: str) -> ArmError:
    """Return the front door's 404 for an unknown subscription (text from memory)."""
    return front_door(
        404,
        "SubscriptionNotFound",
        f"The subscription '{subscription}' could not be found.",
        x_ms_failure_cause="gateway",
    )


def etag_mismatch(given: str, current: str, resource_id: str) -> ArmError:
    """Return the 412; the inner text is what cloud-provider-azure matches on."""
    return provider(
        412,
        "PreconditionFailed",
        "Precondition failed.",
        detail(
            "PreconditionFailedEtagMismatch",
            f"Etag provided in if-match header {given} does not match etag {current} of "
            f"resource {resource_id} in NRP data store.",
        ),
    )


def missing_for_match(resource_id: str) -> ArmError:
    """Return the 412 for `If-Match: *` on nothing (code and envelope as above, from memory)."""
    return provider(
        412,
        "PreconditionFailed",
        "Precondition failed.",
        detail(
            "PreconditionFailedResourceNotFound",
            f"If-Match header was provided but resource {resource_id} was not found.",
        ),
    )


def another_operation(operation_uri: str) -> ArmError:
    """Return the 409 for a resource under another operation."""
    return provider(
        409,
        "AnotherOperationInProgress",
        "Another operation on this or dependent resource is in progress. To retrieve status of "
        f"the operation use uri: {operation_uri}.",
    )


def locked_by(operation_name: str, operation_id: str, resource_id: str) -> ArmError:
    """Return the 429 that means a lock, not a quota (azure-sdk-for-python#556; end by memory)."""
    return retryable(
        detail(
            "RetryableErrorDueToAnotherOperation",
            f"Operation {operation_name} ({operation_id}) is updating resource {resource_id}. "
            "The call can be retried in 12 seconds.",
        )
    )


def not_provisioned(referenced: str, by: str, operation_name: str) -> ArmError:
    """Return the 429 for using a resource that is Updating (hashicorp/terraform#7986)."""
    return retryable(
        detail(
            "ReferencedResourceNotProvisioned",
            f"Cannot proceed with operation because resource {referenced} used by resource {by} "
            "is not in Succeeded state. Resource is in Updating state and the last operation "
            f"that updated/is updating the resource is {operation_name}.",
        )
    )


def network_throttled(subscription: str, retry_after: int) -> ArmError:
    """Return the network provider's own quota 429."""
    inner = detail(
        "RetryableErrorDueToTooManyCalls",
        f"Subscription {subscription} was used to perform too many calls within last 5 minutes. "
        "The number of calls exceeds Microsoft.Network throttling limit. The call can be "
        f"retried in {retry_after} seconds.",
    )
    return retryable(inner, retry_after, word="occurred")


def arm_throttled(subscription: str, operation: str, caller: str, retry_after: int) -> ArmError:
    """Return ARM's own quota 429 (text from memory: no body of it was found anywhere)."""
    error = front_door(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of '{operation}' requests for subscription '{subscription}' actor '{caller}' "
        f"exceeded. Please try again after '{retry_after}' seconds.",
        x_ms_failure_cause="gateway",
    )
    error.headers["Retry-After"] = str(retry_after)
    return error


def invalid_json(reason: str) -> ArmError:
    """Return the provider's 400 for a body it cannot read."""
    return provider(
        400,
        "InvalidRequestFormat",
        "Cannot parse the request.",
        detail("InvalidJson", reason),
    )


def missing_reference(path: str) -> ArmError:
    """Return the 400 for a name or an id that must be there (code and text from memory)."""
    return provider(
        400,
        "InvalidRequestFormat",
        "Cannot parse the request.",
        detail("MissingJsonReferenceId", f"Value for reference id is missing. Path {path}."),
    )


def invalid_reference(referenced: str, by: str) -> ArmError:
    """Return the 400 for a reference to nothing."""
    return provider(
        400,
        "InvalidResourceReference",
        f"Resource {referenced} referenced by resource {by} was not found. Please make sure that "
        "the referenced resource exists, and that both resources are in the same region.",
    )
