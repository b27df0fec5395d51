"""A scaled cluster from its scenario to its result."""

from pathlib import Path

import numpy as np
import pytest

import simulator
from simulator import Scenario, run
from simulator.errors import InputError
from tests.refusals import folder, refusal  # noqa: F401

DAY = {
    "cluster": {"replicas": 1, "scaling": {"max_replicas": 3, "provision_s": 20.0}},
    "policy": {"scaling": {"name": "schedule", "at_s": [0.0, 60.0, 150.0], "replicas": [1, 3, 1]}},
    "workload": {"trace": "azure2023_conv", "end_s": 240.0},
    "metrics": {"window": "whole"},
}


@pytest.fixture(scope="module")
def day():
    return run(Scenario(**DAY))


def test_a_schedule_has_these_replicas_at_these_times(day):
    rows = day.scaling().to_pylist()
    load_s = 16.06e9 / 2e9  # of a model of 8.03 G parameters, 2 bytes each
    assert [row["replica"] for row in rows] == [0, 1, 2]
    assert [row["ordered_s"] for row in rows] == [0, 60, 60]
    assert [row["billed_from_s"] for row in rows] == [0, 80, 80]
    assert [row["ready_s"] for row in rows] == pytest.approx([0, 80 + load_s, 80 + load_s], rel=1e-3)
    assert sorted(row["draining_s"] or 0 for row in rows) == [0, 150, 150]
    assert all(150 <= row["released_s"] < 165 for row in rows if row["draining_s"])


def test_a_result_says_what_was_paid_for(day, tmp_path):
    cost, engine, window = (day.summary()[key] for key in ("cost", "engine", "window"))
    scaling = day.scaling().to_pydict()
    ends = [window["end_s"] if end is None else end for end in scaling["released_s"]]
    begins = np.maximum(scaling["billed_from_s"], window["start_s"])
    hours = sum(np.array(ends) - begins) / 3600
    assert cost["gpu_hours"] == pytest.approx(hours)
    assert cost["usd"] == pytest.approx(hours * day.manifest["usd_per_gpu_hour"])
    benefit = day.summary()["smooth_goodput"]["benefit_tokens"]
    assert cost["smooth_good_tokens_per_gpu_hour"] == pytest.approx(benefit / hours)
    assert cost["replicas"] == day.manifest["replicas"]
    counts = cost["replicas"]["both"]
    assert (counts["peak"], counts["ordered"], counts["released"]) == (3, 2, 2)
    steps = day.steps().to_pydict()
    busy_s = sum(steps["end_s"]) - sum(steps["start_s"])
    begins = np.maximum(scaling["ready_s"], window["start_s"])
    assert engine["busy_share"] == pytest.approx(busy_s / sum(np.array(ends) - begins))
    assert engine["kv_usage_max"] <= 1
    day.save(tmp_path / "o")
    again = simulator.load(str(tmp_path / "o"))
    assert again.scaling().equals(day.scaling())
    assert again.summary() == day.summary()
    (tmp_path / "o" / "scaling.parquet").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"scaling\.parquet: not a readable parquet file"):
        simulator.load(str(tmp_path / "o"))


def test_the_report_says_how_many_there_were(day):
    from simulator.report.report import report

    text = str(report(day.manifest, day.summary()))
    assert "1 x h100-80gb-sxm at the start" in text
    assert (
        "1 to 3 replicas, as schedule says; a new one takes 20 s to be there and 8.03 s to load the model"
        in text
    )
    assert "replicas paid for on average, 3 at most" in text
    assert "2 ordered, 2 released" in text


def test_loading_takes_what_the_bytes_take_unless_given():
    from simulator.scenario.resolve import resolve_pools

    def load_s(**more):
        cluster = {"scaling": {"max_replicas": 2, **more.pop("scaling", {})}}
        (server,) = resolve_pools(Scenario(cluster=cluster, policy={"scaling": "queue_length"}, **more))
        return server.scaling.load_s

    assert load_s(scaling={"load_gb_s": 4.0}) == pytest.approx(load_s() / 2)
    assert load_s(scaling={"load_s": 33.0}) == 33.0
    assert load_s(hardware={"quantization": "fp8"}) < load_s()
    (server,) = resolve_pools(Scenario(cluster={"scaling": {"max_replicas": 2}}))
    assert server.scaling is None  # the policy "none"


