"""The section on large estates."""

from bench.numbers import told
from bench.place import Json


def write_scale(figures: Json) -> str:
    """Write what a reconcile and a listing of many VMs take."""
    lines = ["## Large estates", ""]
    if "reconcile" in figures:
        lines += _reconcile(figures["reconcile"])
    if "machines" in figures:
        lines += _machines(figures["machines"])
    return "\n".join(lines)


def _reconcile(found: Json) -> list[str]:
    return [
        f"`python -m bench reconcile`. {found['vms']:,} VMs behind {found['nsgs']:,} NSGs, their policies",
        "applied, nothing changed since. Rows in Azurite, the real quotas on.",
        "",
        "| ARM reads | ARM writes | table queries | rows read | processor time, s | s |",
        "|---:|---:|---:|---:|---:|---:|",
        _row(
            found["reads"],
            found["writes"],
            found["table_calls"],
            f"{found['rows']:,}",
            told(found["cpu_seconds"]),
            told(found["seconds"]),
        ),
        "",
        "The processor time is the app's and the simulator's, which share a process here.",
        "",
    ]


def _machines(found: Json) -> list[str]:
    return [
        f"`python -m bench machines`. `GET /api/machines` of {found['vms']:,} VMs behind",
        f"{found['nsgs']:,} NSGs, every page one after the other, the real quotas on.",
        "",
        "| pages | VMs listed | ARM reads | first page, s | longest page, s | all, s |",
        "|---:|---:|---:|---:|---:|---:|",
        _row(
            found["pages"],
            f"{found['listed']:,}",
            f"{found['reads']:,}",
            *(told(found[name]) for name in ("first_seconds", "longest_seconds", "seconds")),
        ),
        "",
    ]


def _row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
