"""The attachments of VMs to firewalls with classic rules. Pure."""

from collections.abc import Iterable

from shared.domain.model import Attachment
from shared.firewalls.azure_rules.discovery import VmPath
from shared.firewalls.firewall_policy.discovery import STAGE


def attachments(
    path: VmPath, switched: Iterable[str], in_scope: Iterable[str] | None = None
) -> tuple[Attachment, ...]:
    """Return the firewalls with classic rules before a VM.

    Grants are written to the firewalls `in_scope` alone, since that takes the right to write the
    whole firewall; any other is read for exposure. None: every firewall is in scope.
    """
    by_groups = set(switched)
    allowed = None if in_scope is None else {each.lower() for each in in_scope}
    found = []
    for stand in path.stands:
        if stand.policies or stand.firewall["properties"].get("firewallPolicy"):
            continue
        firewall_id = str(stand.firewall["id"])
        may = allowed is None or any(firewall_id.lower().startswith(each) for each in allowed)
        may = may and not stand.unsupported
        opens = may and not by_groups & set(stand.addresses)
        found.append(
            Attachment(
                firewall_id,
                stand.addresses,
                stage=STAGE,
                opens=opens,
                closes=may,
                shows_public_as=stand.prefixes,
            )
        )
    return tuple(found)
