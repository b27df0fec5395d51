"""Do all trace formats take any file? Samples with random faults, 10,000 of each, the same at every call.

    python -m benchmarks.formats

Each file must give requests or be refused in one sentence, within a second; every second one is read with bad rows
skipped. Prints the share that is refused. Exit status 1 if another error is raised, or a file takes longer.
"""

import random
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from simulator.workload.recognise import ReadAs

FAULTS: Any = import_module("tests.format_faults")  # by name, because the tests are not type-checked
CASES = 10_000
LONGEST_S = 1.0
WAYS = (ReadAs(), ReadAs(skip_bad=True, sort=True))


def main(cases: int = CASES) -> int:
    """Try so many changed copies of every sample; return how many formats failed."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in FAULTS.FILES:
            refused, longest_s, problem = _try_out(Path(folder), name, cases)
            failed += problem is not None or longest_s > LONGEST_S
            said = problem or f"{refused / cases:4.0%} refused, at most {1000 * longest_s:.0f} ms"
            print(f"  {name:40} {cases:,} files: {said}", flush=True)
    return failed


def _try_out(folder: Path, name: str, cases: int) -> tuple[int, float, str | None]:
    rng, data = random.Random(name), (FAULTS.SAMPLES / name).read_bytes()
    refused, longest_s = 0, 0.0
    for number in range(cases):
        path = folder / name
        path.write_bytes(FAULTS.changed(data, rng))
        started = time.process_time()
        try:
            refused += FAULTS.is_read_or_refused(path, WAYS[number % 2])
        except Exception as error:  # whatever it is, it is what is looked for
            return refused, longest_s, f"file {number}: {type(error).__name__}: {error}"
        longest_s = max(longest_s, time.process_time() - started)
    return refused, longest_s, None


if __name__ == "__main__":
    sys.exit(main())
