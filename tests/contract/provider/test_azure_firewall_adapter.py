"""The errors that the adapter makes of the service's answers to a write."""

from typing import Any

import pytest

from shared.ports import (
    FirewallChangedError,
    OutsideError,
    RefusedError,
    SettlingError,
    ThrottledError,
)
from tests import firewalls as hub
from tests.contract.provider.grounds_azure_firewall import PolicyGround

GROUP = f"{hub.POLICY}/ruleCollectionGroups/jit-test1"
ANSWERS: dict[str, tuple[dict[str, Any], type[Exception]]] = {
    "quota": ({"kind": "throttle", "retryAfter": 7}, ThrottledError),
    "quota of ARM": ({"kind": "throttle", "by": "arm"}, ThrottledError),
    "lock of the provider": ({"kind": "locked"}, SettlingError),
    "another write": ({"kind": "conflict"}, SettlingError),
    "stale": ({"kind": "precondition"}, FirewallChangedError),
    "Azure Policy": ({"kind": "policyDenied", "path": "ruleCollectionGroups"}, RefusedError),
    "missing right": ({"kind": "linkedAuthorizationFailed"}, RefusedError),
    "management lock": ({"kind": "scopeLocked", "method": "PUT"}, RefusedError),
    "fault of the service": ({"kind": "serverError"}, OutsideError),
    "no answer": ({"kind": "dropBefore", "method": "PUT"}, OutsideError),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_write_that_was_not_accepted_is_told_by_its_error_type(answer: str) -> None:
    """Only what stays refused whatever is repeated counts as refused for good."""
    fault, expected = ANSWERS[answer]
    ground = PolicyGround()
    ground.hub.client.control("faults", {"faults": [{"method": "PUT", **fault}]})
    with pytest.raises(expected) as caught:
        ground.hub.cloud.put(GROUP, hub.group(hub.nat_rule()), "etag" if answer == "stale" else "")
    assert type(caught.value) is expected
    assert str(caught.value)


def test_what_is_gone_is_read_as_gone_and_removed_without_error() -> None:
    """A group, a policy or a firewall that does not exist reads None; removing it is fine."""
    cloud = PolicyGround().hub.cloud
    assert cloud.get(GROUP) is None
    assert cloud.get(f"{hub.HUB}/azureFirewalls/none") is None
    cloud.delete(GROUP)
    with pytest.raises(OutsideError):
        cloud.put(f"{hub.HUB}/firewallPolicies/none/ruleCollectionGroups/g", hub.group())


def test_etags_go_out_as_headers_have_them() -> None:
    """A policy writes its etag bare into bodies; If-Match has it in quotes."""
    ground = PolicyGround()
    ground.hub.cloud.put(GROUP, hub.group(hub.nat_rule()))
    ground.settle()
    body = ground.hub.cloud.get(GROUP)
    assert body is not None
    ground.hub.cloud.put(GROUP, hub.group(hub.nat_rule(port=20_002)), str(body["etag"]))
    ground.settle()
    with pytest.raises(FirewallChangedError):
        ground.hub.cloud.put(GROUP, hub.group(hub.nat_rule()), str(body["etag"]))
