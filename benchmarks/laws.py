"""Do the laws hold in every kind of deployment? Random small ones, the same at every call.

    python -m benchmarks.laws

Every scheduling policy, with the variants that the tests know of, in every mode of ``tests/cluster_cases.py``;
the laws are those of ``tests/test_cluster_laws.py``. Prints the number of cases by mode. Exit status 1 at the
first case that violates a law, which is printed.
"""

import sys
import time
from importlib import import_module
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

# By name, because the tests are not type-checked.
CASES: Any = import_module("tests.cluster_cases")
LAWS: Any = import_module("tests.laws.test_cluster_laws")
CHOICES: Any = import_module("tests.engine_cases").CHOICES

LEAST_CASES = 2000
EACH = -(-LEAST_CASES // (len(CHOICES) * len(CASES.MODES)))  # cases of one policy in one mode


class LawError(Exception):
    """A case in which a law does not hold."""


def try_out(choice: tuple[str, dict[str, Any]], mode: str, number: int) -> int:
    """Check random cases of a policy in a mode; return how many there were."""
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
    @given(CASES.deployments([choice], [mode]))
    def check(case: Any) -> None:
        nonlocal tried
        tried += 1
        traffic, deployment = case
        shown = f"{choice} in mode {mode}\n{traffic!r}\n{deployment!r}"  # before policies gather memories
        try:
            LAWS.check(traffic, deployment, *CASES.play(traffic, deployment))
        except Exception as error:
            raise LawError(shown) from error

    check()
    return tried


def main() -> int:
    begun_s = time.monotonic()
    total = 0
    print(f"{'mode':<16}{'policies':>9}{'cases':>7}")
    for row, mode in enumerate(CASES.MODES):
        counts = []
        for column, choice in enumerate(CHOICES):
            try:
                counts.append(try_out(choice, mode, row * len(CHOICES) + column))
            except LawError as violation:
                print(f"a law is violated: {violation.__cause__!r}\n{violation}")
                return 1
        total += sum(counts)
        print(f"{mode:<16}{len(counts):>9}{sum(counts):>7}", flush=True)
    print(f"{'all':<16}{len(CHOICES):>9}{total:>7}  in {time.monotonic() - begun_s:.0f} s")
    enough = total >= LEAST_CASES
    if not enough:
        print(f"too few: expected at least {LEAST_CASES}")
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
