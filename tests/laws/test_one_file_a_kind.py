"""Whatever can be added is one new file: each kind alone, used from end to end, and no other file is touched."""

import filecmp
import shutil
from pathlib import Path

import pytest

from simulator.scenario.seams import SEAMS
from tests.one_file_tree import Tree

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("simulator", "policies", "hardware_profiles")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for package in PACKAGES
        for path in (folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture
def add(packages, tmp_path):
    """Return what adds a file; afterwards it is seen that nothing else has changed."""
    new = []

    def added(name: str, text: str) -> Tree:
        (packages / name).write_text(text)
        new.append(name)
        return Tree(packages, tmp_path)

    yield added
    assert len(new) == 1
    there = files(packages)
    (packages / new[0]).unlink()
    assert there - files(ROOT) == set(new)
    for name in files(ROOT):
        assert filecmp.cmp(ROOT / name, packages / name, shallow=False), name


def policy(kind: str, method: str, before: str = "") -> tuple[str, str]:
    """Return the path and the text of a policy with one method."""
    body = "\n".join(f"    {line}" for line in [*before.splitlines(), "", *method.splitlines()])
    return f"policies/{kind}/mine.py", f'"""One of mine."""\n\n\nclass Mine:\n    """My own."""\n\n{body}\n'


def test_every_seam_is_tested_here():
    tested = {
        kind for kind in SEAMS for name in globals() if "a_policy_of" in name and name.endswith(f"_{kind}")
    }
    assert tested == set(SEAMS)


def test_a_policy_of_scheduling(add):
    tree = add(
        "policies/scheduling/mine.py",
        '"""One of mine."""\n\n'
        "from simulator.policy import Scheduler\n\n\n"
        "class Mine(Scheduler):\n"
        "    def splits_prompts(self):\n"
        "        return False\n\n"
        "    def plan(self, step):\n"
        "        if step.running:\n"
        "            step.decode_all()\n"
        "        elif step.waiting:\n"
        "            step.admit(step.waiting[0], step.waiting[0].known_tokens)\n",
    )
    assert tree.run(policy__scheduling="mine")["engine"]["running_max"] == 1
    assert "mine" in tree("list", "policies")


def test_a_policy_of_routing(add):
    tree = add(*policy("routing", "def route(self, job, replicas, draw):\n    return len(replicas) - 1"))
    tree.run(policy__routing="mine", cluster__replicas=3)
    assert set(tree.column("requests", "replica")) == {2}


def test_a_policy_of_admission(add):
    tree = add(*policy("admission", "def admit(self, job, replica, now_s, draw):\n    return job.id < 3"))
    assert tree.run(policy__admission="mine")["states"]["rejected"]["count"] == 17


def test_a_policy_of_abandonment(add):
    tree = add(*policy("abandonment", "def drop_s(self, job, tokens):\n    return job.arrival_s + 0.1"))
    states = tree.run(policy__abandonment="mine")["states"]
    assert states["completed"]["count"] == 0
    assert sum(each["count"] for name, each in states.items() if name.startswith("abandoned")) == 20


def test_a_policy_of_migration(add):
    method = (
        "def moves(self, replicas, now_s):\n"
        "    here = [job for job in replicas[0].running if job.decodes and job.id not in self.moved]\n"
        "    self.moved.update(job.id for job in here)\n"
        "    return [Move(job, 0, 1) for job in here]"
    )
    path, text = policy(
        "migration", method, "interval_s = 0.2\n\ndef __init__(self):\n    self.moved = set()"
    )
    tree = add(path, text.replace("\n\n\nclass", "\n\nfrom simulator.policy import Move\n\n\nclass"))
    summary = tree.run(policy__migration="mine", cluster__replicas=2, policy__routing="round_robin")
    assert summary["engine"]["migrations"] >= 5


def test_a_policy_of_delivery(add):
    tree = add(
        *policy("delivery", "def deliver(self, generated_s, starts, rng):\n    return generated_s + 2.0")
    )
    assert 2 < tree.run(policy__delivery="mine")["latency"]["ttft_s"]["p50"] < 2.5


def test_a_policy_of_roles(add):
    method = (
        "def switch(self, prefill, decode, now_s):\n"
        "    return decode[-1] if now_s > 1 and len(decode) > 1 else None"
    )
    tree = add(*policy("roles", method, "interval_s = 0.5"))
    pools = {"cluster__prefill__replicas": 1, "cluster__decode__replicas": 2}
    tree.run(**pools)
    assert set(tree.column("steps", "replica")) == {0, 1, 2}
    before = prefills(tree)
    tree.run(policy__roles="mine", **pools)
    assert prefills(tree) - before == {2}


def prefills(tree: Tree) -> set[int]:
    rows = zip(tree.column("steps", "replica"), tree.column("steps", "prefill_tokens"), strict=True)
    return {replica for replica, tokens in rows if tokens}


def test_a_policy_of_scaling(add):
    tree = add(*policy("scaling", "def target(self, pool, now_s):\n    return 3", "interval_s = 0.5"))
    more = {
        "cluster__scaling__max_replicas": 4,
        "cluster__scaling__provision_s": 0,
        "cluster__scaling__load_s": 0,
    }
    tree.run(policy__scaling="mine", **more)
    assert sorted(tree.column("scaling", "replica")) == [0, 1, 2]


def test_a_policy_of_acceptance(add):
    tree = add(*policy("acceptance", "def verify(self, answer, generated, wanted):\n    return wanted, 1"))
    found = tree.run(policy__acceptance="mine", speculation__method="eagle")["engine"]
    assert found["accepted_length"] == 2


MOE = {
    "hardware__model": "qwen3-30b-a3b", "cluster__replicas": 1,
    "engine__data_parallel_size": 2, "engine__enable_expert_parallel": "true",
}  # fmt: skip


def test_a_policy_of_expert_load(add):
    shares = "import numpy as np\n    return np.arange(layers * experts).reshape(layers, experts) + 1.0"
    tree = add(*policy("expert_load", f"def shares(self, layers, experts, rng):\n    {shares}"))
    tree.run(policy__expert_load="mine", **MOE)
    assert tree.most_loaded() > 1


def test_a_policy_of_expert_placement(add):
    method = "def place(self, load, gpus):\n    return load.argsort().reshape(gpus, -1)"
    tree = add(*policy("expert_placement", method))
    tree.run(policy__expert_placement="mine", **MOE)
    assert tree.most_loaded() == 1  # picks are even


def test_a_metric(add):
    tree = add(
        "simulator/metrics/longest_answer.py",
        '"""The longest answer."""\n\n\n'
        "def measure(log, user, slo):\n"
        '    return {"tokens": int(log.token_counts.max())}\n',
    )
    assert tree.run()["longest_answer"] == {"tokens": 100}


def test_a_gpu(add):
    profile = (ROOT / "hardware_profiles/gpus/l4.toml").read_text()
    for value, mine in (
        ('name = "l4"', 'name = "my-gpu"'),
        ("peak_bf16_tflops = 121.0", "peak_bf16_tflops = 400.0"),
        ("peak_fp8_tflops = 242.5", "peak_fp8_tflops = 800.0"),
        ("memory_bandwidth_tb_per_s = 0.3", "memory_bandwidth_tb_per_s = 1.5"),
        ("memory_total_gib = 22.03", "memory_total_gib = 47.5"),
        ("usd_per_hour = 0.78", "usd_per_hour = 1.0"),
    ):
        assert profile.count(value) == 1
        profile = profile.replace(value, mine)
    tree = add("hardware_profiles/gpus/my-gpu.toml", profile)
    assert "my-gpu" in tree("list", "gpus")
    mine, base = (tree.run(hardware__gpu=name) for name in ("my-gpu", "l4"))
    assert mine["latency"]["tpot_s"]["mean"] < base["latency"]["tpot_s"]["mean"] / 2


def test_a_model(add):
    shape = (ROOT / "hardware_profiles/models/llama-3.1-8b.toml").read_text()
    tree = add("hardware_profiles/models/mine.toml", shape.replace('name = "llama-3.1-8b"', 'name = "mine"'))
    assert tree.run(hardware__model="mine")["states"]["completed"]["count"] == 20
    assert "mine" in tree("list", "models")


def test_a_trace_format_of_a_table(add, tmp_path):
    tree = add(
        "simulator/workload/formats/mine.py",
        '"""My own tables."""\n\n'
        "from simulator.workload.formats import TraceFormat\n\n"
        'FORMAT = TraceFormat(arrival_s="when", prompt_tokens="asked", output_tokens="answered")\n',
    )
    (tmp_path / "t.csv").write_text("when,asked,answered\n0,100,7\n0.5,200,9\n")
    tree.run(workload__trace="t.csv")
    assert tree.column("requests", "prompt_tokens") == [100, 200]


def test_a_trace_format_that_parses(add, tmp_path):
    tree = add(
        "simulator/workload/formats/mine.py",
        '"""My own logs."""\n\n'
        'SUFFIXES = (".log",)\n\n\n'
        "def parse(lines):\n"
        "    for line in lines:\n"
        '        when, lengths = line.split(" ")\n'
        '        prompt, output = lengths.split("->")\n'
        '        yield {"arrival_s": float(when), "prompt_tokens": int(prompt), "output_tokens": int(output)}\n',
    )
    (tmp_path / "t.log").write_text("0.5 100->7\n1.5 200->9\n")
    tree.run(workload__trace="t.log")
    assert tree.column("requests", "arrival_s") == [0.5, 1.5]
    assert tree.column("requests", "output_tokens") == [7, 9]


def test_a_command(add):
    tree = add(
        "simulator/cli/commands/count_requests.py",
        '"""Counts."""\n\n\n'
        "def count_requests(folder: str):\n"
        '    """Count the requests of a saved run."""\n'
        "    from simulator import load\n\n"
        "    print(load(folder).requests().num_rows)\n",
    )
    tree.run()
    assert tree("count-requests", "o") == "20\n"
    assert "Count the requests of a saved run." in tree("--help")


def test_an_export(add, tmp_path):
    tree = add(
        "simulator/report/exports/ends.py",
        '"""When each request ended."""\n\n\n'
        "def export(result, path, *, unit_s=1.0):\n"
        '    path.write_text("".join(f"{end_s / unit_s:.3f}\\n" for end_s in result.log.end_s))\n',
    )
    tree.run()
    tree("export", "o", "--to", "ends", "--out", "e", unit_s=0.001)
    ends = [float(line) for line in (tmp_path / "e").read_text().splitlines()]
    assert ends == pytest.approx([1e3 * end_s for end_s in tree.column("requests", "end_s")], abs=1e-3)
