"""The product's judgement agrees with the simulator's own evaluation, over generated groups."""

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.judgement.cases import PORT, Case, cases
from tests.judgement.packets import given_rules, ports, source_ports, sources

_CASES = int(os.environ.get("JIT_CASES", "1000"))
SETTINGS = settings(
    max_examples=_CASES,
    deadline=None,
    derandomize=not os.environ.get("JIT_SOAK"),
    suppress_health_check=list(HealthCheck),
)


def entered(case: Case, port: int) -> tuple[str, str, int] | None:
    """Find a packet that the simulator lets in at a port; None: every one is stopped."""
    return next(
        (
            (source, protocol, source_port)
            for source in sources(case)
            for source_port in source_ports(case)
            for protocol in ("Tcp", "Udp")
            if case.passes(source, port, protocol, source_port)
        ),
        None,
    )


@SETTINGS
@given(cases(), st.data())
def test_what_is_called_closed_is_closed_and_what_is_called_exposed_is_open(
    case: Case, data: st.DataObject
) -> None:
    """A closed port lets no packet in; an open one lets one in, or names what is not resolved."""
    for port in {PORT, data.draw(st.sampled_from(ports(case)))}:
        said = case.exposures(port)
        if port == PORT and case.without_place and len(case.groups) == 1:
            # Only an allow that lets sources in may keep our deny from its place.
            assert any(each.rule.name.startswith("rule-") for each in said)
        packet = entered(case, port)
        if not said:
            assert packet is None, f"port {port} is called closed, and {packet} gets in"
        elif any(not each.unresolved for each in said):
            assert packet is not None, f"port {port} is called open: {said}"


# Each feature that the model knows, and how a generated rule shows it.
_FEATURES = {
    "protocol without ports": lambda rule: rule["protocol"] in {"Icmp", "Icmpv6", "Esp", "Ah"},
    "any protocol": lambda rule: rule["protocol"] == "*",
    "one protocol": lambda rule: rule["protocol"].lower() in {"tcp", "udp"},
    "outbound": lambda rule: rule["direction"] == "Outbound",
    "IPv6 prefix": lambda rule: ":" in str(_addresses(rule)),
    "IPv4 prefix": lambda rule: "." in str(_addresses(rule)),
    "halves of a family": lambda rule: "/1'" in str(_addresses(rule)),
    "tag Internet": lambda rule: _tag(rule, "source") == "internet",
    "tag VirtualNetwork": lambda rule: _tag(rule, "source") == "virtualnetwork",
    "tag AzureLoadBalancer": lambda rule: _tag(rule, "source") == "azureloadbalancer",
    "another tag": lambda rule: _tag(rule, "source").startswith(("sql", "azurecloud")),
    "to a tag": lambda rule: _tag(rule, "destination").isalpha(),
    "from a group": lambda rule: "sourceApplicationSecurityGroups" in rule,
    "to a group": lambda rule: "destinationApplicationSecurityGroups" in rule,
    "port range": lambda rule: "-" in rule.get("destinationPortRange", ""),
    "port list": lambda rule: "destinationPortRanges" in rule,
    "some source ports": lambda rule: rule.get("sourcePortRange", "*") not in {"*", "0-65535"},
    "all source ports by range": lambda rule: (
        rule.get("sourcePortRange") == "0-65535" or "sourcePortRanges" in rule
    ),
}


def _addresses(rule: dict[str, Any]) -> list[str]:
    return [str(value) for name, value in rule.items() if "AddressPrefix" in name]


def _tag(rule: dict[str, Any], side: str) -> str:
    return str(rule.get(f"{side}AddressPrefix", "")).lower()


def test_every_feature_and_verdict_is_generated_often_enough() -> None:
    """Each feature is in at least 5 % of the cases, each verdict in at least a quarter."""
    counted: Counter[str] = Counter()
    features: Counter[str] = Counter()

    @settings(
        max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(cases())
    def count(case: Case) -> None:
        counted["cases"] += 1
        counted["exposed" if case.exposures(PORT) else "closed"] += 1
        given = list(given_rules(case))
        features.update(name for name, shows in _FEATURES.items() if any(map(shows, given)))
        features.update(
            name
            for name, shows in {
                "both groups": len(case.groups) > 1,
                "a group on one side": len(case.groups) == 1,
                "our deny placed": case.with_deny,
                "no deny of ours": not case.with_deny,
                "an address twice": case.twice,
                "a group that is not resolved": case.twice and "/twice'" in str(given),
            }.items()
            if shows
        )

    count()
    assert counted["cases"] >= 1000
    for name in (
        *_FEATURES,
        "both groups",
        "our deny placed",
        "no deny of ours",
        "an address twice",
        "a group that is not resolved",
    ):
        assert features[name] >= 0.05 * counted["cases"], (name, features[name])
    for verdict in ("exposed", "closed"):
        assert counted[verdict] >= 0.25 * counted["cases"], counted
