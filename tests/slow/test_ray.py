"""``--ray``: what a cluster of two machines finds is what this machine finds, to the bit; skipped where Ray is not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.cli import interrupts
from simulator.cli import main as cli
from simulator.cli.options import with_values
from simulator.errors import InputError
from simulator.functions.inputs import workers_for
from simulator.studies import ray_cluster
from simulator.studies.workers import ALONE, Workers

ROOT = Path(__file__).parent.parent.parent
STUDY = """
replications = 2
[set]
"workload.limit" = {requests}
"cluster.replicas" = 1
[axes]
"policy.scheduling" = ["vllm_v1", "sarathi"]
"workload.rate_rps" = [4.0, 9.0]
"""


@pytest.fixture(scope="module")
def address():
    """Two nodes of one core each, as processes of this machine."""
    pytest.importorskip("ray")
    code = (
        "import sys\nfrom ray.cluster_utils import Cluster\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1})\n"
        "cluster.add_node(num_cpus=1)\ncluster.wait_for_nodes()\n"
        "print(cluster.address, flush=True)\nsys.stdin.read()\ncluster.shutdown()\n"
    )
    quiet = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    nodes = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=quiet,
        text=True,
    )
    try:
        yield nodes.stdout.readline().strip()
    finally:
        nodes.communicate("", timeout=120)


def command(*arguments):
    """A command of its own process: Ray's threads and warnings stay out of this one."""
    return [sys.executable, "-m", "simulator.cli.main", *map(str, arguments)]


