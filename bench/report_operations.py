"""The section on the calls of one access."""

from bench.place import Json

_STEPS = {
    "initiate": "`initiate`",
    "open": "opening",
    "close": "close by message",
    "sweep after the close": "the sweep after that close",
    "next sweep": "the sweep after that one",
}


def write_operations(found: Json) -> str:
    """Write how many calls each step of one access takes."""
    lines = [
        "## Calls of one access",
        "",
        "`python -m bench operations`. Counted at the SDKs' transport, writes that settle in 2 s. A",
        "transaction of several rows is one call. What the functions host asks is not counted.",
        "The counted access follows another on the same NSG within 30 s, as those of a batch do. Such an",
        "opening plans from a read of its own and not from that of discovery, so it reads each NSG once",
        "more than a single opening does, whose reads `tests/faults/test_call_counts.py` bounds.",
        "",
        "| | VM behind | ARM reads | ARM writes | table calls | queue calls |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, steps in found.items():
        if name.startswith("_"):
            continue
        for step, label in _STEPS.items():
            counts = steps[step]
            lines.append(
                f"| {label} | {name} | {counts['arm']} | {counts['arm writes']} | "
                f"{counts['tables']} | {counts['queues']} |"
            )
    return "\n".join([*lines, ""])
