"""How Azure's resources describe a VM's way in, joined in memory."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from shared.domain.ids import key_of, name_of
from shared.domain.model import Attachment
from shared.domain.network import canonical, is_address
from shared.firewalls.nsg.application_groups import Membership
from shared.firewalls.nsg.model import Snapshot
from shared.firewalls.nsg.wire import read_rule
from shared.ports import Listed, Machine

Resource = Mapping[str, Any]
GROUP_TYPE = "Microsoft.Network/networkSecurityGroups"
AT_SUBNET, AT_INTERFACE = 1, 2  # stages on a packet's way: the subnet's group comes first
UNSETTLED = frozenset({"Updating", "Deleting", "Creating"})


def interface_ids(vm: Resource) -> list[str]:
    """Return the ids of a VM's network interfaces."""
    profile = vm["properties"].get("networkProfile") or {}
    return [reference["id"] for reference in profile.get("networkInterfaces") or ()]


def subnet_ids(nic: Resource) -> set[str]:
    """Return the ids of the subnets that a network interface stands in."""
    return {
        config["properties"]["subnet"]["id"]
        for config in _configs(nic)
        if config["properties"].get("subnet")
    }


def networks_of(interfaces: Iterable[Resource]) -> tuple[str, ...]:
    """Return the virtual networks that some interfaces stand in, each once."""
    found = (
        each.rsplit("/subnets/", 1)[0] for nic in interfaces for each in sorted(subnet_ids(nic))
    )
    return tuple({key_of(each): each for each in found}.values())


def describe(
    vm: Resource, interfaces: Iterable[Resource], subnets: Mapping[str, Resource]
) -> Machine:
    """Work out which firewall stands in front of which of a VM's addresses."""
    behind: dict[str, dict[str, None]] = {}
    spelled: dict[str, str] = {}
    stages: dict[str, int] = {}
    bare = []
    unreadable = ""
    for nic in (read := list(interfaces)):
        for config in _configs(nic):
            held = config["properties"]
            address = held.get("privateIPAddress")
            if address and not is_address(address):
                unreadable = f"its address '{address}' is not an IP address"
                continue
            subnet = subnets.get((held.get("subnet") or {}).get("id", ""), {})
            guards = ((_nsg_of(nic), AT_INTERFACE), (_nsg_of(subnet), AT_SUBNET))
            firewalls = [(each, stage) for each, stage in guards if each]
            if address and not firewalls:
                bare.append(address)
            for firewall, stage in firewalls if address else ():
                key = spelled.setdefault(key_of(firewall), firewall)
                stages.setdefault(key, stage)
                behind.setdefault(key, {})[address] = None
    disk = vm["properties"].get("storageProfile", {}).get("osDisk", {})
    return Machine(
        id=vm["id"],
        location=vm.get("location", ""),
        system=str(disk.get("osType", "")).lower(),
        attachments=tuple(
            Attachment(nsg, tuple(held), stages[nsg]) for nsg, held in sorted(behind.items())
        ),
        unreadable=unreadable,
        bare_addresses=tuple(bare),
        interfaces=tuple(nic["id"] for nic in read if "id" in nic),
        networks=networks_of(read),
    )


def guarded_subnets(groups: Iterable[Resource]) -> dict[str, dict[str, Any]]:
    """Return the subnets that security groups stand before, by key of id.

    A group names its subnets, so that virtual networks need not be listed.
    """
    return {
        key_of(subnet["id"]): {"properties": {"networkSecurityGroup": {"id": group["id"]}}}
        for group in groups
        for subnet in group["properties"].get("subnets") or ()
    }


def join(
    vms: Iterable[Resource],
    nics: Iterable[Resource],
    groups: Iterable[Resource],
    balancers: Iterable[Resource] | None,
    subnets: Mapping[str, Resource | None],
    *,
    complete: bool = True,
) -> Listed:
    """Join lists; no list of load balancers, or None for a subnet: it could not be read.

    `complete` says that the interfaces of the whole subscription were listed.
    """
    nics = list(nics)
    membership = Membership(nics, complete=complete)
    groups = list(groups)
    firewalls = {key_of(group["id"]): _snapshot(group, membership) for group in groups}
    fronts = FloatingFronts(balancers or ())
    by_id = {key_of(nic["id"]): nic for nic in nics}
    machines = tuple(_joined(vm, by_id, subnets, fronts) for vm in vms)
    machines = tuple(_mark_unlisted(each, firewalls) for each in machines)
    if balancers is None:
        told = "the subscription's load balancers could not be read, so what they do is not known"
        machines = tuple(replace(each, unreadable=told) for each in machines)
    unsettled = frozenset(key_of(group["id"]) for group in groups if not is_settled(group))
    return Listed(machines, firewalls, unsettled)


