"""The provider's refusals, in its words, and the stored form of accepted bodies."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.arm.client import ArmClient, Reply
from local.arm.rules import RULE_PROPERTIES
from local.tests.arm.place import (
    NETWORK,
    SCOPE,
    WEB_NSG,
    child,
    named,
    rule,
)

RULE = child(WEB_NSG, "new")
ASG = f"{SCOPE}/{NETWORK}/applicationSecurityGroups/web-asg"
UNUSED: dict[str, Any] = {"sourceAddressPrefix": None}
OVERLAP = ["167.220.64.0/19", "167.220.70.64/26"]


@pytest.mark.parametrize(
    ("properties", "code", "text"),
    [
        (
            {"priority": 4097},
            "SecurityRuleInvalidPriority",
            "Security rule has invalid Priority. Value provided: 4097 Allowed range 100-4096.",
        ),
        ({"priority": 99}, "SecurityRuleInvalidPriority", "Value provided: 99 Allowed"),
        ({"priority": None}, "SecurityRuleInvalidPriority", "Value provided: 0 Allowed"),
        (
            {"destinationPortRange": "66600"},
            "SecurityRuleInvalidPortRange",
            (
                "Security rule has invalid Port range. Value provided: 66600. Value should be an "
                "integer OR integer range with '-' delimiter. Valid range 0-65535."
            ),
        ),
        ({"sourcePortRange": "30-20"}, "SecurityRuleInvalidPortRange", "provided: 30-20."),
        ({"sourcePortRange": "1-2-3"}, "SecurityRuleInvalidPortRange", "provided: 1-2-3."),
        ({"destinationPortRange": "22,23"}, "SecurityRuleInvalidPortRange", "22,23"),
        (
            {"destinationPortRange": None, "destinationPortRanges": ["22", "x"]},
            "SecurityRuleInvalidPortRange",
            "Value provided: x.",
        ),
        (
            {"destinationPortRange": None, "destinationPortRanges": ["*"]},
            "SecurityRuleParameterContainsInvalidPortRanges",
            "DestinationPortRanges",
        ),
        (
            {"destinationPortRange": None},
            "SecurityRuleParameterMissing",
            (
                "Required security rule parameter DestinationPortRange is missing for security rule "
                f"with Id: {RULE}."
            ),
        ),
        (
            {"sourceAddressPrefix": "10.0.0.0/42"},
            "SecurityRuleInvalidAddressPrefix",
            f"Security rule {RULE} has invalid Address prefix. Value provided: 10.0.0.0/42",
        ),
        ({"sourceAddressPrefix": "50.206.209.68/27"}, "SecurityRuleInvalidAddressPrefix", "/27"),
        ({"sourceAddressPrefix": "10.0.0.1,10.0.0.2"}, "SecurityRuleInvalidAddressPrefix", ","),
        ({"sourceAddressPrefix": "example.com"}, "SecurityRuleInvalidAddressPrefix", "example"),
        ({"sourceAddressPrefix": "Any"}, "SecurityRuleInvalidAddressPrefix", "provided: Any"),
        ({"sourceAddressPrefix": "10.0.0.0/255.0.0.0"}, "SecurityRuleInvalidAddressPrefix", "255"),
        (
            {**UNUSED},
            "SecurityRuleParametersMissing",
            (
                "Security rule must specify SourceAddressPrefixes, SourceAddressPrefix, or "
                "SourceApplicationSecurityGroups."
            ),
        ),
        (
            {**UNUSED, "sourceAddressPrefixes": ["Internet"]},
            "SecurityRuleParameterContainsUnsupportedValue",
            (
                f"Security rule parameter SourceAddressPrefix for rule with Id {RULE} cannot specify "
                "existing VIRTUALNETWORK, INTERNET, AZURELOADBALANCER, '*' or system tags. "
                "Unsupported value used: Internet."
            ),
        ),
        (
            {**UNUSED, "sourceAddressPrefixes": ["*"]},
            "SecurityRuleParameterContainsUnsupportedValue",
            "Unsupported value used: *.",
        ),
        (
            {**UNUSED, "sourceAddressPrefixes": OVERLAP},
            "OverlappingSubnetsNotPermittedInSecurityRule",
            (
                f"Security rule parameter SourceAddressPrefix for rule with Id {RULE} contains "
                "overlapping subnets [167.220.64.0/19, 167.220.70.64/26]"
            ),
        ),
        (
            {**UNUSED, "sourceAddressPrefixes": ["203.0.113.7", "203.0.113.7/32"]},
            "OverlappingSubnetsNotPermittedInSecurityRule",
            "[203.0.113.7/32, 203.0.113.7/32]",
        ),
        (
            {**UNUSED, "sourceAddressPrefixes": ["203.0.113.7", "2001:db8::1"]},
            "ResourceCannotContainAddressPrefixesFromDifferentAddressFamilies",
            "belong to different address families",
        ),
        (
            {"destinationAddressPrefix": "fd00::1"},
            "ResourceCannotContainAddressPrefixesFromDifferentAddressFamilies",
            RULE,
        ),
        (
            {"sourceAddressPrefixes": ["203.0.113.8"]},
            "SecurityRuleParametersConflict",
            "only one of",
        ),
        (
            {"description": "x" * 141},
            "SecurityRuleDescriptionTooLong",
            "Security rule description cannot exceed 140 chars.",
        ),
        (
            {**UNUSED, "sourceApplicationSecurityGroups": [{"id": f"{ASG}-not"}]},
            "InvalidResourceReference",
            f"Resource {ASG}-not referenced by resource {RULE} was not found.",
        ),
        (
            {"priority": 310},
            "SecurityRuleConflict",
            (
                "Security rule allow-https conflicts with rule new. Rules cannot have the same "
                "Priority and Direction. To learn more, see aka.ms/nsgrules."
            ),
        ),
    ],
)
def test_a_wrong_rule_is_refused_in_the_providers_words(
    arm: ArmClient, properties: dict[str, Any], code: str, text: str
) -> None:
    """400, the provider's envelope, code and text; the same in a PUT of the whole group."""
    reply = arm.call("PUT", RULE, rule(**properties))
    assert (reply.status, reply.code) == (400, code)
    assert text in reply.message
    assert reply.body["error"]["details"] == []
    body = arm.call("GET", WEB_NSG).body
    body["properties"]["securityRules"].append(named("new", **properties))
    assert arm.call("PUT", WEB_NSG, body).body == reply.body
    assert arm.call("GET", RULE).status == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            {"properties": {"prioritee": 1}},
            (
                "Could not find member 'prioritee' on object of type 'SecurityRuleProperties'. Path "
                "'properties.prioritee', line 1, position 28."
            ),
        ),
        ({"colour": "red"}, "Could not find member 'colour' on object of type 'SecurityRule'."),
        (rule(priority="high"), "Could not convert string to integer: high."),
        (rule(access="Maybe"), "Error converting value \"Maybe\" to type 'SecurityRuleAccess'."),
        (rule(protocol="Quic"), "Path 'properties.protocol'"),
        (rule(sourceAddressPrefixes="10.0.0.1"), "to type 'list'"),
        (rule(description=["a"]), "to type 'string'"),
        ({"properties": []}, "to type 'SecurityRuleProperties'"),
        (rule(flags=None) | {"tags": {}}, "Could not find member 'tags'"),
        ([], "to type 'SecurityRule'"),
    ],
)
def test_the_provider_is_strict_on_members_and_types(arm: ArmClient, body: Any, text: str) -> None:
    """InvalidRequestFormat, with the member and where it stands in the detail."""
    reply = arm.call("PUT", RULE, body)
    assert (reply.status, reply.code) == (400, "InvalidRequestFormat")
    assert reply.message == "Cannot parse the request."
    detail = reply.body["error"]["details"][0]
    assert detail["code"] == "InvalidJson"
    assert text in detail["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 5000, b'{"priority": NaN}', b"\xff\xfe"])
def test_what_is_no_json_is_refused_by_the_front_door(arm: ArmClient, body: bytes) -> None:
    """A body that cannot be parsed at all never reaches the provider."""
    reply = arm.call("PUT", RULE, body)
    assert (reply.status, reply.code) == (400, "InvalidRequestContent")
    assert "details" not in reply.body["error"]


@pytest.mark.parametrize("name", ["-x", "x-", "x.", "a b", "é", "x" * 81])
def test_a_rules_name_has_a_syntax(arm: ArmClient, name: str) -> None:
    """80 characters, first a word character, last a word character or an underscore."""
    assert arm.call("PUT", child(WEB_NSG, name), rule()).code == "InvalidResourceName"


@pytest.mark.parametrize("name", ["x", "_", "x_", "a.b-c_1", "x" * 80])
def test_a_good_name_is_taken(arm: ArmClient, name: str) -> None:
    """The bounds of the syntax are inside."""
    assert arm.call("PUT", child(WEB_NSG, name), rule()).status == 201


@pytest.mark.parametrize(
    "properties",
    [
        {"priority": 100},
        {"priority": 4096},
        {"priority": 310, "direction": "Outbound"},
        {"destinationPortRange": "0-65535"},
        {"destinationPortRange": 22},
        {"sourceAddressPrefix": "Storage.WestEurope"},
        {"sourceAddressPrefix": "2001:DB8::/32", "destinationAddressPrefix": "*"},
        {"description": "x" * 140},
        {**UNUSED, "sourceApplicationSecurityGroups": [{"id": ASG}]},
    ],
)
def test_what_is_right_at_the_bound_is_taken(arm: ArmClient, properties: dict[str, Any]) -> None:
    """Bounds belong to what is allowed; a priority is unique within its direction only."""
    assert arm.call("PUT", RULE, rule(**properties)).status == 201


def test_what_is_kept_reads_back_in_the_providers_shape(arm: ArmClient) -> None:
    """Plurals as [], unset members left out, nulls absent, letter case of the protocol kept."""
    body = rule(protocol="TCP", access="allow", direction="INBOUND")
    body["properties"] |= {"description": None, "sourcePortRanges": None}
    arm.call("PUT", RULE, body)
    kept = arm.call("GET", RULE).body["properties"]
    assert kept == {
        "provisioningState": "Updating",
        "protocol": "TCP",
        "sourcePortRange": "*",
        "destinationPortRange": "22",
        "sourceAddressPrefix": "203.0.113.7",
        "destinationAddressPrefix": "10.0.1.4",
        "access": "Allow",
        "priority": 200,
        "direction": "Inbound",
        "sourcePortRanges": [],
        "destinationPortRanges": [],
        "sourceAddressPrefixes": [],
        "destinationAddressPrefixes": [],
    }


@pytest.mark.parametrize("prefix", ["203.0.113.7", "203.0.113.7/32", "2001:DB8::0:1", "INTERNET"])
def test_prefixes_keep_their_spelling(arm: ArmClient, prefix: str) -> None:
    """No recording shows a prefix rewritten, so none is."""
    arm.call("PUT", RULE, rule(sourceAddressPrefix=prefix, destinationAddressPrefix="*"))
    assert arm.call("GET", RULE).body["properties"]["sourceAddressPrefix"] == prefix


@pytest.mark.parametrize("whole", [False, True])
def test_prefixes_may_be_rewritten_on_request(arm: ArmClient, whole: bool) -> None:
    """With the switch on, a host loses its mask and all else takes its usual spelling."""
    arm.control("settings", {"normalise": True})
    prefixes = ["2001:DB8:0::1/128", "2001:DB8:1:0::/64"]
    wanted = {"protocol": "TCP", **UNUSED, "sourceAddressPrefixes": prefixes}
    body = rule(**wanted, destinationAddressPrefix="VIRTUALNETWORK")
    if whole:
        put_rules(arm, [{"name": "new", **body}])
    else:
        arm.call("PUT", RULE, body)
    kept = arm.call("GET", RULE).body["properties"]
    assert kept["sourceAddressPrefixes"] == ["2001:db8::1", "2001:db8:1::/64"]
    assert (kept["protocol"], kept["destinationAddressPrefix"]) == ("Tcp", "VirtualNetwork")


def test_a_rule_keeps_the_spelling_of_its_first_name(arm: ArmClient) -> None:
    """Names compare without regard to case, in paths and in bodies."""
    changed = arm.call("PUT", child(WEB_NSG, "ALLOW-HTTP"), rule(priority=320))
    assert (changed.status, changed.body["name"]) == (200, "allow-http")
    upper = WEB_NSG.upper().replace("/SUBSCRIPTIONS/", "/subscriptions/")
    assert arm.call("GET", upper).body["id"] == WEB_NSG


def put_rules(arm: ArmClient, rules: list[dict[str, Any]]) -> Reply:
    """Replace the rules of the group."""
    return arm.call(
        "PUT", WEB_NSG, {"location": "westeurope", "properties": {"securityRules": rules}}
    )


def test_a_group_holds_a_thousand_rules(arm: ArmClient) -> None:
    """The thousandth is taken, the next refused, in a PUT of the group and of the rule."""
    rules = [named(f"r{at}", priority=100 + at) for at in range(1000)]
    assert put_rules(arm, rules).status == 200
    refused = put_rules(arm, [*rules, named("more", priority=2000)])
    assert refused.code == "SecurityRuleCountLimitReached"
    assert refused.message == "A security group cannot have more than 1000 security rules."
    assert arm.call("PUT", RULE, rule(priority=2000)).code == "SecurityRuleCountLimitReached"


def test_a_group_holds_four_thousand_prefixes_each_way(arm: ArmClient) -> None:
    """Sources and destinations are counted apart."""
    prefixes = [f"10.{at // 250}.{at % 250}.0/24" for at in range(4000)]
    full = named("full", sourceAddressPrefix=None, sourceAddressPrefixes=prefixes)
    assert put_rules(arm, [full]).status == 200
    refused = put_rules(arm, [full, named("more", priority=201)])
    assert refused.code == "SecurityGroupAddressPrefixCountLimitReached"


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([named("a"), named("A", priority=201)], "DuplicateResourceName"),
        ([named("a"), named("b")], "SecurityRuleConflict"),
        ([rule()], "InvalidRequestFormat"),
    ],
)
def test_a_group_refuses_rules_that_do_not_go_together(
    arm: ArmClient, rules: list[dict[str, Any]], code: str
) -> None:
    """Two of one name, two in one slot, one without a name."""
    assert put_rules(arm, rules).code == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "LocationRequired"),
        ({"location": "northeurope"}, "InvalidResourceLocation"),
        ({"location": "westeurope", "sku": {}}, "InvalidRequestFormat"),
        ({"location": "westeurope", "tags": "red"}, "InvalidRequestFormat"),
        ({"location": "westeurope", "tags": {"colour": []}}, "InvalidRequestFormat"),
        ({"location": "westeurope", "properties": {"rules": []}}, "InvalidRequestFormat"),
    ],
)
def test_a_wrong_group_is_refused(arm: ArmClient, body: dict[str, Any], code: str) -> None:
    """Where it is must be said, and said the same each time."""
    assert arm.call("PUT", WEB_NSG, body).code == code


