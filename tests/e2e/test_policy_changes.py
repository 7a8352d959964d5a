"""A VM that a policy no longer covers is closed, and its deny rules go."""

from tests.e2e.playing import Play, Rules, Site, until

LONG = "PT1H"


def opened(play: Play, site: Site, *vms: str) -> list[str]:
    """Open a port of each VM for long."""
    locations = [
        play.alice.initiate(site.policy_id, site.asked(vm, duration=LONG)) for vm in vms or site.vms
    ]
    for location in locations:
        play.alice.wait(location, "Initiated")
    return locations


def untouched(play: Play, site: Site) -> dict[str, Rules]:
    """Return the foreign rules of a site."""
    return {each: play.azure.foreign(each) for each in site.nsgs}


def test_deleting_a_policy_takes_everything_of_it_along(play: Play) -> None:
    """Its denies go, what is open is closed, and strangers stay as they were."""
    site = play.protected(2, on_subnet=True)
    foreign = untouched(play, site)
    locations = opened(play, site)
    answer = play.admin.call("DELETE", site.policy_id)
    assert answer.status in {200, 202}
    for location in locations:
        told = play.alice.wait(location, "Revoked")
        (port,) = told["virtualMachines"][0]["ports"]
        assert port["statusReason"] == "UserManuallyRevoked"
    until(lambda: not any(play.azure.ours(each) for each in site.nsgs), "all rules are gone")
    assert untouched(play, site) == foreign
    until(lambda: play.admin.call("GET", site.policy_id).status == 404, "the policy is gone")
    assert play.admin.call("DELETE", site.policy_id).status == 204
    answer = play.alice.call(
        "POST", f"{site.policy_id}/initiate", {"virtualMachines": site.asked(duration=LONG)}
    )
    assert answer.status == 404


def test_a_vm_that_is_dropped_is_closed_and_let_go(play: Play) -> None:
    """A PUT without one of the VMs closes it and takes its deny away; the other's stay."""
    site = play.protected(2, on_subnet=True)
    foreign = untouched(play, site)
    dropped, kept = opened(play, site)
    play.admin.put_policy(site.policy_id, site.listed(22, vms=site.vms[1:]))
    play.alice.wait(dropped, "Revoked")
    assert play.alice.status(kept)["status"] == "Initiated"
    assert not play.azure.allowed(site.vms[0])
    assert play.azure.allowed(site.vms[1])

    def of_the_other_only() -> bool:
        rules = [rule for each in site.nsgs for rule in play.azure.ours(each).values()]
        to = {rule["destinationAddressPrefix"] for rule in rules}
        return len(rules) == 4 and to == {site.addresses[1]}

    until(of_the_other_only, "one deny and one allow on each group are left")
    assert untouched(play, site) == foreign


def test_a_port_that_is_dropped_is_closed(play: Play) -> None:
    """A PUT with other ports closes what is open on a port it leaves out."""
    site = play.protected()
    (location,) = opened(play, site)
    play.admin.put_policy(site.policy_id, site.listed(3389))
    play.alice.wait(location, "Revoked")
    assert play.azure.ours(site.nic_nsg, "Allow") == {}
    (deny,) = play.azure.ours(site.nic_nsg, "Deny").values()
    assert deny["destinationPortRange"] == "3389"


def test_putting_the_same_policy_again_changes_nothing(play: Play) -> None:
    """A policy that is deployed again closes no access, and nothing is written."""
    site = play.protected()
    (location,) = opened(play, site)
    writes = len(play.azure.writes(site.nic_nsg))
    play.admin.put_policy(site.policy_id, site.listed(22))
    assert play.alice.status(location)["status"] == "Initiated"
    assert play.azure.allowed(site.vm)
    assert len(play.azure.writes(site.nic_nsg)) == writes


def test_a_policy_can_come_back(play: Play) -> None:
    """Deleted and put again at once, it protects as before."""
    site = play.protected()
    play.admin.call("DELETE", site.policy_id)
    play.admin.put_policy(site.policy_id, site.listed(22))
    assert len(play.azure.ours(site.nic_nsg, "Deny")) == 1
    opened(play, site)
    assert play.azure.allowed(site.vm)
