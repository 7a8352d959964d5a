"""The few other reads of Azure Resource Manager, on azure-core's ARM pipeline."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

from shared.domain.arm_ids import VM_TYPE, parse_id
from shared.domain.model import Attachment
from shared.use_cases.interfaces import Machine, OutsideError

_COMPUTE, _NETWORK = "2024-07-01", "2024-05-01"
_GONE = frozenset({"ResourceNotFound", "ResourceGroupNotFound", "NotFound"})
_NOT_FOUND = 404
_OK = 200


class ArmReader:
    """Reads resources by id. Only an answered 404 means that something does not exist."""

    def __init__(self, client: ARMPipelineClient[HttpRequest, HttpResponse]) -> None:
        self._client = client

    def get(self, path: str, api_version: str, **query: str) -> dict[str, Any] | None:
        """Read one resource; None only where the service says it does not exist."""
        parameters = {"api-version": api_version, **query}
        answer = self._send(HttpRequest("GET", quote(path, safe="/"), params=parameters))
        if answer.status_code == _NOT_FOUND and _error_code(answer) in _GONE:
            return None
        return self._body(answer)

    def list(self, path: str, api_version: str, **query: str) -> Iterator[dict[str, Any]]:
        """Read a list, page by page."""
        parameters = {"api-version": api_version, **query}
        request = HttpRequest("GET", quote(path, safe="/"), params=parameters)
        while True:
            page = self._body(self._send(request))
            yield from page.get("value", ())
            link = page.get("nextLink")
            if not link:
                return
            # NB. The link's host is not followed: our token goes to the configured ARM only.
            parts = urlsplit(link)
            request = HttpRequest("GET", f"{parts.path}?{parts.query}")

    def _send(self, request: HttpRequest) -> HttpResponse:
        request.url = self._client.format_url(request.url)
        try:
            return self._client.send_request(request)
        except AzureError as error:
            raise OutsideError(str(error)) from error

    @staticmethod
    def _body(answer: HttpResponse) -> dict[str, Any]:
        if answer.status_code != _OK:
            raise OutsideError(f"{answer.status_code} {_error_code(answer)} from ARM")
        body: dict[str, Any] = answer.json()
        return body


def _error_code(answer: HttpResponse) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


class VirtualMachines:
    """Finds a VM's way in: its interfaces, and the NSG on each and on its subnet."""

    def __init__(self, arm: ArmReader) -> None:
        self._arm = arm

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM and everything in front of it."""
        vm = self._arm.get(parse_id(vm_id, VM_TYPE).text, _COMPUTE)
        if vm is None:
            return None
        interfaces = [
            self._read(reference["id"])
            for reference in vm["properties"]["networkProfile"]["networkInterfaces"]
        ]
        subnets = {subnet: self._read(subnet) for nic in interfaces for subnet in _subnets(nic)}
        return describe(vm, interfaces, subnets)

    def _read(self, resource_id: str) -> dict[str, Any]:
        found = self._arm.get(resource_id, _NETWORK)
        if found is None:
            # The VM's own description names it: a change is under way, nothing is proven.
            raise OutsideError(f"{resource_id} is named by its VM and was not found")
        return found


def _subnets(nic: dict[str, Any]) -> set[str]:
    return {
        config["properties"]["subnet"]["id"]
        for config in nic["properties"].get("ipConfigurations", ())
        if config["properties"].get("subnet")
    }


def describe(
    vm: dict[str, Any], interfaces: list[dict[str, Any]], subnets: dict[str, dict[str, Any]]
) -> Machine:
    """Work out which firewall stands in front of which of a VM's addresses."""
    behind: dict[str, dict[str, None]] = {}
    spelled: dict[str, str] = {}
    bare = []
    for nic in interfaces:
        for config in nic["properties"].get("ipConfigurations", ()):
            held = config["properties"]
            address = held.get("privateIPAddress")
            subnet = subnets.get((held.get("subnet") or {}).get("id", ""), {})
            firewalls = [each for each in (_nsg_of(nic), _nsg_of(subnet)) if each]
            if address and not firewalls:
                bare.append(address)
            for firewall in firewalls if address else ():
                key = spelled.setdefault(firewall.casefold(), firewall)
                behind.setdefault(key, {})[address] = None
    disk = vm["properties"].get("storageProfile", {}).get("osDisk", {})
    return Machine(
        id=vm["id"],
        location=vm.get("location", ""),
        system=str(disk.get("osType", "")).lower(),
        attachments=tuple(Attachment(nsg, tuple(held)) for nsg, held in sorted(behind.items())),
        bare_addresses=tuple(bare),
    )


def _nsg_of(resource: dict[str, Any]) -> str:
    reference = resource.get("properties", {}).get("networkSecurityGroup") or {}
    return str(reference.get("id", ""))
