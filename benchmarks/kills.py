"""Is anything lost when a command is killed? Each is killed at random moments, looked at, and started again.

    python -m benchmarks.kills [NAME ...] [--moments N] [--seed S]

Every command runs to its end twice first: what these two have in common, file by file and number by number, is what a
run that was killed has to have once the same command has gone on. After a kill (SIGKILL and SIGTERM in turn, at a
moment between the start and a little beyond the usual end) every file that is there has to be whole, what was asked to
end has to end with 143 and without a traceback, and the next run has to succeed. Exit status 1 if anything does not.
"""

import argparse
import csv
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
LONGEST_S = 300.0
BEYOND = 1.05  # of the usual duration: some are killed when nothing is left to do
OURS = ".servesim-"  # begins the names of files that are not whole yet
TRAFFIC = """
[hardware]
model = "llama-3.1-8b"
[workload]
arrivals = "poisson"
rate_rps = 12.0
requests = {requests}
lengths = "chat_azure2023"
"""
SWEEP = """
name = "kills"
base = "traffic.toml"
replications = 2
[axes]
"workload.rate_rps" = [4, 8, 12]
"policy.scheduling" = ["vllm_v1", "smooth"]
"""
PLAN = """
name = "kills"
base = "traffic.toml"
target = ["latency.ttft_s.p99 <= 1.0"]
replications = 1
[space]
gpus = ["h100-80gb-sxm"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = { from = 1, to = 3, steps = 3 }
[space.settings]
"engine.max_num_batched_tokens" = [2048]
"engine.max_num_seqs" = [64, 256]
"""


@dataclass(frozen=True)
class Work:
    """A command that writes below the folder ``out``; what it needs stands in the folder where it is started."""

    words: tuple[str, ...]
    again: tuple[str, ...] = ()  # beside these words, where what is there has to be written over


WORKS: Mapping[str, Work] = {
    "run": Work(("run", "traffic.toml", "--out", "out", "--no-plot"), ("--overwrite",)),
    "sweep": Work(("sweep", "sweep.toml", "--out", "out")),
    "plan": Work(("plan", "plan.toml", "--out", "out")),
    "capacity": Work(("capacity", "traffic.toml", "--target", "token_slo>=0.95", "--out", "out")),
    "reproduce": Work(("reproduce", "fig2", "--quick", "--out", "out")),
    "report": Work(("report", "saved", "--out", "out/report.html"), ("--overwrite",)),
}
APP = "ui"


def command(*words: str) -> list[str]:
    """Return how the program is started."""
    return [sys.executable, "-m", "servesim", *words]


def prepared(folder: Path) -> None:
    """Write what the commands read."""
    folder.mkdir()
    (folder / "traffic.toml").write_text(TRAFFIC.format(requests=600))
    (folder / "sweep.toml").write_text(SWEEP)
    (folder / "plan.toml").write_text(PLAN)


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


def trial(name: str, folder: Path, moments: Sequence[tuple[float, int]]) -> list[str]:
    """Kill a command at each of these moments, shares of its usual duration, by a signal; return what went wrong."""
    work = WORKS[name]
    kept, lasts_s = [], 0.0
    for twin in ("one", "two"):
        place = folder / f"{name}-{twin}"
        prepared_for(name, place)
        begin = time.monotonic()
        code, said = ended(work.words, place)
        lasts_s = time.monotonic() - begin
        assert code == 0, f"{name}: {said}"
        kept.append(everything(place / "out"))
    common = {key: value for key, value in kept[0].items() if kept[1].get(key, ...) == value}
    wrong = []
    for number, (share, sent) in enumerate(moments):
        place = folder / f"{name}-{number}"
        prepared_for(name, place)
        about = f"{name}, {signal.Signals(sent).name} after {share * lasts_s:.2f} of {lasts_s:.2f} s"
        code, said = ended(work.words, place, share * lasts_s, sent)
        if "Traceback" in said or code not in (0, -sent, 128 + sent):
            wrong.append(f"{about}: exit code {code}, {said.strip()[-300:]!r}")
        try:
            done = everything(place / "out")
        except Exception as error:
            wrong.append(f"{about}: {error!r}")
            continue
        code, said = ended((*work.words, *(work.again if done else ())), place)
        if code:
            wrong.append(f"{about}: the next one fails: {said.strip()[-300:]!r}")
            continue
        mine = everything(place / "out")
        differ = [key for key, value in common.items() if mine.get(key, ...) != value]
        if differ:
            wrong.append(f"{about}: {len(differ)} of {len(common)} numbers differ, the first at {differ[0]}")
        left = [path.name for path in (place / "out").rglob(f"{OURS}*")]
        if left:
            wrong.append(f"{about}: left over: {', '.join(left)}")
    print(
        f"{name:<10} {len(moments):>4} kills of {lasts_s:5.1f} s, {len(common):>7} numbers compared, {len(wrong)} wrong"
    )
    return wrong


