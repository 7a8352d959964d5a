"""Write a policy and see it applied, or show what it would change."""

import difflib
import time

from jit_access.client.errors import NotFoundError
from jit_access.client.json_models import Json
from jit_access.client.models import PolicyDryRun
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.output import Result, printable
from jit_access.commands.policy_files import to_yaml, written_part
from jit_access.commands.requesting import change_lines
from jit_access.commands.session import Session

_POLL_SECONDS, _APPLIED_SECONDS = 1.0, 600.0


def apply_policy(session: Session, policy_id: str, body: Json, *, wait: bool) -> int:
    """Write a policy, and wait until every firewall is proven."""
    found = session.client.put_policy(policy_id, body)
    deadline = time.monotonic() + _APPLIED_SECONDS
    while wait and found.properties.provisioning_state == "Updating":
        if time.monotonic() > deadline:
            break
        session.progress("applying ...")
        time.sleep(_POLL_SECONDS)
        found = session.client.get_policy(policy_id)
    state = found.properties.provisioning_state
    count = len(found.properties.virtual_machines)
    session.show(Result(found.raw, f"{policy_id}: {state}, {count} VMs"))
    if state == "Failed":
        raise CommandError(
            f"it was not applied: {found.properties.provisioning_error}",
            "`jit vm ls` shows which VM is concerned.",
            Exit.FAILED,
        )
    return Exit.WAITING if wait and state == "Updating" else Exit.DONE


def show_dry_run(session: Session, policy_id: str, body: Json) -> int:
    """Show the difference to the present policy and the rules it would change."""
    current = _current(session, policy_id)
    found = session.client.dry_run_policy(policy_id, body)
    proposed = found.policy.raw if found.policy else {"id": policy_id, **body}
    session.show(Result(found.raw, "\n".join(_lines(current, proposed, found))))
    if not found.allowed:
        return Exit.OUTSIDE_POLICY
    return Exit.FAILED if found.problems else Exit.DONE


def _current(session: Session, policy_id: str) -> Json:
    try:
        return session.client.get_policy(policy_id).raw
    except NotFoundError:
        return {}


def _lines(current: Json, proposed: Json, found: PolicyDryRun) -> list[str]:
    before = to_yaml(written_part(current)).splitlines() if current else []
    after = to_yaml(written_part(proposed)).splitlines()
    difference = list(difflib.unified_diff(before, after, "present", "proposed", lineterm=""))
    lines = difference or ["no difference to the present policy"]
    lines += [f"{line.code}: {line.message}" for line in (*found.reasons, *found.problems)]
    return [printable(line) for line in lines] + list(change_lines(found))
