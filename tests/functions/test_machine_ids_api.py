"""The API names machines by the id of an Azure VM, or of an EC2 instance in Defender's form."""

import pytest

from tests.functions.web_app import AS_ADMIN, AS_ALICE, AS_READER, WebApp, asking, policy_body
from tests.unit.test_machine_ids import ARC, ARC_CHILD, ARN, CONNECTOR, DEFENDER
from tests.world import POLICY, SUBSCRIPTION, World


@pytest.fixture
def web() -> WebApp:
    """Serve a fresh world."""
    return WebApp(World())


def test_a_policy_may_list_an_instance_in_defenders_form(web: WebApp) -> None:
    """A PUT takes the id and answers it as it was sent."""
    taken = web.call("PUT", POLICY, policy_body(DEFENDER), who=AS_ADMIN)
    assert taken.status == 200, taken.text
    assert taken.json["properties"]["virtualMachines"][0]["id"] == DEFENDER


def test_a_policy_cannot_list_an_arn_or_an_instance_of_another_subscription(web: WebApp) -> None:
    """Neither lies within the scopes of this app, which the refusal says."""
    other = DEFENDER.replace(SUBSCRIPTION, "22222222-2222-4222-8222-222222222222")
    for machine in (ARN, other):
        refused = web.call("PUT", POLICY, policy_body(machine), who=AS_ADMIN)
        assert refused.status == 403, refused.text
        assert "outside the scopes this app works in" in refused.json["error"]["message"]


@pytest.mark.parametrize("machine", [ARC, ARC_CHILD])
def test_an_arc_id_is_refused_with_the_form_to_send(web: WebApp, machine: str) -> None:
    """Policies and requests refuse it in the same words."""
    calls = [
        web.call("PUT", POLICY, policy_body(machine), who=AS_ADMIN),
        web.call("POST", f"{POLICY}/initiate", asking(machine), who=AS_ALICE),
    ]
    for refused in calls:
        assert refused.status == 400
        assert "does not name the instance's AWS region" in refused.json["error"]["message"]


def test_a_request_for_an_instance_is_held_to_its_policy(web: WebApp) -> None:
    """A request for a listed instance is taken; an ARN outside the app's scopes is refused."""
    web.call("PUT", POLICY, policy_body(DEFENDER), who=AS_ADMIN)
    taken = web.call("POST", f"{POLICY}/initiate", asking(DEFENDER), who=AS_ALICE)
    assert taken.status == 202, taken.text
    short = {"virtualMachine": ARN, "ports": [22], "duration": "PT1H"}
    refused = web.call("POST", "/api/requests", short, who=AS_ALICE)
    assert refused.status == 403, refused.text


def test_machines_can_be_listed_for_one_instance_and_not_for_a_connector(web: WebApp) -> None:
    """The scope of the machines report is a subscription, a resource group or one machine."""
    assert web.call("GET", f"/api/machines?scope={DEFENDER}", who=AS_ADMIN).status == 200
    refused = web.call("GET", f"/api/machines?scope={CONNECTOR}", who=AS_ADMIN)
    assert refused.json["error"]["code"] == "InvalidScope"


def test_a_request_for_an_instance_without_the_right_is_refused(web: WebApp) -> None:
    """A caller without the right to request gets 403, and no request is stored."""
    web.call("PUT", POLICY, policy_body(DEFENDER), who=AS_ADMIN)
    refused = web.call("POST", f"{POLICY}/initiate", asking(DEFENDER), who=AS_READER)
    assert refused.status == 403, refused.text
    assert web.call("GET", "/api/requests", who=AS_ADMIN).json["value"] == []


def test_a_request_for_an_instance_waits_for_approval_and_the_activity_names_it(
    web: WebApp,
) -> None:
    """Where the policy asks for an approver, the request waits, and activity tells of the machine."""
    conditions = {"approversNeeded": 1}
    web.call("PUT", POLICY, policy_body(DEFENDER, conditions=conditions), who=AS_ADMIN)
    taken = web.call("POST", f"{POLICY}/initiate", asking(DEFENDER), who=AS_ALICE)
    assert taken.status == 202, taken.text
    (machine,) = taken.json["virtualMachines"]
    assert machine["ports"][0]["status"] == "PendingApproval"
    events = web.call("GET", "/api/activity", who=AS_READER).json["value"]
    (requested,) = [each for each in events if each["operation"] == "requested"]
    assert requested["virtualMachine"] == DEFENDER
    assert requested["principalName"] == "alice@contoso.example"
    assert requested["time"]
