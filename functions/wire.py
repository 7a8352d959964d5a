"""The JIT API's models, and their mapping to the domain.

Field names, order and spelling are the real service's (docs/api.md). Unknown fields are refused:
a misspelt restriction must not be a restriction that is silently missing.
"""

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from shared.domain.arm_ids import VM_TYPE, parse_id
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.policy import MAX_JUSTIFICATION, MAX_PORTS, MAX_SOURCES
from shared.domain.prefixes import is_any, network
from shared.domain.times import parse_duration, parse_instant

MAX_BODY_BYTES = 1_048_576
MAX_VMS = 500
MAX_DEPTH = 20
MAX_REASONS = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("must be a text, an ISO 8601 duration such as PT3H")  # noqa: TRY004 - pydantic turns only ValueError into an answer
    return parse_duration(value)


def _instant_text(value: str) -> str:
    parse_instant(value)
    return value


def _printable(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def _vm_id(value: str) -> str:
    return parse_id(value, VM_TYPE).text


def _prefix(value: str) -> str:
    if not is_any(value) and (network(value) is None or (value[0].isalpha() and ":" not in value)):
        raise ValueError(
            "must be *, an IP address or a prefix such as 203.0.113.7 or 203.0.113.0/28; "
            "host names and service tags are not accepted"
        )
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
InstantText = Annotated[str, StringConstraints(max_length=40), AfterValidator(_instant_text)]
VmId = Annotated[str, AfterValidator(_vm_id)]
Prefix = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_prefix)]
Prefixes = Annotated[list[Prefix], Field(min_length=1, max_length=MAX_SOURCES)]
PortNumber = Annotated[int, Field(ge=1, le=65_535, strict=True)]
Justification = Annotated[
    str, StringConstraints(max_length=MAX_JUSTIFICATION), AfterValidator(_printable)
]
Protocol = Annotated[
    str,
    BeforeValidator(lambda v: v.upper() if isinstance(v, str) else v),
    Field(pattern=r"^(TCP|UDP|\*)$"),
]


class Wire(BaseModel):
    """A body's part: camelCase outside, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, str_max_length=4096
    )


class _OneSource(Wire):
    allowed_source_address_prefix: Prefix | None = None
    allowed_source_address_prefixes: Prefixes | None = None

    @model_validator(mode="after")
    def _at_most_one(self) -> "_OneSource":
        if self.allowed_source_address_prefix and self.allowed_source_address_prefixes:
            raise ValueError(
                "only one of 'allowedSourceAddressPrefix' and 'allowedSourceAddressPrefixes' "
                "can be set"
            )
        return self

    @property
    def sources(self) -> tuple[str, ...] | None:
        """Return the prefixes of whichever field was sent."""
        if self.allowed_source_address_prefixes:
            return tuple(self.allowed_source_address_prefixes)
        one = self.allowed_source_address_prefix
        return (one,) if one else None


class PortRuleWire(_OneSource):
    """What a policy allows on a port."""

    number: PortNumber
    protocol: Protocol
    max_request_access_duration: Duration
    mapped_port: int | None = None


class PolicyVmWire(Wire):
    """One VM of a policy."""

    id: VmId
    ports: list[PortRuleWire] | None = Field(None, max_length=MAX_PORTS)
    public_ip_address: Prefix | None = None


class PolicyPropertiesWire(Wire):
    """A policy's content; what the service adds is accepted back and ignored."""

    virtual_machines: list[PolicyVmWire] = Field(max_length=MAX_VMS)
    requests: Any = None
    provisioning_state: Any = None
    append_mode: Any = None


class PolicyWire(Wire):
    """The body of a policy PUT."""

    properties: PolicyPropertiesWire
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,64}$")] | None = None
    id: Any = None
    name: Any = None
    type: Any = None
    location: Any = None


