"""A copy of the packages with one file more, and the command called in it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

TRAFFIC = {
    "workload__arrivals": "constant",
    "workload__rate_rps": 10,
    "workload__requests": 20,
    "workload__prompt_tokens": 500,
    "workload__output_tokens": 100,
}


class Tree:
    """A copy of the packages with one file more."""

    def __init__(self, packages: Path, work: Path) -> None:
        self.packages, self.work = packages, work

    def __call__(self, *arguments: str, **settings: Any) -> str:
        """Call the command with settings under dotted keys, ``__`` for the dot; return what it prints."""
        sets = [f"--set={key.replace('__', '.')}={value}" for key, value in settings.items()]
        done = subprocess.run(
            [sys.executable, "-m", "simulator.cli.main", *arguments, *sets],
            capture_output=True,
            text=True,
            cwd=self.work,
            env={**os.environ, "PYTHONPATH": str(self.packages)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, **settings: Any) -> dict[str, Any]:
        """Run some requests, or those of the settings; return the summary."""
        if not any(key.startswith("workload") for key in settings):
            settings |= TRAFFIC
        self("run", "--out", "o", "--overwrite", "--no-plot", **settings)
        return json.loads((self.work / "o/summary.json").read_text())

    def most_loaded(self) -> float:
        """What the manifest says of the GPU with most of the experts' load."""
        (said,) = json.loads((self.work / "o/manifest.json").read_text())["engine"]["model_remarks"]
        return float(said.partition("GPU has ")[2].split()[0])

    def column(self, table: str, name: str) -> list[Any]:
        return pq.read_table(self.work / f"o/{table}.parquet")[name].to_pylist()
