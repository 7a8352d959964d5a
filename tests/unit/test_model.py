"""The properties of the model's values, and the fields of the errors."""

from dataclasses import replace

import pytest

from shared.domain.errors import (
    ConflictError,
    InvalidInputError,
    JitError,
    NotAuthenticatedError,
    NotFoundError,
    NotPermittedError,
    OutsidePolicyError,
    Reason,
    TooManyRequestsError,
    UnavailableError,
)
from shared.domain.model import (
    AccessRequest,
    Policy,
    PolicyVm,
    PortRequest,
    PortRule,
    Principal,
    Status,
)
from tests.fakes import START
from tests.samples import grant
from tests.world import ALICE, DB, POLICY, SOURCE, WEB, vm_id

PORT = PortRequest(WEB, 22, "TCP", (SOURCE,))


def test_a_principal_is_told_by_tenant_and_object() -> None:
    """Names and roles say nothing about who it is, letter case neither."""
    assert Principal("Tenant", "Alice-Id", "x").key == ALICE.key == "tenant/alice-id"
    assert Principal("other", "alice-id").key != ALICE.key


def test_a_policy_finds_its_vms_and_their_ports() -> None:
    """VMs by their id in any letter case, ports by their number; the first of two counts."""
    rule = PortRule(22, "TCP")
    vm = PolicyVm(WEB, (PortRule(3389), rule, PortRule(22, "UDP")))
    policy = Policy(POLICY, "westeurope", (PolicyVm(DB), vm))
    assert policy.name == "default"
    assert policy.vm(WEB.upper()) == vm
    assert policy.vm(vm_id("api")) is None
    assert vm.port(22) == rule
    assert vm.port(443) is None


def test_a_port_request_is_final_in_three_ways() -> None:
    """Revoked, denied and failed are ends; a request ends with the last of its ports."""
    final = {status for status in Status if replace(PORT, status=status).is_final}
    assert final == {Status.REVOKED, Status.DENIED, Status.FAILED}
    ended = replace(PORT, status=Status.FAILED)
    assert AccessRequest("id1", POLICY, ALICE, START, (ended, ended)).is_final
    assert not AccessRequest("id1", POLICY, ALICE, START, (ended, PORT)).is_final


def test_a_request_finds_its_ports() -> None:
    """VM and number have to agree, letter case apart."""
    others = (replace(PORT, port=3389), replace(PORT, vm_id=DB))
    request = AccessRequest("id1", POLICY, ALICE, START, (*others, PORT))
    assert request.port(WEB.upper(), 22) == PORT
    assert request.port(DB, 3389) is None
    assert not PORT.names(WEB, 23)
    assert not PORT.names(DB, 22)


def test_a_grant_is_told_by_request_vm_and_port() -> None:
    """The key ignores letter case; sealed is what has an instant of sealing."""
    assert grant("id1", WEB.upper()).key == grant("id1").key == ("id1", WEB.lower(), 22)
    assert not grant().is_sealed
    assert grant(sealed_at=START).is_sealed


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (JitError("told"), "InternalServerError"),
        (InvalidInputError("told"), "InvalidRequestContent"),
        (NotAuthenticatedError("told"), "AuthenticationFailed"),
        (NotPermittedError("told"), "AuthorizationFailed"),
        (OutsidePolicyError("told"), "RequestNotWithinPolicy"),
        (NotFoundError("told"), "NotFound"),
        (ConflictError("told"), "Conflict"),
        (TooManyRequestsError("told", retry_after=7), "TooManyRequests"),
        (UnavailableError("told"), "ServiceUnavailable"),
    ],
)
def test_an_error_has_a_code_of_its_own(error: JitError, code: str) -> None:
    """Each type has ARM's code, which the code that raises it may make more exact."""
    assert (error.code, error.message, str(error), error.details) == (code, "told", "told", ())


def test_an_error_carries_what_a_caller_needs() -> None:
    """A more exact code, every reason, and how long to wait."""
    reasons = (Reason("A", "one"), Reason("B", "two", "ports[0]"))
    error = OutsidePolicyError("told", code="Exact", details=reasons)
    assert (error.code, error.details) == ("Exact", reasons)
    slow = TooManyRequestsError("told", retry_after=7, code="Exact", details=reasons)
    assert (slow.retry_after, slow.code, slow.details) == (7, "Exact", reasons)
