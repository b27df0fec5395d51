"""The works that speed is measured on: what is simulated, the bars, and the reference loop for the same work."""

import gc
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.child import Cost, measure
from benchmarks.reference_clients import sessions_loop
from benchmarks.reference_loop import reference_loop
from benchmarks.reference_pools import disaggregated_loop, least_loaded_loop
from simulator.cli.main import collect_rarely
from simulator.cluster.cluster import Cluster
from simulator.cluster.simulate import assemble, play
from simulator.scenario.deploy import deploy
from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.workload import Workload, build

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
LENGTHS = DATA / "w1.csv.gz"
LIMITS = "engine.max_num_seqs=256", "engine.max_num_batched_tokens=2048"
# The H100's step times in the form that the loops understand: constant, per prefill token, per decoding
# sequence, per context token. Chosen so that the loops take about as many iterations as the engine takes steps.
LOOP_PRICE = (6.72e-3, 2.03e-5, 1.9e-5, 4.13e-8)

Check = tuple[str, float, float, str]  # what, measured, bar, unit
Loop = Callable[[], tuple[float, int]]


@dataclass(frozen=True)
class Work:
    """Something to simulate, as settings of ``servesim run``."""

    name: str
    what: str
    settings: tuple[str, ...]
    bar_s: float | None = None  # wall seconds of the whole process
    bar_mb: float | None = None  # peak memory of it
    loop: Literal["in turn", "apart", "least loaded", "sessions"] = "in turn"
    held_to_loop: bool = True  # whether the loop does enough for its time to be a measure

    def scenario(self) -> Scenario:
        """Return what ``servesim run`` would simulate."""
        return default_scenario(self.settings)

    def command(self, out: Path) -> list[str]:
        """Return the command that runs it and leaves all result files but the picture."""
        settings = [part for each in self.settings for part in ("--set", each)]
        return [sys.executable, "-m", "simulator.cli.main", "run", "--no-plot", "--out", str(out), *settings]

    def with_settings(self, name: str, *settings: str) -> "Work":
        """Return it with more settings, without bars."""
        return replace(self, name=name, settings=(*self.settings, *settings), bar_s=None, bar_mb=None)


def _trace(name: str, *settings: str) -> tuple[str, ...]:
    return f"workload.trace={name}", *LIMITS, *settings


def poisson(rate_rps: float, requests: int) -> tuple[str, ...]:
    """Return traffic with the lengths of W1's requests, at any rate."""
    return (
        "workload.arrivals=poisson",
        f"workload.lengths={LENGTHS}",
        f"workload.rate_rps={rate_rps}",
        f"workload.requests={requests}",
        *LIMITS,
    )


def many(requests: int, name: str, bar_s: float | None = None, bar_mb: float | None = None) -> Work:
    """Return W5, or less of it."""
    settings = *poisson(800, requests), "cluster.replicas=100", "policy.routing=least_loaded"
    what = f"{requests:,} requests, Poisson, 800/s, 100 replicas, least loaded, no token table"
    return Work(name, what, (*settings, "run.trace_level=requests"), bar_s, bar_mb, "least loaded")


W1 = Work("W1", "5,000 requests, 8/s, 1 replica", _trace(str(DATA / "w1.csv.gz"), "cluster.replicas=1"), 0.45)
W2 = Work(
    "W2", "20,000 requests, 32/s, 4 replicas", _trace(str(DATA / "w2.csv.gz"), "cluster.replicas=4"), 1.3
)
W3 = Work(
    "W3",
    "the same traffic, 2 prefill and 2 decode replicas",
    _trace(str(DATA / "w2.csv.gz"), "cluster.prefill.replicas=2", "cluster.decode.replicas=2"),
    1.7,
    loop="apart",
)
W4 = Work(
    "W4", "the Azure conversation hour, 2 replicas", _trace("azure2023_conv", "cluster.replicas=2"), 1.7
)
W5 = many(1_000_000, "W5", 60.0, 1500.0)
# The loop computes every prompt in full, as it keeps nothing.
_CONVERSATIONS = (
    "workload.trace=mooncake_fast25_synthetic",
    "workload.max_prompt_tokens=120000",
    "hardware.gpu=h200-sxm",
    "policy.scheduling.enable_prefix_caching=true",
)
W7 = Work(
    "W7",
    "the Mooncake trace, prompts up to 120,000 tokens, 8 H200, prefix caching",
    (*_CONVERSATIONS, "cluster.replicas=8"),
    1.6,
)
W7B = Work(
    "W7b",
    "the same requests on one H200, saturated, prefix caching",
    (*_CONVERSATIONS, "cluster.replicas=1"),
    2.9,  # 7 s for 142.7 million prompt tokens, and these are 59.2 million
    600.0,
    held_to_loop=False,  # which knows no blocks, and has few steps
)
W8 = Work(
    "W8",
    "1,000 clients with sessions, 50,000 turns, 8 replicas, session affinity, prefix caching",
    _trace(
        "sharegpt_multiturn",
        "workload.concurrency=1000",
        "workload.think_s=20",
        "workload.limit=50000",
        "workload.max_prompt_tokens=30000",
        "cluster.replicas=8",
        "policy.routing=session_affinity",
    ),
    8.0,
    loop="sessions",
    held_to_loop=False,  # which looks for no blocks
)
WORKS = {each.name: each for each in (W1, W2, W3, W4, W5, W7, W7B, W8)}


