"""Which calls the firewall part of the simulator answers."""

from collections.abc import Callable, Mapping

from local.arm import firewalls, ip_groups, policies, policy_drafts, reads
from local.arm.simulator import Answer, Call, Simulator

Handler = Callable[[Simulator, Call], Answer]
_LOCATION = "microsoft.network/locations"
_FIREWALLS, _POLICIES, _GROUPS = firewalls.FIREWALLS, policies.POLICIES, policies.GROUPS
_IP_GROUPS, _TABLES = ip_groups.IP_GROUPS, "microsoft.network/routetables"
_POLICY_DRAFT = f"{_POLICIES}/firewallpolicydrafts"
_GROUP_DRAFT = f"{_GROUPS}/rulecollectiongroupdrafts"

COLLECTIONS: Mapping[tuple[str, str], Handler] = {
    ("GET", _FIREWALLS): firewalls.list_firewalls,
    ("GET", _POLICIES): policies.list_policies,
    ("GET", _GROUPS): policies.list_groups,
    ("POST", f"{_POLICIES}/deploy"): policy_drafts.deploy,
    ("GET", _IP_GROUPS): ip_groups.list_ip_groups,
    ("GET", _TABLES): ip_groups.list_route_tables,
}
RESOURCES: Mapping[tuple[str, str], Handler] = {
    ("GET", _FIREWALLS): firewalls.get_firewall,
    ("PUT", _FIREWALLS): firewalls.put_firewall,
    ("DELETE", _FIREWALLS): firewalls.delete_firewall,
    ("GET", _POLICIES): policies.get_policy,
    ("PUT", _POLICIES): policies.put_policy,
    ("DELETE", _POLICIES): policies.delete_policy,
    ("GET", _GROUPS): policies.get_group,
    ("PUT", _GROUPS): policies.put_group,
    ("DELETE", _GROUPS): policies.delete_group,
    ("GET", _POLICY_DRAFT): policy_drafts.get_draft,
    ("PUT", _POLICY_DRAFT): policy_drafts.put_policy_draft,
    ("GET", _GROUP_DRAFT): policy_drafts.get_draft,
    ("PUT", _GROUP_DRAFT): policy_drafts.put_group_draft,
    ("GET", _IP_GROUPS): ip_groups.get_ip_group,
    ("PUT", _IP_GROUPS): ip_groups.put_ip_group,
    ("DELETE", _IP_GROUPS): ip_groups.delete_ip_group,
    ("GET", _TABLES): ip_groups.get_route_table,
    ("PUT", _TABLES): ip_groups.put_route_table,
    ("DELETE", _TABLES): ip_groups.delete_route_table,
    ("GET", f"{_LOCATION}/nfvoperations"): reads.get_operation,
    ("GET", f"{_LOCATION}/nfvoperationresults"): reads.get_operation_result,
}
