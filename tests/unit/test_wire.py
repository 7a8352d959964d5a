"""Bodies: whatever is sent is read or refused with its place; nothing else ever happens."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from functions.policy_body import PolicyWire, policy_of
from functions.request_body import InitiateWire, ShortRequestWire
from functions.wire import Wire, read_body
from shared.domain.errors import InvalidInputError
from shared.domain.model import Policy
from shared.domain.policy import Limits
from tests.world import POLICY, WEB, vm_id

MODELS: list[type[Wire]] = [PolicyWire, InitiateWire, ShortRequestWire]

_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from([WEB, "PT3H", "P1D", "2026-11-22T15:00:00Z", "203.0.113.7", "*", "TCP", 22]),
)  # fmt: skip
_NAMES = st.sampled_from(
    ["kind", "properties", "virtualMachines", "virtualMachine", "id", "ports", "number",
     "protocol", "duration", "endTimeUtc", "allowedSourceAddressPrefix", "conditions",
     "allowedSourceAddressPrefixes", "maxRequestAccessDuration", "justification", "requests",
     "justificationPattern", "approvalTimeout", "breakGlass", "onBehalfOf", "objectId", "name"]
)  # fmt: skip
JSON = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_NAMES, inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(value=st.dictionaries(_NAMES, JSON, max_size=5))
def test_any_json_is_read_or_refused(model: type[Wire], value: dict[str, Any]) -> None:
    """A refusal names at least one place."""
    try:
        read_body(model, json.dumps(value).encode())
    except InvalidInputError as refusal:
        told = refusal.message
    else:
        told = "read"
    assert told


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@given(body=st.binary(max_size=200))
@example(body=b"\xef\xbb\xbf{}")
@example(body=b"[" * 100_000)
@example(body=b'{"a":' + b"9" * 10_000 + b"}")
def test_any_bytes_are_refused(model: type[Wire], body: bytes) -> None:
    """None of them is a body that lacks nothing."""
    with pytest.raises(InvalidInputError):
        read_body(model, body)


PORT_RULES = st.fixed_dictionaries(
    {
        "number": st.integers(0, 65_535),
        "protocol": st.sampled_from(["TCP", "UDP", "*"]),
        "maxRequestAccessDuration": st.sampled_from(["PT5M", "PT3H", "PT90M", "P1D", "PT24H"]),
        "allowedSourceAddressPrefix": st.one_of(
            st.just("*"), st.ip_addresses().map(str), st.ip_addresses(v=4).map(lambda a: f"{a}/24")
        ),
    }
)
PORTS = st.lists(PORT_RULES, max_size=4, unique_by=lambda rule: rule["number"])


@given(st.lists(PORTS, max_size=4))
def test_every_policy_the_specification_allows_is_read(vms: list[list[Any]]) -> None:
    """And means what it says, in the order it was written."""
    listed = [{"id": vm_id(f"vm{n}"), "ports": ports} for n, ports in enumerate(vms)]
    policy = _policy({"properties": {"virtualMachines": listed}})
    assert [[rule.number for rule in vm.ports] for vm in policy.vms] == [
        [rule["number"] for rule in ports] for ports in vms
    ]
    sources = [rule.sources for vm in policy.vms for rule in vm.ports]
    sent = [(rule["allowedSourceAddressPrefix"],) for ports in vms for rule in ports]
    assert sources == sent


def _policy(body: Any) -> Policy:
    wire = read_body(PolicyWire, json.dumps(body).encode())
    return policy_of(POLICY, "westeurope", wire, Limits())


@pytest.mark.parametrize(
    "value",
    ["203.0.113.7/33", "203.0.113", "1", "0x7f.1", "010.1.1.1", "2001:db8::/129", "fe80::1%eth0",
     "203.0.113.0/255.255.255.0", "203.0.113.0/0.0.0.255",
     "VirtualNetwork", "AzureLoadBalancer", "a" * 65, "203.0.113.7 ", "203.0.113.7,8.8.8.8",
     "203.0.113.7\n", "\uff12\uff10\uff13.0.113.7"],
)  # fmt: skip
def test_what_is_no_prefix_is_refused(value: str) -> None:
    """Service tags, host names, other spellings of numbers, and lists in one field."""
    body = {
        "virtualMachine": WEB,
        "ports": [22],
        "duration": "PT1H",
        "allowedSourceAddressPrefix": value,
    }
    with pytest.raises(InvalidInputError) as refused:
        read_body(ShortRequestWire, json.dumps(body).encode())
    assert refused.value.details[0].target == "allowedSourceAddressPrefix"


@pytest.mark.parametrize(
    "value",
    ["2026-11-22", "2026-11-22T15:00", "22.11.2026 15:00Z", "2026-13-01T00:00:00Z", "", "now",
     "2026-11-22T15:00:00", "9999-12-31T23:59:59-14:00", "2026-11-22T15:00:00.1234567890Z", 5],
)  # fmt: skip
def test_what_is_no_instant_is_refused(value: object) -> None:
    """An instant without an offset is a local time of an unknown place."""
    body = {"virtualMachine": WEB, "ports": [22], "endTimeUtc": value}
    with pytest.raises(InvalidInputError) as refused:
        read_body(ShortRequestWire, json.dumps(body).encode())
    assert refused.value.details[0].target == "endTimeUtc"


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31m", "\u202egnp", "\u2028", "x" * 1025])
def test_a_justification_is_plain_text(text: str) -> None:
    """Nothing that would disguise a line of a log, and nothing without end."""
    body = {"virtualMachine": WEB, "ports": [22], "duration": "PT1H", "justification": text}
    with pytest.raises(InvalidInputError):
        read_body(ShortRequestWire, json.dumps(body).encode())


def test_the_short_form_says_the_same_as_the_long_one() -> None:
    """Field by field."""
    each = {"duration": "PT1H", "allowedSourceAddressPrefixes": ["203.0.113.7"]}
    short = {"virtualMachine": WEB, "ports": [22, 3389], "justification": "x", **each}
    ports = [{"number": number, **each} for number in (22, 3389)]
    long = {"virtualMachines": [{"id": WEB, "ports": ports}], "justification": "x"}
    asked = read_body(ShortRequestWire, json.dumps(short).encode()).as_initiate()
    assert asked.said() == read_body(InitiateWire, json.dumps(long).encode()).said()


def test_a_refusal_names_a_bounded_number_of_places() -> None:
    """A huge body is not answered with a huger one."""
    body = {"properties": {"virtualMachines": [{"x": 1}] * 500}}
    with pytest.raises(InvalidInputError) as refused:
        read_body(PolicyWire, json.dumps(body).encode())
    assert len(refused.value.details) == 200
    assert "more in details" in refused.value.message
