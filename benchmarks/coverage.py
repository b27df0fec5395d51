"""Do intervals cover the truth as often as they say, and does the search for a rate find a known one?

    python -m benchmarks.coverage

On M/D/1 (``benchmarks.single_server``), whose mean wait, quantiles of the wait and saturation rate are known.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks import single_server as queue
from simulator.stats import Interval, batch_means, batch_quantile, interval
from simulator.studies.capacity.book import Answer, Ask, Bound, SearchPlan, Seen
from simulator.studies.capacity.search import highest_rate
from simulator.studies.warmup import mser5

EXPERIMENTS = 1000
SIMULATED = 10  # of them also by the simulator, whose waits must be the recursion's
COVERED = 0.92, 0.98  # of them, by nominal 95 % intervals
LOAD, SHARE = 0.5, 0.9  # this quantile lies between the whole numbers of services, at which the density jumps
REPLICATIONS, EACH, EMPTY = 8, 500, 50  # requests a replication, of which those are cut that find it empty
ONE_RUN, BATCHES = 10_000, 10
SEARCH = SearchPlan(start=20.0, requests=40_000, most_requests=40_000, within=0.02)
MOST_SIMULATIONS = 25
WITHIN = 0.02
REPEATS = 40
WAIT_LOAD = 0.8  # at which the mean wait is the target of a search


def experiment(number: int) -> dict[str, tuple[Interval, float]]:
    """Return each kind of interval from one experiment, with the truth."""
    rate = LOAD / queue.SERVICE_S
    asked = [(rate, EACH, 100 * number + i) for i in range(REPLICATIONS)] + [
        (rate, ONE_RUN, 100 * number + 99)
    ]
    *runs, one = (queue.waits_by_recursion(*each) for each in asked)
    if number < SIMULATED:
        for each, wait_s in zip(asked, [*runs, one], strict=True):
            np.testing.assert_allclose(queue.waits(*each), wait_s, rtol=0, atol=1e-9)
    runs = [run[EMPTY:] for run in runs]
    cut = mser5(one)
    one = one[ONE_RUN // 2 if cut is None else cut :]
    mean_s, quantile_s = queue.mean_wait_s(LOAD), queue.wait_quantile_s(LOAD, SHARE)
    return {
        "mean, replications": (interval([float(run.mean()) for run in runs]), mean_s),
        "mean, batch means of one run after MSER-5": (batch_means(one, BATCHES), mean_s),
        "p90, batches of one run after MSER-5": (batch_quantile(one, SHARE, BATCHES), quantile_s),
        "p90, replications": (interval([float(np.quantile(run, SHARE)) for run in runs]), quantile_s),
    }


def coverage() -> int:
    """Print how often each kind covers the truth; return how many do so too seldom or too often."""
    covered: dict[str, int] = {}
    for number in range(EXPERIMENTS):
        for name, (found, truth) in experiment(number).items():
            covered[name] = covered.get(name, 0) + found.holds(truth)
    missed = 0
    for name, count in covered.items():
        share = count / EXPERIMENTS
        kept = COVERED[0] <= share <= COVERED[1]
        missed += not kept
        bar = f"bar {COVERED[0]:.0%} to {COVERED[1]:.0%}"
        print(f"{'ok    ' if kept else 'MISSED'}  {name}: covers in {share:.1%} of {EXPERIMENTS} ({bar})")
    return missed


def waiting(asks: Sequence[Ask]) -> list[Seen]:
    """The mean wait of runs whose warm-up is cut by MSER-5, by recursion."""
    found = []
    for rate, seed, n in asks:
        wait_s = queue.waits_by_recursion(rate, n, seed)
        found.append(Seen(float(wait_s[mser5(wait_s) or 0 :].mean())))
    return found


def saturation() -> int:
    """Find the saturation rate by the simulator; return whether that missed a bar."""
    answer = highest_rate(queue.stability, Bound(queue.MOST_GROWTH, at_most=True), SEARCH)
    off = abs((answer.rate or 0.0) / queue.SATURATION_RPS - 1)
    kept = off <= WITHIN and len(answer.runs) <= MOST_SIMULATIONS and holds(answer, true_limit())
    print(
        f"{'ok    ' if kept else 'MISSED'}  saturation of a server of {queue.SATURATION_RPS:g} requests/s: found"
        f" {answer.rate:.4g} [{answer.low:.4g}, {answer.high:.4g}], {off:.1%} off (bar {WITHIN:.0%}), in"
        f" {len(answer.runs)} simulations (bar {MOST_SIMULATIONS})"
    )
    return not kept


def true_limit() -> float:
    """The rate at which the queue grows by just the share of the arrivals that still counts as stable."""
    return queue.SATURATION_RPS / (1 - queue.MOST_GROWTH)


def holds(answer: Answer, rate: float) -> bool:
    """Whether the ends are around a rate; an end that is not there is not wrong."""
    low, high = answer.low, answer.high
    return (low is None or low <= rate) and (high is None or rate <= high)


def repeats() -> int:
    """Repeat searches with other seeds, by recursion; return how many kinds miss the truth too often."""
    wait = Bound(queue.mean_wait_s(WAIT_LOAD), at_most=True)
    growth = Bound(queue.MOST_GROWTH, at_most=True)
    grown = partial(highest_rate, queue.stability_by_recursion, growth)
    waited = partial(highest_rate, waiting, wait)
    short = SearchPlan(
        start=10.0, requests=1000, most_requests=64_000, within=0.03
    )  # runs get longer by themselves
    missed = 0
    for name, search, plan, truth in (
        ("saturation", grown, SEARCH, true_limit()),
        (f"mean wait of load {WAIT_LOAD:g}", waited, short, WAIT_LOAD * queue.SATURATION_RPS),
    ):
        answers = [search(replace(plan, seed=1000 * i)) for i in range(1, REPEATS + 1)]
        share = sum(holds(answer, truth) for answer in answers) / REPEATS
        closed = sum(answer.low is not None and answer.high is not None for answer in answers)
        counts = [len(answer.runs) for answer in answers]
        most = max(abs((answer.rate or 0.0) / truth - 1) for answer in answers)
        kept = share >= COVERED[0] and closed >= COVERED[0] * REPEATS
        kept = kept and (plan is not SEARCH or max(counts) <= MOST_SIMULATIONS)
        missed += not kept
        print(
            f"{'ok    ' if kept else 'MISSED'}  {name}, {REPEATS} searches: the truth is between the ends in"
            f" {share:.0%} (bar {COVERED[0]:.0%}), both ends shown in {closed}, at most {most:.1%} off,"
            f" {min(counts)} to {max(counts)} simulations"
        )
    return missed


def main() -> int:
    """Run all parts."""
    begun_s = time.process_time()
    missed = coverage() + saturation() + repeats()
    print(f"in {time.process_time() - begun_s:.0f} s of processor time")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
