"""Do the laws hold in every kind of deployment? Random small ones, the same at every call.

    python -m benchmarks.laws [--cases N]

Every scheduling policy, with the variants that the tests know of, in every mode of ``tests/cluster_cases.py``; the
laws are those of ``tests/laws/test_cluster_laws.py``. Then as often with speculative decoding, by those of
``tests/laws/test_speculation_laws.py`` and ``tests/laws/test_draft_runs.py``, too. The summary of each run has to be
that of the plain metrics in ``tests/plain_metrics.py``. Prints the number of cases by mode. Exit status 1 at the
first case that violates a law, which is printed.
"""

import argparse
import copy
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

# By name, because the tests are not type-checked.
CASES: Any = import_module("tests.cluster_cases")
LAWS: Any = import_module("tests.laws.test_cluster_laws")
DRAFTS: Any = import_module("tests.laws.test_speculation_laws")
METRICS: Any = import_module("tests.laws.test_metrics_twice")
RUNS: Any = import_module("tests.laws.test_draft_runs")
CHOICES: Any = import_module("tests.engine_cases").CHOICES

LEAST_CASES = 2000  # with drafts, and as many without


class LawError(Exception):
    """A case in which a law does not hold."""


def try_out(choice: tuple[str, dict[str, Any]], mode: str, number: int, drafts: bool, cases: int) -> int:
    """Check so many random cases of a policy in a mode, with drafts or without; return how many there were."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=cases,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(
        CASES.deployments([choice], [mode]),
        DRAFTS.speculations() if drafts else st.none(),
        METRICS.users(),
        st.sampled_from([METRICS.Window("whole"), METRICS.Window(warmup=0.2, cooldown=0.1)]),
    )
    def check(case: Any, speculation: Any, user: Any, window: Any) -> None:
        nonlocal tried
        tried += 1
        traffic, deployment = case
        shown = f"{choice} in mode {mode}\n{traffic!r}\n{deployment!r}\n{speculation!r}"  # before policies remember
        try:
            if drafts:
                DRAFTS.check_with_drafts(traffic, deployment, speculation)
                RUNS.check_draft_runs(RUNS.staying(traffic), DRAFTS.speculating(deployment, speculation))
                drafting = DRAFTS.speculating(copy.deepcopy(deployment), speculation)
                outcome = CASES.play(traffic, drafting)[1]
            else:
                cluster, outcome = CASES.play(traffic, deployment)
                LAWS.check(traffic, deployment, cluster, outcome)
            METRICS.check_outcome(outcome, user, window)
        except Exception as error:
            raise LawError(shown) from error

    check()
    return tried


def try_all(drafts: bool, cases: int = LEAST_CASES) -> int:
    """Check every policy in every mode, so many cases in all; print and return the number. Raises LawError."""
    begun_s, total, each = time.monotonic(), 0, -(-cases // (len(CHOICES) * len(CASES.MODES)))
    print(f"{'with drafts' if drafts else 'mode':<16}{'policies':>9}{'cases':>7}")
    for row, mode in enumerate(CASES.MODES):
        counts = [
            try_out(choice, mode, row * len(CHOICES) + column, drafts, each)
            for column, choice in enumerate(CHOICES)
        ]
        total += sum(counts)
        print(f"{mode:<16}{len(counts):>9}{sum(counts):>7}", flush=True)
    print(f"{'all':<16}{len(CHOICES):>9}{total:>7}  in {time.monotonic() - begun_s:.0f} s")
    return total


def main(arguments: Sequence[str] = ()) -> int:
    """Check as many cases as are asked for, half of them with drafts; return 1 if a law is violated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.laws")
    parser.add_argument("--cases", type=int, default=2 * LEAST_CASES, help="deployments in all")
    asked = -(-parser.parse_args(arguments).cases // 2)
    try:
        least = min([try_all(drafts, asked) for drafts in (False, True)])
    except LawError as violation:
        print(f"a law is violated: {violation.__cause__!r}\n{violation}")
        return 1
    enough = least >= asked
    if not enough:
        print(f"too few: expected at least {asked} of each kind")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
