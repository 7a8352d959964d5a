"""Foreign rules stay as they are, whatever they look like."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.firewalls.nsg import client, wire
from shared.firewalls.nsg.rules import Band, Plan, plan
from shared.ports import OutsideError
from tests.contract.firewall.grounds import (
    GROUP,
    GROUPS,
    HASH,
    AzureGround,
    Json,
    allow,
    deny,
    foreign_part,
    one_of_each,
    rules_of,
    snapshot_write,
)
from tests.fakes import NAMES


def raw_rule(name: str, priority: int, **properties: Any) -> Json:
    """Make a rule as ARM returns it; singular fields left out stay out."""
    given = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": priority,
        "sourcePortRange": "*",
        "destinationPortRange": "443",
        "sourceAddressPrefix": "*",
        "destinationAddressPrefix": "*",
        **properties,
    }
    held = {key: value for key, value in given.items() if value is not None}
    return {"name": name, "properties": held}


def _asg(name: str) -> Json:
    return {"id": f"{GROUP}/providers/Microsoft.Network/applicationSecurityGroups/{name}"}


STRANGERS = [
    raw_rule("bare", 100),
    raw_rule("last", 4096, access="Deny", protocol="*", destinationPortRange="*"),
    raw_rule("tag", 110, sourceAddressPrefix="AzureLoadBalancer"),
    raw_rule(
        "regional-tag", 111, sourceAddressPrefix="Storage.WestEurope", description="\u00fc <&>"
    ),
    raw_rule("virtual-network", 112, destinationAddressPrefix="VirtualNetwork", protocol="Icmp"),
    raw_rule("esp", 113, protocol="Esp", destinationPortRange="*"),
    raw_rule("ah", 114, protocol="Ah", destinationPortRange="*", description=""),
    raw_rule(
        "one-in-a-list",
        115,
        sourceAddressPrefix=None,
        sourceAddressPrefixes=["203.0.113.0/25"],
        destinationPortRange=None,
        destinationPortRanges=["22"],
    ),
    raw_rule(
        "many",
        116,
        protocol="Udp",
        sourceAddressPrefix=None,
        sourceAddressPrefixes=["10.0.0.0/8", "192.168.1.1", "203.0.113.7/32"],
        destinationAddressPrefix=None,
        destinationAddressPrefixes=["10.0.1.4", "10.0.1.5/32"],
        destinationPortRange=None,
        destinationPortRanges=["22", "80-90", "443"],
        sourcePortRange=None,
        sourcePortRanges=["1024-65535", "53"],
    ),
    raw_rule("six", 117, sourceAddressPrefix="2001:db8::/32", destinationAddressPrefix="fd00::4"),
    raw_rule("from-port", 118, sourcePortRange="53", protocol="Udp"),
    raw_rule(
        "application-groups",
        119,
        sourceAddressPrefix=None,
        destinationAddressPrefix=None,
        sourceApplicationSecurityGroups=[_asg("ops-asg")],
        destinationApplicationSecurityGroups=[_asg("web-asg")],
    ),
    raw_rule("outbound", 201, direction="Outbound", destinationAddressPrefix="Internet"),
    raw_rule("outbound-deny", 4096, direction="Outbound", access="Deny", protocol="*"),
    raw_rule(
        f"SecurityCenter-JITRule-1170687618-{HASH}", 120, description="ASC JIT Network Access"
    ),
    raw_rule(f"SecurityCenter-JITRule_-1105484_{HASH}", 4095, access="Deny"),
    raw_rule(f"SecurityCenter-JITRule-other1-{HASH}", 121),
    raw_rule(f"SecurityCenter-JITRule-test1-{HASH}x", 122),
    raw_rule(f"SecurityCenter-JITRule-test1_{HASH}", 123),
    raw_rule("test1", 124),
    raw_rule("with.dots_and-dashes_", 125),
]


@pytest.mark.parametrize("whole", [True, False])
def test_foreign_rules_stay_whatever_they_look_like(real: AzureGround, whole: bool) -> None:
    """Opening, changing and closing leave every other rule, tag and property as it was."""
    real.whole = whole
    firewall_id = real.add_raw(
        STRANGERS,
        tags={"owner": "shop", "empty": "", "\u00fcmlaut": "\u00fc"},
        properties={"flushConnection": True},
    )
    before = foreign_part(real.raw(firewall_id))
    later = allow(1, description="JIT access request request-1 until 2026-11-22T16:00:00Z")
    for wanted in ([deny()], [deny(), allow(1), allow(2)], [deny(), later, allow(3)], [later], []):
        while True:
            snapshot = real.firewall.read(firewall_id)
            changes = plan(snapshot.rules, wanted, NAMES, Band())
            if changes.is_empty:
                break
            real.firewall.write(snapshot, changes)
            assert foreign_part(real.raw(firewall_id)) == before
        ours = {rule.name for rule in snapshot.rules if NAMES.is_ours(rule.name)}
        assert ours == {rule.name for rule in wanted}
    assert real.raw(firewall_id) == before


@pytest.mark.parametrize("name", ["legacy-nsg", "guarded-nsg", "asg-nsg", "edge-nsg", "data-nsg"])
def test_groups_of_the_estate_stay_as_they_were(real: AzureGround, name: str) -> None:
    """Attached groups with a history: rules put in one write and taken out in another."""
    firewall_id = f"{GROUPS}/{name}"
    before = real.raw(firewall_id)
    rules = (allow(1, 205), allow(2, 206), deny(2000))
    snapshot_write(real, firewall_id, Plan(put=rules))
    assert foreign_part(real.raw(firewall_id)) == before
    assert len(rules_of(real.raw(firewall_id))) == len(rules_of(before)) + 3
    snapshot_write(real, firewall_id, Plan(remove=tuple(rule.name for rule in rules)))
    assert real.raw(firewall_id) == before


def _drop_first(body: Json) -> None:
    del rules_of(body)[0]


def _renumber(body: Json) -> None:
    rules_of(body)[0]["properties"]["priority"] = 101


def _open_up(body: Json) -> None:
    rules_of(body)[0]["properties"]["sourceAddressPrefix"] = "*"


def _rename(body: Json) -> None:
    rules_of(body)[0]["name"] += "-2"


def _drop_a_field(body: Json) -> None:
    del rules_of(body)[0]["properties"]["description"]


def _add_a_stranger(body: Json) -> None:
    rules_of(body).append(raw_rule("new", 4000))


def _drop_tags(body: Json) -> None:
    del body["tags"]


def _change_a_tag(body: Json) -> None:
    body["tags"]["owner"] = "us"


def _move(body: Json) -> None:
    body["location"] = "northeurope"


def _drop_a_property(body: Json) -> None:
    del body["properties"]["flushConnection"]


def _drop_everything(body: Json) -> None:
    rules_of(body).clear()


@pytest.mark.parametrize(
    "mistake",
    [
        _drop_first,
        _renumber,
        _open_up,
        _rename,
        _drop_a_field,
        _add_a_stranger,
        _drop_tags,
        _change_a_tag,
        _move,
        _drop_a_property,
        _drop_everything,
    ],
)
def test_the_guard_sends_nothing_that_would_change_a_stranger(
    real: AzureGround, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Json], None]
) -> None:
    """The guard compares the body to be sent, whichever fault a whole write has."""
    right = wire.changed_group

    def wrong(before: Json, changes: Plan) -> Json:
        body = right(before, changes)
        mistake(body)
        return body

    monkeypatch.setattr(client, "changed_group", wrong)
    firewall_id = real.add_raw(
        [raw_rule("first", 300, description="not ours", sourceAddressPrefix="10.0.0.0/8")],
        tags={"owner": "shop"},
        properties={"flushConnection": True},
    )
    with pytest.raises(OutsideError, match="not sent"):
        snapshot_write(real, firewall_id, Plan(put=one_of_each()))
    assert real.calls(firewall_id) == []
