"""Do all formats of traces and of results take any file? Samples with random faults, 10,000 of each, always the same.

    python -m benchmarks.formats

Each file must give requests or be refused in one sentence, within a second; every second trace is read with bad rows
skipped. Prints the share that is refused. Exit status 1 if another error is raised, or a file takes longer.
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.imports import read_runs
from simulator.workload.recognise import ReadAs

RESULTS: Any = import_module("tests.result_files")
FAULTS: Any = import_module("tests.format_faults")  # by name, because the tests are not type-checked
CASES = 10_000
LONGEST_S = 1.0
WAYS = (ReadAs(), ReadAs(skip_bad=True, sort=True))


def main(cases: int = CASES) -> int:
    """Try so many changed copies of every sample; return how many formats failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, data, read in _samples():
            refused, longest_s, problem = _try_out(Path(folder) / name, data, read, cases)
            failed += problem is not None or longest_s > LONGEST_S
            said = problem or f"{refused / cases:4.0%} refused, at most {1000 * longest_s:.0f} ms"
            print(f"  {name:40} {cases:,} files: {said}", flush=True)
    return failed


def _samples() -> Iterator[tuple[str, bytes, Callable[[Path, int], bool]]]:
    """Yield file names, contents, and what says of the so-manyth file whether it was refused."""
    for name in FAULTS.FILES:
        yield name, (FAULTS.SAMPLES / name).read_bytes(), _trace
    for name, write in RESULTS.WRITERS.items():
        suffix = ".csv" if name == "requests_csv" else ".json"
        yield f"{name}{suffix}", write().encode(), _results


def _trace(path: Path, number: int) -> bool:
    return bool(FAULTS.is_read_or_refused(path, WAYS[number % 2]))


def _results(path: Path, number: int) -> bool:
    try:
        read_runs(path)
    except InputError as error:
        if "\n" in str(error):
            raise ValueError(f"a sentence of several lines: {error}") from error
        return True
    return False


def _try_out(
    path: Path, data: bytes, read: Callable[[Path, int], bool], cases: int
) -> tuple[int, float, str | None]:
    rng = random.Random(path.name)
    refused, longest_s = 0, 0.0
    for number in range(cases):
        path.write_bytes(FAULTS.changed(data, rng))
        started = time.process_time()
        try:
            refused += read(path, number)
        except Exception as error:  # whatever it is, it is what is looked for
            return refused, longest_s, f"file {number}: {type(error).__name__}: {error}"
        longest_s = max(longest_s, time.process_time() - started)
    return refused, longest_s, None


if __name__ == "__main__":
    sys.exit(main())