def _joined(
    vm: Resource,
    nics: Mapping[str, Resource],
    guarded: Mapping[str, Resource | None],
    fronts: "FloatingFronts",
) -> Machine:
    named = interface_ids(vm)
    found = [nics[key_of(each)] for each in named if key_of(each) in nics]
    stands_in = {each for nic in found for each in subnet_ids(nic)}
    subnets = {each: subnet for each in stands_in if (subnet := guarded.get(key_of(each)))}
    machine = describe(vm, found, subnets)
    missing = [each for each in named if key_of(each) not in nics]
    if missing:
        told = f"its network interface '{name_of(missing[0])}' could not be read"
        return replace(machine, unreadable=told)
    unread = sorted(each for each in stands_in if guarded.get(key_of(each), ()) is None)
    if unread:
        return replace(machine, unreadable=f"its subnet '{name_of(unread[0])}' could not be read")
    return replace(machine, unreadable=machine.unreadable or fronts.before_any(found))


def _mark_unlisted(machine: Machine, firewalls: Mapping[str, Snapshot]) -> Machine:
    """Mark a VM behind a group that was not listed: rules that were not read decide."""
    unseen = [a.firewall_id for a in machine.attachments if key_of(a.firewall_id) not in firewalls]
    if machine.unreadable or not unseen:
        return machine
    told = f"its network security group '{name_of(unseen[0])}' could not be read"
    return replace(machine, unreadable=told)


def _snapshot(group: Resource, membership: Membership) -> Snapshot:
    rules = group["properties"].get("securityRules") or ()
    read = tuple(read_rule(rule, membership) for rule in rules)
    flushes = group["properties"].get("flushConnection") is True
    return Snapshot(group["id"], read, group.get("etag", ""), flushes_connections=flushes)


def is_settled(group: Resource) -> bool:
    """Tell whether a security group and its rules are in no write."""
    held = group["properties"]
    states = [
        rule["properties"].get("provisioningState") for rule in held.get("securityRules") or ()
    ]
    return UNSETTLED.isdisjoint([held.get("provisioningState"), *states])


def shared_address(machine: Machine, nics: Iterable[Resource], groups: Iterable[Resource]) -> str:
    """Say which other interface has an address of a VM behind the same group; empty: none has.

    A rule names an address, so it would be about both. It does not matter whether the other one
    is in a policy, or in which virtual network it is.
    """
    own = set(map(key_of, machine.interfaces))
    others = [nic for nic in nics if key_of(nic["id"]) not in own]
    behind = {key_of(group["id"]): _references(group) for group in groups}
    for attachment in machine.attachments:
        references = behind.get(key_of(attachment.firewall_id), frozenset())
        for nic in others:
            for address in _addresses_behind(nic, references) & canonical(attachment.addresses):
                return (
                    f"the address of '{name_of(machine.id)}' also belongs to "
                    f"'{name_of(_owner(nic))}' behind the same network security group "
                    f"'{name_of(attachment.firewall_id)}' ({address}); opening it would open both"
                )
    return ""


def may_share_address(
    machine: Machine, groups: Iterable[Resource], network_of: Callable[[str], str]
) -> bool:
    """Tell whether a group may stand before another interface with an address of a VM.

    An address is given once in a virtual network. `network_of` returns the key of the network of
    an interface or a subnet, or nothing: then it counts as another one.
    """
    own = set(map(key_of, machine.interfaces))
    network = key_of(machine.networks[0]) if len(machine.networks) == 1 else ""
    return any(
        each not in own and (not network or network_of(each) != network)
        for group in groups
        for each in _references(group)
    )


def given_twice(nics: Iterable[Resource]) -> frozenset[tuple[str, str]]:
    """Return the addresses that two interfaces of a virtual network have, with its key."""
    given = Counter(
        (key_of(network), address)
        for nic in nics
        for network in networks_of([nic])
        for address in _addresses_in(nic, network)
    )
    return frozenset(each for each, count in given.items() if count > 1)


def _addresses_in(nic: Resource, network: str) -> frozenset[str]:
    return frozenset(
        address
        for config in _configs(nic)
        if _place(config["properties"].get("subnet"), "")[0] == key_of(network)
        for address in canonical(filter(None, [config["properties"].get("privateIPAddress")]))
    )


def _references(group: Resource) -> frozenset[str]:
    held = group["properties"]
    listed = (*(held.get("networkInterfaces") or ()), *(held.get("subnets") or ()))
    return frozenset(key_of(each["id"]) for each in listed)


def _addresses_behind(nic: Resource, references: frozenset[str]) -> frozenset[str]:
    """Return the addresses of an interface for which a group decides: on itself or a subnet."""
    whole = key_of(nic["id"]) in references
    return frozenset(
        address
        for config in _configs(nic)
        if whole or key_of((config["properties"].get("subnet") or {}).get("id", "")) in references
        for address in canonical([config["properties"].get("privateIPAddress") or ""])
    )


