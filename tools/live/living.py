"""The steps on the deployed app: refusals, a whole access, and an access that is revoked."""

from datetime import UTC, datetime

from jit_access.client import JitClient, NewShortRequest, wait_for_request
from jit_access.client.models import RequestStatus
from tools.live.bodies import BASTION_PREFIX
from tools.live.outside import NETWORK, LiveError, Rest
from tools.live.session import Session, check

PORT = 22
_POLICY_WITHIN = 300.0
_OPEN_WITHIN = 180.0
_CLOSED_WITHIN = 120.0
_LATEST_CLOSE = 60.0  # seconds after the end that the suite accepts
_UNAUTHORIZED = 401


def try_refusals(session: Session) -> str:
    """Test that a call without a token, and one with a token of another audience, get 401."""
    url = session.outputs["JIT_API_URL"]
    statuses = [
        Rest(url, token).call("GET", "/api/requests").status
        for token in (lambda: "none", session.target.token_for("https://management.azure.com"))
    ]
    check(statuses == [_UNAUTHORIZED] * 2, f"a call without a valid token got {statuses}")
    return "a call without a token and one with Azure's own token got 401"


def check_health(session: Session) -> str:
    """Check that the app is healthy and has found whether Azure honours If-Match."""
    token = session.target.token_for(session.outputs["JIT_API_AUDIENCE"])
    api = Rest(session.outputs["JIT_API_URL"], token)
    found = api.call("GET", "/api/health").body or {}
    check("ifMatchProbe" in found, "the figures of the app's health cannot be read")
    problems, probe = found["problems"], found["ifMatchProbe"]["state"]
    check(not problems, f"the app is {found['status']}: {problems}")
    check(probe == "honoured", f"the app's own test of If-Match says {probe}")
    return f"{found['status']}; the app's own test of If-Match says {probe}"


def protect(session: Session) -> str:
    """Write a policy for the VM. Roles take up to ten minutes to act, so it is written again."""
    took = session.wait(
        lambda: _is_applied(session), "the policy is applied", _policy_wait(session)
    )
    denies = session.rules_of_app("Deny")
    check(len(denies) == len(session.groups), f"{len(denies)} deny rules on two groups")
    return f"port {PORT} is denied on both groups, {took:.0f} s after the first try"


def _policy_wait(session: Session) -> float:
    return session.target.patience + _POLICY_WITHIN


def _is_applied(session: Session) -> bool:
    """Write the policy and wait for its verdict; tell whether it succeeded."""
    port = {
        "number": PORT,
        "protocol": "TCP",
        "allowedSourceAddressPrefix": "*",
        "maxRequestAccessDuration": "PT1H",
    }
    machines = [{"id": session.run.machine, "ports": [port]}]
    properties = {"virtualMachines": machines, "conditions": {"flushConnections": True}}
    with session.client() as client:
        client.put_policy(session.run.policy, {"kind": "Basic", "properties": properties})
        session.wait(
            lambda: _state(client, session) != "Updating", "the policy is decided", _POLICY_WITHIN
        )
        return _state(client, session) == "Succeeded"


def _state(client: JitClient, session: Session) -> str:
    return str(client.get_policy(session.run.policy).properties.provisioning_state)


def try_whole_life(session: Session) -> str:
    """Open the port for the shortest time, see it open, and see it closed after its end."""
    opened = _open(session, "whole life")
    end = opened.end
    if end is None:
        raise LiveError("an open request has no end")
    reached = session.wait(lambda: _reaches(session), "the open port answers", _OPEN_WITHIN)
    session.wait(
        lambda: datetime.now(UTC) >= end, "the end comes", (end - _now()).total_seconds() + 5
    )
    session.wait(lambda: not _reaches(session), "the port is closed", _CLOSED_WITHIN)
    late = (_now() - end).total_seconds()
    closed = wait_for_status(session, opened.id, "Revoked")
    reason = closed.ports[0][1].status_reason
    check(reason == "Expired", f"the request ended as {reason}")
    check(not session.rules_of_app("Allow"), "an allow rule is left after the end")
    check(late <= _LATEST_CLOSE, f"the port was closed {late:.0f} s after its end")
    return f"open {reached:.0f} s after Initiated, closed {late:.0f} s after its end"


