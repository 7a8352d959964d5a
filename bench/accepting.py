"""How quickly `initiate` is accepted: one caller after another, and many at once.

Nothing is opened meanwhile: in Azure the queue functions run on instances of their own, here they
would share one process with the HTTP functions.
"""

from datetime import UTC, datetime, timedelta

from bench.numbers import quantile
from bench.people import Accepted, People
from bench.place import Cloud, Json, Place
from bench.stacks import TAKING_IN, bench_stack

_WARM_UP, _IN_TURN, _CROWD, _AT_ONCE = 40, 400, 800, 16
_PLACE = Place("accept", 1, 40, 20)


def run() -> Json:
    """Measure latency in turn, then throughput and latency of a crowd."""
    with bench_stack(settle=0.05, environment=TAKING_IN) as stack:
        people = People(stack)
        Cloud(stack.arm).build(_PLACE)
        people.put_policy(_PLACE)
        _ask(people, _WARM_UP, 1, "early")
        in_turn = _ask(people, _IN_TURN, 1, "single")
        crowd = _ask(people, _CROWD, _AT_ONCE, "crowd")
    return {
        "in_turn": len(in_turn.seconds),
        "p50": quantile(in_turn.seconds, 0.5),
        "p99": quantile(in_turn.seconds, 0.99),
        "crowd": len(crowd.seconds),
        "at_once": _AT_ONCE,
        "crowd_p50": quantile(crowd.seconds, 0.5),
        "crowd_p99": quantile(crowd.seconds, 0.99),
        "per_second": len(crowd.seconds) / crowd.all_in,
    }


def _ask(people: People, calls: int, at_once: int, names: str) -> Accepted:
    end = datetime.now(UTC) + timedelta(hours=1)
    doors = _PLACE.doors()[:calls]
    return people.ask(_PLACE, doors, [end] * len(doors), at_once=at_once, names=names)
