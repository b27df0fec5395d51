"""What the README promises: a policy, a router, a metric, a trace format and a GPU are one new file each.

The files are put into copies of the folders, in a process of its own, so that nothing stays behind.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

FILES = {
    "policies/scheduling/one_at_a_time.py": '''"""One request at a time."""

from dataclasses import dataclass

from simulator.policy import Ledger
from simulator.policy import Scheduler


@dataclass(frozen=True)
class OneAtATime(Scheduler):
    """No request joins while another runs."""

    patience: int = 3

    def splits_prompts(self) -> bool:
        return False

    def plan(self, step: Ledger) -> None:
        if step.running:
            step.decode_all()
        elif step.waiting:
            job = step.waiting[0]
            step.admit(job, job.known_tokens)
''',
    "policies/routing/last.py": '''"""Always the last replica."""


class Last:
    """No balance at all."""

    def route(self, job, replicas, draw):
        return len(replicas) - 1
''',
    "simulator/metrics/longest_answer.py": '''"""The longest answer."""


from simulator.metrics import Measure

MEASURES = (Measure("longest_answer.tokens", "longest answer", "tokens", alias="longest"),)


def measure(log, user, slo):
    return {"tokens": int(log.token_counts.max())}
''',
    "hardware_profiles/gpus/my-gpu.toml": """
name = "my-gpu"
like = "h100-80gb-sxm"
datasheet = { memory_total_gib = 47.5, memory_bandwidth_tb_per_s = 1.5, peak_bf16_tflops = 400.0 }
host_link.bandwidth_gb_per_s = 25.0
price.usd_per_hour = 1.0
""",
    "simulator/workload/formats/mine.py": '''"""My own logs."""

from simulator.workload.formats import TraceFormat

FORMAT = TraceFormat(arrival_s="when", prompt_tokens="asked", output_tokens="answered")
''',
}

SCENARIO = """
hardware.gpu = "my-gpu"
cluster.replicas = 2
workload.trace = "mine.csv"

[policy]
routing = "last"
scheduling = { name = "one_at_a_time", patience = 5 }
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the packages with one new file each."""
    folder = tmp_path_factory.mktemp("extended")
    for package in ("simulator", "policies", "hardware_profiles"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "mine.csv").write_text("when,asked,answered\n0,100,7\n0.001,200,9\n0.002,50,4\n")
    (folder / "s.toml").write_text(SCENARIO)
    return folder


def servesim(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "simulator.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_file_each_is_all_it_takes(extended):
    out = servesim(extended, "run", "s.toml", "--out", "o", "--no-plot")
    assert "2 x my-gpu" in out
    assert "scheduling one_at_a_time (patience=5)" in out
    summary = json.loads((extended / "o/summary.json").read_text())
    assert summary["longest_answer"] == {"tokens": 9}
    assert summary["engine"]["running_max"] == 1
    assert summary["states"]["completed"]["count"] == 3

    from simulator import load

    assert set(load(str(extended / "o")).requests()["replica"].to_pylist()) == {1}


def test_a_metric_shows_everywhere_by_itself(extended):
    shown = servesim(extended, "run", "s.toml", "--no-plot", "--out", "p")
    (line,) = [line for line in shown.splitlines() if line.startswith("longest answer")]
    assert line.split() == ["longest", "answer", "9.000", "tokens"]
    for count in (2, 6):  # beside one another, and below one another
        vary = f"seed={','.join(map(str, range(count)))}"
        table = servesim(extended, "compare", "s.toml", "--vary", vary)
        assert "longest answer" in table
        assert "9.000" in table
    (extended / "study.toml").write_text(
        'base = "s.toml"\nmetrics = ["longest"]\naxes."engine.max_num_seqs" = [1, 2]\n'
    )
    swept = servesim(extended, "sweep", "study.toml", "--jobs", "1", "--out", "swept")
    assert swept.splitlines()[0].split() == ["engine.max_num_seqs", "longest", "answer"]
    (extended / "plan.toml").write_text(
        'base = "s.toml"\ntarget = ["longest <= 9", "token_slo >= 0"]\n[space]\ngpus = ["my-gpu"]\n'
        'tensor_parallel = [1]\nshapes = ["colocated"]\nreplicas = [1, 2]\nsettings = {}\n'
    )
    searched = servesim(
        extended, "capacity", "s.toml", "--target", "longest<=9", "--jobs", "1", "--out", "searched"
    )
    assert "longest<=9  (longest_answer.tokens)" in searched
    planned = servesim(extended, "plan", "plan.toml", "--jobs", "1", "--out", "planned")
    assert "target: longest_answer.tokens <= 9 and token_slo.attainment >= 0" in planned
    assert "cheapest plan that keeps the target: 1 x my-gpu" in planned


@pytest.mark.parametrize(
    ("topic", "shown"),
    [
        ("policies", "one_at_a_time"),
        ("policies", "Always the last replica."),
        ("gpus", "my-gpu"),
    ],
)
def test_new_files_are_listed(extended, topic, shown):
    assert shown in servesim(extended, "list", topic)
