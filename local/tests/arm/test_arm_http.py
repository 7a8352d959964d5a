"""The wire: headers, settling, poll addresses, envelopes."""

import pytest

from local.arm.client import ArmClient
from local.tests.arm.place import (
    EMPTY_NSG,
    NETWORK,
    OPS_SCOPE,
    SCOPE,
    SETTLE_SECONDS,
    SUBSCRIPTION,
    WEB_NSG,
    Clock,
    child,
    named,
    rule,
)

RULE = child(WEB_NSG, "allow-ssh")


def test_a_new_rule_is_updating_until_it_has_settled(arm: ArmClient, clock: Clock) -> None:
    """201 with Updating; the group and the rule read Updating until the time is over."""
    made = arm.call("PUT", RULE, rule())
    assert made.status == 201
    assert made.body["properties"]["provisioningState"] == "Updating"
    group = arm.call("GET", WEB_NSG).body["properties"]
    states = [each["properties"]["provisioningState"] for each in group["securityRules"]]
    assert (group["provisioningState"], states) == ("Updating", ["Succeeded"] * 2 + ["Updating"])
    clock.pass_by(SETTLE_SECONDS)
    group = arm.call("GET", WEB_NSG).body["properties"]
    states = [each["properties"]["provisioningState"] for each in group["securityRules"]]
    assert (group["provisioningState"], states) == ("Succeeded", ["Succeeded"] * 3)


def test_a_put_answers_with_the_headers_of_a_long_operation(arm: ArmClient) -> None:
    """Poll address, notification and Retry-After, but neither Location nor ETag."""
    made = arm.call("PUT", RULE, rule())
    address = made.headers["azure-asyncoperation"]
    assert address == (
        f"{arm.url}/subscriptions/{SUBSCRIPTION}/{NETWORK}/locations/westeurope/operations/"
        f"{made.headers['x-ms-request-id']}?api-version=2026-03-01"
    )
    assert made.headers["azure-asyncnotification"] == "Enabled"
    assert made.headers["retry-after"] == "5"
    assert made.headers["x-ms-retry-after-ms"] == "5000"
    assert not {"location", "etag"} & set(made.headers)


def test_below_a_second_there_is_no_retry_after(arm: ArmClient) -> None:
    """A fractional Retry-After would break the SDK, and 0 makes it wait half a minute."""
    arm.control("settings", {"settle": 0.05})
    made = arm.call("PUT", RULE, rule())
    assert "retry-after" not in made.headers
    assert made.headers["x-ms-retry-after-ms"] == "50"


def test_the_operation_is_in_progress_then_succeeded(arm: ArmClient, clock: Clock) -> None:
    """A poll carries the status alone, indented, and no Retry-After in the end."""
    address = arm.call("PUT", RULE, rule()).headers["azure-asyncoperation"]
    first = arm.call("GET", address)
    assert (first.body, first.headers["retry-after"]) == ({"status": "InProgress"}, "5")
    clock.pass_by(SETTLE_SECONDS)
    last = arm.call("GET", address)
    assert last.content == b'{\r\n  "status": "Succeeded"\r\n}'
    assert "retry-after" not in last.headers


def test_a_rule_put_again_unchanged_is_succeeded_at_once(arm: ArmClient, clock: Clock) -> None:
    """Without a change to the data plane there is nothing to wait for."""
    arm.call("PUT", RULE, rule())
    clock.pass_by(SETTLE_SECONDS)
    again = arm.call("PUT", RULE, rule())
    assert (again.status, again.body["properties"]["provisioningState"]) == (200, "Succeeded")
    assert "retry-after" not in again.headers
    assert "azure-asyncoperation" in again.headers


def test_a_changed_rule_is_a_200(arm: ArmClient, clock: Clock) -> None:
    """An existing rule that changes is Updating again."""
    arm.call("PUT", RULE, rule())
    clock.pass_by(SETTLE_SECONDS)
    changed = arm.call("PUT", RULE, rule(destinationPortRange="2222"))
    assert (changed.status, changed.body["properties"]["provisioningState"]) == (200, "Updating")


