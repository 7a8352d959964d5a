"""The request and the policy that one opening has read, so that neither is read twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from shared.domain.ids import key_of
from shared.domain.model import AccessRequest
from shared.store.policies import PolicyRow, VmRow
from shared.store.requests import RequestRow
from shared.use_cases.firewalls.run import Seen
from shared.use_cases.parts import (
    HasPolicies,
    HasRequests,
    HasSideBySide,
    HasTelemetry,
    HasWorkers,
)


class ReadKnownParts(HasPolicies, HasSideBySide, HasTelemetry, HasWorkers, Protocol):
    """The parts for reading what an opening needs to know."""


@dataclass
class Known:
    """The rows as they were read, or as this opening has written them since."""

    row: RequestRow
    policy: PolicyRow | None
    seen: dict[str, Seen] = field(default_factory=dict)  # firewalls, by key
    vm_rows: dict[str, VmRow | None] = field(default_factory=dict)  # by key of the VM

    @property
    def request(self) -> AccessRequest:
        """Return the request."""
        return self.row.request

    def change(
        self, services: HasRequests, step: Callable[[AccessRequest], AccessRequest]
    ) -> AccessRequest:
        """Apply one step with one If-Match write; a request that is gone stays as it was read."""
        self.row = services.requests.change_row(self.row, step) or self.row
        return self.row.request


def read_known(services: ReadKnownParts, row: RequestRow) -> Known:
    """Read the policy of a request that was read, and the rows of its VMs beside it.

    A VM's row that fails is left out: it fails that VM alone, when it is needed.
    """
    vms = {key_of(port.vm_id): port.vm_id for port in row.request.ports}
    policy, rows = services.side_by_side(
        partial(services.policies.get, row.request.policy_id),
        partial(services.workers, partial(_try_vm_row, services, row.request.policy_id), vms),
    )
    known = Known(row, policy)
    known.vm_rows |= {key: read[0] for key, read in zip(vms, rows, strict=True) if read}
    return known


def _try_vm_row(services: ReadKnownParts, policy_id: str, vm_id: str) -> tuple[VmRow | None] | None:
    try:
        return (services.policies.vm_row(policy_id, vm_id),)
    except Exception as error:  # noqa: BLE001 - it is read once more where it is needed
        services.telemetry.fault("jit.vm.unread", error, vm=vm_id)
        return None
