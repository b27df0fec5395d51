"""W9: what a policy costs that looks at more than ``vllm_v1`` does, on W2's traffic: CPU of whole processes.

Each round runs all of them in turn, so that the machine's mood is in both sides of a ratio; the median counts.
"""

import statistics
import sys
from dataclasses import dataclass

from benchmarks.speed import report
from benchmarks.works import W2, Check, whole

BASE = "vllm_v1"
POLICIES = "smooth", "sglang", "andes", "srpt", "vtc"
MOST = 1.5  # times the CPU of vllm_v1


@dataclass(frozen=True)
class Policy:
    """A policy's CPU seconds, and the same over those of ``vllm_v1`` in the same round; medians."""

    name: str
    cpu_s: float
    ratio: float

    def check(self) -> Check:
        """Return what it is held to."""
        return f"W9 {self.name} / {BASE}, CPU", self.ratio, MOST, "x"


def beside(rounds: int) -> list[Policy]:
    """Measure all, ``vllm_v1`` first."""
    cpu_s: dict[str, list[float]] = {name: [] for name in (BASE, *POLICIES)}
    for _ in range(rounds):
        for name, found in cpu_s.items():
            found.append(whole(W2.with_settings(f"W2 under {name}", f"policy.scheduling={name}")).cpu_s)
    base = cpu_s[BASE]
    policies = []
    for name, found in cpu_s.items():
        ratio = statistics.median(each / other for each, other in zip(found, base, strict=True))
        policies.append(Policy(name, statistics.median(found), ratio))
        print(f"{name}: {policies[-1].cpu_s:.2f} s of CPU, {ratio:.2f}x of {BASE}", flush=True)
    return policies


def main() -> int:
    """Measure; return 1 if a bar is missed."""
    return 1 if report(each.check() for each in beside(3)) else 0


if __name__ == "__main__":
    sys.exit(main())
