"""Everything that runs the app on your machine: the local stack. Never deployed."""

import sys
from pathlib import Path

# The command line's package is a distribution of its own; here its client is used uninstalled.
_CLIENT = str(Path(__file__).parent.parent / "cli" / "src")
if _CLIENT not in sys.path:
    sys.path.append(_CLIENT)
