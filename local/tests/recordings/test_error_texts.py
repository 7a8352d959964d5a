"""The simulator's errors have the recorded or quoted status, code and words."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local.arm.client import ArmClient, Reply
from local.arm.serve import ArmServer
from local.tests.recordings.replay import GOOD_RULE, RECORDINGS

FILE = RECORDINGS.parent / "errors.json"
ENTRIES: list[dict[str, Any]] = json.loads(FILE.read_text()) if FILE.is_file() else []

pytestmark = pytest.mark.skipif(
    not ENTRIES, reason="the recordings of the real service are not beside the repository"
)

SCOPE = "/subscriptions/9532a63e-f2eb-4649-bb23-5ed01077ce80/resourceGroups/rg"
NSG = f"{SCOPE}/providers/Microsoft.Network/networkSecurityGroups/nsg"
NIC = f"{SCOPE}/providers/Microsoft.Network/networkInterfaces/nic"
VNET = f"{SCOPE}/providers/Microsoft.Network/virtualNetworks/vnet"
RULE = f"{NSG}/securityRules/22"
SUBNET = {"id": f"{VNET}/subnets/one", "properties": {"addressPrefix": "10.0.0.0/24"}}
ESTATE = {
    "resources": [
        {"id": VNET, "properties": {"subnets": [SUBNET]}},
        {
            "id": NSG,
            "location": "westeurope",
            "properties": {
                "securityRules": [{"name": "11", "properties": {**GOOD_RULE, "priority": 150}}]
            },
        },
        {
            "id": NIC,
            "location": "westeurope",
            "properties": {
                "networkSecurityGroup": {"id": NSG},
                "ipConfigurations": [
                    {"name": "one", "properties": {"subnet": {"id": SUBNET["id"]}}}
                ],
            },
        },
    ]
}


@pytest.fixture(scope="module")
def server() -> Iterator[ArmServer]:
    """Serve a network with one group in use."""
    with ArmServer(ESTATE) as running:
        yield running


@pytest.fixture
def arm(server: ArmServer) -> Iterator[ArmClient]:
    """Connect, everything as at the start."""
    client = ArmClient(server.url)
    client.control("reset")
    client.control("settings", {"settle": 1000})
    yield client
    client.close()


Provocation = Callable[[ArmClient], Reply]


def with_rule(**properties: Any) -> Provocation:
    """Put a rule that something is wrong with."""
    body = {"properties": {**GOOD_RULE, **properties}}
    kept = {name: value for name, value in body["properties"].items() if value is not None}
    return lambda arm: arm.call("PUT", RULE, {"properties": kept})


def twice(concurrency: str, path: str = f"{NSG}/securityRules/second") -> Provocation:
    """Write again while the first write is under way."""

    def provoke(arm: ArmClient) -> Reply:
        arm.control("settings", {"concurrency": concurrency})
        first = arm.call("PUT", RULE, {"properties": GOOD_RULE})
        if path == NIC:
            return arm.call("PUT", NIC, arm.call("GET", NIC).body)
        second = arm.call("PUT", path, {"properties": {**GOOD_RULE, "priority": 1501}})
        poll = first.headers["azure-asyncoperation"]
        return arm.call("GET", poll) if concurrency == "supersede" else second

    return provoke


def throttled(arm: ArmClient) -> Reply:
    """Order the network provider's throttle."""
    arm.control("faults", {"faults": [{"kind": "throttle", "retryAfter": 39}]})
    return arm.call("GET", NSG)


def full(arm: ArmClient) -> Reply:
    """Put more rules than a group holds."""
    rules = [
        {"name": f"r{at}", "properties": {**GOOD_RULE, "priority": 100 + at}} for at in range(1001)
    ]
    return arm.call("PUT", NSG, {"location": "westeurope", "properties": {"securityRules": rules}})


def misattached(arm: ArmClient) -> Reply:
    """Attach an interface to a group that is not there."""
    body = arm.call("GET", NIC).body
    body["properties"]["networkSecurityGroup"]["id"] = f"{NSG}-none"
    return arm.call("PUT", NIC, body)


