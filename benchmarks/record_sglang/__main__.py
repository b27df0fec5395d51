"""The command; what it does stands in the package's docstring."""

import argparse
import gzip
import json
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import benchmarks.record_sglang
from benchmarks.record_sglang.recorder import Run
from benchmarks.record_sglang.scenarios import scenarios
from benchmarks.record_sglang.stubs import import_scheduler

LEAST_GAP_NS = 100  # float seconds are surely on the same side of an event


def record(module: Any, name: str, make: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Record a scenario with the first seed under which no event is as good as simultaneous with a plan."""
    for seed in range(zlib.crc32(name.encode()), 1 << 33):
        requests = make(Random(seed))
        columns = Run(module, {"settings": settings, "requests": requests}).record()
        if columns["summary"]["min_poll_gap_ns"] >= LEAST_GAP_NS:
            return {
                "engine": "sglang-0.5.3", "scenario": name, "seed": seed, "settings": settings, "requests": requests,
                **columns,
            }  # fmt: skip
    raise ValueError(f"{name}: no seed will do")


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the scenarios asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.record_sglang",
        description=benchmarks.record_sglang.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args(arguments)
    if not (options.source / "sglang" / "srt").is_dir():
        print(f"{options.source}: no sglang/srt in it; expected an unpacked wheel", file=sys.stderr)
        return 2
    known = {name: (make, settings) for name, make, settings in scenarios()}
    for name in options.names:
        if name not in known:
            print(f"{name}: no such scenario; there are {', '.join(known)}", file=sys.stderr)
            return 2
    try:
        module = import_scheduler(options.source)
    except ModuleNotFoundError as error:
        wanted = "numpy, psutil, pyzmq, setproctitle and torch"
        print(f"{error.name} is missing; install {wanted} where this is to run", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or known:
        recording = record(module, name, *known[name])
        text = json.dumps(recording, separators=(",", ":")).encode()
        (options.out / f"{name}.json.gz").write_bytes(gzip.compress(text, 9, mtime=0))
        print(name, json.dumps(recording["summary"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
