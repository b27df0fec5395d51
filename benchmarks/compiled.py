"""Whether the compiled core computes what its source does, to the bit, and how fast: ``python -m benchmarks.compiled``.

This checkout is copied twice, one copy is compiled (``SERVESIM_COMPILE=1``, see ``setup.py``), and ``benchmarks.equal``
compares the two on random deployments of every kind and on the works, then times both. The recordings of real
schedulers are replayed with the source alone, as the probe that reads them takes the place of a class.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("simulator", "policies", "hardware_profiles", "experiments", "servesim", "benchmarks", "tests")


def copied(to: Path, name: str, *, compile_it: bool) -> Path:
    """Return a copy of this checkout, compiled or not; raises SystemExit where it does not compile."""
    place = to / name
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for path in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / path, place / path)
    if compile_it:
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        done = subprocess.run(
            command,
            cwd=place,
            env={**os.environ, "SERVESIM_COMPILE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(
                f"the core does not compile: {done.stderr.strip()[-2000:] or done.stdout.strip()[-2000:]}"
            )
    return place


def main() -> int:
    """Compare and time; return 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100, help="random deployments of each of nine kinds")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pure = copied(Path(folder), "pure", compile_it=False)
        fast = copied(Path(folder), "compiled", compile_it=True)
        equal = [sys.executable, "-m", "benchmarks.equal", str(pure)]
        different = subprocess.run(
            [*equal, "--examples", str(given.examples)], cwd=fast, check=False
        ).returncode
        print("compiled / interpreted:", flush=True)
        subprocess.run([*equal, "--speed"], cwd=fast, check=False)
    return different


if __name__ == "__main__":
    sys.exit(main())
