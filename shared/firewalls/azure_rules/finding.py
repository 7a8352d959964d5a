"""Attach VMs to the three Azure Firewall providers, from one reading of the lists."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.ids import VM_TYPE, is_resource, key_of, name_of
from shared.domain.model import Attachment
from shared.firewalls.azure_firewall import discovery as classic
from shared.firewalls.azure_rules.discovery import VmPath, find_paths
from shared.firewalls.azure_rules.estate import Estate
from shared.firewalls.azure_rules.model import AzureSettings
from shared.firewalls.firewall_policy import discovery as policies
from shared.firewalls.ip_group import discovery as groups
from shared.ports import Machine, OutsideError, PathNotes

Attachments = Mapping[str, tuple[Attachment, ...]]
_FRESH_SECONDS = 20.0


class EstateReader(Protocol):
    """Reads the lists that tell which firewall stands before which VM."""

    def read(self) -> Estate:
        """Read them; complete, or raises OutsideError."""
        ...


@dataclass
class AzureFirewallFinder:
    """Finds the firewalls before VMs; three providers ask in turn, so a reading lasts a moment."""

    reader: EstateReader
    settings: AzureSettings
    seconds: Callable[[], float]
    classic_scopes: tuple[str, ...] = ()  # where classic rules may be written
    _read_at: float = field(default=float("-inf"))
    _estate: Estate = field(default_factory=Estate)

    def paths(self, vm_ids: Iterable[str]) -> dict[str, VmPath]:
        """Return the firewalls in front of each VM, unknown and asymmetric paths included."""
        if self.seconds() - self._read_at > _FRESH_SECONDS:
            self._estate = self.reader.read()
            self._read_at = self.seconds()
        return find_paths(self._estate, self.settings, vm_ids)

    def notes(self, machines: Sequence[Machine]) -> dict[str, PathNotes]:
        """Return the warnings about the path to each VM."""
        azure = [each.id for each in machines if is_resource(each.id, VM_TYPE)]
        paths = self.paths(azure) if azure else {}
        return {
            vm_id: PathNotes(path.unknown, path.unsupported, path.drops_replies)
            for vm_id in azure
            if (path := paths.get(key_of(vm_id)))
        }

    def attach_to_policies(self, vm_ids: Iterable[str]) -> Attachments:
        """Return the attachments to policies."""
        return self._attach(
            vm_ids,
            lambda path: policies.attachments(path, self.settings, self._switched(path)),
        )

    def attach_to_firewalls(self, vm_ids: Iterable[str]) -> Attachments:
        """Return the attachments to firewalls with classic rules."""
        return self._attach(
            vm_ids,
            lambda path: classic.attachments(path, self._switched(path), self.classic_scopes),
        )

    def attach_to_groups(self, vm_ids: Iterable[str]) -> Attachments:
        """Return the attachments to IP groups."""
        return self._attach(
            vm_ids, lambda path: groups.attachments(path, self._estate, self.settings)
        )

    def _switched(self, path: VmPath) -> list[str]:
        found = groups.attachments(path, self._estate, self.settings)
        return [address for each in found for address in each.addresses]

    def _attach(
        self, vm_ids: Iterable[str], attach: Callable[[VmPath], tuple[Attachment, ...]]
    ) -> Attachments:
        wanted = list(vm_ids)
        azure = [vm_id for vm_id in wanted if is_resource(vm_id, VM_TYPE)]
        paths = self.paths(azure) if azure else {}
        missing = [vm_id for vm_id in azure if key_of(vm_id) not in paths]
        if missing:
            raise OutsideError(f"'{name_of(missing[0])}' is not in the scopes that were listed")
        return {
            vm_id: attach(paths[key_of(vm_id)]) if key_of(vm_id) in paths else ()
            for vm_id in wanted
        }
