"""azd as the hooks use it, over the file of the stand-in for the Azure CLI."""

import json
import os
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_AZ_STATE"])


def main() -> int:
    """Answer one command."""
    state = json.loads(STATE.read_text(encoding="utf-8"))
    state["azd_calls"].append(sys.argv[1:])
    STATE.write_text(json.dumps(state), encoding="utf-8")
    if sys.argv[1:] == ["version"] and state["azd"]:
        sys.stdout.write(f"azd version {state['azd']} (commit 0123456789abcdef) (stable)\n")
        return 0
    return 0 if sys.argv[1:3] == ["env", "set"] else 2


if __name__ == "__main__":
    sys.exit(main())
