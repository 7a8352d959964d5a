"""The Bastion host of a request is an address of its requestor, and shown as one."""

from shared.domain.disclosure import without_details
from shared.domain.model import AccessRequest, PortRequest
from tests.world import ALICE, POLICY, WEB, World


def test_the_bastion_host_is_hidden_with_the_addresses() -> None:
    """A caller who may not see a request's addresses does not see its Bastion host either."""
    port = PortRequest(WEB, 22, "TCP", ("10.0.9.0/26",), bastion="/subscriptions/x")
    shown = without_details(AccessRequest("id", POLICY, ALICE, World().clock(), (port,)))
    assert (shown.ports[0].bastion, shown.ports[0].sources) == ("", ())
