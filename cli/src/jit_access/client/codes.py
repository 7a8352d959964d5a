"""Every code that the API refuses a call with, and what a person can do about it.

Tests hold both tables to openapi.json. An empty advice: the message says all there is to say.
"""

REFUSALS: dict[str, str] = {
    "AlreadyDecided": "Your earlier decision stands; revoke the request with `jit end ID`.",
    "ApprovalTimedOut": "Request access again.",
    "ApproverNotAllowed": "A person other than the requestor has to decide.",
    "AuthenticationFailed": "Sign in again (`az login`), or set JIT_TOKEN; `jit doctor` checks it.",
    "AuthorizationFailed": "Ask an administrator for the action at the scope that is named.",
    "Conflict": "Look at the present state with `jit show ID`, then try again.",
    "ExtensionPending": "Wait for the decision on the first extension: `jit show ID`.",
    "InternalServerError": "Quote the request id to the operator.",
    "InvalidInitiateInput": "",
    "InvalidPath": "Give the policy's full id; `jit policy ls` lists them.",
    "InvalidPrecondition": "",
    "InvalidQuery": "",
    "InvalidQueryParameter": "",
    "InvalidRequestContent": "",
    "InvalidRequestId": "",
    "InvalidScope": "",
    "InvalidSkipToken": "Start the list again.",
    "MissingRequestBody": "A proxy on the way may have removed the body.",
    "NotAnExtension": "Name an end that is later than the present one: `jit show ID`.",
    "NotAwaitingApproval": "Look at its state with `jit show ID`.",
    "NotFound": "The service may be older than this client; check the URL with `jit doctor`.",
    "NotOpen": "Only open access can be extended; request it again with `jit request`.",
    "PolicyNotFound": "`jit policy ls` lists the policies.",
    "PolicyTooLarge": "Split the policy in two.",
    "PortRequestNotFound": "The request has no such VM: `jit show ID`.",
    "PreconditionFailed": "Read the policy again, `jit policy show`, and repeat the change.",
    "RepeatabilityWindowPassed": "Look whether it was carried out, `jit ls`; then call anew.",
    "RepeatedRequestDiffers": "Send it again under a new id.",
    "RequestBodyTooLarge": "Split it in two.",
    "RequestNotFound": "`jit ls` lists your requests.",
    "RequestNotWithinPolicy": "`jit vm show VM` says what the policy allows.",
    "RowTooLarge": "Send less: a shorter text, or fewer ports and sources.",
    "ServiceUnavailable": "Try again in a few seconds; `jit doctor` shows the health.",
    "TooManyExtensions": "Request access again: `jit request VM`.",
    "TooManyRequests": "Wait, or end open access that is not needed: `jit ls --mine --open`.",
    "UnsupportedMediaType": "A proxy on the way may have encoded the body.",
}
REASONS: dict[str, str] = {
    "CannotBeOpened": "An administrator has to change the firewall rule that is named.",
    "CannotBeProtected": "An administrator has to change the firewall rule that is named.",
    "DuplicatePort": "",
    "DuplicateVirtualMachine": "",
    "DurationTooLong": "Choose a shorter time: --for.",
    "DurationTooShort": "Choose a longer time: --for.",
    "InvalidDuration": "",
    "InvalidInitiateInput": "",
    "InvalidRequestContent": "",
    "InvalidSubscription": "",
    "JustificationPattern": "Give a reason of the form that is named: -j.",
    "JustificationRequired": "Give a reason: -j 'INC12345 disk full'.",
    "NotHeld": "",
    "PortNotInPolicy": "`jit vm show VM` lists the ports of the policy.",
    "ProtocolNotInPolicy": "Request access again: `jit request VM`.",
    "SourceNotAllowed": "Choose a source within the policy: --source.",
    "SourceNotBastion": "Request through Bastion: --source bastion.",
    "BastionNotFound": "Ask an administrator which Bastion reaches the VM, or use --source.",
    "BastionAmbiguous": "Name one Bastion host: --source HOST_ID.",
    "BastionNotReadable": "An administrator has to give the app the action that is named.",
    "PortNotThroughBastion": "Request 22 or 3389, or use a Bastion of the Standard SKU.",
    "SourceNotOwnAddress": "Leave --source out: this policy opens to your own address only.",
    "SourceTooWide": "Choose a narrower source: --source.",
    "SourcesTooWide": "Choose fewer or narrower sources: --source.",
    "TotalDurationTooLong": "Request access again when this one has ended.",
    "VirtualMachineNotInPolicy": "An administrator has to add the VM to a policy.",
}


def advice_for(code: str, details: tuple[str, ...] = ()) -> str:
    """Return what to do about a refusal, from its lines where they say more than its code."""
    found = [REASONS[line] for line in details if REASONS.get(line)]
    return " ".join(dict.fromkeys(found)) or REFUSALS.get(code, "")