def test_new_tags_alone_are_no_change_of_the_data_plane(arm: ArmClient) -> None:
    """A PUT of the group with the same rules is Succeeded, with a poll address all the same."""
    body = arm.call("GET", WEB_NSG).body
    done = arm.call("PUT", WEB_NSG, {**body, "tags": {"new": "yes"}})
    assert (done.status, done.body["properties"]["provisioningState"]) == (200, "Succeeded")
    assert "azure-asyncoperation" in done.headers
    assert "retry-after" not in done.headers
    assert done.headers["x-ms-request-id"] in done.headers["azure-asyncoperation"]


def test_patching_tags_has_no_operation(arm: ArmClient) -> None:
    """PATCH replaces the tags and is over at once."""
    done = arm.call("PATCH", WEB_NSG, {"tags": {"new": "yes"}})
    assert (done.status, done.body["tags"]) == (200, {"new": "yes"})
    assert not {"azure-asyncoperation", "retry-after", "location"} & set(done.headers)


def test_after_a_put_of_the_group_everything_reads_updating(arm: ArmClient) -> None:
    """The unchanged rules and the default ones too, as recorded."""
    body = arm.call("GET", WEB_NSG).body
    body["properties"]["securityRules"].append(named("allow-ssh"))
    arm.call("PUT", WEB_NSG, body)
    properties = arm.call("GET", WEB_NSG).body["properties"]
    listed = [*properties["securityRules"], *properties["defaultSecurityRules"]]
    assert {each["properties"]["provisioningState"] for each in listed} == {"Updating"}


def test_a_deleted_rule_lingers_as_deleting(arm: ArmClient, clock: Clock) -> None:
    """202 with both addresses; the rule is Deleting, then not found; the result is a 204."""
    path = child(WEB_NSG, "allow-http")
    gone = arm.call("DELETE", path)
    assert (gone.status, gone.content) == (202, b"")
    result = gone.headers["location"]
    assert "/operationResults/" in result
    assert gone.headers["azure-asyncoperation"] == result.replace("Results", "s")
    assert arm.call("GET", path).body["properties"]["provisioningState"] == "Deleting"
    assert arm.call("GET", result).status == 202
    clock.pass_by(SETTLE_SECONDS)
    assert arm.call("GET", path).code == "NotFound"
    done = arm.call("GET", result)
    assert (done.status, done.headers["location"]) == (204, result)


def test_deleting_what_is_not_there_is_a_204(arm: ArmClient) -> None:
    """Nothing to do, nothing to poll."""
    for path in (child(WEB_NSG, "absent"), f"{SCOPE}/{NETWORK}/networkSecurityGroups/absent"):
        gone = arm.call("DELETE", path)
        assert (gone.status, "location" in gone.headers) == (204, False)


def test_a_group_is_deleted_unless_it_is_in_use(arm: ArmClient, clock: Clock) -> None:
    """A group attached to nothing goes once it has settled; another is refused with its users."""
    used = arm.call("DELETE", WEB_NSG)
    assert (used.status, used.code) == (400, "InUseNetworkSecurityGroupCannotBeDeleted")
    assert "networkInterfaces/web-1-nic" in used.message
    assert arm.call("DELETE", EMPTY_NSG).status == 202
    state = arm.call("GET", EMPTY_NSG).body["properties"]["provisioningState"]
    assert state == "Deleting"
    clock.pass_by(SETTLE_SECONDS)
    assert arm.call("GET", EMPTY_NSG).code == "ResourceNotFound"


def test_the_etag_header_is_on_reads_of_one_resource_only(arm: ArmClient) -> None:
    """A GET of a group, a rule, an interface or a subnet has it; a list does not."""
    subnet = f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet/subnets/web"
    nic = f"{SCOPE}/{NETWORK}/networkInterfaces/web-1-nic"
    for path in (WEB_NSG, child(WEB_NSG, "allow-http"), nic, subnet):
        read = arm.call("GET", path)
        assert read.headers["etag"] == read.body["etag"]
    assert "etag" not in arm.call("GET", f"{WEB_NSG}/securityRules").headers


