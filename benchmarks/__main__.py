"""``make bench``: run every benchmark of this folder, one after another; exit 1 if a bar is missed."""

import sys
from collections.abc import Callable

from benchmarks import (
    capacity_bounds,
    conformance,
    cost,
    coverage,
    day,
    drafting,
    formats,
    growth,
    laws,
    plan,
    policies,
    reading,
    speed,
    sweeping,
)
from simulator.cli import main as cli

PARTS: dict[str, Callable[[], int]] = {
    "speed": speed.main,
    "policies": policies.main,
    "day": lambda: day.main([]),
    "growth": growth.main,
    "sweep": lambda: sweeping.main(sweeping.SMALL),
    "cost": cost.main,
    "drafting": drafting.main,
    "laws": laws.main,
    "capacity": capacity_bounds.main,
    "coverage": coverage.main,
    "reading": reading.main,
    "formats": formats.main,
    "plan": plan.main,
    "conformance": lambda: conformance.main([]),
    "validate": lambda: cli.main(["validate", "--out", "runs/validate"]),
}

missed = []
for name, main in PARTS.items():
    print(f"\n{name}", flush=True)
    if main():
        missed.append(name)
print(f"\nbars missed in: {', '.join(missed)}" if missed else "\nall bars hold")
sys.exit(1 if missed else 0)
