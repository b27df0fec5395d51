"""How the cost of a simulation grows: with the requests, with the batch limit, with the replicas.

CPU seconds of the engine with its tables (steps, requests, tokens put in order), without start-up and files,
whose fixed cost would flatter the growth; small and large in turn.
"""

import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.speed import report
from benchmarks.works import W1, W2, Check, Work, cpu_s, poisson, prepare
from simulator.cluster.cluster import Cluster
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import assemble, play, unfold
from simulator.replica.records import WIDTH
from simulator.replica.taking import pack
from simulator.scenario.resolve import ResolvedPool, make_policy, resolve_pool
from simulator.scenario.scenario import Scenario
from simulator.workload import Workload

MOST = {
    "requests": 10.5,
    "batch limit": 1.3,
    "replicas": 1.5,
}  # times the cost, for ten times the requests, ...


@dataclass(frozen=True)
class Growth:
    """What one kind of growth costs: CPU seconds of the engine at each size, of the loop too; steps."""

    what: str
    title: str
    sizes: Sequence[int]
    engine_s: Sequence[float]
    loop_s: Sequence[float]
    steps: Sequence[int]
    ratio: float  # of the largest to the smallest, the median of the pairs

    def check(self) -> Check:
        """Return the growth beside its bar."""
        what = f"{self.title}, {self.sizes[-1]:,} / {self.sizes[0]:,}"
        return what, self.ratio, MOST[self.what], "x"


def _with_limit(sequences: int) -> Work:
    return W1.with_settings(
        f"W1 at {sequences}",
        f"engine.max_num_seqs={sequences}",
        f"engine.max_num_batched_tokens={8 * sequences}",
    )


def _requests(requests: int) -> Work:
    return Work(f"W1 of {requests}", "", (*poisson(8, requests), "cluster.replicas=1"))


def _replicas(replicas: int) -> Work:
    return W2.with_settings(f"W2 on {replicas}", f"cluster.replicas={replicas}")


AXES: dict[str, tuple[str, Callable[[int], Work], Sequence[int], Sequence[int]]] = {
    "requests": ("W1 with more requests at the same rate", _requests, (5_000, 50_000), (10_000, 20_000)),
    "batch limit": ("W1 with a higher max_num_seqs (tokens: 8 times it)", _with_limit, (256, 2560), (512, 1024)),
    "replicas": ("W2's traffic on more replicas, round robin", _replicas, (4, 100), (10, 25, 50)),
}  # fmt: skip


def grow(what: str, rounds: int, between: bool = False) -> Growth:
    """Measure one kind of growth; ``between``: also at the sizes between the smallest and the largest, once."""
    title, make, ends, inner = AXES[what]
    sizes = (ends[0], *(inner if between else ()), ends[1])
    prepared = {size: prepare(make(size)) for size in sizes}
    engine: dict[int, list[float]] = {size: [] for size in sizes}
    loop: dict[int, float] = {}
    steps: dict[int, int] = {}

    def once(size: int) -> None:
        start = time.process_time()
        cluster = prepared[size].cluster()
        play(cluster)
        tables, _ = unfold(cluster)
        engine[size].append(time.process_time() - start)
        steps[size] = len(tables.steps["end_s"])

    for _ in range(rounds):
        for size in ends:
            once(size)
    for size in sizes:
        if size not in ends:
            once(size)
        loop[size] = cpu_s(prepared[size].loop)
    ratios = [large / small for small, large in zip(engine[ends[0]], engine[ends[1]], strict=True)]
    found = Growth(
        what,
        title,
        sizes,
        [statistics.median(engine[size]) for size in sizes],
        [loop[size] for size in sizes],
        [steps[size] for size in sizes],
        statistics.median(ratios),
    )
    for size, engine_s, loop_s, count in zip(sizes, found.engine_s, found.loop_s, found.steps, strict=True):
        print(
            f"{what} {size:,}: engine with tables {engine_s:.3f} s, {count:,} steps; loop {loop_s:.3f} s",
            flush=True,
        )
    return found


def _traffic(arrival_s: list[float], prompts: list[int], outputs: list[int]) -> Workload:
    columns = np.array(arrival_s), np.array(prompts), np.array(outputs)
    return Workload("benchmark", *columns, max(outputs), "made by the benchmark")


def _server(**engine: int) -> tuple[Scenario, ResolvedPool]:
    scenario = Scenario(engine={"max_num_seqs": 256, "max_num_batched_tokens": 2048} | engine)
    return scenario, resolve_pool(scenario)


def _cluster(scenario: Scenario, server: ResolvedPool, workload: Workload) -> Cluster:
    routing = make_policy("routing", scenario.policy.routing)
    scheduling = scenario.policy.scheduling
    return assemble(
        workload,
        colocated(
            lambda: make_policy("scheduling", scheduling),
            server.cost,
            server.limits,
            routing,
            rules=server.rules,
        ),
    )


def batch_size_independence() -> Check:
    """Time per step with 256 requests decoding over that with 8, over 100,000 steps."""

    def run_s(running: int, steps: int) -> float:
        workload = _traffic([0.0] * running, [64] * running, [steps + i for i in range(running)])
        parts = _server(num_gpu_blocks=10**7)
        clusters = [_cluster(*parts, workload) for _ in range(5)]
        return min(cpu_s(partial(play, each)) for each in clusters)

    def per_step_s(running: int) -> float:  # by what more steps cost: arrivals and ends are another thing
        return (run_s(running, 120_000) - run_s(running, 20_000)) / 100_000

    return "step with 256 running / with 8 running", per_step_s(256) / per_step_s(8), 1.5, "x"


def memory_per_request() -> Check:
    """Bytes a simulated request takes while the engine runs, beyond the rows of its records."""
    n = 20_000
    workload = _traffic([i * 0.05 for i in range(n)], [200] * n, [8] * n)
    parts = _server()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    cluster = _cluster(*parts, workload)
    play(cluster)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    pack(cluster.replicas[0], at_the_end=True)
    records = cluster.replicas[0].records
    kept = sum(records.count(name) * width * np.dtype(kind).itemsize for name, (width, kind) in WIDTH.items())
    assert cluster.requests_done() == n
    return "peak memory a request beyond its records", max(0, peak - kept) / n / 1000, 1.5, "KB"


def checks(found: Iterable[Growth]) -> list[Check]:
    """Return all checks of this file."""
    return [*(each.check() for each in found), batch_size_independence(), memory_per_request()]


def main() -> int:
    """Measure the growth from the smallest to the largest; return 1 if a bar is missed."""
    return 1 if report(checks([grow(what, 2) for what in AXES])) else 0


if __name__ == "__main__":
    sys.exit(main())
