"""The attachments of VMs to policies. Pure."""

from collections.abc import Iterable

from shared.domain.ids import key_of
from shared.domain.model import Attachment
from shared.firewalls.azure_rules.discovery import VmPath
from shared.firewalls.azure_rules.model import AzureSettings
from shared.firewalls.firewall_policy.wire import group_id

STAGE = 0  # before every group on a subnet or an interface


def attachments(
    path: VmPath, settings: AzureSettings, switched: Iterable[str]
) -> tuple[Attachment, ...]:
    """Return the policies before a VM; `switched` addresses are opened by IP groups instead."""
    by_groups = set(switched)
    return tuple(
        Attachment(
            group_id(str(stand.policies[-1]["id"]), settings),
            stand.addresses,
            stage=STAGE,
            opens=not stand.unsupported and not by_groups & set(stand.addresses),
            closes=not stand.unsupported,
            shows_public_as=stand.prefixes,
            lane=key_of(str(stand.policies[0]["id"])),
        )
        for stand in path.stands
        if stand.policies
    )
