"""Shared parts of the bodies.

Field names, order and spelling are the real service's (docs/api.md). Unknown fields are refused:
a misspelt restriction must not be a restriction that is silently missing. Fields that the real
service has and only answers are accepted and ignored, so that what GET gave can be sent back.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
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

from functions.body_errors import field_error
from functions.json_body import read_json
from functions.numbers import whole_number
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.machine_ids import parse_machine_id
from shared.domain.network import is_any, network
from shared.domain.policy import (
    MAX_JUSTIFICATION,
    MAX_SOURCES,
)
from shared.domain.times import parse_duration, parse_instant

MAX_REASONS = 200
_GROUP_PATTERN = (
    "/subscriptions/[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/resourceGroups/[^/]{1,90}"
)
_INSTANCE_PATTERN, _AWS_REGION_PATTERN = "i-([0-9a-f]{8}|[0-9a-f]{17})", "[a-z]{2}(-[a-z]+)+-[0-9]"
VM_ID_PATTERN = (
    f"^({_GROUP_PATTERN}/providers/Microsoft.Compute/virtualMachines/[^/]{{1,64}}"
    f"|{_GROUP_PATTERN}/providers/Microsoft.Security/securityConnectors/[^/]{{1,64}}"
    f"/securityentitydata/aws-ec2-instance-{_INSTANCE_PATTERN}-{_AWS_REGION_PATTERN}"
    f"|arn:aws:ec2:{_AWS_REGION_PATTERN}:[0-9]{{12}}:instance/{_INSTANCE_PATTERN})$"
)
# Neither a zone (fe80::1%eth0) nor a mask written as an address: ARM takes neither.
_PLAIN_PREFIX = re.compile(r"[0-9a-fA-F:.]+(/[0-9]{1,3})?")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def _duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError("must be a text, an ISO 8601 duration such as PT3H")  # noqa: TRY004 - pydantic turns only ValueError into an answer
    return parse_duration(value)


def _duration_text(value: str) -> str:
    parse_duration(value)
    return value


def _instant_text(value: str) -> str:
    parse_instant(value)
    return value


def _with_plain_breaks(value: object) -> object:
    """Write every line break as one character: Windows and old Macs end lines otherwise."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


def _printable(value: str) -> str:
    found = _CONTROL.search(value)
    if found:
        raise ValueError(
            f"must not contain control characters but line breaks and tabs; U+{ord(found[0]):04X} "
            f"stands at position {found.start()}"
        )
    return value


def _one_line(value: str) -> str:
    if "\n" in value or "\t" in value:
        raise ValueError("must be one line without tabs")
    return _printable(value)


def _vm_id(value: str) -> str:
    return parse_machine_id(value).text


def _prefix(value: str) -> str:
    if not is_any(value) and not (_PLAIN_PREFIX.fullmatch(value) and network(value)):
        raise ValueError(
            "must be *, an IP address or a prefix such as 203.0.113.7 or 203.0.113.0/28; "
            "host names and service tags are not accepted"
        )
    return value


def _known_as(**schema: Any) -> Any:
    """Say in the OpenAPI document what a check written in Python asks for."""
    return Field(json_schema_extra=lambda told: told.update(schema))


Duration = Annotated[timedelta, BeforeValidator(_duration), _known_as(examples=["PT3H"])]
DurationText = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_duration_text),
    _known_as(format="duration", examples=["PT3H"]),
]
InstantText = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_instant_text),
    _known_as(format="date-time", examples=["2026-11-22T15:00:00Z"]),
]
VmId = Annotated[str, AfterValidator(_vm_id), _known_as(pattern=VM_ID_PATTERN)]
Prefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_prefix),
    _known_as(examples=["203.0.113.7", "203.0.113.0/28", "2001:db8::/64"]),
]
Prefixes = Annotated[list[Prefix], Field(min_length=1, max_length=MAX_SOURCES)]
# 0 is what the real service's specification allows.
WholeNumber = Annotated[int, BeforeValidator(whole_number), Field(strict=True)]
PortNumber = Annotated[WholeNumber, Field(ge=0, le=65_535)]
Justification = Annotated[
    str,
    BeforeValidator(_with_plain_breaks),
    StringConstraints(max_length=MAX_JUSTIFICATION),
    AfterValidator(_printable),
]
OneLine = Annotated[
    str,
    BeforeValidator(_with_plain_breaks),
    StringConstraints(min_length=1, max_length=256),
    AfterValidator(_one_line),
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


class OneSource(Wire):
    """A source: one prefix or several, or none for the caller's own address."""

    allowed_source_address_prefix: Prefix | None = None
    allowed_source_address_prefixes: Prefixes | None = None

    @model_validator(mode="after")
    def _at_most_one(self) -> "OneSource":
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


Model = TypeVar("Model", bound=Wire)


def read_body(
    model: type[Model],
    body: bytes,
    code: str = "InvalidRequestContent",
    *,
    headers: Mapping[str, str] | None = None,
) -> Model:
    """Read a JSON body; raises InvalidInputError with every field that is wrong.

    The headers say how the body is encoded; raises UnsupportedMediaTypeError where it is not read.
    """
    try:
        return model.model_validate(read_json(body, headers or {}))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        reasons = tuple(
            Reason(code, field_error(model, each), target_of(each["loc"]))
            for each in found[:MAX_REASONS]
        )
        raise InvalidInputError(_summed_up(reasons), code=code, details=reasons) from None


def _summed_up(reasons: tuple[Reason, ...]) -> str:
    """Say the first of several things; where it stands is in the details too."""
    first = reasons[0]
    # A whole sentence is the real service's own, which scripts compare.
    alone = first.message.endswith(".")
    told = first.message if alone else f"{first.target or 'the body'}: {first.message}"
    return told if len(reasons) == 1 else f"{told} ({len(reasons) - 1} more in details)"


def target_of(location: tuple[int | str, ...]) -> str:
    """Write where in a body something stands: virtualMachines[0].ports[1].number."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
