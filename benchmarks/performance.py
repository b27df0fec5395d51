"""Measure everything that ``docs/performance.md`` says, and write its tables and pictures: ``make performance``.

The page's prose is written by hand and has no measured number in it; everything between ``<!-- NAME -->`` and
``<!-- /NAME -->`` is written here, from ``docs/performance/measured.json``, which keeps what was measured, part by
part. ``python -m benchmarks.performance works growth`` measures those parts anew, ``--page`` none.
"""

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import day, growth, peers, performance_page, policies, speed, sweeping
from benchmarks.performance_page import FOLDER, Found
from benchmarks.profile import profile
from benchmarks.works import W5, W8, WORKS

MEASURED = FOLDER / "measured.json"
ROUNDS = 5
_PACKAGES = "numpy", "pyarrow", "simpy", "pydantic"


def machine() -> Found:
    """Return what the numbers depend on."""
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        found = {key.strip(): value.strip() for key, value in lines.items()}
        cpu = found.get("model name", cpu)
        if "cpu MHz" in found:
            cpu += f", {float(found['cpu MHz']) / 1000:.1f} GHz"
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],  # of the minute before the first measurement
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def works() -> Found:
    """Measure the works, and start-up."""
    rows = []
    for each in WORKS.values():
        found = speed.work(each, 1 if each in (W5, W8) else ROUNDS)
        kept = {what: found.run(what) for what in ("wall_s", "cpu_s", "peak_mb")}
        kept |= {what: found.pair(what) for what in ("engine_s", "loop_s", "steps", "iterations")}
        about = {"name": each.name, "what": each.what, "bar_s": each.bar_s, "bar_mb": each.bar_mb}
        about["worst_ratio"] = speed.WORST_RATIO if each.held_to_loop else None
        rows.append(about | kept | {"ratio": found.ratio, "whole_ratio": found.whole_ratio})
    return {"machine": machine(), "rows": rows, "help_s": speed.start_up(9), "rounds": ROUNDS}


def grown() -> Found:
    """Measure growth, with the sizes between."""
    found = [growth.grow(what, 3, between=True) for what in growth.AXES]
    return {
        "curves": [asdict(each) | {"bar": each.check()[2]} for each in found],
        "checks": [growth.batch_size_independence(), growth.memory_per_request()],
    }


def swept() -> Found:
    """Measure W6."""
    found = sweeping.sweep(sweeping.FULL)
    return asdict(found) | {
        "speed_up": found.speed_up,
        "bar": sweeping.LEAST_SPEED_UP,
        "bar_s": sweeping.BAR_S,
    }


def under_policies() -> Found:
    """Measure W9."""
    return {"rows": [asdict(each) for each in policies.beside(3)], "bar": policies.MOST}


def day_played() -> Found:
    """Measure W10, a tenth of what is asked for first: what a request more costs is between the two."""
    found = [day.play(day.FULL // 10), day.play(day.FULL)]
    return {"rows": [asdict(each) for each in found], "bar_us": day.MOST_US}


def compared() -> Found:
    """Measure the peers that can be installed."""
    found = peers.beside(3)
    if isinstance(found, str):
        return {"why_not": found}
    return {"rows": [asdict(each) for each in found]}


def profiled() -> Found:
    """Sample where the CPU of W1 to W4 goes."""
    return {"rows": [asdict(profile(name, WORKS[name].settings, 10)) for name in ("W1", "W2", "W3", "W4")]}


PARTS: dict[str, Callable[[], Found]] = {
    "works": works,
    "policies": under_policies,
    "day": day_played,
    "growth": grown,
    "sweep": swept,
    "peers": compared,
    "profiles": profiled,
}


def main(arguments: list[str]) -> int:
    """Measure the parts named, or all; write the page. Returns 1 if a bar is missed, 2 for an unknown part."""
    chosen = [] if arguments == ["--page"] else arguments or list(PARTS)
    unknown = [each for each in chosen if each not in PARTS]
    if unknown:
        print(f"{unknown[0]}: unknown; expected some of {', '.join(PARTS)}, or --page", file=sys.stderr)
        return 2
    FOLDER.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    for name in chosen:
        print(f"\n{name}", flush=True)
        known[name] = PARTS[name]()
        MEASURED.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    performance_page.write(known)
    missed = performance_page.missed(known)
    print(f"\nbars missed: {'; '.join(missed)}" if missed else "\nall bars hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
