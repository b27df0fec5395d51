"""Do the laws hold in every kind of deployment? Random small ones, the same at every call.

    python -m benchmarks.laws

Every scheduling policy, with the variants that the tests know of, in every mode of ``tests/cluster_cases.py``;
the laws are those of ``tests/laws/test_cluster_laws.py``. Then as often with speculative decoding, by those of
``tests/laws/test_speculation_laws.py`` and ``tests/laws/test_draft_runs.py``, too. Prints the number of cases by mode.
Exit status 1 at the first case that violates a law, which is printed.
"""

import sys
import time
from importlib import import_module
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

# By name, because the tests are not type-checked.
CASES: Any = import_module("tests.cluster_cases")
LAWS: Any = import_module("tests.laws.test_cluster_laws")
DRAFTS: Any = import_module("tests.laws.test_speculation_laws")
RUNS: Any = import_module("tests.laws.test_draft_runs")
CHOICES: Any = import_module("tests.engine_cases").CHOICES

LEAST_CASES = 2000
EACH = -(-LEAST_CASES // (len(CHOICES) * len(CASES.MODES)))  # cases of one policy in one mode


class LawError(Exception):
    """A case in which a law does not hold."""


def try_out(choice: tuple[str, dict[str, Any]], mode: str, number: int, drafts: bool) -> int:
    """Check random cases of a policy in a mode, with drafts or without; return how many there were."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=EACH,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(CASES.deployments([choice], [mode]), DRAFTS.speculations() if drafts else st.none())
    def check(case: Any, speculation: Any) -> None:
        nonlocal tried
        tried += 1
        traffic, deployment = case
        shown = f"{choice} in mode {mode}\n{traffic!r}\n{deployment!r}\n{speculation!r}"  # before policies remember
        try:
            if drafts:
                DRAFTS.check_with_drafts(traffic, deployment, speculation)
                RUNS.check_draft_runs(RUNS.staying(traffic), DRAFTS.speculating(deployment, speculation))
            else:
                LAWS.check(traffic, deployment, *CASES.play(traffic, deployment))
        except Exception as error:
            raise LawError(shown) from error

    check()
    return tried


def try_all(drafts: bool) -> int:
    """Check every policy in every mode; print and return the number of cases. Raises LawError."""
    begun_s, total = time.monotonic(), 0
    print(f"{'with drafts' if drafts else 'mode':<16}{'policies':>9}{'cases':>7}")
    for row, mode in enumerate(CASES.MODES):
        counts = [
            try_out(choice, mode, row * len(CHOICES) + column, drafts)
            for column, choice in enumerate(CHOICES)
        ]
        total += sum(counts)
        print(f"{mode:<16}{len(counts):>9}{sum(counts):>7}", flush=True)
    print(f"{'all':<16}{len(CHOICES):>9}{total:>7}  in {time.monotonic() - begun_s:.0f} s")
    return total


def main() -> int:
    try:
        least = min([try_all(drafts) for drafts in (False, True)])
    except LawError as violation:
        print(f"a law is violated: {violation.__cause__!r}\n{violation}")
        return 1
    enough = least >= LEAST_CASES
    if not enough:
        print(f"too few: expected at least {LEAST_CASES}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
