"""One etag for a whole group: what changes it, and what it guards."""

from collections.abc import Callable

import pytest

from local.arm.client import ArmClient
from local.tests.arm.place import (
    EMPTY_NSG,
    GROUP,
    NETWORK,
    SCOPE,
    SETTLE_SECONDS,
    WEB_NSG,
    Clock,
    child,
    named,
    rule,
)

NIC = f"{SCOPE}/{NETWORK}/networkInterfaces/web-1-nic"
STALE = 'W/"00000000-0000-0000-0000-000000000000"'


def etag(arm: ArmClient, path: str = WEB_NSG) -> str:
    """Read the etag."""
    return str(arm.call("GET", path).body["etag"])


def test_all_rules_carry_the_etag_of_the_group(arm: ArmClient) -> None:
    """The group's etag is in each of its rules, the default ones included."""
    group = arm.call("GET", WEB_NSG).body
    rules = [*group["properties"]["securityRules"], *group["properties"]["defaultSecurityRules"]]
    assert {each["etag"] for each in rules} == {group["etag"]}


def test_the_etag_of_an_updating_answer_does_not_last(arm: ArmClient, clock: Clock) -> None:
    """The etag in the answer to a write is not the one after it has settled: never keep it."""
    before = etag(arm)
    answered = arm.call("PUT", child(WEB_NSG, "a"), rule()).body["etag"]
    clock.pass_by(SETTLE_SECONDS)
    assert len({before, answered, etag(arm)}) == 3


def test_the_etag_of_a_succeeded_answer_is_final(arm: ArmClient) -> None:
    """Where nothing had to settle the answer's etag is the one that stays."""
    body = arm.call("GET", WEB_NSG).body
    assert arm.call("PUT", WEB_NSG, body).body["etag"] == etag(arm)


def detach(arm: ArmClient) -> None:
    """Take an interface from behind its group."""
    nic = arm.call("GET", NIC).body
    del nic["properties"]["networkSecurityGroup"]
    assert arm.call("PUT", NIC, nic).status == 200


@pytest.mark.parametrize(
    "change",
    [
        detach,
        lambda arm: arm.call("PATCH", WEB_NSG, {"tags": {}}),
        lambda arm: arm.call("DELETE", child(WEB_NSG, "allow-http")),
        lambda arm: arm.control("edit", {"nsg": WEB_NSG, "delete": ["allow-http"]}),
    ],
    ids=["detach", "tags", "delete", "foreign edit"],
)
def test_every_change_changes_the_etag(
    arm: ArmClient, change: Callable[[ArmClient], object]
) -> None:
    """Tags, rules and attachments: all count."""
    before = etag(arm)
    change(arm)
    assert etag(arm) != before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", child(WEB_NSG, "allow-http"), rule(priority=320)),
        ("DELETE", child(WEB_NSG, "allow-http"), None),
        ("PUT", WEB_NSG, {"location": "westeurope"}),
        ("DELETE", EMPTY_NSG, None),
        ("PUT", NIC, {"location": "westeurope"}),
    ],
)
def test_a_stale_etag_is_a_412_that_names_both(
    arm: ArmClient, method: str, path: str, body: object
) -> None:
    """The detail says which etag was given and which is there, and nothing changes."""
    before = etag(arm, path)
    reply = arm.call(method, path, body, headers={"If-Match": STALE})
    assert (reply.status, reply.code) == (412, "PreconditionFailed")
    detail = reply.body["error"]["details"][0]
    assert detail["code"] == "PreconditionFailedEtagMismatch"
    assert detail["message"].startswith(
        f"Etag provided in if-match header {STALE} does not match etag {before} of resource {path}"
    )
    assert etag(arm, path) == before


