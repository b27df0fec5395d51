"""How fast the simulator is: whole processes, and the engine as a multiple of the reference loop.

Whole processes are what a user waits for: ``servesim run``, start-up and all result files included, no picture.
Machines vary from run to run, so the engine is also given as a multiple of the reference loop for the same
work (``reference_loop``, ``reference_pools``), pair by pair in turn.
"""

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.child import Cost, measure
from benchmarks.works import W1, W2, W3, W4, W7, W7B, W8, Check, Pair, Work, many, pair, prepare, whole

WORST_RATIO = 2.0
HELP_S = 0.25
HELP = [sys.executable, "-m", "simulator.cli.main", "--help"]


@dataclass(frozen=True)
class Measured:
    """A work's whole processes and its pairs; the medians of each are what is reported."""

    work: Work
    runs: Sequence[Cost]
    pairs: Sequence[Pair]

    def run(self, what: str) -> float:
        """Return the median of ``wall_s``, ``cpu_s`` or ``peak_mb`` over the whole processes."""
        return float(statistics.median(getattr(cost, what) for cost in self.runs))

    def pair(self, what: str) -> float:
        """Return the median of ``engine_s``, ``loop_s``, ``steps`` or ``iterations`` over the pairs."""
        return float(statistics.median(getattr(each, what) for each in self.pairs))

    @property
    def ratio(self) -> float:
        """Engine over reference loop: the median of the pairs' ratios."""
        return statistics.median(each.engine_s / each.loop_s for each in self.pairs)

    @property
    def whole_ratio(self) -> float:
        """CPU of the whole process over that of the reference loop."""
        return self.run("cpu_s") / self.pair("loop_s")

    def checks(self) -> Iterable[Check]:
        """Yield what the work is held to."""
        name = self.work.name
        if self.work.bar_s is not None:
            yield f"{name} whole process, wall", self.run("wall_s"), self.work.bar_s, "s"
        if self.work.bar_mb is not None:
            yield f"{name} peak memory", self.run("peak_mb"), self.work.bar_mb, "MB"
        if self.work.held_to_loop:
            yield f"{name} engine, records included / reference loop", self.ratio, WORST_RATIO, "x"


def work(each: Work, rounds: int) -> Measured:
    """Measure a work: whole processes and pairs in turn."""
    prepared = prepare(each)
    runs, pairs = [], []
    for _ in range(rounds):
        runs.append(whole(each))
        pairs.append(pair(prepared))
    found = Measured(each, runs, pairs)
    print(
        f"{each.name}: {each.what}\n    whole process {found.run('wall_s'):.2f} s wall, {found.run('cpu_s'):.2f} s CPU,"
        f" {found.run('peak_mb'):.0f} MB; engine {found.pair('engine_s'):.3f} s, {found.pair('steps'):,.0f} steps,"
        f" {found.pair('engine_s') / found.pair('steps') * 1e6:.2f} us a step;"
        f" loop {found.pair('loop_s'):.3f} s, {found.pair('iterations'):,.0f} iterations;"
        f" engine {found.ratio:.2f}x, whole process {found.whole_ratio:.1f}x of the loop's CPU",
        flush=True,
    )
    return found


def start_up(rounds: int) -> float:
    """Wall seconds of ``servesim --help``, the median."""
    return statistics.median(measure(HELP).wall_s for _ in range(rounds))


def report(checks: Iterable[Check]) -> int:
    """Print each check beside its bar; return how many are missed."""
    missed = 0
    for what, measured, bar, unit in checks:
        missed += measured > bar
        word = "ok    " if measured <= bar else "MISSED"
        print(f"{word}  {what}: {measured:.4g} {unit} (bar {bar:g} {unit})", flush=True)
    return missed


def main() -> int:
    """Measure W1 to W4, W7, W7b, W8 and a twentieth of W5; return 1 if a bar is missed."""
    rounds = {W1: 5, W2: 3, W3: 3, W4: 3, W7: 3, W7B: 3, W8: 1}
    found = [work(each, times) for each, times in rounds.items()]
    found.append(work(many(50_000, "W5/20"), 1))
    checks = [check for each in found for check in each.checks()]
    checks.append(("servesim --help, wall", start_up(9), HELP_S, "s"))
    return 1 if report(checks) else 0


if __name__ == "__main__":
    sys.exit(main())