def test_pools_may_have_bounds_and_policies_of_their_own():
    result = run(
        Scenario(
            cluster={
                "prefill": {"scaling": "none"},
                "decode": {
                    "max_replicas": 2,
                    "scaling": {"name": "schedule", "at_s": [0.0], "replicas": [2]},
                },
                "scaling": {"provision_s": 1.0, "load_s": 1.0},
            },
            policy={"scaling": "queue_length"},
            workload={"trace": "azure2023_conv", "end_s": 60.0},
        )
    )
    assert [pool["places"] for pool in result.manifest["pools"]] == [1, 2]
    assert [row["replica"] for row in result.scaling().to_pylist()] == [1, 2]
    assert list(result.summary()["cost"]["replicas"]) == ["decode"]
    gpus = result.summary()["cost"]["gpus"]
    assert 2.5 < gpus < 3


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ('policy.scaling = "queue_lenght"', "policy.scaling: no policy 'queue_lenght'; did you mean 'queue_length'?"),
        ('policy.scaling = "queue_length"', "cluster.scaling.max_replicas: missing; expected beside scaling by"),
        (
            'policy.scaling = "queue_length"\ncluster.replicas = 5\ncluster.scaling.max_replicas = 4',
            "cluster.replicas: 5 at the start; expected from min_replicas = 1 to max_replicas = 4",
        ),
        (
            'policy.scaling = "queue_length"\ncluster.scaling = { min_replicas = 3, max_replicas = 2 }',
            "cluster.scaling.min_replicas: 3 in cluster; expected at most max_replicas = 2",
        ),
        ("cluster.scaling.max_replicas = 0", "cluster.scaling.max_replicas: expected a number >= 1, got 0"),
        ("cluster.scaling.min_replicas = -1", "cluster.scaling.min_replicas: expected a number >= 0, got -1"),
        ("cluster.scaling.provision_s = -1.0", "cluster.scaling.provision_s: expected a number >= 0, got -1.0"),
        ("cluster.scaling.load_s = inf", "cluster.scaling.load_s: expected a finite number"),
        ("cluster.scaling.load_gb_s = 0.0", "cluster.scaling.load_gb_s: expected a number > 0, got 0.0"),
        ("cluster.scaling.maximum = 3", "cluster.scaling.maximum: unknown key; "),
        (
            'policy = { scaling = "queue_length", roles = "by_load" }\n'
            "cluster = { prefill = {}, decode = {}, scaling = { max_replicas = 2 } }",
            "policy.roles: 'by_load' together with scaling 'queue_length'",
        ),
        (
            'cluster = { prefill = { scaling = "queue_length" }, decode = {} }',
            "cluster.scaling.max_replicas: missing; expected beside scaling by 'queue_length'",
        ),
        (
            'cluster = { prefill = { scaling = 3 }, decode = {} }',
            "cluster.prefill/decode.scaling: expected a name or a table with a name, got 3",
        ),
        (
            "cluster = { scaling.max_replicas = 3, faults.events = "
            '[{ kind = "crash", replica = 2, at_s = 1.0, for_s = 1.0 }] }',
            "cluster.faults.events: there is no replica 2; expected a number from 0 to 0",
        ),
        (
            'policy.scaling = "schedule"\ncluster = { scaling.max_replicas = 3, faults.events = '
            '[{ kind = "crash", replica = 3, at_s = 1.0, for_s = 1.0 }] }',
            "cluster.faults.events: there is no replica 3; expected a number from 0 to 2",
        ),
        (
            'policy.scaling = "half.py"\ncluster.scaling.max_replicas = 3',
            "Half.target returned 1.5; expected a whole number",
        ),
        (
            'policy.scaling = "broken.py"\ncluster.scaling.max_replicas = 3',
            "broken.py: line 4: ZeroDivisionError: ",
        ),
        ('policy.scaling = "empty.py"\ncluster.scaling.max_replicas = 3', "Empty has no method target()"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(scenario, message, folder, capsys):  # noqa: F811
    head = "class {}:\n    interval_s = 1.0\n    def target(self, pool, now_s):\n        return {}\n"
    Path("half.py").write_text(head.format("Half", "1.5"))
    Path("broken.py").write_text(head.format("Broken", "1 // 0"))
    Path("empty.py").write_text("class Empty:\n    interval_s = 1.0\n")
    Path("s.toml").write_text(f'{scenario}\n[workload]\ntrace = "t.csv"\n')
    assert message in refusal(capsys, "run", "s.toml")


def test_a_decode_replica_that_is_to_go_is_emptied_by_moves():
    """Six of twelve answers, of 400 tokens, decode there: without moves it stays until they are complete."""
    decode = {
        "replicas": 2,
        "scaling": {"name": "schedule", "at_s": [0.0, 0.5], "replicas": [2, 1], "interval_s": 0.1},
    }
    scaling = {"max_replicas": 2, "provision_s": 0.1, "load_s": 0.1}
    gone_s, moved = {}, {}
    for migration in ("none", "llumnix"):
        result = run(
            Scenario(
                workload={"arrivals": "burst", "requests": 12, "prompt_tokens": 300, "output_tokens": 400},
                cluster={"prefill": {"replicas": 1}, "decode": decode, "scaling": scaling},
                policy={"migration": migration},
            )
        )
        assert set(result.requests()["state"].to_pylist()) == {"completed"}
        (last,) = (row for row in result.scaling().to_pylist() if row["draining_s"] is not None)
        assert last["draining_s"] == 0.5
        gone_s[migration] = last["released_s"]
        moved[migration] = result.summary()["engine"].get("migrations", 0)
    assert moved == {"none": 0, "llumnix": 6}
    assert gone_s["llumnix"] < 1.0 < gone_s["none"]
