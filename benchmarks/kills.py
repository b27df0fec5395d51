"""Is anything lost when a command is killed? Each is killed at random moments, looked at, and started again.

    python -m benchmarks.kills [NAME ...] [--moments N] [--seed S]

Every command runs to its end twice first: what these two have in common, file by file and number by number, is what a
run that was killed has to have once the same command has gone on. After a kill (SIGKILL and SIGTERM in turn, at a
moment between the start and a little beyond the usual end) every file that is there has to be whole, what was asked to
end has to end with 143 and without a traceback, and the next run has to succeed. Exit status 1 if anything does not.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.killed import ended, everything
from benchmarks.kills_app import APP, trial_of_the_app

BEYOND = 1.05  # of the usual duration: some are killed when nothing is left to do
OURS = ".servesim-"  # begins the names of files that are not whole yet
TRAFFIC = """
[hardware]
model = "llama-3.1-8b"
[workload]
arrivals = "poisson"
rate_rps = 12.0
requests = 600
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


def prepared(name: str, folder: Path) -> None:
    """Write what a command reads, be it a saved run."""
    folder.mkdir()
    (folder / "traffic.toml").write_text(TRAFFIC)
    (folder / "sweep.toml").write_text(SWEEP)
    (folder / "plan.toml").write_text(PLAN)
    if name == "report":
        code, said = ended(("run", "traffic.toml", "--out", "saved", "--no-plot"), folder)
        assert code == 0, said


def trial(name: str, folder: Path, moments: Sequence[tuple[float, int]]) -> list[str]:
    """Kill a command at each of these moments, shares of its usual duration, by a signal; return what went wrong."""
    work = WORKS[name]
    kept, lasts_s = [], 0.0
    for twin in ("one", "two"):
        place = folder / f"{name}-{twin}"
        prepared(name, place)
        begin = time.monotonic()
        code, said = ended(work.words, place)
        lasts_s = time.monotonic() - begin
        assert code == 0, f"{name}: {said}"
        kept.append(everything(place / "out"))
    common = {key: value for key, value in kept[0].items() if kept[1].get(key, ...) == value}
    wrong = []
    for number, (share, sent) in enumerate(moments):
        place = folder / f"{name}-{number}"
        prepared(name, place)
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
