"""Commands for people who operate or audit a deployment. Never deployed."""

import sys
from pathlib import Path

# The command line's package is a distribution of its own; here it is used uninstalled.
_CLIENT = str(Path(__file__).parent.parent / "cli" / "src")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