def _owner(nic: Resource) -> str:
    """Return the id of an interface's VM, or its own where it has none."""
    vm = nic["properties"].get("virtualMachine") or nic
    return str(vm["id"])


def balancer_ids(nic: Resource) -> set[str]:
    """Return the ids of the load balancers that a network interface names."""
    references = [
        reference["id"]
        for config in _configs(nic)
        for field in ("loadBalancerBackendAddressPools", "loadBalancerInboundNatRules")
        for reference in config["properties"].get(field) or ()
    ]
    # /.../loadBalancers/{name}/{pools or rules}/{name}
    return {reference.rsplit("/", 2)[0] for reference in references}


class FloatingFronts:
    """Front ends with a floating IP: packets arrive for the front end's address, not the VM's.

    Rules that name the VM's addresses then do not decide, so who reaches it cannot be told.
    """

    def __init__(self, balancers: Iterable[Resource]) -> None:
        self._rules: dict[str, str] = {}  # ip configuration, pool or NAT rule -> front end's rule
        self._addresses: dict[tuple[str, str], str] = {}
        self._known: set[str] = set()
        for balancer in balancers:
            self._known.add(key_of(balancer["id"]))
            self._note(balancer["properties"])

    def before_any(self, nics: Iterable[Resource]) -> str:
        """Say which floating IP stands before one of some network interfaces; empty: none."""
        return next((why for nic in nics if (why := self.before(nic))), "")

    def before(self, nic: Resource) -> str:
        """Say which floating IP stands before a network interface; empty: none."""
        for balancer in sorted(balancer_ids(nic)):
            if key_of(balancer) not in self._known:
                return f"its load balancer '{name_of(balancer)}' could not be read"
        for config in _configs(nic):
            held = config["properties"]
            rule = next((self._rules[key] for key in _names(config) if key in self._rules), "")
            address = held.get("privateIPAddress", "")
            for network in (held.get("subnet"), None):  # a pool need not name its network
                rule = rule or self._addresses.get(_place(network, address), "")
            if rule:
                return (
                    f"load balancing rule '{rule}' has a floating IP, so packets do not carry the "
                    "VM's address and rules on it do not decide"
                )
        return ""

    def _note(self, balancer: Resource) -> None:
        floating = [
            rule
            for field in ("inboundNatRules", "loadBalancingRules")
            for rule in balancer.get(field) or ()
            if rule["properties"].get("enableFloatingIP")
        ]
        for rule in floating:
            for target in _targets(rule):
                self._rules[key_of(target["id"])] = rule["name"]
        for pool in balancer.get("backendAddressPools") or ():
            if key_of(pool["id"]) in self._rules:
                self._note_pool(pool.get("properties") or {}, self._rules[key_of(pool["id"])])

    def _note_pool(self, pool: Resource, rule: str) -> None:
        """Note whom a pool serves: by network interface, or by address within a network."""
        for config in pool.get("backendIPConfigurations") or ():
            self._rules[key_of(config["id"])] = rule
        for member in pool.get("loadBalancerBackendAddresses") or ():
            held = member.get("properties") or {}
            network = held.get("virtualNetwork") or held.get("subnet") or pool.get("virtualNetwork")
            self._addresses[_place(network, held.get("ipAddress", ""))] = rule
            config = held.get("networkInterfaceIPConfiguration")
            if config:
                self._rules[key_of(config["id"])] = rule


def _targets(rule: Resource) -> list[Resource]:
    """Return the target of a load balancer's rule, and the rule itself.

    An interface names the NAT rules that are about it alone; one whose target is a pool is
    reached by way of the pool.
    """
    held = rule["properties"]
    named = (rule, held.get("backendAddressPool"), held.get("backendIPConfiguration"))
    listed = (*named, *(held.get("backendAddressPools") or ()))
    return [each for each in listed if each and each.get("id")]


def _names(config: Resource) -> list[str]:
    """Return every name under which a load balancer may serve an IP configuration."""
    held = config["properties"]
    references = (
        *(held.get("loadBalancerBackendAddressPools") or ()),
        *(held.get("loadBalancerInboundNatRules") or ()),
    )
    return [key_of(each["id"]) for each in (config, *references)]


def _place(network: Resource | None, address: str) -> tuple[str, str]:
    """Return an address within its virtual network."""
    return key_of((network or {}).get("id", "")).partition("/subnets/")[0], address


def _configs(nic: Resource) -> Iterable[Resource]:
    configs: Iterable[Resource] = nic["properties"].get("ipConfigurations") or ()
    return configs


def _nsg_of(resource: Resource) -> str:
    reference = resource.get("properties", {}).get("networkSecurityGroup") or {}
    return str(reference.get("id", ""))
