"""Ten simulated hours with crashes: does anything but the record grow?

    python -m benchmarks.soak [HOURS]

Two replicas that crash about every ten minutes, conversations, prefix caching, clients that leave. At each full hour
the objects that Python's garbage collector knows are counted, but for the requests still to come; the record itself is
numbers in arrays and lists, which are no such objects. After the first hours there must not be more and more of them.
Exit status 1 if there are.
"""

import gc
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulator import Scenario, run
from simulator.replica.request import Request

HOUR_S = 3600.0
RPS = 3.0  # conversations of three turns, one a second
WARMUP_HOURS = 2
COMPARED = 3  # hours after the warm-up, and as many at the end: the load varies from hour to hour
MOST_MORE = 0.2  # objects for each request; they vary by some thousands with the load
WORKLOAD = {
    "arrivals": "poisson",
    "rate_rps": RPS / 3,
    "lengths": "chat_azure2023",
    "session_turns": 3.0,
    "think_s": 20.0,
}
SOAK: dict[str, Any] = {
    "cluster": {"replicas": 2, "faults": {"mtbf_s": 600.0, "repair_s": 30.0}},
    "policy": {"routing": "session_affinity", "abandonment": {"name": "missed_slo", "ttft_s": 10.0}},
    "run": {"trace_level": "requests"},
}


@dataclass(frozen=True)
class Hour:
    """What there is at the end of a simulated hour."""

    requests: int  # that are done
    objects: int  # that the garbage collector knows
    memory_mb: float  # of the process


def soak(hours: int) -> list[Hour]:
    """Simulate so many hours; return what there was at the end of each."""
    found: list[Hour] = []

    def look(now_s: float, done: int, _: int) -> None:
        if now_s < HOUR_S * (len(found) + 1):
            return
        gc.collect()
        objects = sum(1 for each in gc.get_objects() if type(each) is not Request)
        found.append(Hour(done, objects, _memory_mb()))

    workload = {**WORKLOAD, "requests": int(hours * HOUR_S * RPS)}
    run(Scenario(workload=workload, **SOAK), on_progress=look)
    return found


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def more_objects(found: list[Hour]) -> float:
    """Return how many objects more there are for each request, from the hours after the warm-up to the last ones."""
    first, last = found[WARMUP_HOURS : WARMUP_HOURS + COMPARED], found[-COMPARED:]
    objects, requests = (
        statistics.mean(getattr(each, name) for each in last)
        - statistics.mean(getattr(each, name) for each in first)
        for name in ("objects", "requests")
    )
    return float(objects / requests)


def main(arguments: list[str]) -> int:
    """Print a line an hour; return 1 if what is kept beside the record grows."""
    found = soak(int(arguments[0]) if arguments else 10)
    for number, hour in enumerate(found, 1):
        print(
            f"hour {number:>2}  {hour.requests:>7} requests  {hour.objects:>8} objects  {hour.memory_mb:7.0f} MB"
        )
    more = more_objects(found)
    print(
        f"{'ok' if more <= MOST_MORE else 'MISSED'}  objects more for each request: {more:.3f} (bar {MOST_MORE})"
    )
    return int(more > MOST_MORE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
