"""Application security groups, resolved from the network interfaces that say they are members."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.domain.ids import key_of

Resource = Mapping[str, Any]


class Membership:
    """Which addresses the groups hold.

    `complete` says that every interface of the subscription was listed. All members of a group
    are in one subscription and one virtual network.
    """

    def __init__(self, nics: Iterable[Resource], *, complete: bool) -> None:
        self.complete = complete
        self._members: dict[str, set[str]] = {}
        self._groups_at: dict[str, set[frozenset[str]]] = {}
        for nic in nics:
            for config in nic["properties"].get("ipConfigurations") or ():
                self._note(config["properties"])

    def addresses(self, group_ids: Iterable[str]) -> tuple[str, ...] | None:
        """Return the addresses of the members; None: an address does not tell who is a member.

        Two virtual networks may use the same address, one for a member and one for another VM.
        """
        keys = set(map(key_of, group_ids))
        found = {address for key in keys for address in self._members.get(key, ())}
        is_clear = all(groups & keys for ip in found for groups in self._groups_at[ip])
        return tuple(sorted(found)) if is_clear else None

    def _note(self, config: Resource) -> None:
        address = config.get("privateIPAddress")
        if address:
            listed = config.get("applicationSecurityGroups") or ()
            groups = frozenset(key_of(group["id"]) for group in listed)
            self._groups_at.setdefault(address, set()).add(groups)
            for key in groups:
                self._members.setdefault(key, set()).add(address)


def names_groups(rules: Iterable[Resource]) -> bool:
    """Tell whether any of some rules names an application security group."""
    fields = ("sourceApplicationSecurityGroups", "destinationApplicationSecurityGroups")
    return any(rule["properties"].get(field) for rule in rules for field in fields)
