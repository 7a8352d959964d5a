"""The Azure CLI as the hooks use it, over a file: what is called is noted, rules come and go."""

import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

KNOWN = (["functionapp", "stop"], ["functionapp", "start"], ["deployment", "group"])
PAGE = 2
STATE = Path(os.environ["FAKE_AZ_STATE"])


def main() -> int:
    """Answer one command."""
    state: dict[str, Any] = json.loads(STATE.read_text(encoding="utf-8"))
    arguments = sys.argv[1:]
    state["calls"].append(arguments)
    try:
        return _answer(state, arguments)
    finally:
        STATE.write_text(json.dumps(state), encoding="utf-8")


def _answer(state: dict[str, Any], arguments: list[str]) -> int:
    options = {
        name: following
        for name, following in itertools.pairwise(arguments)
        if name.startswith("--")
    }
    if arguments[:3] == ["network", "nsg", "list"]:
        if options["--query"] != "[].securityRules[].id" or options["--output"] != "tsv":
            return 2
        _pass_time(state)
        _say("\n".join(state["rules"]))
        return 0
    if arguments[:4] == ["network", "nsg", "rule", "delete"]:
        if options["--ids"] in state["locked"]:
            return 1
        state["rules"].remove(options["--ids"])
        return 0
    if arguments[0] == "functionapp":
        state["running"] = arguments[1] == "start"
    other = {"rest": _rest, "role": _assign}.get(arguments[0])
    if other is not None:
        return other(state, options)
    return 0 if arguments[:2] in KNOWN else 2


def _assign(state: dict[str, Any], options: dict[str, str]) -> int:
    """Assign a role, after as many refusals as the state has for its scope."""
    refusals = state["errors"].get(options["--scope"], [])
    if refusals:
        return _fail(refusals.pop(0))
    held = [options["--scope"], options["--assignee-object-id"], options["--role"]]
    if options["--assignee-principal-type"] != "ServicePrincipal":
        return 2
    if held in state["assignments"]:
        return _fail("(RoleAssignmentExists) The role assignment already exists.")
    state["assignments"].append(held)
    return 0


def _verify(state: dict[str, Any], path: str, query: str) -> int:
    """Answer what postdeploy asks; each list ends with the answer that stays."""
    forms = {"/api/requests": "length(value)"}
    forms["/api/health"] = "join(' ', [status, lastSweep || 'hidden'])"
    if query != forms[path]:
        return 2
    answers = state["with_token" if path == "/api/requests" else "health"]
    answer: str = answers.pop(0) if len(answers) > 1 else answers[0]
    if answer.startswith("ERROR"):
        return _fail(answer)
    _say(answer)
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


def _rest(state: dict[str, Any], options: dict[str, str]) -> int:
    if options["--method"] == "patch":
        return 0 if options["--url"].startswith("/subscriptions/") else 2
    if not state["running"] or options["--resource"] != state["audience"]:
        return 1
    path, _, query = options["--url"].removeprefix(state["api"]).partition("?")
    if path in {"/api/requests", "/api/health"}:
        return _verify(state, path, options["--query"])
    if options["--method"] == "get":
        scope = path.rsplit("/", 3)[0]
        if scope not in state["scopes"]:
            return 1  # the app's roles count within its scopes only
        found = [each for each in state["policies"] if each.startswith(f"{scope}/")]
        first = int(query.partition("skipToken=")[2] or 0)
        page = found[first : first + PAGE]
        if options["--query"] == "value[].id":
            _say("\n".join(page))
        elif options["--query"] == "nextLink":
            following = f"{state['api']}{path}?$skipToken={first + PAGE}"
            _say(following if found[first + PAGE :] else "")
        else:
            _say(json.dumps([{"id": each} for each in page]))
        return 0
    state["policies"].remove(path)
    return 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _pass_time(state: dict[str, Any]) -> None:
    """Let a running app close what no policy covers any more, one rule at a look."""
    if state["running"] and not state["policies"] and state["looks"] > 0:
        mark = state["mark"]
        ours = [r for r in state["rules"] if f"-{mark}-0" in r or f"_{mark}_0" in r]
        gone = [rule for rule in ours if rule not in state["stuck"]]
        if gone:
            state["rules"].remove(gone[0])
    state["looks"] += 1


if __name__ == "__main__":
    sys.exit(main())