@pytest.mark.parametrize("given", ["*", "etag"])
def test_a_matching_etag_or_a_star_lets_the_write_through(arm: ArmClient, given: str) -> None:
    """The condition holds for the current etag, and with a star for whatever is there."""
    value = etag(arm) if given == "etag" else given
    path = child(WEB_NSG, "allow-http")
    assert arm.call("DELETE", path, headers={"If-Match": value}).status == 202


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", child(WEB_NSG, "absent"), rule()),
        ("DELETE", child(WEB_NSG, "absent"), None),
        ("PUT", WEB_NSG.replace("web-nsg", "absent"), {"location": "westeurope"}),
    ],
)
def test_a_star_on_what_is_missing_is_a_412(
    arm: ArmClient, method: str, path: str, body: object
) -> None:
    """If-Match: * asks for something to be there."""
    reply = arm.call(method, path, body, headers={"If-Match": "*"})
    assert (reply.status, reply.code) == (412, "PreconditionFailed")
    assert arm.call("GET", path).status == 404


def test_a_rule_is_guarded_by_the_etag_of_its_group(arm: ArmClient) -> None:
    """A stranger's change of another rule makes the etag of this one stale."""
    path = child(WEB_NSG, "allow-http")
    kept = etag(arm, path)
    arm.control("edit", {"nsg": WEB_NSG, "put": [named("stranger", priority=333)]})
    reply = arm.call("PUT", path, rule(priority=320), headers={"If-Match": kept})
    assert reply.status == 412


def test_an_interface_moves_from_one_group_to_another(arm: ArmClient) -> None:
    """Attaching changes both groups' etags and their references back, and is over at once."""
    other = f"{SCOPE}/{NETWORK}/networkSecurityGroups/strict-nsg"
    before = (etag(arm), etag(arm, other))
    nic = arm.call("GET", NIC).body
    nic["properties"]["networkSecurityGroup"] = {"id": other}
    moved = arm.call("PUT", NIC, nic)
    assert moved.body["properties"]["provisioningState"] == "Succeeded"
    assert "retry-after" not in moved.headers
    assert "azure-asyncoperation" in moved.headers
    assert moved.body["properties"]["virtualMachine"]["id"].endswith("/web-1")
    left, joined = arm.call("GET", WEB_NSG).body, arm.call("GET", other).body
    assert NIC not in [each["id"] for each in left["properties"]["networkInterfaces"]]
    assert NIC in [each["id"] for each in joined["properties"]["networkInterfaces"]]
    assert (left["etag"], joined["etag"]) != before


def test_an_interface_cannot_join_a_group_that_is_not_there(arm: ArmClient) -> None:
    """A reference to nothing is refused."""
    nic = arm.call("GET", NIC).body
    nic["properties"]["networkSecurityGroup"] = {"id": WEB_NSG.replace("web-nsg", "absent")}
    reply = arm.call("PUT", NIC, nic)
    assert (reply.status, reply.code) == (400, "InvalidResourceReference")


def test_a_new_interface_gets_an_address_and_goes_again(arm: ArmClient) -> None:
    """Azure chooses the first free address from the fourth on; an unused interface can go."""
    subnet = f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet/subnets/bare"
    body = {
        "location": "westeurope",
        "properties": {
            "ipConfigurations": [{"name": "one", "properties": {"subnet": {"id": subnet}}}]
        },
    }
    path = f"{SCOPE}/{NETWORK}/networkInterfaces/{GROUP}-new"
    made = arm.call("PUT", path, body)
    address = made.body["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
    assert (made.status, address) == (201, "10.0.4.5")
    assert arm.call("DELETE", path).status == 202
    assert arm.call("GET", path).code == "ResourceNotFound"
    assert arm.call("DELETE", path).status == 204
    assert arm.call("DELETE", NIC).code == "NicInUse"


def test_an_interface_in_no_subnet_is_refused(arm: ArmClient) -> None:
    """A subnet that is not there gives no address."""
    subnet = f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet/subnets/none"
    configuration = {"name": "one", "properties": {"subnet": {"id": subnet}}}
    body = {"location": "westeurope", "properties": {"ipConfigurations": [configuration]}}
    reply = arm.call("PUT", f"{NIC}-new", body)
    assert (reply.code, subnet in reply.message) == ("InvalidResourceReference", True)
