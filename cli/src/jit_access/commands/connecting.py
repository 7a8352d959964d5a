"""Where to connect: the entry of the answer, or the VM's own address; and whether it answers."""

import contextlib
import re
import socket
import time
from dataclasses import dataclass
from typing import Any

from jit_access.client.errors import ApiError, JitError
from jit_access.client.models import RequestStatus
from jit_access.client.operations import Operation
from jit_access.commands.exits import CommandError
from jit_access.commands.session import Session
from jit_access.commands.times import parse_length
from jit_access.commands.vms import Vm

_PROBE_SECONDS, _PAUSE_SECONDS = 15.0, 0.5
_COMPUTE, _NETWORK = "2024-07-01", "2024-05-01"
_HOST = re.compile(r"[0-9A-Za-z:][0-9A-Za-z.:_-]{0,252}")


@dataclass(frozen=True)
class Entry:
    """An address and port to connect to.

    The host may come from the service and becomes an argument of ssh, so that it must not look
    like an option. Raises CommandError for such a one.
    """

    host: str
    port: int

    def __post_init__(self) -> None:
        if self.host and not _HOST.fullmatch(self.host):
            raise CommandError(
                f"{self.host!r} is no address to connect to", "Give another: --address HOST."
            )


def address_of(
    session: Session, request: RequestStatus | None, vm: Vm, port: int, given: str = ""
) -> Entry | None:
    """Return where to connect; None: it cannot be known here.

    An address that was given comes first, then the answer's entry (a firewall's address and
    mapped port), the policy's public address, and last what Azure tells the caller.
    """
    if given:
        return Entry(given, port)
    entry = entry_of(request, vm, port)
    if entry.host:
        return entry
    host = _policy_address(session, request, vm) or _azure_address(session, vm)
    return Entry(host, entry.port) if host else None


def entry_of(request: RequestStatus | None, vm: Vm, port: int) -> Entry:
    """Return the entry that an answer gives; an empty host: none."""
    for found in request.virtual_machines if request else ():
        for item in found.ports:
            if found.id.lower() == vm.id.lower() and item.number == port:
                raw = {**found.raw, **item.raw, **dict(item.raw.get("entry") or {})}
                host = str(raw.get("publicIpAddress") or "")
                return Entry(host, int(raw.get("mappedPort") or port))
    return Entry("", port)


def bastion_of(request: RequestStatus, vm: Vm, port: int) -> str:
    """Return the id of the Bastion host that a request is open to; empty: to an address."""
    for vm_id, asked in request.ports:
        if vm_id.lower() == vm.id.lower() and asked.number == port:
            return asked.bastion or ""
    return ""


def probe_seconds(timeout: str) -> float:
    """Return how long an open port is tried: 15 s, or less where --timeout says so."""
    if not timeout:
        return _PROBE_SECONDS
    return min(_PROBE_SECONDS, parse_length(timeout).total_seconds())


def answers(entry: Entry, seconds: float) -> bool:
    """Tell whether a TCP connection succeeds within a time."""
    deadline = time.monotonic() + seconds
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        with contextlib.suppress(OSError), connect(entry, left):
            return True
        time.sleep(min(_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))


def connect(entry: Entry, seconds: float) -> socket.socket:
    """Return a connection; raises OSError."""
    connection = socket.create_connection((entry.host, entry.port), timeout=seconds)
    connection.settimeout(None)
    return connection


def _policy_address(session: Session, request: RequestStatus | None, vm: Vm) -> str:
    policies = [request.policy_id] if request else list(vm.machine.policies if vm.machine else ())
    for policy_id in policies:
        with contextlib.suppress(ApiError):
            for item in session.client.get_policy(policy_id).properties.virtual_machines:
                if item.id.lower() == vm.id.lower() and item.public_ip_address:
                    return item.public_ip_address
    return ""


def _azure_address(session: Session, vm: Vm) -> str:
    """Ask Azure as the caller; empty where the caller may not read it or is not signed in."""
    from jit_access.client.transport import Limits, Transport
    from jit_access.commands.tokens import arm_token

    found: list[str] = []
    with contextlib.suppress(JitError, KeyError, TypeError, ValueError):
        token = arm_token(session.profile)
        arm = Transport(session.profile.arm, lambda: token, limits=Limits(retries=1))
        try:
            found = _addresses(arm, vm.id)
        finally:
            arm.close()
    if session.profile.address == "private":
        found.reverse()
    return next(filter(None, found), "")


def _addresses(arm: Any, vm_id: str) -> list[str]:
    """Return the public and the private address of a VM's primary interface."""
    profile = _read(arm, vm_id, _COMPUTE)["properties"]["networkProfile"]
    interfaces = profile["networkInterfaces"]
    chosen = _primary(interfaces)
    configurations = _read(arm, chosen["id"], _NETWORK)["properties"]["ipConfigurations"]
    address = _primary(configurations)["properties"]
    public_id = (address.get("publicIPAddress") or {}).get("id", "")
    public = ""
    if public_id:
        with contextlib.suppress(ApiError):
            public = _read(arm, public_id, _NETWORK)["properties"].get("ipAddress", "")
    return [public, address.get("privateIPAddress", "")]


def _primary(items: list[dict[str, Any]]) -> dict[str, Any]:
    return next((item for item in items if item.get("properties", {}).get("primary")), items[0])


def _read(arm: Any, resource_id: str, version: str) -> dict[str, Any]:
    operation = Operation("GET", resource_id, ((200, None),))
    body: dict[str, Any] = arm.send(operation, resource_id, {"api-version": version}).json()
    return body
