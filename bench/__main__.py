"""Measure everything, or some parts, and write bench/RESULTS.md: python -m bench [part ...]."""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench import accepting, bursts, commands, lateness, operations, scale, starting, sweeping
from bench.baseline import measure as obvious
from bench.place import Json
from bench.report import write

FIGURES = Path(__file__).parent / "figures.json"


def main() -> None:
    """Run the parts that are asked for, one after another, and write the results."""
    options = _options()
    parts: dict[str, Callable[[], Json]] = {
        "starting": starting.run,
        "commands": commands.run,
        "accepting": accepting.run,
        "sweeping": lambda: sweeping.run(options.azurite_up_to),
        "operations": lambda: operations.run(options.settle),
        "reconcile": scale.run_reconcile,
        "machines": scale.run_machines,
        "obvious": lambda: obvious.run(options.settle),
        "bursts": lambda: bursts.run(options.settle, options.lasting, options.case),
        "lateness": lambda: lateness.run(options.settle, options.lasting),
    }
    chosen = options.part or list(parts)
    unknown = set(chosen) - set(parts)
    if unknown:
        raise SystemExit(f"bench: no part {', '.join(sorted(unknown))}; parts: {', '.join(parts)}")
    if not options.report:
        for name in chosen:
            found = _measured(name, parts[name])
            figures = _stored()  # read now: another part may have been stored meanwhile
            figures[name] = {**_kept(figures, name, options.case), **found}
            FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    write(_stored())


def _stored() -> Json:
    """Read the figures that were stored."""
    figures: Json = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    return figures


def _kept(figures: Json, name: str, case: str) -> Json:
    """Keep the other cases of a part where one case alone is run anew."""
    kept: Json = figures.get(name, {}) if case and name == "bursts" else {}
    return kept


def _measured(name: str, run: Callable[[], Json]) -> Json:
    print(f"{name} ...", flush=True)
    load = os.getloadavg()[0]
    began = time.monotonic()
    found = run()
    took = time.monotonic() - began
    print(f"{name}: {took:.0f} s", flush=True)
    return {
        **found,
        "_ran": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(took),
            "load_before": round(load, 1),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help="parts to run; all without any")
    parser.add_argument("--case", default="", help="of 'bursts', run this case alone")
    parser.add_argument(
        "--settle", type=float, default=2.0, help="seconds that an ARM write stays Updating"
    )
    parser.add_argument(
        "--lasting", type=float, default=0.2, help="seconds for each grant of a burst until all end"
    )
    parser.add_argument(
        "--azurite-up-to", type=int, default=10_000, help="most grants to keep in Azurite"
    )
    parser.add_argument(
        "--report", action="store_true", help="measure nothing; write the results anew"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