def prepared_for(name: str, place: Path) -> None:
    """Write what a command reads, be it a saved run."""
    prepared(place)
    if name == "report":
        code, said = ended(("run", "traffic.toml", "--out", "saved", "--no-plot"), place)
        assert code == 0, said


def trial_of_the_app(folder: Path, moments: Sequence[tuple[float, int]]) -> list[str]:
    """Kill the app while it simulates; what it has saved is read by the next one, which simulates on."""
    wrong: list[str] = []
    for number, (share, sent) in enumerate(moments):
        place = folder / f"{APP}-{number}"
        prepared(place)
        about = f"{APP}, {signal.Signals(sent).name} after {4 * share:.2f} s"
        with App(place) as app:
            for _ in range(4):
                app.asked("/api/runs", {"values": {"workload.limit": "400"}})
            time.sleep(4 * share)
            code, said = app.killed(sent)
        if "Traceback" in said or code not in (
            0,
            -sent,
            128 + sent,
        ):  # who ends the app ends it as it is to be
            wrong.append(f"{about}: exit code {code}, {said.strip()[-300:]!r}")
        try:
            runs = {path.parent for path in files(place / "runs") if path.name == "summary.json"}
            everything(place / "runs")
        except Exception as error:
            wrong.append(f"{about}: {error!r}")
            continue
        for run in runs:
            code, said = ended(("verify", str(run)), place)
            if code:
                wrong.append(f"{about}: {said.strip()[-300:]!r}")
        with App(place) as app:
            task = app.asked("/api/runs", {"values": {"workload.limit": "40"}})
            ends = time.monotonic() + LONGEST_S
            while task["state"] not in ("done", "failed", "cancelled") and time.monotonic() < ends:
                time.sleep(0.1)
                task = app.asked(f"/api/tasks/{task['id']}")
            if task["state"] != "done":
                wrong.append(f"{about}: the next one fails: {task}")
            app.killed(signal.SIGTERM)
    print(f"{APP:<10} {len(moments):>4} kills within 4 s, {len(wrong)} wrong")
    return wrong


class App:
    """The app's server, asked as its page asks it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            command(APP, "--no-browser"), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True, env={**os.environ, "SERVESIM_RUNS": str(folder / "runs")},
        )  # fmt: skip

    def __enter__(self) -> "App":
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found = re.search(r"(http://\S+?)/?\?token=(\S+)", line)
            if found:
                self.address, self.token = found.groups()
                return self
        raise RuntimeError("the app said no address")

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def asked(self, path: str, body: object = None) -> dict[str, Any]:
        """Return the app's answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"x-servesim-token": self.token, "content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.address + path, data, headers)) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def killed(self, number: int) -> tuple[int, str]:
        """Send a signal; return the exit code, and what was said."""
        if number == signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=LONGEST_S)
        return self.process.returncode, said


def main() -> int:
    """Try what is asked for, or everything; return 1 if anything is lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join([*WORKS, APP])}; all if none")
    parser.add_argument("--moments", type=int, default=100, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    wrong: list[str] = []
    for name in asked.names or [*WORKS, APP]:
        draws = random.Random(f"{asked.seed} {name}")
        moments = [
            (draws.uniform(0, BEYOND), (signal.SIGKILL, signal.SIGTERM)[number % 2])
            for number in range(asked.moments)
        ]
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            found = trial_of_the_app(place, moments) if name == APP else trial(name, place, moments)
        for each in found:
            print(f"  {each}", flush=True)
        wrong += found
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
