"""Other simulators on the same work: one that pip can install, measured here; others, measured elsewhere and quoted.

sched-sim (PyPI, Apache-2.0) simulates one replica with chunked prefill. It is installed into a virtual environment
that is thrown away, and runs in turn with servesim and the reference loop: its ``trace`` command with the same
requests, a token budget of 2,048, an H100 with llama-3.1-8b in its own terms, whose launch overhead is set so that
it takes about as many iterations. It writes no result files and keeps no batch limit there; servesim writes all.
"""

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.child import Cost, measure
from benchmarks.works import DATA, W1, W4, Work, cpu_s, prepare, whole

NAME, VERSION = "sched-sim", "0.2.1"
WORKS = W1, W4.with_settings("W4 on 1 replica", "cluster.replicas=1")
HARDWARE = {
    "name": "H100 80 GB, llama-3.1-8b",
    "vram_gb": 80.0,
    "memory_bandwidth_gb_s": 3350.0,
    "fp16_tflops": 989.0,
    "tensor_core_efficiency": 0.55,
    "kernel_launch_overhead_ms": 2.25,  # with it, W1 takes it about as many iterations as it takes us steps
    "pcie_bandwidth_gb_s": 128.0,
    "network_bandwidth_gbps": 400.0,
    "model_name": "llama-3.1-8b",
    "parameter_count_billions": 8.03,
    "num_layers": 32,
    "hidden_size": 4096,
    "num_heads": 32,
    "num_kv_heads": 8,
    "head_dim": 128,
    "dtype_bytes": 2,
}
# Its command does not say how many iterations it took.
COUNT = """
import sys
from sched_sim.core.event_engine import Simulator
from sched_sim.hardware.presets import get_hardware_profile
from sched_sim.schedulers.factory import create_scheduler
from sched_sim.workloads.trace_loader import load_trace_file
hardware = get_hardware_profile(sys.argv[2])
simulator = Simulator(hardware, create_scheduler("chunked", hardware, token_budget=2048))
simulator.submit_workload(load_trace_file(sys.argv[1]))
print(simulator.run().completed_requests, len(simulator.iteration_records))
"""


@dataclass(frozen=True)
class Beside:
    """A work by sched-sim, by servesim and by the reference loop: medians of the rounds."""

    work: str
    peer: Cost
    ours: Cost
    loop_s: float
    completed: int
    iterations: int


@dataclass(frozen=True)
class Quoted:
    """CPU seconds of another simulator and of the reference loop on another machine."""

    peer: str
    work: str
    cpu_s: float
    loop_cpu_s: float


def quoted() -> list[Quoted]:
    """Return what was measured elsewhere."""
    with (DATA / "peers.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Quoted(r["peer"], r["work"], float(r["cpu_s"]), float(r["loop_cpu_s"])) for r in rows]


def beside(rounds: int) -> list[Beside] | str:
    """Measure sched-sim beside servesim; a sentence if it cannot be installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = folder / "venv" / "bin" / "python"
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", f"{NAME}=={VERSION}"]
        try:
            subprocess.run(
                [sys.executable, "-m", "venv", str(folder / "venv")], check=True, capture_output=True
            )
            subprocess.run(pip, check=True, capture_output=True, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return f"{NAME} {VERSION} could not be installed from PyPI; it was not measured."
        (folder / "h100.json").write_text(json.dumps(HARDWARE), encoding="utf-8")
        return [_in_turn(work, python, folder, rounds) for work in WORKS]


def _in_turn(work: Work, python: Path, folder: Path, rounds: int) -> Beside:
    prepared = prepare(work)
    traffic = prepared.workload
    columns = traffic.arrival_s.tolist(), traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist()
    keys = "id", "timestamp", "prompt_tokens", "output_tokens"
    requests = [
        dict(zip(keys, (str(i), *row), strict=True)) for i, row in enumerate(zip(*columns, strict=True))
    ]
    trace, hardware = folder / "trace.json", str(folder / "h100.json")
    trace.write_text(json.dumps(requests), encoding="utf-8")
    command = [str(python.parent / NAME), "trace", str(trace), "--scheduler", "chunked"]
    command += ["--hardware", hardware, "--token-budget", "2048", "--no-gantt"]
    peers, ours, loops = [], [], []
    for _ in range(rounds):
        peers.append(measure(command, folder))
        ours.append(whole(work))
        loops.append(cpu_s(prepared.loop))
    count = [str(python), "-c", COUNT, str(trace), hardware]
    said = subprocess.run(count, check=True, capture_output=True, text=True).stdout.split()
    found = Beside(
        work.name, _median(peers), _median(ours), statistics.median(loops), int(said[0]), int(said[1])
    )
    print(
        f"{work.name}: {NAME} {found.peer.cpu_s:.2f} s CPU, {found.iterations:,} iterations; servesim"
        f" {found.ours.cpu_s:.2f} s CPU; loop {found.loop_s:.3f} s",
        flush=True,
    )
    return found


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(each.wall_s for each in costs),
        statistics.median(each.cpu_s for each in costs),
        statistics.median(each.peak_mb for each in costs),
    )


def main() -> int:
    """Measure; there is no bar."""
    found = beside(3)
    if isinstance(found, str):
        print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
