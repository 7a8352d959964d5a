"""Hide a request's reasons and addresses from callers without the permission to read them."""

from dataclasses import replace

from shared.domain.model import AccessRequest, Approval, Extension, PortRequest
from shared.domain.request import change_ports

HIDDEN = "shown only to callers who may read the activity"


def without_details(request: AccessRequest) -> AccessRequest:
    """Return a request without justification, comments, messages and addresses."""
    return replace(
        change_ports(request, _without_sources),
        justification=None,
        source_address="",
        approval=_without_comments(request.approval) if request.approval else None,
        extension=_bare(request.extension) if request.extension else None,
        decided=tuple(_bare(each) for each in request.decided),
    )


def _without_sources(port: PortRequest) -> PortRequest:
    closing = replace(port.closing, message=HIDDEN) if port.closing else None
    return replace(port, sources=(), bastion="", closing=closing)


def _without_comments(approval: Approval) -> Approval:
    return replace(approval, votes=tuple(replace(vote, comment="") for vote in approval.votes))


def _bare(extension: Extension) -> Extension:
    return replace(extension, approval=_without_comments(extension.approval))
