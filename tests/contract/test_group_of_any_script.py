"""The adapters of ARM and of the tables, where resource groups are named in another script."""

import json
import uuid
from collections.abc import Iterator

import pytest
from azure.data.tables import TableServiceClient

from local.arm.app import load_estate
from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import LocalName, arm_client
from shared.adapters.tables import AzureTable
from shared.domain.ids import key_of
from shared.domain.model import Policy, PolicyVm
from shared.firewalls.nsg.discovery import ArmInventory, VirtualMachines
from shared.firewalls.nsg.rules import Plan
from shared.ports import Table
from shared.store.policies import PolicyRows, VmRow
from tests.contract.firewall.grounds import SETTLE_SECONDS, AzureGround, allow, deny, foreign, held
from tests.fakes import MemoryTable, MemoryTelemetry

NAMES = ["FORMACIÓN", "财务", "große-gruppe_(1)", "\U00010400"]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/"


@pytest.fixture(params=NAMES)
def group(request: pytest.FixtureRequest) -> str:
    """Give the name of a resource group."""
    return str(request.param)


@pytest.fixture
def renamed(group: str) -> Iterator[ArmServer]:
    """Serve the default estate with its first group under another name, in pages of two."""
    text = json.dumps(load_estate(), ensure_ascii=False).replace("app-rg", group)
    with ArmServer(
        json.loads(text), settings=Settings(page_size=2, settle=SETTLE_SECONDS)
    ) as running:
        yield running


@pytest.mark.parametrize("scope", [GROUP, f"/subscriptions/{SUBSCRIPTION}"])
def test_machines_are_listed_and_read(renamed: ArmServer, group: str, scope: str) -> None:
    """Lists by page and single reads find every VM of the group and its firewalls."""
    reader = ArmReader(arm_client(renamed.url, LocalName("network")))
    place = f"{scope}{group}" if scope == GROUP else scope
    listed = ArmInventory(reader).read((place,)).machines
    here = [machine for machine in listed if f"/{group}/" in machine.id]
    assert len(here) > 3
    single = VirtualMachines(reader)
    for machine in here:
        found = single.find(machine.id)
        assert found is not None
        assert found.attachments == machine.attachments


@pytest.mark.parametrize("whole", [True, False])
def test_rules_are_written_and_read(renamed: ArmServer, group: str, *, whole: bool) -> None:
    """Child writes and whole writes reach a security group, and its list names it."""
    arm = ArmClient(renamed.url, "local:tester")
    ground = AzureGround(arm, whole=whole)
    body = {
        "id": f"{GROUP}{group}/providers/Microsoft.Network/networkSecurityGroups/nsg-x",
        "type": "Microsoft.Network/networkSecurityGroups",
        "location": "westeurope",
        "properties": {"securityRules": []},
    }
    firewall_id = str(body["id"])
    arm.control("edit", {"resources": [body]})
    ground.edit(firewall_id, foreign())
    plans = (
        [Plan(put=(allow(1), deny()))] if whole else [Plan(put=(allow(1),)), Plan(put=(deny(),))]
    )
    for plan in plans:
        ground.firewall.write(ground.firewall.read(firewall_id), plan)
    assert set(held(ground, firewall_id)) == {allow(1).name, deny().name, "allow-https"}
    listed = ground.firewall.list_with_our_rules([f"{GROUP}{group}"])
    assert key_of(firewall_id) in {key_of(each) for each in listed}
    arm.close()


@pytest.fixture(params=["memory", "azure"])
def table(request: pytest.FixtureRequest) -> Table:
    """Give an empty table, in memory and in Azurite."""
    if request.param == "memory":
        return MemoryTable()
    service = TableServiceClient.from_connection_string(request.getfixturevalue("azurite"))
    return AzureTable(service.create_table(f"t{uuid.uuid4().hex}"))


def test_policies_are_found_by_group_and_by_machine(table: Table) -> None:
    """A group beside others is found whatever its script, and no other group's policies are."""
    rows = PolicyRows(table, MemoryTelemetry())
    groups = [*NAMES, "app", "app(1)", "~", "z", "ß", "ss"]
    for each in groups:
        provider = f"{GROUP}{each}/providers/Microsoft"
        policy = f"{provider}.Security/locations/westeurope/jitNetworkAccessPolicies/政策"
        vm = f"{provider}.Compute/virtualMachines/サーバー"
        rows.insert(Policy(policy, "westeurope", (PolicyVm(vm),)))
        rows.put_vm(VmRow(policy, vm))
    assert len(rows.listed(SUBSCRIPTION)) == len(rows.everything()) == len(groups)
    for each in groups:
        [policy_found] = rows.listed(SUBSCRIPTION, each.swapcase() if "ß" not in each else each)
        assert f"/{each}/" in policy_found.id
        assert rows.listed(SUBSCRIPTION, each, "westeurope") == [policy_found]
        assert not rows.listed(SUBSCRIPTION, each, "northeurope")
        vm = policy_found.vms[0].id
        assert rows.policies_of(vm) == [policy_found.id]
        assert rows.vm_row(policy_found.id, vm) is not None
        assert [row.vm_id for row in rows.vm_rows(policy_found.id)] == [vm]
    paged, after = list[Policy](), "-"
    while after:
        found, after = rows.page(SUBSCRIPTION, after=after.strip("-"), limit=3)
        paged += found
    assert paged == rows.listed(SUBSCRIPTION)
