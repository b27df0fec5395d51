"""W6: a study of many simulations of W1's size, on one core and on two, and killed half way.

The whole of it (``python -m benchmarks.sweeping``, some minutes) is 5 policies at 40 rates; ``make bench`` runs 5
at 4, whose speed-up has no bar: starting, the table and the pictures are a larger share of it. Killed is the
sweep's own process, with SIGKILL; the same command then goes on. What was there must stay as it was, to the
byte and the time of its file, what was missing must come, and the table must be that of the sweep which was
not killed.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.child import Cost, measure
from benchmarks.speed import report
from benchmarks.works import LENGTHS, ROOT, Check

POLICIES = "vllm_v1", "vllm_v0", "sarathi", "sglang", "orca"
FIRST_RPS, LAST_RPS = 4.0, 24.0
FULL, SMALL = 40, 4  # rates
LEAST_SPEED_UP = 1.8
BAR_S = 45.0  # of all points on two cores
# vllm_v0 and orca compute prompts whole: their steps have to hold the longest sequence, which has 3,693 tokens
_ENGINE = "engine.max_num_seqs = 256\nengine.max_model_len = 4096\nengine.max_num_batched_tokens = 4096\n"
_PATIENCE_S = 1800.0  # for a sweep that is to be killed


@dataclass(frozen=True)
class Swept:
    """What the sweeps cost; and of the killed one: points when it died, lost, and computed twice."""

    points: int
    one: Cost
    two: Cost
    killed_at: int
    lost: int
    repeated: int
    alike: bool  # the resumed sweep's table and that of the undisturbed one
    failed: int  # points that were not simulated
    orphans: int  # worker processes that outlived the killed sweep by 5 s

    @property
    def speed_up(self) -> float:
        """Wall time on one core over that on two."""
        return self.one.wall_s / self.two.wall_s


def _study(folder: Path, rates: int) -> Path:
    path = folder / "w6.toml"
    policies = ", ".join(f'"{each}"' for each in POLICIES)
    path.write_text(
        f'name = "w6"\n[set]\n"workload.trace" = "{LENGTHS}"\n"cluster.replicas" = 1\n{_ENGINE}[axes]\n'
        f'"policy.scheduling" = [{policies}]\n'
        f'"workload.rate_rps" = {{ from = {FIRST_RPS}, to = {LAST_RPS}, steps = {rates} }}\n',
        encoding="utf-8",
    )
    return path


def _command(study: Path, out: Path, jobs: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "simulator.cli.main",
        "sweep",
        str(study),
        "--out",
        str(out),
        "--jobs",
        str(jobs),
    ]


def _kept(out: Path) -> dict[str, tuple[int, bytes]]:
    """Return the points that are there: file name to time of writing and content."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("points/*.json")}


def _kill_half_way(command: list[str], out: Path, points: int) -> int:
    """Start a sweep, kill it when half of the points are there; return how many of its processes live on."""
    child = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        end = time.monotonic() + _PATIENCE_S
        while child.poll() is None and len(list(out.glob("points/*.json"))) < points // 2:
            if time.monotonic() > end:
                raise RuntimeError(f"the sweep had not done half of its points after {_PATIENCE_S:g} s")
            time.sleep(0.02)
        if child.poll() is not None:
            raise RuntimeError("the sweep ended before it could be killed")
        child.kill()
        child.wait()
        time.sleep(5.0)
        return _alive(child.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _alive(group: int) -> int:
    """Count the processes of a group, zombies aside; 0 where there is no /proc."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, in_group = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        found += int(in_group) == group and state != "Z"
    return found


def sweep(rates: int) -> Swept:
    """Sweep on one core, on two, and on two with a kill and a second start."""
    points = len(POLICIES) * rates
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        study = _study(folder, rates)
        costs = {jobs: measure(_command(study, folder / f"on{jobs}", jobs)) for jobs in (2, 1)}
        print(f"{points} points: one core {costs[1].wall_s:.1f} s, two {costs[2].wall_s:.1f} s", flush=True)
        out = folder / "killed"
        command = _command(study, out, 2)
        orphans = _kill_half_way(command, out, points)
        before = _kept(out)
        measure(command)
        after = _kept(out)
        tables = [pq.read_table(place / "sweep.parquet") for place in (out, folder / "on2", folder / "on1")]
        print(
            f"killed after {len(before)} points, {orphans} processes lived on; then {len(after)}", flush=True
        )
        return Swept(
            points,
            costs[1],
            costs[2],
            len(before),
            len(before.keys() - after.keys()) + max(points - len(after), points - tables[0].num_rows),
            sum(after.get(path) != found for path, found in before.items()) + max(0, len(after) - points),
            all(table.equals(tables[0]) for table in tables),
            sum(bool(each) for each in tables[0]["error"].to_pylist()),
            orphans,
        )


def checks(found: Swept, bar: bool) -> list[Check]:
    """Return the sweep's checks; the speed-up's only if there is a bar for it and a second core."""
    said = f"{found.points} points, killed after {found.killed_at} and resumed"
    some: list[Check] = [
        (f"{said}: lost", found.lost, 0, "points"),
        (f"{said}: computed twice", found.repeated, 0, "points"),
        (f"{said}: processes that outlived the kill", found.orphans, 0, ""),
        (f"{said}: tables that differ from the undisturbed", float(not found.alike), 0, ""),
    ]
    some.append((f"{said}: failed", found.failed, 0, "points"))
    if bar and (os.cpu_count() or 1) > 1:
        some.append(("W6 on two cores, wall", found.two.wall_s, BAR_S, "s"))
        some.append(("W6 two cores / one core, wall", 1 / found.speed_up, 1 / LEAST_SPEED_UP, "x"))
    return some


def main(rates: int = FULL) -> int:
    """Sweep, kill and resume; return 1 if a bar is missed."""
    return 1 if report(checks(sweep(rates), rates == FULL)) else 0


if __name__ == "__main__":
    sys.exit(main())