def test_rules_had_no_type_in_2017(arm: ArmClient) -> None:
    """An api-version of 2017 writes rules without their type, later ones with it."""
    path = child(WEB_NSG, "allow-http")
    assert "type" not in arm.call("GET", path, api_version="2017-10-01").body
    assert arm.call("GET", path).body["type"].endswith("/securityRules")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{SCOPE}/{NETWORK}/networkSecurityGroups/absent", 404, "ResourceNotFound"),
        (f"{SCOPE}/{NETWORK}/networkInterfaces/absent", 404, "ResourceNotFound"),
        (child(WEB_NSG, "absent"), 404, "NotFound"),
        (
            f"{SCOPE}/{NETWORK}/networkSecurityGroups/absent/securityRules/x",
            404,
            "ResourceNotFound",
        ),
        (WEB_NSG.replace("app-rg", "no-rg"), 404, "ResourceGroupNotFound"),
        (WEB_NSG.replace(SUBSCRIPTION, "0" * 8), 404, "SubscriptionNotFound"),
        (f"{SCOPE}/{NETWORK}/virtualNetworks/absent/subnets/x", 404, "ResourceNotFound"),
        (f"{SCOPE}/{NETWORK}/virtualNetworks/app-vnet/subnets/x", 404, "NotFound"),
        (f"{WEB_NSG}/defaultSecurityRules/absent", 404, "NotFound"),
        (
            f"/subscriptions/{SUBSCRIPTION}/{NETWORK}/locations/westeurope/operations/x",
            404,
            "OperationNotFound",
        ),
        (f"{SCOPE}/{NETWORK}/privateEndpoints/any", 404, "NotSimulated"),
        (f"{SCOPE}/providers/Microsoft.Sql/servers", 404, "NotSimulated"),
        ("/", 404, "NotSimulated"),
    ],
)
def test_what_is_missing_is_named(arm: ArmClient, path: str, status: int, code: str) -> None:
    """Each type of absence has its own code; a path that is not simulated is no absence."""
    reply = arm.call("GET", path)
    assert (reply.status, reply.code) == (status, code)


def test_writing_below_a_missing_group_names_the_parent(arm: ArmClient) -> None:
    """A rule cannot be put into a group that is not there."""
    reply = arm.call("PUT", child(f"{OPS_SCOPE}/{NETWORK}/networkSecurityGroups/no", "x"), rule())
    assert (reply.status, reply.code) == (404, "ParentResourceNotFound")


def test_the_front_door_is_compact_and_the_provider_indents(arm: ArmClient) -> None:
    """An error tells by its layout, and by `details`, who made it."""
    front = arm.call("GET", f"{SCOPE}/{NETWORK}/networkSecurityGroups/absent")
    assert front.content.startswith(b'{"error":{"code":"ResourceNotFound","message":')
    assert front.headers["x-ms-failure-cause"] == "gateway"
    assert "details" not in front.body["error"]
    provider = arm.call("GET", child(WEB_NSG, "absent"))
    assert provider.content.startswith(b'{\r\n  "error": {\r\n    "code": "NotFound"')
    assert provider.body["error"]["details"] == []


def test_a_default_rule_is_read_as_any_other(arm: ArmClient) -> None:
    """The default rules have ids of their own, with their words as recorded."""
    read = arm.call("GET", f"{WEB_NSG}/defaultSecurityRules/denyallinbound").body
    assert read["id"] == f"{WEB_NSG}/defaultSecurityRules/DenyAllInBound"
    assert read["properties"]["description"] == "Deny all inbound traffic"
    assert read["properties"]["priority"] == 65500


def test_an_api_version_is_required_and_any_will_do(arm: ArmClient) -> None:
    """The front door asks for an api-version before anything else."""
    missing = arm.call("GET", WEB_NSG, api_version=None)
    assert (missing.status, missing.code) == (400, "MissingApiVersionParameter")
    for version in ("2017-10-01", "2026-03-01", "2099-01-01-preview"):
        assert arm.call("GET", WEB_NSG, api_version=version).status == 200