def try_flush(session: Session) -> str:
    """Revoke an access with a connection open, and see whether the connection is cut."""
    opened = _open(session, "flush")
    session.wait(lambda: _reaches(session), "the open port answers", _OPEN_WITHIN)
    connection = session.target.port.connect(session.address)
    with session.client() as client:
        client.revoke_request(opened.id)
    session.wait(lambda: not _reaches(session), "the revoked port is closed", _CLOSED_WITHIN)
    wait_for_status(session, opened.id, "Revoked")
    check(not session.rules_of_app("Allow"), "an allow rule is left after the revocation")
    arm = session.target.arm
    flags = [arm.require("GET", group, NETWORK).body["properties"] for group in session.groups]
    flushed = [each.get("flushConnection") for each in flags]
    check(flushed == [True, True], f"flushConnection is {flushed} on the two groups")
    if connection is None:
        return "revoked, flushConnection is on; this network has no connections to cut"
    check(not connection.answers(), "revoked, but the open connection still answers")
    return "revoked, and the open connection was cut"


def try_bastion(session: Session) -> str:
    """Open the port to Bastion alone, see it closed for this machine, and revoke."""
    with session.client() as client:
        opened = open_for(session, client, "Bastion", BASTION_PREFIX, source="bastion")
        check(not _reaches(session), "port 22 is open to this machine, not to Bastion alone")
        client.revoke_request(opened.id)
    wait_for_status(session, opened.id, "Revoked")
    check(not session.rules_of_app("Allow"), "an allow rule is left after the revocation")
    return f"both groups opened to {BASTION_PREFIX} alone, and closed again"


def _open(session: Session, justification: str) -> RequestStatus:
    """Request access from this machine's address and wait until it is open everywhere."""
    with session.client() as client:
        source = ask_address(session, client)
        return open_for(
            session, client, justification, source, allowed_source_address_prefix=source
        )


def ask_address(session: Session, client: JitClient) -> str:
    """Return this machine's address as the app sees it."""
    session.source = session.target.source or client.get_me().address or ""
    check(session.source, "the app does not know this machine's address")
    return session.source


def open_for(
    session: Session,
    client: JitClient,
    justification: str,
    expected: str,
    *,
    duration: str = "",
    within: float = _OPEN_WITHIN,
    **source: str,
) -> RequestStatus:
    """Request access from a source, wait until it is open, and check the rules' source."""
    wanted = NewShortRequest(
        virtual_machine=session.run.machine,
        ports=(PORT,),
        duration=duration or session.target.access,
        justification=f"live suite: {justification}",
        **source,  # type: ignore[arg-type]
    )
    accepted = client.request_access_short(wanted)
    opened = wait_for_request(
        client,
        accepted.location,
        timeout_seconds=within,
        longest_pause_seconds=session.target.pause,
    )
    check(opened.status == "Initiated", f"the request is {opened.status}: {opened.raw}")
    allows = session.rules_of_app("Allow")
    sources = {rule["sourceAddressPrefix"].removesuffix("/32") for rule in allows}
    check(len(allows) == len(session.groups), f"{len(allows)} allow rules on two groups")
    check(sources == {expected}, f"the allow rules are for {sources}")
    return opened


def _reaches(session: Session) -> bool:
    return session.target.port.reaches(session.address)


def wait_for_status(
    session: Session, request_id: str, status: str, within: float = _CLOSED_WITHIN
) -> RequestStatus:
    """Wait until a request has a status, and return it."""
    with session.client() as client:
        session.wait(
            lambda: client.get_request(request_id).status == status,
            f"the request is {status}",
            within,
        )
        return client.get_request(request_id)


def _now() -> datetime:
    return datetime.now(UTC)
