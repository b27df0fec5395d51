"""Does a search for a rate ever answer above what the hardware can do?

    python -m benchmarks.capacity_bounds

Random deployments and every kind of target. No end of an answer may be above the roofline, infinite, or outside what
was simulated, and no answer may be a rate at which the system does not keep up. The roofline is tried by itself:
with far more traffic than it allows, no more is served.
"""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np

from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from simulator.studies.capacity.best import best_rate
from simulator.studies.capacity.book import Answer, SearchPlan
from simulator.studies.capacity.scenario import CapacityRuns, ScaledTraffic
from simulator.studies.capacity.search import highest_rate
from simulator.studies.capacity.target import parse_target
from simulator.studies.workers import Workers

TARGETS = (
    "smooth",
    "throughput.output_tokens_per_s",
    "throughput.requests_per_s",
    "goodput",
    "stable",
    "token_slo>=0.9",
    "slo>=0.9",
    "ttft_p99<=1",
    "tpot_mean<=0.05",
)
SCENARIOS = 30
Choice = TypeVar("Choice")
OVERLOAD = 4.0  # times the roofline, where it is tried by itself


def scenario(number: int) -> Scenario:
    """Return a random deployment, with traffic of 100 requests a run."""
    draw = np.random.default_rng([14, number])

    def one_of(*choices: Choice) -> Choice:
        return choices[int(draw.integers(len(choices)))]

    workload: dict[str, Any] = {
        "arrivals": one_of("poisson", "poisson", "constant"),
        "rate_rps": float(10 ** draw.uniform(-1, 3)),
        "requests": 100,
        "prompt_tokens": int(10 ** draw.uniform(0.5, 3.3)),
        "output_tokens": int(10 ** draw.uniform(0, 1.6)),
    }
    if draw.random() < 0.2:
        workload |= {"session_turns": 2.0, "think_s": one_of(0.0, 0.5)}
    cluster: dict[str, Any] = {"replicas": one_of(1, 1, 2, 3)}
    if draw.random() < 0.2:
        when_full = one_of("wait", "recompute", "colocate", "evict")
        cluster = {
            "prefill": {},
            "decode": {"replicas": one_of(1, 2)},
            "hand_off": {"when_full": when_full},
        }
    return Scenario(
        seed=number,
        hardware={"gpu": one_of("h100-80gb-sxm", "a100-80gb-sxm", "l40s")},
        engine={"max_num_seqs": one_of(1, 8, 256)},
        cluster=cluster,
        policy={
            "scheduling": one_of("vllm_v1", "vllm_v1", "sglang", "sarathi", "smooth", "edf", "orca"),
            "admission": {"name": one_of("none", "none", "none", "queue_cap")},
            "routing": one_of("round_robin", "least_loaded"),
        },
        workload=workload | ({"patience_s": 5.0} if draw.random() < 0.1 else {}),
        user={"first_token_allowance_s": one_of(0.0, 1.0)},
        slo={"ttft_s": 1.0},
    )


def search(
    traffic: Scenario, target: str, folder: Path, most_simulations: int = 40
) -> tuple[Answer, ScaledTraffic]:
    """Search coarsely: what is asked is whether an answer can be, not how close it is."""
    wanted = parse_target(target)
    scaled = ScaledTraffic(traffic, None, None, compared=wanted.bound is None)
    plan = SearchPlan(
        scaled.start, 100, 200, 0.25, most_simulations=most_simulations, looks=(4, 6),
        most_rate=scaled.most_rate,
    )  # fmt: skip
    runs = CapacityRuns(scaled, wanted, folder, Workers(), lambda done: None)
    answer = best_rate(runs, plan) if wanted.bound is None else highest_rate(runs, wanted.bound, plan)
    return answer, scaled


def wrong(answer: Answer, most_rate: float) -> Iterator[str]:
    """Yield what an answer must not be."""
    rates = [ask.rate for ask in answer.runs]
    for name in ("rate", "low", "high"):
        value = getattr(answer, name)
        if value is None:
            continue
        if not (math.isfinite(value) and min(rates) <= value <= max(rates)):
            yield f"{name} {value:.4g} is outside what was simulated"
        if value > most_rate:
            yield f"{name} {value:.4g} is above the roofline {most_rate:.4g}"
    best = [each for each in answer.shown if each.verdict in ("best", "holds")]
    for each in best:
        if each.saturated >= max(2, len(each.seen) / 2):
            yield f"{each.verdict} at {each.rate:.4g}, where the system does not keep up"


def served_rps(traffic: Scenario, most_rate: float) -> float:
    """Return how many of the arrivals are served a second where far more come than can be."""
    result = run(
        traffic.with_overrides(
            [
                f"workload.rate_rps={OVERLOAD * most_rate!r}", "metrics.window=whole", "workload.patience_s=none",
                "policy.admission=none", *(["workload.think_s=0.0"] if traffic.workload.session_turns else []),
            ]
        )
    )  # fmt: skip
    log = result.log
    turns = 1.0 if traffic.workload.session_turns is None else log.n / _sessions(traffic)
    return float(log.completed.sum()) / turns / (log.end_of_run_s - log.start_s)


def _sessions(traffic: Scenario) -> int:
    from simulator.studies.capacity.roofline import arrivals
    from simulator.workload import build

    return arrivals(build(traffic.workload, traffic.seed, None))


def main() -> int:
    """Print a line a scenario; return 1 if an answer was wrong."""
    begun_s, failed, searches, simulations = time.process_time(), 0, 0, 0
    shown = [target.removeprefix("throughput.") for target in TARGETS]
    print(f"answers as a share of the roofline\n{'':>4}{'roofline/s':>12}{'served':>8}", *shown, sep="  ")
    for number in range(SCENARIOS):
        traffic, cells = scenario(number), []
        for target in TARGETS:
            with TemporaryDirectory() as folder:
                answer, scaled = search(traffic, target, Path(folder))
            searches, simulations = searches + 1, simulations + len(answer.runs)
            value = answer.rate or answer.low or answer.high
            cells.append("-" if value is None else f"{value / scaled.most_rate:.2f}")
            for text in wrong(answer, scaled.most_rate):
                failed += 1
                print(f"MISSED  scenario {number}, {target}: {text}")
        served = served_rps(traffic, scaled.most_rate) / scaled.most_rate
        if served > 1:
            failed += 1
            print(f"MISSED  scenario {number}: {served:.2f} times the roofline was served")
        columns = (f"{cell:>{len(name)}}" for cell, name in zip(cells, shown, strict=True))
        print(f"{number:>4}{scaled.most_rate:>12.4g}{served:>8.2f}", *columns, sep="  ", flush=True)
    kind = "ok    " if not failed else "MISSED"
    print(
        f"{kind}  {searches} searches of {SCENARIOS} scenarios, {simulations:,} simulations: {failed} answers above the"
        f" roofline, outside what was simulated or saturated (bar 0), in {time.process_time() - begun_s:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
