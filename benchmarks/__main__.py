"""``make bench``: run every benchmark of this folder, one after another; exit 1 if a bar is missed."""

import sys
from collections.abc import Callable

from benchmarks import conformance, cost, laws, speed
from simulator import cli

PARTS: dict[str, Callable[[], int]] = {
    "speed": speed.main,
    "cost": cost.main,
    "laws": laws.main,
    "conformance": lambda: conformance.main([]),
    "validate": lambda: cli.main(["validate", "--out", "results/validate"]),
}

missed = []
for name, main in PARTS.items():
    print(f"\n{name}", flush=True)
    if main():
        missed.append(name)
print(f"\nbars missed in: {', '.join(missed)}" if missed else "\nall bars hold")
sys.exit(1 if missed else 0)
