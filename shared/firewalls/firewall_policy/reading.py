"""Read a policy with its parents and their groups."""

from dataclasses import dataclass

from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.reading import existing

_MOST_PARENTS = 10


@dataclass(frozen=True)
class PolicyParts:
    """A policy after its parents, the outermost first, with the groups of each."""

    policies: list[Body]
    groups: list[list[Body]]

    @property
    def firewall_ids(self) -> list[str]:
        """Return the firewalls that the policy is attached to."""
        attached = self.policies[-1]["properties"].get("firewalls") or ()
        return [str(each["id"]) for each in attached]


def read_tree(cloud: FirewallCloud, policy: Body) -> list[Body]:
    """Read a policy and its parents, the outermost first."""
    policies = [policy]
    for _ in range(_MOST_PARENTS):
        base = (policies[0]["properties"].get("basePolicy") or {}).get("id")
        if not base:
            break
        policies.insert(0, existing(cloud, base))
    return policies


def read_policies(cloud: FirewallCloud, policy: Body) -> PolicyParts:
    """Read the parents of a policy, and every group."""
    policies = read_tree(cloud, policy)
    groups = [list(cloud.list(f"{each['id']}/ruleCollectionGroups")) for each in policies]
    return PolicyParts(policies, groups)