def run(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_sweep_on_two_nodes_equals_that_on_this_machine(tmp_path, address):
    (tmp_path / "study.toml").write_text(STUDY.format(requests=40))
    here = run("sweep", "study.toml", "--out", "here", "--jobs", "1", cwd=tmp_path)
    there = run("sweep", "study.toml", "--out", "there", "--ray", address, cwd=tmp_path)
    assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr
    assert len(there.stderr.splitlines()) == 1  # where the results are
    for name in (
        "sweep.parquet",
        "sweep.csv",
        *(f"points/{x.name}" for x in (tmp_path / "here/points").iterdir()),
    ):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_both_nodes_simulate_and_what_the_work_raises_comes_back(tmp_path, address):
    code = (
        "import os, time\nfrom simulator.studies.workers import Workers\nfrom tests.slow import test_ray as own\n"
        f"workers = Workers(ray={address!r})\n"
        "found = dict(workers.done(own.node_after_a_while, {i: (0.5,) for i in range(8)}))\n"
        "print(sorted(found) == list(range(8)), len(set(found.values())))\n"
        "try:\n    list(workers.done(own.refuses, {1: (1,), 2: (2,)}))\n"
        "except Exception as error:\n    print(type(error).__name__, error)\nworkers.close()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["True 2", "InputError refused"], done.stderr


def node_after_a_while(seconds):
    import ray

    time.sleep(seconds)
    return ray.get_runtime_context().get_node_id()


def refuses(number):
    raise InputError("refused")


def test_a_ctrl_c_ends_it_and_the_same_command_goes_on(tmp_path, address):
    (tmp_path / "study.toml").write_text(STUDY.format(requests=3000))
    arguments = command("sweep", "study.toml", "--out", "out", "--ray", address)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        arguments, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    points = tmp_path / "out" / "points"
    end = time.monotonic() + 120
    while process.poll() is None and len(list(points.glob("[!.]*.json"))) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[1], process.returncode) == (
        "servesim: error: interrupted\n",
        interrupts.INTERRUPTED,
    )
    done = {path: path.stat().st_mtime_ns for path in points.glob("[!.]*.json")}
    assert 2 <= len(done) < 8
    again = run("sweep", "study.toml", "--out", "out", "--ray", address, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert len(list(points.glob("[!.]*.json"))) == 8


def test_a_capacity_on_two_nodes_is_the_same(tmp_path, address):
    shared = [
        "--set",
        "workload.requests=150",
        "--set",
        "cluster.replicas=1",
        "--most-simulations",
        "10",
        "--json",
    ]
    lengths = [
        "workload.arrivals=poisson",
        "workload.rate_rps=4",
        "workload.prompt_tokens=200",
        "workload.output_tokens=20",
    ]
    shared += [part for each in lengths for part in ("--set", each)]
    found = [
        run("capacity", "--target", "ttft_p99<=0.5", "--out", f"c{i}", *shared, *where, cwd=tmp_path)
        for i, where in enumerate((["--jobs", "1"], ["--ray", address]))
    ]
    assert found[0].returncode == found[1].returncode == 0, found[1].stderr
    assert json.loads(found[0].stdout) == json.loads(found[1].stdout)


def test_a_search_of_settings_on_two_nodes_is_the_same(tmp_path, address):
    (tmp_path / "s.toml").write_text("workload.limit = 40\n")
    arguments = [
        "s.toml", "--space", "engine.max_num_seqs=1..64:log", "--space", "policy.scheduling=vllm_v1,sarathi",
        "--method", "random", "--trials", "4", "--batch", "2", "--checks", "1",
    ]  # fmt: skip
    here = run("tune", *arguments, "--out", "here", "--jobs", "1", cwd=tmp_path)
    there = run("tune", *arguments, "--out", "there", "--ray", address, cwd=tmp_path)
    assert (there.returncode, there.stdout) == (0, here.stdout), there.stderr
    for name in (
        "tune.csv",
        "best.toml",
        *(f"trials/{x.name}" for x in (tmp_path / "here/trials").iterdir()),
    ):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_another_servesim_on_a_machine_is_refused():
    assert ray_cluster._simulated_there("another", ".", {}, max, (1, 2))[0]
    own = ray_cluster.code_digest()
    assert ray_cluster._simulated_there(own, "/no/such/folder", {}, max, (1, 2)) == (None, 2)


@pytest.mark.parametrize("name", ["sweep", "plan", "capacity", "reproduce", "tune"])
def test_without_ray_each_command_says_what_to_install(name, tmp_path, capsys, monkeypatch):
    files = {
        "sweep": STUDY.format(requests=5),
        "plan": 'target = "ttft_p99 <= 9"\n[set]\n"workload.limit" = 5\n',
        "capacity": "",
        "reproduce": "",
        "tune": "workload.limit = 5\n",
    }
    path = tmp_path / "file.toml"
    path.write_text(files[name])
    given = {
        "sweep": [str(path)],
        "plan": [str(path)],
        "capacity": ["--set", "workload.limit=200"],
        "reproduce": ["fig5", "--quick"],
        "tune": [str(path), "--space", "engine.max_num_seqs=4..64", "--method", "random"],
    }
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main([name, *given[name], "--out", str(tmp_path / "out"), "--ray"]) == 2
    assert "--ray: Ray is not installed; expected: pip install 'servesim[ray]'" in capsys.readouterr().err


def test_the_flag_may_stand_without_a_value():
    assert with_values(["sweep", "a.toml", "--ray"]) == ["sweep", "a.toml", "--ray=any"]
    assert with_values(["sweep", "--ray", "--out", "x", "a"]) == ["sweep", "--ray=any", "--out", "x", "a"]
    for given in (
        ["sweep", "a", "--ray", "10.0.0.1:6379"],
        ["sweep", "a", "--ray=auto"],
        ["x", "--", "--ray"],
    ):
        assert with_values(given) == given


def test_functions_take_an_address_and_not_both():
    assert workers_for([], 1) == ALONE
    assert workers_for([], None, "auto").ray == "auto"
    with pytest.raises(InputError, match="jobs: given together with ray"):
        workers_for([], 2, "auto")
    with pytest.raises(InputError, match="ray: expected the address"):
        workers_for([], None, "")


def test_all_is_done_in_any_order_of_ends_and_what_fails_is_raised():
    given = {i: (i,) for i in range(9)}
    workers = Workers(jobs=2)
    try:
        assert dict(workers.done(abs, given)) == {i: i for i in range(9)} == dict(ALONE.done(abs, given))
        with pytest.raises(InputError, match="refused"):
            list(workers.done(refuses, given))
        assert list(workers.done(abs, {3: (-3,)})) == [(3, 3)]
    finally:
        workers.close()