OVERLAPPING = {
    "sourceAddressPrefix": None,
    "sourceAddressPrefixes": ["167.220.64.0/19", "167.220.70.64/26"],
}
PROVOKED: dict[str, Provocation] = {
    "ResourceNotFound": lambda arm: arm.call("GET", f"{NIC}-none"),
    "NicMustBeAttachedToRunningVmToGetEffectiveSecurityGroups": lambda arm: arm.call(
        "POST", f"{NIC}/effectiveNetworkSecurityGroups"
    ),
    "NicMustBeAttachedToRunningVmToGetEffectiveRoutes": lambda arm: arm.call(
        "POST", f"{NIC}/effectiveRouteTable"
    ),
    "NotFound": lambda arm: arm.call("GET", RULE),
    "SecurityRuleInvalidPortRange": with_rule(destinationPortRange="66600"),
    "SecurityRuleInvalidAddressPrefix": with_rule(destinationAddressPrefix="10.0.0.0/42"),
    "SecurityRuleInvalidPriority": with_rule(priority=4097),
    "SecurityRuleDescriptionTooLong": with_rule(description="x" * 141),
    "AnotherOperationInProgress": twice("conflict"),
    "InvalidRequestFormat": with_rule(name="not here"),
    "ResourceGroupNotFound": lambda arm: arm.call("GET", NSG.replace("/rg/", "/none/")),
    "OverlappingSubnetsNotPermittedInSecurityRule": with_rule(**OVERLAPPING),
    "SecurityRuleConflict": with_rule(priority=150),
    "SecurityRuleCountLimitReached": full,
    "SecurityRuleParameterContainsUnsupportedValue": with_rule(
        destinationAddressPrefix=None, destinationAddressPrefixes=["AzureContainerRegistry"]
    ),
    "SecurityRuleParameterContainsInvalidPortRanges": with_rule(
        destinationPortRange=None, destinationPortRanges=["*"]
    ),
    "RetryableError/RetryableErrorDueToAnotherOperation": twice("locked"),
    "RetryableError/ReferencedResourceNotProvisioned": twice("locked", NIC),
    "RetryableError/RetryableErrorDueToTooManyCalls": throttled,
    "PreconditionFailed/PreconditionFailedEtagMismatch": lambda arm: arm.call(
        "DELETE", f"{NSG}/securityRules/11", headers={"If-Match": 'W/"..."'}
    ),
    "Canceled (LRO result)": twice("supersede"),
    "InUseNetworkSecurityGroupCannotBeDeleted": lambda arm: arm.call("DELETE", NSG),
    "InvalidResourceReference": misattached,
}
# Errors of services and calls the simulator does not have.
NOT_OURS = {
    "AuthorizationFailed",
    "GatewayTimeout",
    "InvalidInitiateInput",
    "LinkedInvalidPropertyId",
    "MoveCannotProceedDueToLargeNumberOfRequestedResourcesInMoveRequest",
    "ParentResourceIsInFailedState",
    "PolicyNotFound",
    "ResourceGroupBeingDeleted",
    "(JIT not a subset; code unknown)",
}


def test_every_recorded_error_is_provoked_or_named_as_not_ours() -> None:
    """Every recorded error is compared."""
    assert {entry["code"] for entry in ENTRIES} == set(PROVOKED) | NOT_OURS


@pytest.mark.parametrize("code", PROVOKED)
def test_an_error_has_the_recorded_words(arm: ArmClient, code: str) -> None:
    """Status, code, details and text; ids, guids and values may be others."""
    entry = next(each for each in ENTRIES if each["code"] == code)
    reply = PROVOKED[code](arm)
    assert reply.status == entry["http"]
    recorded = entry["body"]
    if recorded is None:
        assert reply.code == code
        return
    error = recorded.get("error", recorded)
    assert reply.code == error["code"]
    if code != "OverlappingSubnetsNotPermittedInSecurityRule":  # seen inside another error only
        assert set(reply.body["error"]) == set(error)
    assert_same_words(reply.message, error["message"])
    for mine, recorded_detail in zip(
        reply.body["error"].get("details", []), error.get("details", []), strict=True
    ):
        assert mine["code"] == recorded_detail["code"]
        assert_same_words(mine["message"], recorded_detail["message"])


# What stands for a value: ids, guids, quoted names, placeholders, numbers, lists in brackets.
VALUE = re.compile(
    r"https?://\S+|/subscriptions/\S+|[Ww]/\"[^\"]*\"|'[^']*'|\{\w+\}|\[[^\]]*\]"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b\d+(?:\.\d+)*\b"
)
# Where a collected text was cut short; the dots of an etag are no cut.
CUT = re.compile(r"(?:/subscriptions/)?(?<!\")\.\.\.")


def assert_same_words(mine: str, recorded: str) -> None:
    """Assert that two messages say the same, as far as the recorded one goes."""
    known, *rest = CUT.split(recorded, maxsplit=1)
    said, expected = words(mine), words(known)
    assert (said[: len(expected)] if rest else said) == expected


def words(message: str) -> list[str]:
    """Return the words of a message without the values in it."""
    return re.findall(r"[A-Za-z]+", VALUE.sub(" ", message))
