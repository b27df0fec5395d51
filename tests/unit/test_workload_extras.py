"""Traffic with priorities, patience and prefixes, drawn or from Mooncake, and what results tell of it."""

import numpy as np
import pytest

from simulator import Scenario, load, run
from simulator.errors import InputError
from simulator.report.report import report
from simulator.report.same_traffic import first_difference
from simulator.workload import Workload, WorkloadSpec, build

MOONCAKE = "mooncake_fast25_synthetic"
CACHING = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}}


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def reusable(workload: Workload) -> list[int]:
    """For each request, how many tokens its prompt has in common with the beginning of an earlier one."""
    seen: set[tuple[int, ...]] = set()
    found = []
    for segments in workload.segments:
        known, common = (), 0
        for stream, tokens in segments:
            known = hash((known, stream))
            if known in seen:
                common += tokens
            seen.add(known)
        found.append(common)
    return found


def test_mooncake_prompts_repeat_as_much_as_is_known_of_them():
    workload = make(trace=MOONCAKE)
    assert len(workload) == 3993
    assert [
        sum(tokens for _, tokens in each) for each in workload.segments
    ] == workload.prompt_tokens.tolist()
    common = np.array(reusable(workload))
    blocks = sum(map(len, workload.segments))
    assert np.ceil(common / 512).sum() / blocks == pytest.approx(0.640, abs=0.0005)
    assert common.sum() / workload.prompt_tokens.sum() == pytest.approx(0.651, abs=0.0005)


def test_the_engine_finds_all_that_can_be_found_in_a_cache_that_never_fills():
    """All but the last, incomplete block of 16 of what is in common: and never a prompt's last token."""
    scenario = Scenario(
        policy=CACHING,
        engine={"num_gpu_blocks": 200_000},
        workload={"trace": MOONCAKE, "max_prompt_tokens": 6000, "max_tokens": 20},
    )
    workload = build(scenario.workload, 0)
    ideal = np.array(reusable(workload))
    assert ideal.sum() / workload.prompt_tokens.sum() == pytest.approx(0.646, abs=0.0005)
    found = np.minimum(ideal, workload.prompt_tokens - 1) // 16 * 16
    engine = run(scenario).summary()["engine"]
    assert engine["preemptions"] == 0
    assert engine["prefix_looked_up_tokens"] == workload.prompt_tokens.sum()
    assert engine["prefix_hit_tokens"] == found.sum()


# Drawn

SYNTHETIC = {"arrivals": "poisson", "rate_rps": 4.0, "lengths": "chat_azure2023", "requests": 2000}


def test_each_addition_is_drawn_from_a_stream_of_its_own():
    plain = make(5, **SYNTHETIC)
    extras = {
        "priority": {"priorities": [0.2, 0.0, 0.8]},
        "leave_s": {"patience_s": 30.0},
        "segments": {"shared_prefixes": 4, "shared_prefix_tokens": 500},
    }
    every = make(5, **SYNTHETIC, **{key: value for keys in extras.values() for key, value in keys.items()})
    for column, keys in extras.items():
        workload = make(5, **SYNTHETIC, **keys)
        for fixed in ("arrival_s", "prompt_tokens", "output_tokens"):
            assert np.array_equal(getattr(workload, fixed), getattr(plain, fixed))
        assert np.array_equal(getattr(workload, column), getattr(every, column))
        shorter = make(5, **{**SYNTHETIC, "requests": 100}, **keys)
        assert np.array_equal(getattr(shorter, column), getattr(workload, column)[:100])
        assert first_difference(plain, workload) is not None
        assert first_difference(workload, workload) is None


def test_shared_prefixes_are_equally_likely_and_leave_a_token_of_ones_own():
    workload = make(**SYNTHETIC, shared_prefixes=4, shared_prefix_tokens=500)
    drawn = np.zeros(4)
    for prompt, segments in zip(workload.prompt_tokens.tolist(), workload.segments, strict=True):
        (stream, tokens), (own, rest) = segments
        drawn[stream] += 1
        assert own < 0
        assert tokens == min(500, prompt - 1)
        assert tokens + rest == prompt
    assert np.all(np.abs(drawn - 500) < 4.5 * np.sqrt(2000 * 0.25 * 0.75))
    burst = {"arrivals": "burst", "requests": 2, "prompt_tokens": 1, "output_tokens": 1}
    alone = make(**burst, shared_prefixes=1, shared_prefix_tokens=9)
    assert alone.segments == [((-1, 1),), ((-2, 1),)]


def test_priorities_have_their_shares_and_patience_its_mean():
    workload = make(**SYNTHETIC, priorities=[0.2, 0.0, 0.8], patience_s=30.0)
    counts = np.bincount(workload.priority)
    assert counts[1] == 0
    assert abs(counts[0] - 400) < 4.5 * np.sqrt(2000 * 0.2 * 0.8)
    patience_s = workload.leave_s - workload.arrival_s
    assert patience_s.mean() == pytest.approx(30, rel=4.5 / np.sqrt(2000))
    assert "priorities with shares 0.2, 0, 0.8, clients that give up after 30 s" in workload.source


