"""Do all formats of traces and of results take any file? Samples with random faults, 10,000 of each, always the same.

Four of five have other values, keys, rows or encodings (``tests/structured_faults.py``), so that most are told by their
format and refused for what is in them, if at all; the others have other bytes.

    python -m benchmarks.formats

Each file must give requests or be refused in one sentence, within a second; every second trace is read with bad rows
skipped. Prints the shares that are told and that are refused. Exit status 1 if another error is raised, or a file takes
longer.
"""

import random
import re
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
STRUCTURED: Any = import_module("tests.structured_faults")
FAULTS: Any = import_module("tests.format_faults")  # by name, because the tests are not type-checked
CASES = 10_000
LONGEST_S = 1.0
UNTOLD = re.compile(  # what is said of a file before its format is known
    r"no known result file|cannot tell the trace|found; expected|found in its first entry|not UTF-8|cannot be read"
    r"|not valid JSON|no column |rates over time"
)
WAYS = (ReadAs(), ReadAs(skip_bad=True, sort=True))


def main(cases: int = CASES) -> int:
    """Try so many changed copies of every sample; return how many formats failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, data, read in _samples():
            told, refused, longest_s, problem = _try_out(Path(folder) / name, data, read, cases)
            failed += problem is not None or longest_s > LONGEST_S
            said = (
                problem
                or f"{told / cases:4.0%} told, {refused / cases:4.0%} refused, at most {1000 * longest_s:.0f} ms"
            )
            print(f"  {name:40} {cases:,} files: {said}", flush=True)
    return failed


def _samples() -> Iterator[tuple[str, bytes, Callable[[Path, int], str | None]]]:
    """Yield file names, contents, and what says how the so-manyth file was refused; None: it was read."""
    for name in FAULTS.FILES:
        yield name, (FAULTS.SAMPLES / name).read_bytes(), _trace
    for name, write in RESULTS.WRITERS.items():
        suffix = ".csv" if name == "requests_csv" else ".jsonl" if name == "aiperf" else ".json"
        yield f"{name}{suffix}", write().encode(), _results


def _trace(path: Path, number: int) -> str | None:
    said: str | None = FAULTS.refusal(path, WAYS[number % 2])
    return said


def _results(path: Path, number: int) -> str | None:
    try:
        read_runs(path)
    except InputError as error:
        if "\n" in str(error):
            raise ValueError(f"a sentence of several lines: {error}") from error
        return str(error)
    return None


def _try_out(
    path: Path, data: bytes, read: Callable[[Path, int], str | None], cases: int
) -> tuple[int, int, float, str | None]:
    rng = random.Random(path.name)
    told, refused, longest_s = 0, 0, 0.0
    for number in range(cases):
        change = STRUCTURED.altered(data, path.name, rng) if number % 5 else FAULTS.changed(data, rng)
        path.write_bytes(change)
        started = time.process_time()
        try:
            said = read(path, number)
            refused += said is not None
            told += said is None or UNTOLD.search(said) is None
        except Exception as error:  # whatever it is, it is what is looked for
            return told, refused, longest_s, f"file {number}: {type(error).__name__}: {error}"
        longest_s = max(longest_s, time.process_time() - started)
    return told, refused, longest_s, None


if __name__ == "__main__":
    sys.exit(main())
