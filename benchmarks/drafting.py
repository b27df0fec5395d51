"""What speculation costs the simulator: CPU of ``servesim run`` of W1 with drafts over that without, in turn.

The steps with drafts are fewer, and in each of them a loop goes over the jobs that decode, where those without are run
many at once.
"""

import statistics
import sys

from benchmarks.speed import report
from benchmarks.works import W1, Check, whole

ROUNDS = 5
EAGLE = ("speculation.method=eagle", "speculation.num_speculative_tokens=3")
SETTINGS = {  # and the bar
    "EAGLE, k = 3": (EAGLE, 3.0),
    "EAGLE, k = 3, adaserve": ((*EAGLE, "policy.scheduling=adaserve", "slo.tpot_s=0.05"), 5.0),
}


def checks() -> list[Check]:
    """Measure all settings and the work without drafts in turn; the medians of the ratios."""
    works = {name: W1.with_settings(name, *settings) for name, (settings, _) in SETTINGS.items()}
    ratios: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        without_s = whole(W1).cpu_s
        for name, work in works.items():
            ratios[name].append(whole(work).cpu_s / without_s)
    return [
        (f"W1's requests, {name} / vllm_v1 without drafts", statistics.median(found), SETTINGS[name][1], "x")
        for name, found in ratios.items()
    ]


def main() -> int:
    """Return 1 if a bar is missed."""
    return 1 if report(checks()) else 0


if __name__ == "__main__":
    sys.exit(main())
