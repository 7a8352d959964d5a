"""Let this process and its children use only the time that other processes leave.

Linux groups processes by session, and a nice value counts within the group alone. A group has a
nice value of its own, in /proc/<pid>/autogroup; elsewhere the file is missing.
"""

import contextlib
import os
from pathlib import Path

LOWEST = 19


def lower() -> None:
    """Give this process and its session the lowest priority."""
    os.nice(LOWEST)
    _set_group("self", LOWEST)


def pass_on(pid: int) -> None:
    """Give the session of a child the priority of this process, if that one is lowered."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if nice > 0:
        _set_group(pid, nice)


def _set_group(process: str | int, nice: int) -> None:
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/autogroup").write_text(str(nice), encoding="ascii")
