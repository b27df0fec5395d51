"""A result that was saved and read back is the result: every table, the summary, the log, in every kind of run."""

import numpy as np
import pyarrow as pa
import pytest

from simulator import Result, Scenario, run
from simulator.results.saved import OPTIONAL
from simulator.results.trace_level import LEVELS, kept_tables

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 60, "lengths": "chat_azure2023"}
APART = {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}

KINDS = {
    "plain": {},
    "late delivery": {"policy": {"delivery": {"name": "jitter"}}},
    "disaggregated": {"cluster": APART},
    "migration": {
        "cluster": {"replicas": 2},
        "engine": {"num_gpu_blocks": 600},
        "policy": {
            "migration": {"name": "llumnix", "interval_s": 0.1, "send_below": 40.0, "receive_above": 41.0}
        },
    },
    "faults": {"cluster": {"replicas": 2, "faults": {"mtbf_s": 2.0, "repair_s": 0.5, "retries": 0}}},
    "autoscaling": {
        "cluster": {"scaling": {"max_replicas": 3, "provision_s": 0.1, "load_s": 0.1}},
        "policy": {"scaling": {"name": "queue_length", "interval_s": 0.2}},
    },
    "sessions": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
    },
    "prefix caching": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
        "policy": {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}},
    },
    "cut off": {"run": {"horizon_s": 0.5}},
    "dropping": {"policy": {"admission": {"name": "queue_cap"}}, "cluster": {"replicas": 2}},
    "unlike pools": {
        "cluster": {
            "pools": {
                "small": {"gpu": "l40s", "quality": 0.4, "usd_per_request": 0.001},
                "large": {"quality": 0.9, "usd_per_request": 0.002},
            }
        },
        "policy": {"routing": "cascade"},
    },
    "classes": {
        "workload": {
            "arrivals": "poisson",
            "rate_rps": 40.0,
            "requests": 60,
            "classes": {
                "chat": {"share": 0.5, "lengths": "chat_azure2023", "slo": {"ttft_s": 0.1}},
                "tools": {"share": 0.5, "prompt_tokens": 200, "output_tokens": 9, "v_s_per_token": 0.0},
            },
        },
        "user": {"alpha": 5.0},
    },
    "drafts": {"speculation": {"method": "eagle3"}},
    "energy": {"hardware": {"usd_per_kwh": 0.1}},
    "KV tiers": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
        "engine": {
            "num_gpu_blocks": 600,
            "kv_offloading": {"tiers": [{"kind": "host", "capacity_gib": 1.0}]},
        },
    },
    "pipeline": {"engine": {"pipeline_parallel_size": 2}},
    "ranks": {
        "hardware": {"model": "qwen3-30b-a3b"},
        "engine": {"data_parallel_size": 2, "enable_expert_parallel": True},
    },
    "read by sentences": {"user": {"reads": "sentence", "fatigue": 0.1, "thinking_share": 0.3}},
}
HAVE = {"transfers": ("disaggregated", "migration"), "scaling": ("autoscaling",)}


def tables(result):
    """Every table that the level of a result has, with what was to be seen of the others."""
    kept = kept_tables(result.trace_level)
    return {name: getattr(result, name)() for name in (*kept, *(OPTIONAL if kept else ()))}


def alike(one, other):
    """Whether two columns are equal, NaN and null being equal to themselves and to nothing else."""
    numbers = pa.types.is_floating(one.type)
    return one.is_null().equals(other.is_null()) and (
        np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True) if numbers else one.equals(other)
    )


@pytest.fixture(scope="module", params=[(kind, level) for kind in KINDS for level in LEVELS], ids="-".join)
def made(request, tmp_path_factory):
    """A kind of run, what it left, and that read back."""
    kind, level = request.param
    scenario = {"workload": CHAT, "slo": {"ttft_s": 0.05}, **KINDS[kind]}
    scenario["run"] = {**scenario.get("run", {}), "trace_level": level}
    result = run(Scenario(**scenario))
    folder = tmp_path_factory.mktemp("saved") / "o"
    result.save(folder)
    return kind, result, Result.load(folder), folder


def test_every_table_is_the_same(made):
    kind, saved, loaded, _ = made
    ours, theirs = tables(saved), tables(loaded)
    assert ours.keys() == theirs.keys()
    for name, table in ours.items():
        if name == "work":
            assert (table is not None) == (saved.trace_level in ("tokens", "steps"))
        elif name in OPTIONAL:
            assert (table is not None) == (kind in HAVE[name]), name
        if table is None:
            assert theirs[name] is None
            continue
        assert theirs[name].schema == table.schema, name
        for column in table.column_names:
            assert alike(theirs[name][column], table[column]), f"{name}.{column}"


def test_the_summary_is_the_same(made):
    _, saved, loaded, _ = made
    assert loaded.summary() == saved.summary()


def test_the_manifest_is_the_same_and_what_is_saved_again_too(made, tmp_path):
    _, saved, loaded, folder = made
    assert saved.manifest.items() <= loaded.manifest.items()
    assert (loaded.partial, loaded.trace_level) == (saved.partial, saved.trace_level)
    loaded.save(tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_the_record_that_metrics_read_is_the_same(made):
    _, saved, loaded, _ = made
    if saved.trace_level == "summary":
        return
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s", "token_offsets"):
        ours, theirs = getattr(saved.log, name), getattr(loaded.log, name)
        assert ours.dtype == theirs.dtype, name
        assert np.array_equal(ours, theirs), name