@dataclass(frozen=True)
class Prepared:
    """A work with its traffic and hardware loaded, so that only the simulation is timed."""

    scenario: Scenario
    workload: Workload
    pools: list[ResolvedPool]
    loop: Loop

    def cluster(self) -> Cluster:
        """Return a new cluster, ready to play."""
        return assemble(self.workload, deploy(self.scenario, self.pools))


def prepare(work: Work) -> Prepared:
    """Load a work's traffic and hardware, and its reference loop."""
    scenario = work.scenario()
    workload, pools = build(scenario.workload, scenario.seed, Path()), resolve_pools(scenario)
    return Prepared(scenario, workload, pools, _loop(work, scenario, workload, pools))


def _loop(work: Work, scenario: Scenario, workload: Workload, pools: list[ResolvedPool]) -> Loop:
    constant, per_prefill, per_decode, per_context = LOOP_PRICE
    limits = pools[0].limits
    seqs, budget = limits.max_num_seqs, limits.max_num_batched_tokens
    arrival_s = workload.arrival_s.tolist()
    lengths = workload.prompt_tokens.tolist(), workload.output_tokens.tolist()

    def step_s(prefill: int, decodes: int, context: int) -> float:
        return constant + per_prefill * prefill + per_decode * decodes + per_context * context

    if work.loop == "apart":
        link = deploy(scenario, pools).link
        return lambda: disaggregated_loop(
            arrival_s,
            *lengths,
            step_s,
            max_num_seqs=seqs,
            max_num_batched_tokens=budget,
            prefill_replicas=pools[0].replicas,
            decode_replicas=pools[1].replicas,
            hand_over_s_per_token=link.kv_bytes_per_token / link.bytes_per_s,
        )
    if work.loop == "sessions":
        assert workload.session is not None
        assert workload.think_s is not None
        session, think_s = workload.session.tolist(), workload.think_s.tolist()
        return lambda: sessions_loop(
            session,
            think_s,
            *lengths,
            step_s,
            clients=workload.concurrency or 1,
            send_gap_s=workload.send_gap_s,
            max_num_seqs=seqs,
            max_num_batched_tokens=budget,
            replicas=pools[0].replicas,
        )
    loop = least_loaded_loop if work.loop == "least loaded" else reference_loop
    return lambda: loop(
        arrival_s,
        *lengths,
        step_s,
        max_num_seqs=seqs,
        max_num_batched_tokens=budget,
        replicas=pools[0].replicas,
    )


@dataclass(frozen=True)
class Pair:
    """The engine and the reference loop on the same work, one after the other; CPU seconds."""

    engine_s: float
    loop_s: float
    steps: int
    iterations: int


def pair(prepared: Prepared) -> Pair:
    """Time the engine, records included, and the loop, both with garbage collected as ``servesim`` has it."""
    gc.collect()
    cluster = prepared.cluster()
    engine_s = cpu_s(lambda: play(cluster))
    steps = sum(server.engine.step for server in cluster.replicas)
    start = time.process_time()
    iterations = prepared.loop()[1]
    return Pair(engine_s, time.process_time() - start, steps, iterations)


def cpu_s(work: Callable[[], object]) -> float:
    """CPU seconds of a call, with garbage collected as ``servesim`` has it."""
    collect_rarely()
    start = time.process_time()
    work()
    return time.process_time() - start


def whole(work: Work) -> Cost:
    """Return what a whole ``servesim run`` costs: start-up and result files included, no picture."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(work.command(Path(folder) / "out"))
