"""Find policies, and read and write them as files."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jit_access.client import policy_parts
from jit_access.client.json_models import Json
from jit_access.client.models import Policy
from jit_access.commands.exits import CommandError, Exit
from jit_access.commands.session import Session
from jit_access.commands.vms import group_and_name, list_machines

# What the service adds to a policy; it is no part of what a person writes.
_ANSWERED = ("requests", "provisioningState", "provisioningError", "appendMode")


def all_policies(session: Session, subscription: str | None = None) -> Iterator[Policy]:
    """Yield the policies of a subscription, or of every one that has a VM in scope."""
    ids = [subscription] if subscription else _subscriptions(session)
    for subscription_id in ids:
        yield from session.client.every(session.client.list_policies(subscription_id))


def _subscriptions(session: Session) -> list[str]:
    found = {machine.id.split("/")[2].lower() for machine in list_machines(session)}
    return sorted(found)


def find_policy(session: Session, text: str) -> str:
    """Return the id of the policy that an id, a name or group/name means."""
    if text.startswith("/"):
        return _checked_id(text)
    wanted = text.lower()
    found = [
        policy.id
        for policy in all_policies(session)
        if wanted in {policy.name.lower(), group_and_name(policy.id).lower()}
    ]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(
            f"there is no policy '{text}'", "`jit policy ls` lists them.", Exit.NOT_FOUND
        )
    listed = "\n".join(f"  {group_and_name(policy_id)}  {policy_id}" for policy_id in found)
    raise CommandError(
        f"{len(found)} policies are called '{text}':\n{listed}",
        "Name one by its group/name or its whole id.",
        Exit.NOT_FOUND,
    )


def _checked_id(policy_id: str) -> str:
    try:
        policy_parts(policy_id)
    except ValueError as error:
        raise CommandError(str(error), "`jit policy ls` lists their ids.") from None
    return policy_id


def read_policy(path: Path) -> Json:
    """Return the policy in a JSON or YAML file."""
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path}: {error}") from None
    found = _parsed(text, path)
    if not isinstance(found, dict):
        raise CommandError(f"{path}: a policy is an object with 'properties'")
    return found if "properties" in found else {"properties": found}


def _parsed(text: str, path: Path) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise CommandError(f"{path}: not JSON: {error}") from None
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandError(f"{path}: not YAML: {error}") from None


def target_of(session: Session, body: Json, name: str | None) -> str:
    """Return the id of the policy to write: from the command line, else from the file."""
    if name:
        return find_policy(session, name)
    if isinstance(body.get("id"), str):
        return _checked_id(body["id"])
    raise CommandError("the file has no 'id'", "Name the policy: jit policy put FILE POLICY")


def written_part(policy: Json) -> Json:
    """Return the part of a policy that a person writes."""
    properties = {
        name: value for name, value in policy.get("properties", {}).items() if name not in _ANSWERED
    }
    kept = {name: policy[name] for name in ("id", "kind") if policy.get(name)}
    return {**kept, "properties": properties}


def to_yaml(data: Any) -> str:
    """Return data as YAML in its own order."""
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True)).rstrip("\n")