def test_a_group_is_put_back_as_it_was_read(arm: ArmClient) -> None:
    """All that a read shows may be sent, and a group sent back as read does not change."""
    body = arm.call("GET", WEB_NSG).body
    done = arm.call("PUT", WEB_NSG, body).body
    assert done["properties"]["provisioningState"] == "Succeeded"
    assert {**done["properties"]} | {"securityRules": 0, "defaultSecurityRules": 0} == {
        **body["properties"]
    } | {"securityRules": 0, "defaultSecurityRules": 0}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)
MEMBERS = [*RULE_PROPERTIES.members, "nonsense"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(MEMBERS), JUNK, max_size=4))
def test_no_body_breaks_the_provider(arm: ArmClient, junk: dict[str, Any]) -> None:
    """Any members get a 2xx or a 400 in the envelope, in both PUTs."""
    body = rule()
    body["properties"] |= junk
    group = {"location": "westeurope", "properties": {"securityRules": [{"name": "x", **body}]}}
    for reply in (arm.call("PUT", child(WEB_NSG, "x"), body), arm.call("PUT", WEB_NSG, group)):
        assert reply.status in (200, 201) or (reply.status == 400 and reply.code)


def test_flush_connection_is_kept_and_counts_as_a_change(arm: ArmClient) -> None:
    """The lever that cuts sessions reads back, and a PUT that leaves it out takes it away."""
    body = {"location": "westeurope", "properties": {"flushConnection": True}}
    assert put_rules(arm, []).status == 200
    changed = arm.call("PUT", WEB_NSG, body).body["properties"]
    assert (changed["flushConnection"], changed["provisioningState"]) == (True, "Updating")
    assert arm.call("GET", WEB_NSG).body["properties"]["flushConnection"] is True
    assert "flushConnection" not in put_rules(arm, []).body["properties"]


@pytest.mark.parametrize("protocol", ["Icmpv6", "icmpv6", "ICMPv6", "Icmp", "Esp", "Ah"])
def test_every_protocol_that_the_service_takes_is_taken(arm: ArmClient, protocol: str) -> None:
    """Icmpv6 too, which the published schema does not list; it reads back as it was written."""
    body = rule(protocol=protocol)
    assert arm.call("PUT", RULE, body).status == 201
    assert arm.call("GET", RULE).body["properties"]["protocol"] == protocol