class PortRequestWire(_OneSource):
    """One port asked for."""

    number: PortNumber
    end_time_utc: InstantText | None = None
    duration: Duration | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "PortRequestWire":
        if (self.end_time_utc is None) == (self.duration is None):
            # The real service's own sentence, for neither and for both.
            raise ValueError("Only one of fields 'EndTimeUtc' and 'Duration' can be set.")
        return self

    @property
    def end_at(self) -> datetime | None:
        """Return the end as an instant."""
        return parse_instant(self.end_time_utc) if self.end_time_utc else None


class RequestVmWire(Wire):
    """The ports asked for on one VM."""

    id: VmId
    ports: list[PortRequestWire] = Field(min_length=1, max_length=MAX_PORTS)


class InitiateWire(Wire):
    """The body of an initiate."""

    virtual_machines: list[RequestVmWire] = Field(min_length=1, max_length=MAX_PORTS)
    justification: Justification | None = None

    @model_validator(mode="after")
    def _not_too_many(self) -> "InitiateWire":
        if sum(len(vm.ports) for vm in self.virtual_machines) > MAX_PORTS:
            raise ValueError(f"one request holds at most {MAX_PORTS} ports; send several")
        return self


class ShortRequestWire(_OneSource):
    """The body of the short form: one VM, some ports, one end."""

    virtual_machine: VmId
    ports: list[PortNumber] = Field(min_length=1, max_length=MAX_PORTS)
    end_time_utc: InstantText | None = None
    duration: Duration | None = None
    justification: Justification | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "ShortRequestWire":
        if (self.end_time_utc is None) == (self.duration is None):
            raise ValueError("Only one of fields 'EndTimeUtc' and 'Duration' can be set.")
        return self

    def as_initiate(self) -> InitiateWire:
        """Say the same in the long form."""
        shared = self.model_dump(
            by_alias=True,
            include={
                "end_time_utc",
                "allowed_source_address_prefix",
                "allowed_source_address_prefixes",
            },
            exclude_none=True,
        )
        ports = [
            PortRequestWire.model_construct(
                number=number,
                end_time_utc=self.end_time_utc,
                duration=self.duration,
                allowed_source_address_prefix=shared.get("allowedSourceAddressPrefix"),
                allowed_source_address_prefixes=shared.get("allowedSourceAddressPrefixes"),
            )
            for number in self.ports
        ]
        vm = RequestVmWire.model_construct(id=self.virtual_machine, ports=ports)
        return InitiateWire.model_construct(virtual_machines=[vm], justification=self.justification)


Model = TypeVar("Model", bound=Wire)


def read_body(model: type[Model], body: bytes, code: str = "InvalidRequestContent") -> Model:
    """Read a JSON body; raises InvalidInputError with every field that is wrong."""
    try:
        return model.model_validate(read_json(body))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        reasons = tuple(
            Reason(code, _told(each["type"], each["msg"]), target_of(each["loc"]))
            for each in found[:MAX_REASONS]
        )
        first = reasons[0]
        raise InvalidInputError(
            f"{first.target or 'the body'}: {first.message}"
            + (f" ({len(found) - 1} more in details)" if len(found) > 1 else ""),
            code=code,
            details=reasons,
        ) from None


def read_json(body: bytes) -> Any:
    """Parse a JSON object, strictly: no duplicate members, no NaN, bounded size and depth."""
    if not body:
        raise InvalidInputError(
            "a JSON body is needed, with a Content-Length (a chunked body arrives empty)",
            code="MissingRequestBody",
        )
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInputError(
            f"the body is larger than {MAX_BODY_BYTES} bytes", code="RequestBodyTooLarge"
        )
    try:
        parsed = json.loads(
            body.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"the body is not JSON: {told}") from None
    if not isinstance(parsed, dict):
        raise InvalidInputError("the body must be a JSON object")
    _check_depth(parsed)
    return parsed


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"the body is nested more than {MAX_DEPTH} levels deep")
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, (dict, list)):
            _check_depth(child, depth + 1)


def target_of(location: tuple[int | str, ...]) -> str:
    """Write where in a body something stands: virtualMachines[0].ports[1].number."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _told(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "this field is not known here; check its spelling"
    if kind == "missing":
        return "this field is required"
    return message.removeprefix("Value error, ")
