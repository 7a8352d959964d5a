"""What one opening has read of its request and its policy, so that neither is read twice."""

from collections.abc import Callable
from dataclasses import dataclass, field

from shared.domain.model import AccessRequest
from shared.store.policies import PolicyRow, VmRow
from shared.store.requests import RequestRow
from shared.use_cases.firewalls.run import Seen
from shared.use_cases.parts import HasPolicies, HasRequests


@dataclass
class Known:
    """The rows as they were read, or as this opening has written them since."""

    row: RequestRow
    policy: PolicyRow | None
    seen: dict[str, Seen] = field(default_factory=dict)  # firewalls, by key
    vm_rows: dict[str, VmRow] = field(default_factory=dict)  # by key of the VM

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


def read_known(services: HasPolicies, row: RequestRow) -> Known:
    """Read the policy of a request that was read."""
    return Known(row, services.policies.get(row.request.policy_id))
