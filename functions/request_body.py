"""The bodies that ask for access: the JIT API's own, and the short form."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StrictBool, model_validator

from functions.people import PersonWire
from functions.wire import (
    Duration,
    InstantText,
    Justification,
    OneSource,
    PortNumber,
    Prefix,
    VmId,
    Wire,
)
from shared.domain.bastion import ANY_BASTION, BASTION_TYPE
from shared.domain.ids import is_resource
from shared.domain.policy import MAX_PORTS
from shared.domain.times import parse_instant

# The real service's own sentence, for neither and for both.
_ONE_END = "Only one of fields 'EndTimeUtc' and 'Duration' can be set."


# Answers name the address and port to connect to; sent back, they choose neither.
IgnoredPort = Annotated[PortNumber | None, Field(exclude=True)]
IgnoredAddress = Annotated[Prefix | None, Field(exclude=True)]


def _bastion(value: str) -> str:
    if value.lower() == ANY_BASTION:
        return ANY_BASTION
    if not is_resource(value, BASTION_TYPE):
        raise ValueError("must be 'bastion', or the id of a Bastion host")
    return value


class _OneEnd(Wire):
    end_time_utc: InstantText | None = None
    duration: Duration | None = None

    @model_validator(mode="after")
    def _one_end(self) -> "_OneEnd":
        if (self.end_time_utc is None) == (self.duration is None):
            raise ValueError(_ONE_END)
        return self

    @property
    def end_at(self) -> datetime | None:
        """Return the end as an instant."""
        return parse_instant(self.end_time_utc) if self.end_time_utc else None


class RequestSource(OneSource):
    """A source of a request: prefixes, Azure Bastion, or none for the caller's own address."""

    source: Annotated[str, AfterValidator(_bastion)] | None = Field(
        None, description="`bastion`, or the id of a Bastion host, in place of a prefix"
    )

    @model_validator(mode="after")
    def _bastion_alone(self) -> "RequestSource":
        if self.source and self.sources:
            raise ValueError("'source' names Bastion; no source address can be set beside it")
        return self


class PortRequestWire(RequestSource, _OneEnd):
    """One port asked for."""

    number: PortNumber
    mapped_port: IgnoredPort = None
    public_ip_address: IgnoredAddress = None


class RequestVmWire(Wire):
    """The ports asked for on one VM."""

    id: VmId
    public_ip_address: IgnoredAddress = None
    ports: list[PortRequestWire] = Field(min_length=1, max_length=MAX_PORTS)


class _Asking(Wire):
    """The fields that both forms have for the whole request; the last two are ours."""

    justification: Justification | None = None
    break_glass: StrictBool = Field(
        default=False, description="skip the approval, with a justification; announced loudly"
    )
    on_behalf_of: PersonWire | None = Field(
        None, description="whom an app that relays requests speaks for"
    )


class InitiateWire(_Asking):
    """The body of an initiate."""

    virtual_machines: list[RequestVmWire] = Field(min_length=1, max_length=MAX_PORTS)

    @model_validator(mode="after")
    def _limit_ports(self) -> "InitiateWire":
        if sum(len(vm.ports) for vm in self.virtual_machines) > MAX_PORTS:
            raise ValueError(f"one request holds at most {MAX_PORTS} ports; send several")
        return self

    def said(self) -> str:
        """Return a request's content in one spelling, by which repeats of it are recognised."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class ShortRequestWire(_Asking, RequestSource, _OneEnd):
    """The body of the short form: one VM, some ports, one end."""

    virtual_machine: VmId
    ports: Annotated[list[PortNumber], Field(min_length=1, max_length=MAX_PORTS)]

    def as_initiate(self) -> InitiateWire:
        """Say the same in the long form."""
        each: dict[str, Any] = {
            name: getattr(self, name)
            for name in (*RequestSource.model_fields, *_OneEnd.model_fields)
        }
        whole = {name: getattr(self, name) for name in _Asking.model_fields}
        ports = [PortRequestWire.model_construct(number=number, **each) for number in self.ports]
        vm = RequestVmWire.model_construct(id=self.virtual_machine, ports=ports)
        return InitiateWire.model_construct(virtual_machines=[vm], **whole)