def test_they_can_be_added_to_a_trace_that_does_not_have_them(tmp_path):
    assert make(limit=9, priorities=[0.5, 0.5]).priority.max() == 1
    trace = tmp_path / "t.csv"
    trace.write_text(
        "arrival_s,prompt_tokens,output_tokens,priority,patience_s,prefix_id,prefix_tokens\n0,9,1,,,,\n"
    )
    for key, value, column in (
        ("priorities", [1.0], "priority"),
        ("patience_s", 3.0, "patience_s"),
        ("shared_prefixes", 3, "prefix_id"),
    ):
        keys = {key: value} | ({"shared_prefix_tokens": 5} if key == "shared_prefixes" else {})
        with pytest.raises(InputError, match=rf"workload.{key}: .* says this itself, in column {column}"):
            make(trace=str(trace), **keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shared_prefixes": 3}, "workload.shared_prefix_tokens: missing; expected beside workload.shared_p"),
        ({"shared_prefix_tokens": 3}, "workload.shared_prefixes: missing"),
        ({"shared_prefixes": 0, "shared_prefix_tokens": 3}, "workload.shared_prefixes: expected a number >= 1"),
        ({"priorities": [0.5, 0.4]}, "workload.priorities: expected shares that add up to 1, got [0.5, 0.4]"),
        ({"priorities": [1.5, -0.5]}, "workload.priorities.1: expected a number >= 0, got -0.5"),
        ({"priorities": []}, "workload.priorities: expected a list that is not empty, got []"),
        ({"priorities": 0.5}, "workload.priorities: expected a list such as [0.2, 0.8], got 0.5"),
        ({"patience_s": 0.0}, "workload.patience_s: expected a number > 0, got 0.0"),
        ({**SYNTHETIC, "max_prompt_tokens": 5}, "workload.max_prompt_tokens: only for a trace"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(InputError) as caught:
        Scenario(workload=keys)
    assert message in str(caught.value)


def test_the_keys_are_explained_and_read_back():
    text = Scenario(workload={"priorities": [np.float64(0.25), 0.75], "patience_s": 9.0}).to_toml()
    lines = {line.removeprefix("# ").split(" =")[0]: line for line in text.splitlines() if " =" in line}
    assert lines["priorities"].startswith("priorities = [0.25, 0.75]  ")
    for key in ("shared_prefixes", "shared_prefix_tokens", "priorities", "patience_s", "max_prompt_tokens"):
        assert lines[key].split("  # ")[1]
    again = Scenario().with_overrides(["workload.priorities=[0.25, 0.75]"])
    assert again.workload.priorities == [0.25, 0.75]


def test_prompts_too_long_for_the_model_name_the_way_out():
    with pytest.raises(InputError, match=r"workload\.max_prompt_tokens leaves such requests out"):
        run(Scenario(workload={"trace": MOONCAKE}))
    with pytest.raises(InputError, match=r"every prompt of .* is longer than 5; the shortest has 13 tokens"):
        make(trace=MOONCAKE, max_prompt_tokens=5)


# Results


def test_a_result_tells_of_priorities_departures_and_hits(tmp_path):
    scenario = Scenario(
        policy={"scheduling": {**CACHING["scheduling"], "policy": "priority"}},
        engine={"max_num_seqs": 2},
        workload={
            "arrivals": "burst", "requests": 40, "prompt_tokens": 320, "output_tokens": 50,
            "priorities": [0.5, 0.5], "patience_s": 4.0, "shared_prefixes": 1, "shared_prefix_tokens": 160,
        },
    )  # fmt: skip
    result = run(scenario)
    table = result.requests()
    urgent = np.array(table["priority"]) == 0
    first_s = np.array(table["first_scheduled_s"].to_pylist(), float)
    assert np.nanmax(first_s[urgent]) <= np.nanmin(first_s[~urgent])
    summary = result.summary()
    gone = summary["states"]["abandoned_by_user"]["count"]
    assert 0 < gone < 40
    admitted = int(np.isfinite(first_s).sum())
    engine = summary["engine"]
    assert engine["prefix_looked_up_tokens"] == 320 * admitted
    assert engine["prefix_hit_tokens"] == 160 * (admitted - 1)
    assert engine["prefix_hit_share"] == pytest.approx(0.5 * (admitted - 1) / admitted)
    text = str(report(result.manifest, summary))
    assert f"% of the {320 * admitted:,} known tokens looked up at admissions" in text
    assert f"WARNING: {gone} requests" in text
    assert "were given up by their clients" in text
    assert "abandoned by user" in text
    result.save(tmp_path / "r")
    again = load(tmp_path / "r")
    assert again.summary() == summary
    assert again.requests()["priority"].to_pylist() == table["priority"].to_pylist()


def test_without_a_prefix_cache_and_priorities_the_result_says_nothing_of_them():
    off = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": False}}
    result = run(Scenario(policy=off, workload={"limit": 20}))
    assert "priority" not in result.requests().column_names
    assert "prefix_cache" not in result.manifest
    assert not [key for key in result.summary()["engine"] if "prefix" in key]
    assert "prefix" not in str(report(result.manifest, result.summary())).replace("prefix_caching", "")
