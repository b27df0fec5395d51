"""How much memory and time it takes to read a trace of 27 million requests, whole and in part.

Bars, above what a small part takes in the same process: 30 bytes for each request that is kept (16 of them stay), and
200 MB for whatever is kept.
"""

import gzip
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ROWS = 27_000_000
CHUNK = 1_000_000
DAY_S = 86_400
FIXED_BYTES, BYTES_PER_ROW = 200e6, 30

CASES = {
    "the hour from 10:00": {"start_s": 36_000.0, "end_s": 39_600.0},
    "the first 1,000": {"limit": 1000},
    "prompts up to 500": {"max_prompt_tokens": 500},
    "all": {},
}
PROGRAM = """
import resource, sys, time
import pyarrow.csv, pyarrow.parquet
from simulator.workload import WorkloadSpec, build
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # of this program only: ru_maxrss would begin with that of the parent
    return 1024 * int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
before, start = peak(), time.process_time()
workload = build(WorkloadSpec(trace=sys.argv[1], **eval(sys.argv[2])), 0)
print(len(workload), peak() - before, time.process_time() - start)
"""


def write(folder: Path) -> list[Path]:
    """Write one and the same made-up day as Parquet and as gzipped CSV, a million requests at a time."""
    rng = np.random.default_rng(0)
    paths = [folder / "day.parquet", folder / "day.csv.gz"]
    names = {"arrival_s": pa.float64(), "prompt_tokens": pa.int32(), "output_tokens": pa.int32()}
    last_s = 0.0
    with pq.ParquetWriter(paths[0], pa.schema(names)) as parquet, gzip.open(paths[1], "wb", 1) as text:
        for first in range(0, ROWS, CHUNK):
            arrival_s = np.round(last_s + np.cumsum(rng.exponential(DAY_S / ROWS, CHUNK)), 6)
            last_s = float(arrival_s[-1])
            tokens = (rng.integers(1, most, CHUNK).astype(np.int32) for most in (4000, 500))
            table = pa.table(dict(zip(names, (arrival_s, *tokens), strict=True)))
            parquet.write_table(table)
            pa_csv.write_csv(table, text, pa_csv.WriteOptions(include_header=first == 0))
    return paths


def main() -> int:
    """Print what each case takes; return 1 if one misses its bar."""
    missed = False
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder)):
            print(f"{path.name}: {ROWS:,} requests, {path.stat().st_size / 1e6:.0f} MB")
            for name, keys in CASES.items():
                done = subprocess.run(
                    [sys.executable, "-c", PROGRAM, str(path), repr(keys)],
                    capture_output=True,
                    text=True,
                    check=True,
                    env={**os.environ, "PYTHONPATH": str(root)},
                )
                rows, peak, cpu_s = (float(each) for each in done.stdout.split())
                good = peak <= FIXED_BYTES + BYTES_PER_ROW * rows
                missed |= not good
                print(
                    f"  {name:<20} {rows:>12,.0f} kept  {peak / 1e6:7.0f} MB  {cpu_s:5.1f} s of CPU"
                    + ("" if good else "  MISSED")
                )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
