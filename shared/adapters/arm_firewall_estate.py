"""Lists of everything that tells which Azure Firewall stands before which VM."""

from typing import Any

from shared.adapters.arm import ArmReader
from shared.adapters.arm_firewalls import API_VERSION
from shared.domain.ids import key_of
from shared.firewalls.azure_rules.estate import Estate
from shared.ports import GoneError, NotReadableError, OutsideError

_COMPUTE = "2024-07-01"
_NETWORK = "Microsoft.Network"
Resource = dict[str, Any]


class ArmFirewallEstate:
    """Reads the lists of each scope: VMs in `scopes`, firewalls also where hubs stand.

    A list that may not be read raises, so that a firewall is never missed in silence; only load
    balancers may be missing, which serve to name what a route leads to.
    """

    def __init__(
        self, arm: ArmReader, scopes: tuple[str, ...], hub_scopes: tuple[str, ...] = ()
    ) -> None:
        self._arm = arm
        self._scopes = scopes
        self._all_scopes = tuple(dict.fromkeys((*scopes, *hub_scopes)))

    def read(self) -> Estate:
        """Read everything; complete, or raises OutsideError."""
        firewalls = self._network("azureFirewalls")
        policies = self._policies(firewalls)
        return Estate(
            vms=self._list(self._scopes, "Microsoft.Compute/virtualMachines", _COMPUTE),
            interfaces=self._network("networkInterfaces"),
            networks=self._network("virtualNetworks"),
            tables=self._network("routeTables"),
            firewalls=firewalls,
            addresses=self._network("publicIPAddresses"),
            policies=policies,
            rule_groups={key_of(each["id"]): self._groups(each["id"]) for each in policies},
            ip_groups=self._network("ipGroups"),
            balancers=self._balancers(),
        )

    def _policies(self, firewalls: tuple[Resource, ...]) -> tuple[Resource, ...]:
        """Return the policies of firewalls and their parents, wherever they stand."""
        found: dict[str, Resource] = {}
        waiting = [each["properties"].get("firewallPolicy") for each in firewalls]
        while waiting:
            reference = waiting.pop()
            if not reference or key_of(reference["id"]) in found:
                continue
            policy = self._arm.get(reference["id"], API_VERSION)
            if policy is None:
                raise OutsideError(f"{reference['id']} is named by a firewall and was not found")
            found[key_of(policy["id"])] = policy
            waiting.append(policy["properties"].get("basePolicy"))
        return tuple(found.values())

    def _groups(self, policy_id: str) -> tuple[Resource, ...]:
        return tuple(self._arm.list(f"{policy_id}/ruleCollectionGroups", API_VERSION))

    def _balancers(self) -> tuple[Resource, ...] | None:
        try:
            return self._network("loadBalancers")
        except NotReadableError:
            return None

    def _network(self, resource_type: str) -> tuple[Resource, ...]:
        return self._list(self._all_scopes, f"{_NETWORK}/{resource_type}", API_VERSION)

    def _list(
        self, scopes: tuple[str, ...], resource_type: str, version: str
    ) -> tuple[Resource, ...]:
        found: dict[str, Resource] = {}
        for scope in scopes:
            try:
                listed = list(self._arm.list(f"{scope}/providers/{resource_type}", version))
            except GoneError:
                continue  # a group that was deleted holds nothing
            found |= {key_of(each["id"]): each for each in listed}
        return tuple(found.values())
