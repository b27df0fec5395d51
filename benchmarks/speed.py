"""How fast the simulator is: ratios to the reference loop measured in the same run, and whole processes.

Works: W1 is 5,000 requests (Poisson, 8/s, lognormal lengths) on one H100 with llama-3.1-8b under vllm_v1,
256 sequences, 2,048 tokens. Machines vary from run to run, so engine times are given as multiples of the
reference loop, pair by pair in turn; whole processes in seconds, with the loop's own time beside them.
"""

import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.reference_loop import reference_loop
from simulator.cluster import Cluster
from simulator.deployment import colocated
from simulator.engine import assemble, play
from simulator.equip import Server, equip, make_policy
from simulator.limits import Limits
from simulator.scenario import Scenario
from simulator.workload import Workload, build

DATA = Path(__file__).parent / "data"
ROUNDS = 9
# The H100's step times in the form that the loop understands: constant, per prefill token, per decoding
# sequence, per context token. Chosen so that the loop takes as many iterations as the engine takes steps.
LOOP_PRICE = (6.72e-3, 2.03e-5, 1.9e-5, 4.13e-8)

Check = tuple[str, float, float, str]  # what, measured, bar, unit


def w1_scenario(**engine: int) -> Scenario:
    limits = {"max_num_seqs": 256, "max_num_batched_tokens": 2048} | engine
    return Scenario(name="w1", engine=limits, workload={"trace": str(DATA / "w1.csv.gz")})


def cluster_of(scenario: Scenario, workload: Workload, server: Server) -> Cluster:
    deployment = colocated(
        lambda: make_policy("scheduling", scenario.policy.scheduling),
        server.cost,
        server.limits,
        make_policy("routing", scenario.policy.routing),
        replicas=scenario.cluster.replicas,
    )
    return assemble(workload, deployment)


def loop_run(workload: Workload, limits: Limits) -> tuple[float, int]:
    constant, per_prefill, per_decode, per_context = LOOP_PRICE

    def step_s(prefill: int, decodes: int, context: int) -> float:
        return constant + per_prefill * prefill + per_decode * decodes + per_context * context

    return reference_loop(
        workload.arrival_s.tolist(),
        workload.prompt_tokens.tolist(),
        workload.output_tokens.tolist(),
        step_s,
        max_num_seqs=limits.max_num_seqs,
        max_num_batched_tokens=limits.max_num_batched_tokens,
    )


def traffic(arrival_s: list[float], prompts: list[int], outputs: list[int]) -> Workload:
    columns = np.array(arrival_s), np.array(prompts), np.array(outputs)
    return Workload("benchmark", *columns, max(outputs), "made by the benchmark")


def cpu_s(work: Callable[..., object], *arguments: object) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start


def engine_ratio() -> Check:
    scenario = w1_scenario()
    workload, server = build(scenario.workload, 0, Path()), equip(scenario)
    first = cluster_of(scenario, workload, server)
    play(first)
    steps = sum(replica.books.step for replica in first.replicas)
    iterations = loop_run(workload, server.limits)[1]
    ratios, ours_s, loops_s = [], [], []
    for _ in range(ROUNDS):
        cluster = cluster_of(scenario, workload, server)
        ours = cpu_s(play, cluster)
        loop = cpu_s(loop_run, workload, server.limits)
        ratios.append(ours / loop)
        ours_s.append(ours)
        loops_s.append(loop)
    print(
        f"W1 engine: {statistics.median(ours_s):.3f} s CPU, {steps:,} steps;"
        f" reference loop {statistics.median(loops_s):.3f} s, {iterations:,} iterations"
    )
    return "W1 engine, records included / reference loop", statistics.median(ratios), 3.0, "x"


def wall_s(trace: str, *settings: str) -> float:
    """Seconds of a whole ``servesim run``: start-up and result files included, no picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "simulator.cli", "run", "--no-plot", "--out", f"{folder}/out"]
        for setting in (f"workload.trace={DATA / trace}", *settings):
            command += ["--set", setting]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def whole_process() -> Check:
    limits = "engine.max_num_seqs=256", "engine.max_num_batched_tokens=2048", "cluster.replicas=1"
    walls = [wall_s("w1.csv.gz", *limits) for _ in range(5)]
    return "W1 whole process, files included, no picture (wall)", statistics.median(walls), 0.8, "s"


def disaggregated() -> Check:
    """The same 20,000 requests on 2 prefill and 2 decode replicas, over those on 4 that do both."""
    pools = "cluster.prefill.replicas=2", "cluster.decode.replicas=2"
    apart, together = [], []
    for _ in range(3):
        together.append(wall_s("w2.csv.gz", "cluster.replicas=4"))
        apart.append(wall_s("w2.csv.gz", *pools))
    print(f"W2 whole process: {statistics.median(together):.2f} s; W3: {statistics.median(apart):.2f} s")
    ratio = statistics.median(a / b for a, b in zip(apart, together, strict=True))
    return "W3 whole process, disaggregated / colocated (W2)", ratio, 2.0, "x"


def batch_size_independence() -> Check:
    """Time per step with 256 requests decoding over that with 8, both for 20,000 steps."""

    def per_step_s(running: int) -> float:
        outputs = [20_000 + 50 * i for i in range(running)]
        workload = traffic([0.0] * running, [64] * running, outputs)
        scenario = w1_scenario(num_gpu_blocks=10**7)
        server = equip(scenario)
        clusters = [cluster_of(scenario, workload, server) for _ in range(5)]
        return min(cpu_s(play, cluster) for cluster in clusters) / max(outputs)

    return "step with 256 running / with 8 running", per_step_s(256) / per_step_s(8), 1.5, "x"


def memory_per_request() -> Check:
    """Bytes a simulated request takes while the engine runs, beyond the rows of its records."""
    n = 20_000
    workload = traffic([i * 0.05 for i in range(n)], [200] * n, [8] * n)
    scenario = w1_scenario()
    server = equip(scenario)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    cluster = cluster_of(scenario, workload, server)
    play(cluster)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    records = cluster.replicas[0].records
    rows: list[Sequence[float]] = [records.steps, records.runs, records.run_ends, records.run_blocks]
    rows += [records.chunks, records.spans, records.prompt_ends, records.preemptions, records.ended]
    values = {id(value): value for row in rows for value in row}  # small whole numbers are shared
    kept = sum(map(sys.getsizeof, [*rows, *values.values()]))
    assert cluster.requests_done() == n
    return "peak memory a request beyond its records", max(0, peak - kept) / n / 1000, 1.5, "KB"


def main() -> int:
    checks = [
        engine_ratio(),
        whole_process(),
        disaggregated(),
        batch_size_independence(),
        memory_per_request(),
    ]
    missed = 0
    for what, measured, bar, unit in checks:
        missed += measured > bar
        print(
            f"{'ok    ' if measured <= bar else 'MISSED'}  {what}: {measured:.2f} {unit} (bar {bar:g} {unit})"
        )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"peak memory of this process: {peak_mb:.0f} MB")
    return 1 if missed else 0
