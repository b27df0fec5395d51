"""W10: a day of a large service at summary level, on 64 replicas: what a request costs, CPU and memory.

Made after the Azure traces: 27 million requests with the lengths of the conversations of 2023, whose rate goes up and
down over 24 hours as ServeGen's m-large does (0.5 to 2.1 times its mean). Fewer requests are the same day played as
much faster, with the same rates, so that replicas hold as many requests at a time.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.speed import report
from benchmarks.works import LIMITS, Check, Work, whole
from simulator.cli.version import is_compiled

REQUESTS_A_DAY, DAY_S = 27_000_000, 86_400
SMALL, FULL = 100_000, 1_000_000
MOST_US = 60.0 if is_compiled() else 120.0
MOST_KB, OWN_MB = 0.3, 350  # of memory: for each request, and whatever their number


@dataclass(frozen=True)
class Day:
    """What so many requests of the day cost: CPU of all processes, peak memory of the largest."""

    requests: int
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def us_a_request(self) -> float:
        """CPU microseconds a request, start-up included."""
        return self.cpu_s / self.requests * 1e6

    @property
    def kb_a_request(self) -> float:
        """Peak memory a request, beside what any number of them takes."""
        return max(self.peak_mb - OWN_MB, 0.0) / self.requests * 1e3

    def checks(self) -> Iterable[Check]:
        """Yield what it is held to."""
        yield f"W10 {self.requests:,} requests of the day, CPU a request", self.us_a_request, MOST_US, "us"
        yield (
            f"W10 {self.requests:,} requests, memory a request beside {OWN_MB} MB",
            self.kb_a_request,
            MOST_KB,
            "KB",
        )


def work(requests: int) -> Work:
    """Return the day, or less of it."""
    settings = (
        "workload.arrivals=poisson",
        "workload.load=servegen_mlarge_day",
        f"workload.load_time_scale={requests / REQUESTS_A_DAY}",
        f"workload.rate_rps={REQUESTS_A_DAY / DAY_S}",
        f"workload.requests={requests}",
        "workload.lengths=azure2023_conv",
        *LIMITS,
        "cluster.replicas=64",
        "run.trace_level=summary",
    )
    return Work(
        "W10", f"{requests:,} of {REQUESTS_A_DAY:,} requests of a day, 64 replicas, summary", settings
    )


def play(requests: int) -> Day:
    """Simulate so much of the day, and measure it."""
    cost = whole(work(requests))
    found = Day(requests, cost.wall_s, cost.cpu_s, cost.peak_mb)
    print(
        f"W10: {requests:,} requests: {found.us_a_request:.1f} us of CPU a request, {found.wall_s:.1f} s wall,"
        f" {found.peak_mb:.0f} MB",
        flush=True,
    )
    return found


def main(arguments: list[str]) -> int:
    """Play a small part, or as many requests as are asked for; return 1 if a bar is missed."""
    return 1 if report(play(int(arguments[0]) if arguments else SMALL).checks()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
