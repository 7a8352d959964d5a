"""Which ids name a machine: an Azure VM, or an EC2 instance in Defender's form or as ARN."""

from dataclasses import replace

import pytest

from shared.domain.machine_ids import (
    AzureVm,
    Ec2Instance,
    defender_id,
    instance_arn,
    is_machine_id,
    parse_machine_id,
)
from shared.domain.model import Policy
from shared.domain.summary import summarize
from shared.ports import Row
from shared.store.policies import PolicyRows, VmRow
from tests.fakes import MemoryTables, MemoryTelemetry
from tests.unit.approving import asking
from tests.world import GROUP, POLICY, SUBSCRIPTION, WEB

CONNECTOR = f"{GROUP}/providers/Microsoft.Security/securityConnectors/aws"
INSTANCE = "i-0123456789abcdef0"
DEFENDER = defender_id(CONNECTOR, INSTANCE, "eu-central-1")
ARN = instance_arn("123456789012", "eu-central-1", INSTANCE)
ARC = f"{GROUP}/providers/Microsoft.HybridCompute/machines/{INSTANCE}"
ARC_CHILD = f"{ARC}/providers/Microsoft.AwsConnector/ec2Instances/default"


def test_an_azure_vm_is_read_in_its_parts() -> None:
    """The id stays as it was written; the key and the subscription ignore letter case."""
    machine = parse_machine_id(WEB.upper())
    assert isinstance(machine, AzureVm)
    assert (machine.text, machine.key) == (WEB.upper(), WEB.lower())
    assert (machine.name, machine.subscription) == ("WEB", SUBSCRIPTION)
    assert (machine.group, machine.where) == ("APP", "resource group APP")


def test_an_instance_is_read_in_defenders_form() -> None:
    """Defender's form names the connector, the instance and the region, in any letter case."""
    for text in (DEFENDER, DEFENDER.upper()):
        machine = parse_machine_id(text)
        assert isinstance(machine, Ec2Instance)
        assert (machine.text, machine.key) == (text, DEFENDER.lower())
        assert (machine.name, machine.region) == (INSTANCE, "eu-central-1")
        assert machine.subscription == SUBSCRIPTION
        assert machine.connector.lower() == CONNECTOR.lower()
        assert machine.account == ""
    known = parse_machine_id(DEFENDER)
    assert (known.group, known.where) == ("app", "AWS connector aws")


def test_an_instance_is_read_as_an_arn() -> None:
    """An ARN names the account, the region and the instance, and no subscription."""
    machine = parse_machine_id(ARN)
    assert machine == Ec2Instance(ARN, INSTANCE, "eu-central-1", account="123456789012")
    assert (machine.subscription, machine.group) == ("", "")
    assert (machine.key, machine.where) == (ARN, "AWS account 123456789012")


@pytest.mark.parametrize("text", [ARC, ARC_CHILD, ARC.upper()])
def test_an_arc_id_is_refused_because_it_names_no_region(text: str) -> None:
    """The refusal says what an Arc id lacks, and what to send in its place."""
    with pytest.raises(
        ValueError, match=r"does not name the instance's AWS region: use .* its ARN"
    ):
        parse_machine_id(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "web", GROUP, f"{WEB}/", f"{WEB}/extensions/one", f" {WEB}", CONNECTOR),
        *(f"{DEFENDER}/x", f"{DEFENDER}\n", DEFENDER.replace("i-0", "i-"), DEFENDER + "a"),
        DEFENDER.replace(SUBSCRIPTION, "not-a-guid"),
        DEFENDER.replace("/app/", "/../"),
        DEFENDER.replace("securityConnectors/aws", "securityConnectors/a\u202ew"),
        *(ARN.upper(), f"{ARN} ", ARN.replace(":aws:", ":aws-cn:"), ARN.replace("1234", "12")),
        ARN.replace("instance/", "security-group/"),
        DEFENDER.replace("/app/", f"/{'a' * 1000}/"),
        DEFENDER.replace("eu-central-1", "eu-central-\u0661"),
    ],
)
def test_every_other_text_is_refused_with_a_sentence(text: str) -> None:
    """Neither half an id nor one that looks like another names a machine."""
    with pytest.raises(ValueError, match=r"not (a resource id|of an EC2 instance)|nor of an EC2"):
        parse_machine_id(text)
    assert not is_machine_id(text)
    assert all(map(is_machine_id, (WEB, DEFENDER, ARN)))


@pytest.mark.parametrize("machine", [WEB, DEFENDER, ARN])
def test_the_policies_of_every_type_of_machine_are_found(machine: str) -> None:
    """An ARN names no subscription, so the rows of every subscription are searched."""
    rows = PolicyRows(MemoryTables().policies, MemoryTelemetry())
    rows.put_vm(VmRow(POLICY, machine))
    rows.put_vm(VmRow(POLICY, f"{WEB}2"))
    assert rows.policies_of(machine) == [POLICY]


def test_no_subscription_lists_the_policies_of_every_subscription() -> None:
    """Other types of rows are no policies."""
    table = MemoryTables().policies
    rows = PolicyRows(table, MemoryTelemetry())
    policy = Policy(POLICY, "westeurope", ())
    rows.insert(policy)
    table.upsert(Row("zz|group", "vm|x", {"kind": "vm"}))
    assert rows.listed("") == rows.everything() == [policy]


@pytest.mark.parametrize(
    ("machine", "beginning"),
    [
        (WEB, "web (resource group app): port 22"),
        (DEFENDER, f"{INSTANCE} (AWS connector aws): port 22"),
        (ARN, f"{INSTANCE} (AWS account 123456789012): port 22"),
    ],
)
def test_a_summary_names_every_type_of_machine(machine: str, beginning: str) -> None:
    """An approver reads which machine opens, and where it is."""
    request = asking(1).ask()
    ports = tuple(replace(port, vm_id=machine) for port in request.ports)
    (line,) = summarize(replace(request, ports=ports))
    assert line.startswith(beginning)
