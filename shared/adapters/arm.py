"""The few other reads of Azure Resource Manager, on azure-core's ARM pipeline."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest, HttpResponse
from azure.mgmt.core import ARMPipelineClient

from shared.adapters.arm_clients import retry_after
from shared.adapters.threads import side_by_side
from shared.domain.desired import Observed
from shared.domain.ids import VM_TYPE, key_of, parse_id
from shared.firewalls.nsg.application_groups import Membership
from shared.firewalls.nsg.networks import KnownNetworks
from shared.firewalls.nsg.resources import (
    GROUP_TYPE,
    FloatingFronts,
    balancer_ids,
    describe,
    given_twice,
    guarded_subnets,
    interface_ids,
    join,
    may_share_address,
    shared_address,
    subnet_ids,
)
from shared.ports import Machine, Neighbours, OutsideError, Sleep, ThrottledError
from shared.use_cases.reports.inventory import Listed, places_in

_COMPUTE, _NETWORK = "2024-07-01", "2024-05-01"
_GONE = frozenset({"ResourceNotFound", "ResourceGroupNotFound", "NotFound"})
_NOT_FOUND = 404
_FORBIDDEN = 403
_OK = 200
_TOO_MANY = 429
_MOST_PAGES = 10_000


class NotReadableError(OutsideError):
    """ARM does not let this app read something."""


class GoneError(OutsideError):
    """ARM says that what was to be listed does not exist."""


class ArmReader:
    """Reads resources by id. Only an answered 404 means that something does not exist.

    ARM lends an identity 250 reads and 25 a second more. A policy of some hundred VMs, or a crowd
    of requests, takes more: so a read waits for its turn, as long as ARM says and for so many
    seconds in all. To fail instead would cost the reads made so far, and the next try as well.
    """

    def __init__(
        self,
        client: ARMPipelineClient[HttpRequest, HttpResponse],
        *,
        patience: float = 0.0,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._client = client
        self._patience = patience
        self._sleep = sleep

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
        for _ in range(_MOST_PAGES):
            page = self._body(self._send(request))
            if not isinstance(page.get("value"), list):
                raise OutsideError(f"no list from ARM for {path}")
            yield from page["value"]
            link = page.get("nextLink")
            if not link:
                return
            # NB. The link's host is not followed: our token goes to the configured ARM only.
            parts = urlsplit(link)
            request = HttpRequest("GET", f"{parts.path}?{parts.query}")
        raise OutsideError(f"the list of {path} does not end")

    def _send(self, request: HttpRequest) -> HttpResponse:
        request.url = self._client.format_url(request.url)
        waited = 0.0
        while True:
            try:
                answer = self._client.send_request(request)
            except AzureError as error:
                raise OutsideError(str(error)) from error
            if answer.status_code != _TOO_MANY:
                return answer
            wait = max(1.0, retry_after(answer.headers.get("Retry-After"), answer.text()))
            if waited + wait > self._patience:
                told = f"{_TOO_MANY} {_error_code(answer)} from ARM for {request.url}"
                raise ThrottledError(told, retry_after=wait)
            self._sleep(wait)
            waited += wait

    @staticmethod
    def _body(answer: HttpResponse) -> dict[str, Any]:
        if answer.status_code == _NOT_FOUND and _error_code(answer) in _GONE:
            raise GoneError(f"{_error_code(answer)} from ARM for {answer.request.url}")
        if answer.status_code == _FORBIDDEN:
            raise NotReadableError(f"{_error_code(answer)} from ARM for {answer.request.url}")
        if answer.status_code != _OK:
            raise OutsideError(f"{answer.status_code} {_error_code(answer)} from ARM")
        try:
            body = answer.json()
        except ValueError as error:
            raise OutsideError(f"no JSON from ARM for {answer.request.url}") from error
        if not isinstance(body, dict):
            raise OutsideError(f"no object from ARM for {answer.request.url}")
        return body


def _error_code(answer: HttpResponse) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return ""


def list_all(
    arm: ArmReader, places: Iterable[str], resource_type: str, version: str
) -> list[dict[str, Any]]:
    """List the resources of a type in some places; a group that was deleted holds nothing."""
    found: list[dict[str, Any]] = []
    for place in places:
        try:
            found += arm.list(f"{place}/providers/{resource_type}", version)
        except GoneError:
            continue
    return found


def is_whole(places: Iterable[str]) -> bool:
    """Tell whether places are whole subscriptions."""
    return not any("/resourcegroups/" in key_of(place) for place in places)


def read_membership(arm: ArmReader, scopes: Sequence[str], subscription: str) -> Membership | None:
    """Read who is in the application security groups of a subscription; None: not to be read."""
    places = _places(scopes, subscription)
    try:
        nics = list_all(arm, places, "Microsoft.Network/networkInterfaces", _NETWORK)
    except NotReadableError:
        return None
    return Membership(nics, complete=is_whole(places))


def _places(scopes: Sequence[str], subscription: str) -> tuple[str, ...]:
    """Return where the app lists; without scopes, in all of the subscription."""
    return places_in(scopes, subscription) or (f"/subscriptions/{subscription}",)


_UNKNOWN: Callable[[str], str] = lambda _reference: ""  # noqa: E731
Look = Callable[[str], tuple[dict[str, Any], Observed | None]]


class VirtualMachines:
    """Finds a VM's way in: its interfaces, and the firewall on each and on its subnet.

    `scopes` is where the app has rights: what is listed, is listed there. Empty: all of the
    VM's subscription. `look` reads a security group once, and returns its state where that can be
    planned from.
    """

    def __init__(
        self, arm: ArmReader, scopes: Sequence[str] = (), look: Look | None = None
    ) -> None:
        self._arm = arm
        self._scopes = scopes
        self._networks = KnownNetworks()
        self._look = look or (lambda firewall_id: (self._read(firewall_id), None))

    def find(self, vm_id: str) -> Machine | None:
        """Read one VM and everything in front of it."""
        return self._find(vm_id, lists=True)

    def find_by_reads(self, vm_id: str) -> Machine | None:
        """Read one VM and what it refers to, without the list of load balancers."""
        return self._find(vm_id, lists=False)

    def _find(self, vm_id: str, *, lists: bool) -> Machine | None:
        vm = self._arm.get(parse_id(vm_id, VM_TYPE).text, _COMPUTE)
        if vm is None:
            return None
        interfaces = [self._read(reference) for reference in interface_ids(vm)]
        subnets = {subnet: self._read(subnet) for nic in interfaces for subnet in subnet_ids(nic)}
        machine = describe(vm, interfaces, subnets)
        unreadable = machine.unreadable or self._unreadable(vm_id, interfaces, lists=lists)
        return replace(machine, unreadable=unreadable)

    def shared_address(self, machine: Machine) -> str:
        """Say which other interface has an address of a VM behind the same security group."""
        return self.neighbours(machine).shared

    def neighbours(self, machine: Machine, *, lists: bool = True) -> Neighbours:
        """Find which other interface has an address of a VM behind the same security group."""
        looks = {key_of(each.firewall_id): each.firewall_id for each in machine.attachments}
        read = {key: self._look(firewall_id) for key, firewall_id in looks.items()}
        groups = [group for group, _ in read.values()]
        seen = {key: observed for key, (_, observed) in read.items() if observed}
        if not may_share_address(machine, groups, _UNKNOWN if lists else self._networks.of):
            return Neighbours(seen=seen)
        try:
            nics = self._interfaces(parse_id(machine.id, VM_TYPE).subscription)
        except NotReadableError as error:
            told = f"the network interfaces behind its security group cannot be listed: {error}"
            return Neighbours(told)
        return Neighbours(shared_address(machine, nics, groups), seen)

    def addresses_given_twice(self, subscription: str) -> frozenset[tuple[str, str]]:
        """List the addresses that two interfaces of a virtual network have."""
        return given_twice(self._interfaces(subscription))

    def _interfaces(self, subscription: str) -> list[dict[str, Any]]:
        places = _places(self._scopes, subscription)
        nics = list_all(self._arm, places, "Microsoft.Network/networkInterfaces", _NETWORK)
        self._networks.note(nics)
        return nics

    def _unreadable(self, vm_id: str, interfaces: list[dict[str, Any]], *, lists: bool) -> str:
        """Say why rules on the VM's own addresses do not tell who reaches it; empty: they do.

        A pool may name the VM by address, which only the list of load balancers shows.
        """
        try:
            balancers = self._listed(vm_id, "loadBalancers") if lists else []
        except NotReadableError:
            balancers = []
        listed = {key_of(each["id"]) for each in balancers}
        named = {each for nic in interfaces for each in balancer_ids(nic)}
        try:
            balancers += [self._read(each) for each in sorted(named) if key_of(each) not in listed]
        except NotReadableError as error:
            return f"its load balancer cannot be read: {error}"
        return FloatingFronts(balancers).before_any(interfaces)

    def _listed(self, vm_id: str, resource_type: str) -> list[dict[str, Any]]:
        places = _places(self._scopes, parse_id(vm_id, VM_TYPE).subscription)
        return list_all(self._arm, places, f"Microsoft.Network/{resource_type}", _NETWORK)

    def _read(self, resource_id: str) -> dict[str, Any]:
        found = self._arm.get(resource_id, _NETWORK)
        if found is None:
            # The VM's own description names it: a change is under way, nothing is proven.
            raise OutsideError(f"{resource_id} is named by its VM and was not found")
        return found


class ArmInventory:
    """Reads a subscription, or those groups of it that the app has rights in, and joins it here.

    A subscription takes four lists, read side by side: the pages of one list come one by one, and
    those of 20,000 VMs and of their interfaces are some hundred each. Groups take as many each, and a read of each subnet that no
    group of theirs stands in front of: its security group may lie where the app may not look.
    """

    def __init__(self, arm: ArmReader) -> None:
        self._arm = arm

    def read(self, places: tuple[str, ...]) -> Listed:
        """Read the VMs, and everything in front of them."""
        lists: tuple[Callable[[], Any], ...] = (
            partial(self._all, places, "Microsoft.Compute/virtualMachines", _COMPUTE),
            partial(self._all, places, "Microsoft.Network/networkInterfaces", _NETWORK),
            partial(self._all, places, GROUP_TYPE, _NETWORK),
            partial(self._balancers, places),
        )
        vms, nics, groups, balancers = side_by_side(lambda read: read(), lists)
        subnets: dict[str, dict[str, Any] | None] = {**guarded_subnets(groups)}
        if not is_whole(places):
            named = {key_of(each): each for nic in nics for each in subnet_ids(nic)}
            subnets |= {
                key: self._subnet(named[key]) for key in sorted(named) if key not in subnets
            }
        complete = is_whole(places)
        return join(vms, nics, groups, balancers, subnets, complete=complete)

    def _balancers(self, places: tuple[str, ...]) -> list[dict[str, Any]] | None:
        try:
            return self._all(places, "Microsoft.Network/loadBalancers", _NETWORK)
        except NotReadableError:
            return None

    def _subnet(self, subnet_id: str) -> dict[str, Any] | None:
        """Read a subnet; None: what stands in front of it is not known."""
        try:
            return self._arm.get(subnet_id, _NETWORK)
        except NotReadableError:
            return None

    def _all(
        self, places: tuple[str, ...], resource_type: str, version: str
    ) -> list[dict[str, Any]]:
        return list_all(self._arm, places, resource_type, version)
