"""The life of rules and groups as Microsoft's own client sees it; may be run against Azure."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.network.models import NetworkSecurityGroup, SecurityRule

from local.tests.arm.place import Place, named


def test_a_put_is_proven_by_the_poller_and_reads_back(place: Place) -> None:
    """A new rule ends Succeeded and reads back as written."""
    made = place.put("allow-ssh", description="for a while")
    assert made.provisioning_state == "Succeeded"
    read = place.client.security_rules.get(place.group, place.nsg, "allow-ssh")
    assert read.description == "for a while"
    assert (read.source_address_prefix, read.source_address_prefixes) == ("203.0.113.7", [])
    assert read.etag == place.read().etag


def test_plural_prefixes_leave_the_singular_out(place: Place) -> None:
    """A rule with a list of prefixes has no single one, be the list of one element."""
    made = place.put("list", sourceAddressPrefix=None, sourceAddressPrefixes=["203.0.113.0/28"])
    assert made.source_address_prefixes == ["203.0.113.0/28"]
    assert made.source_address_prefix is None


def test_a_change_keeps_the_rule_and_changes_every_etag(place: Place) -> None:
    """Changing one rule changes the etag that all rules of the group share."""
    place.put("one")
    place.put("two", priority=201)
    before = place.read()
    place.put("one", destinationPortRange="2222")
    after = place.read()
    assert [rule.name for rule in after.security_rules] == ["one", "two"]
    assert {rule.etag for rule in after.security_rules} == {after.etag}
    assert after.etag != before.etag


def test_a_deleted_rule_is_gone_and_deleting_it_again_is_fine(place: Place) -> None:
    """After a delete the rule is not found, and a second delete does nothing."""
    place.put("one")
    for _ in range(2):
        place.client.security_rules.begin_delete(place.group, place.nsg, "one").result()
    with pytest.raises(ResourceNotFoundError) as caught:
        place.client.security_rules.get(place.group, place.nsg, "one")
    assert caught.value.error
    assert caught.value.error.code == "NotFound"


def test_a_group_is_replaced_as_a_whole(place: Place) -> None:
    """A PUT of the group removes what it does not name, and the six default rules stay."""
    place.put("old")
    body = {
        "location": place.location,
        "tags": {"owner": "contract"},
        "properties": {"securityRules": [named("a"), named("b", priority=300)]},
    }
    place.client.network_security_groups.begin_create_or_update(
        place.group, place.nsg, NetworkSecurityGroup(body)
    ).result()
    read = place.read()
    assert [rule.name for rule in read.security_rules] == ["a", "b"]
    assert read.tags == {"owner": "contract"}
    assert len(read.default_security_rules) == 6


@pytest.mark.parametrize("level", ["rule", "group"])
def test_a_stale_etag_is_refused_and_the_current_one_accepted(place: Place, level: str) -> None:
    """If-Match holds for a rule and for the whole group: 412 when stale, else done."""
    place.put("one")
    stale = {"If-Match": place.read().etag}
    place.put("one", destinationPortRange="2222")
    with pytest.raises(HttpResponseError) as caught:
        write(place, level, stale)
    assert caught.value.status_code == 412
    assert caught.value.error
    assert caught.value.error.code == "PreconditionFailed"
    write(place, level, {"If-Match": place.read().etag})


def write(place: Place, level: str, headers: dict[str, str]) -> None:
    """Write the rule or the group on the condition of an etag."""
    changed = named("one", destinationPortRange="2022")
    if level == "rule":
        place.client.security_rules.begin_create_or_update(
            place.group, place.nsg, "one", SecurityRule(changed), headers=headers
        ).result()
        return
    body = {"location": place.location, "properties": {"securityRules": [changed]}}
    place.client.network_security_groups.begin_create_or_update(
        place.group, place.nsg, NetworkSecurityGroup(body), headers=headers
    ).result()


@pytest.mark.parametrize(
    ("properties", "code"),
    [
        ({"priority": 99}, "SecurityRuleInvalidPriority"),
        ({"destinationPortRange": "66600"}, "SecurityRuleInvalidPortRange"),
        ({"sourceAddressPrefix": "10.0.0.0/42"}, "SecurityRuleInvalidAddressPrefix"),
        ({"description": "x" * 141}, "SecurityRuleDescriptionTooLong"),
        ({"priority": 250}, "SecurityRuleConflict"),
    ],
)
def test_refusals_carry_the_providers_code(
    place: Place, properties: dict[str, object], code: str
) -> None:
    """A refusal by the provider is a 400 with its code, and changes nothing."""
    place.put("there", priority=250)
    before = place.read().etag
    with pytest.raises(HttpResponseError) as caught:
        place.put("refused", **properties)
    assert caught.value.status_code == 400
    assert caught.value.error
    assert caught.value.error.code == code
    assert place.read().etag == before
