"""The conditions of a policy on the wire: how they are read, answered and described."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StringConstraints,
    model_validator,
)

from functions.schemas.base import COUNT, DURATION, FLAG, TEXT, object_of, one_of, or_null
from functions.wire import Duration, WholeNumber, Wire
from shared.domain.model import LONGEST_WAIT, CloseBy, Conditions, ExtensionApproval
from shared.domain.patterns import MAX_PATTERN, compile_pattern
from shared.domain.policy import (
    MAX_TOTAL_DURATION,
)
from shared.domain.times import format_duration


def _time_to_approve(value: timedelta) -> timedelta:
    if not timedelta(minutes=1) <= value <= LONGEST_WAIT:
        raise ValueError(f"must be from PT1M to {format_duration(LONGEST_WAIT)}")
    return value


def _total_duration(value: timedelta) -> timedelta:
    if not timedelta(minutes=5) <= value <= MAX_TOTAL_DURATION:
        raise ValueError(f"must be from PT5M to {format_duration(MAX_TOTAL_DURATION)}")
    return value


def _pattern(value: str) -> str:
    if value:
        compile_pattern(value)
    return value


_MEANT: dict[bool | None, ExtensionApproval] = {
    True: ExtensionApproval.AS_OPENING,
    False: ExtensionApproval.NEVER,
}


class ConditionsWire(Wire):
    """A policy's conditions besides Defender's fields."""

    justification_required: StrictBool = False
    justification_pattern: Annotated[
        str, StringConstraints(max_length=MAX_PATTERN), AfterValidator(_pattern)
    ] = ""
    widest_source_prefix_ipv4: Annotated[WholeNumber, Field(ge=8, le=32)] | None = None
    widest_source_prefix_ipv6: Annotated[WholeNumber, Field(ge=16, le=128)] | None = None
    own_address_only: StrictBool = False
    only_through_bastion: StrictBool = False
    approvers_needed: Annotated[WholeNumber, Field(ge=0, le=5)] = 0
    approve_extensions: StrictBool | None = Field(
        None, description="true: extensionApproval is asOpening; false: never"
    )
    approval_timeout: Annotated[Duration, AfterValidator(_time_to_approve)] = timedelta(hours=1)
    flush_connections: StrictBool = False
    extension_approval: ExtensionApproval | None = None
    max_total_duration: Annotated[Duration, AfterValidator(_total_duration)] = timedelta(days=1)
    close_by: CloseBy = CloseBy.BEGIN
    revoke_foreign_rules: StrictBool = False

    @model_validator(mode="after")
    def _one_source(self) -> "ConditionsWire":
        if self.own_address_only and self.only_through_bastion:
            raise ValueError("'ownAddressOnly' and 'onlyThroughBastion' contradict each other")
        return self

    @model_validator(mode="after")
    def _one_answer(self) -> "ConditionsWire":
        sent, meant = self.extension_approval, _MEANT.get(self.approve_extensions)
        if sent and meant and sent is not meant:
            raise ValueError(
                "'approveExtensions' and 'extensionApproval' contradict each other; send one"
            )
        return self

    @property
    def approval_of_extensions(self) -> ExtensionApproval:
        """Return when an extension needs approval, by whichever field was sent."""
        meant = _MEANT.get(self.approve_extensions, ExtensionApproval.AS_OPENING)
        return self.extension_approval or meant


CONDITIONS = object_of(
    {
        "justificationRequired": FLAG,
        "justificationPattern": TEXT,
        "widestSourcePrefixIpv4": or_null(COUNT),
        "widestSourcePrefixIpv6": or_null(COUNT),
        "ownAddressOnly": FLAG,
        "onlyThroughBastion": FLAG,
        "approversNeeded": COUNT,
        "extensionApproval": one_of(*(each.value for each in ExtensionApproval)),
        "approveExtensions": FLAG,
        "maxTotalDuration": DURATION,
        "approvalTimeout": DURATION,
        "flushConnections": FLAG,
        "closeBy": one_of(*(each.value for each in CloseBy)),
        "revokeForeignRules": FLAG,
    }
)


def conditions_of(wire: ConditionsWire | None) -> Conditions:
    """Return the conditions that a PUT sets; none where it sets none."""
    if wire is None:
        return Conditions()
    asked = wire.approval_of_extensions
    return Conditions(
        justification_required=wire.justification_required,
        justification_pattern=wire.justification_pattern,
        widest_ipv4=wire.widest_source_prefix_ipv4 or 0,
        widest_ipv6=wire.widest_source_prefix_ipv6 or 0,
        own_address_only=wire.own_address_only,
        only_through_bastion=wire.only_through_bastion,
        approvers_needed=wire.approvers_needed,
        # What the version before this one reads: after a step back it still asks for approval.
        approve_extensions=asked is ExtensionApproval.AS_OPENING and wire.approvers_needed > 0,
        approval_timeout=wire.approval_timeout,
        flush_connections=wire.flush_connections,
        extension_approval=asked,
        max_total_duration=wire.max_total_duration,
        close_by=wire.close_by,
        revoke_foreign=wire.revoke_foreign_rules,
    )


def conditions_answer(held: Conditions) -> dict[str, Any]:
    """Write our own extras; a client that does not know them skips them."""
    return {
        "justificationRequired": held.justification_required,
        "justificationPattern": held.justification_pattern,
        "widestSourcePrefixIpv4": held.widest_ipv4 or None,
        "widestSourcePrefixIpv6": held.widest_ipv6 or None,
        "ownAddressOnly": held.own_address_only,
        "onlyThroughBastion": held.only_through_bastion,
        "approversNeeded": held.approvers_needed,
        "extensionApproval": held.extension_approval.value,
        "approveExtensions": held.extension_approval is ExtensionApproval.AS_OPENING,
        "maxTotalDuration": format_duration(held.max_total_duration),
        "approvalTimeout": format_duration(held.time_to_approve),
        "flushConnections": held.flush_connections,
        "closeBy": held.close_by.value,
        "revokeForeignRules": held.revoke_foreign,
    }
