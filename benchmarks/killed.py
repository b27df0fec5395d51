"""Commands that are killed, and what they leave: for ``benchmarks.kills``."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

LONGEST_S = 300.0


def command(*words: str) -> list[str]:
    """Return how the program is started."""
    return [sys.executable, "-m", "servesim", *words]


def ended(
    words: Sequence[str], folder: Path, kill_s: float = LONGEST_S, number: int = signal.SIGKILL
) -> tuple[int, str]:
    """Run a command in a folder, and send it a signal after so long; return its exit code and what it said."""
    process = subprocess.Popen(
        command(*words), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "SERVESIM_RUNS": str(folder / "runs")},
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=kill_s)
    except subprocess.TimeoutExpired:
        if number == signal.SIGKILL:
            os.killpg(process.pid, number)  # its workers with it
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=LONGEST_S)
    return process.returncode, said


def files(folder: Path) -> Iterator[Path]:
    """Yield the files that are said to be whole, in order."""
    for path in sorted(folder.rglob("*")) if folder.exists() else ():
        if path.is_file() and not path.name.startswith("."):
            yield path


def content(path: Path) -> dict[str, Any]:
    """Return what is in a file, by place. Raises an error where it is not whole."""
    if path.suffix == ".json":
        return dict(_places(json.loads(path.read_text(encoding="utf-8")), ""))
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.reader(lines))
        assert rows, f"{path}: no line"
        assert all(len(row) == len(rows[0]) for row in rows), f"{path}: a line that is not whole"
        return dict(_places(rows, ""))
    if path.suffix == ".parquet":
        return {"": pq.read_table(path).to_pydict()}
    data = path.read_bytes()
    assert data, f"{path}: empty"
    if path.suffix == ".html":
        assert data.rstrip().endswith(b"</html>"), f"{path}: not whole"
    return {"": data}


def _places(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _places(each, f"{place}.{key}")
    elif isinstance(value, list):
        yield f"{place}#", len(value)
        for number, each in enumerate(value):
            yield from _places(each, f"{place}[{number}]")
    else:
        yield place, value


def everything(folder: Path) -> dict[tuple[str, str], Any]:
    """Return what is in all files, by their names and places."""
    return {
        (path.relative_to(folder).as_posix(), place): value
        for path in files(folder)
        for place, value in content(path).items()
    }
