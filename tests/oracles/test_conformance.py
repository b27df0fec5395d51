"""The schedulers decide as the recorded ones did; by default, what hangs an engine fails one request."""

import gzip
import json

import numpy as np
import pytest

from benchmarks import conformance
from hardware_profiles import native_rules
from policies.routing.round_robin import RoundRobin
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.request import RequestState
from tests.compiled import interpreted_only
from tests.examples import few

FILES = sorted(conformance.SHIPPED.rglob("*.json.gz"))
NAMES = [path.relative_to(conformance.SHIPPED).as_posix().removesuffix(".json.gz") for path in FILES]


def recording(name):
    with gzip.open(conformance.SHIPPED / f"{name}.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


def test_all_recordings_are_here():
    assert len([name for name in NAMES if name.startswith("vllm")]) == 175
    assert len([name for name in NAMES if name.startswith("sglang")]) == 94
    manifest = json.loads((conformance.SHIPPED / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(manifest) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES[:: 3 if few() else 1])
@interpreted_only
def test_every_step_is_as_recorded(name):
    assert conformance.first_difference(recording(name)) is None


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("sched", lambda value: value[:-1]),
        ("free_after_step", lambda value: value + 1),
        ("n_waiting", lambda value: value + 1),
        ("preempted", lambda value: [*value, 0]),
        ("t_ns", lambda value: value + 100),
    ],
)
@interpreted_only
def test_a_changed_recording_does_not_match(column, change):
    changed = recording("vllm-v1-0.24.0/kv_medium")
    changed["steps"][column][200] = change(changed["steps"][column][200])
    difference = conformance.first_difference(changed)
    assert difference is not None
    assert f"step 200, {column}" in difference


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("sched", lambda value: value[::-1]),
        ("kind", lambda value: "mixed"),
        ("preempted", lambda value: [*value, 0]),
        ("beyond", lambda value: [*value, 0]),
        ("ratio", lambda value: value + 1e-6),
        ("free_after_sched", lambda value: value + 1),
        ("cached", lambda value: value - 1),
        ("t_sched_ns", lambda value: value + 100),
    ],
)
@interpreted_only
def test_a_changed_recording_of_sglang_does_not_match(column, change):
    changed = recording("sglang-0.5.3/kv_growing_overlap")
    changed["steps"][column][300] = change(changed["steps"][column][300])
    assert f"step 300, {column}" in str(conformance.first_difference(changed))


@interpreted_only
def test_the_runner_reads_any_folder_and_says_what_it_found(tmp_path, capsys):
    good = recording("vllm-v1-0.24.0/edge_singles")
    for name, change in (("a/good", 0), ("b/bad", 1)):
        good["steps"]["n_running"][3] += change
        path = tmp_path / f"{name}.json.gz"
        path.parent.mkdir()
        path.write_bytes(gzip.compress(json.dumps(good).encode()))
    assert conformance.main([str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a/good: match"
    assert lines[1].startswith("b/bad: step 3, n_running: recorded")
    assert lines[2] == "1 of 2 recordings match"
    assert conformance.main([str(tmp_path / "nowhere")]) == 2


EDGES = [name for name in NAMES if "toolong" in name or "outgrow" in name]


@pytest.mark.parametrize("name", EDGES)
@pytest.mark.parametrize("strict", [False, True])
def test_requests_that_can_never_fit(name, strict):
    """By default each fails by itself and the others are served; strictly, a hang becomes an error."""
    run = recording(name)
    settings = run["settings"]
    policy = conformance.scheduler_of(run["engine"], settings)
    outcome = simulate(
        conformance.workload_of(run),
        colocated(
            lambda: policy,
            conformance.RecordingsCost(0),
            conformance.limits_of(settings, strict),
            RoundRobin(),
            rules=native_rules(policy),
        ),
    )
    requests = outcome.tables.requests
    usable = (settings["num_gpu_blocks"] - ("v0" not in name)) * settings["block_size"]
    fits = requests["prompt_tokens"] + requests["output_tokens"] - 1 <= usable
    assert not fits.all()
    hangs = bool(run["summary"]["stuck"]) or run["summary"]["truncated"]
    if strict and hangs:
        assert outcome.stalled is not None
        assert "Job(id=" in outcome.stalled
    else:
        assert outcome.stalled is None
        assert (requests["state"][~fits] == RequestState.FAILED).all()
    if not strict and "v0" not in name:
        assert (requests["state"][fits] == RequestState.COMPLETED).all()


@interpreted_only
def test_prefix_caching_saves_the_shared_prompt():
    """Four requests with one long beginning compute it once."""
    run = recording("vllm-v1-0.24.0/prefix_shared")
    steps = {}
    for caching in (True, False):
        run["settings"]["enable_prefix_caching"] = caching
        probe, _ = conformance.replay(run)
        tokens = [entry[1] for row in probe.rows for entry in row["sched"] if isinstance(entry, list)]
        steps[caching] = np.sum(tokens)
    assert steps[True] < 0.8 * steps[False]
