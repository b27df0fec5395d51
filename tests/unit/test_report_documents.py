"""Documents of studies, and the colours that all pictures share."""

import re

import pyarrow as pa
import pytest

from simulator.report.style import colour_on_dark, colours_of_runs, policy_colour
from simulator.scenario.discover import discover
from simulator.studies.page import capacity_document, plan_document, study_document, sweep_document

SMOOTH = "smooth_goodput.smooth_goodput_tokens_per_s"
WAIT = "idle_latency.idle_latency_s.mean"


def sweep(failed=False):
    rows = [
        (policy, rate, seed, 100.0 * rate + seed, 1.0 / rate)
        for policy in ("vllm_v1", "orca")
        for rate in (2.0, 4.0)
        for seed in (0, 1)
    ]
    policy, rate, seed, goodput, wait = map(list, zip(*rows, strict=True))
    error = ["stalled" if failed and i == 0 else None for i in range(len(rows))]
    goodput[0] = None if failed else goodput[0]
    return pa.table({
        "policy.scheduling": policy, "workload.rate_rps": rate, "engine": ["e"] * len(rows),
        "user_model": ["reader_20tps"] * len(rows), "seed": seed, "error": pa.array(error, pa.string()),
        SMOOTH: goodput, WAIT: wait,
    })  # fmt: skip


def test_a_sweep_has_a_row_a_place_with_means_and_intervals():
    found = sweep_document(sweep(), "study")
    assert found["axes"] == ["policy.scheduling", "workload.rate_rps"]
    assert [row["place"] for row in found["rows"]] == [
        ["vllm_v1", 2.0],
        ["vllm_v1", 4.0],
        ["orca", 2.0],
        ["orca", 4.0],
    ]
    mean, low, high = found["rows"][0]["numbers"][SMOOTH]
    assert mean == 200.5
    assert low < 200 < 201 < high
    assert found["rows"][0]["numbers"][WAIT] == [0.5, None, None]  # the same of both seeds
    assert found["measures"][0]["key"] == SMOOTH
    assert found["colours"]["policy.scheduling=orca"]["light"] == policy_colour("orca")


def test_points_that_failed_are_counted_and_leave_the_mean():
    row = sweep_document(sweep(failed=True), "study")["rows"][0]
    assert row["failed"] == ["stalled"]
    assert row["numbers"][SMOOTH] == [201.0, None, None]


def test_a_plan_has_its_candidates_and_their_fates():
    table = pa.table({
        "gpu": ["l40s", "h100"], "tensor_parallel": [1, 2], "shape": ["colocated", "1P + 1D"],
        "policy": ["vllm_v1", "smooth"], "engine": ["e", "e"], "engine.max_num_seqs": ["128", None], "replicas": [3, 1],
        "usd_per_hour": [2.4, 4.0], "state": ["chosen", "missed"], "reason": ["", "misses ttft"],
        "margin": [0.02, -0.5], SMOOTH: [900.0, None],
    })  # fmt: skip
    plan = {
        "name": "p", "target": ["ttft_p99 <= 1"], "user_model": "chat", "candidates": 2, "simulations": {"search": 5},
        "plan": {"name": "3 x l40s"}, "runner_up": None, "keeps": True, "launch": [], "robustness": [], "lost": [],
    }  # fmt: skip
    found = plan_document(table, plan)
    assert [row["name"] for row in found["rows"]] == [
        "3 x l40s, vllm_v1, max_num_seqs 128",
        "1 x h100 TP2, 1P + 1D, smooth",
    ]
    assert found["rows"][0]["numbers"] == {
        SMOOTH: [900.0, None, None],
        "usd_per_hour": [2.4, None, None],
        "margin": [2.0, None, None],
    }
    assert found["axes"][-2:] == ["engine.max_num_seqs", "replicas"]


@pytest.mark.parametrize(
    ("rate", "said"), [(3.0, "3.000 requests/s (between 2.500 and 3.500, 95 %)"), (None, "No rate")]
)
def test_a_search_for_a_rate_has_its_answer_and_every_rate(rate, said):
    answer = {
        "rate": rate, "low": 2.5, "high": 3.5, "confidence": 0.95, "unit": "requests/s", "engine": "e", "target": "t",
        "metric": WAIT, "simulations": 4, "user_model": "chat", "notes": ["a note"],
    }  # fmt: skip
    table = pa.table(
        {"rate": [4.0, 2.0, 2.0], "requests": [10, 10, 10], WAIT: [1.0, 0.1, 0.3], SMOOTH: [1.0, 2.0, 2.0]}
    )
    found = capacity_document(table, answer, "capacity")
    assert found["answer"] == said
    assert [row["place"] for row in found["rows"]] == [[2.0], [4.0]]
    assert found["measures"][0]["key"] == WAIT


def test_a_folder_without_a_study_is_none(tmp_path):
    assert study_document(tmp_path) is None


def test_every_scheduler_has_a_colour_of_its_own_that_is_seen_on_either_ground():
    colours = {name: policy_colour(name) for name in discover("scheduling")}
    assert len(set(colours.values())) == len(colours)
    for colour in colours.values():
        assert re.fullmatch("#[0-9A-F]{6}", colour)
        assert contrast(colour, "#F5F6F8") > 1.7
        assert contrast(colour_on_dark(colour), "#1A1E24") > 4


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, section 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_an_own_policy_has_the_colour_of_its_name_wherever_it_lies():
    assert policy_colour("mine.py") == policy_colour("/home/a/mine.py") == policy_colour("mine")
    assert policy_colour("mine") != policy_colour("yours")


def test_runs_have_the_colours_of_the_policy_in_which_they_differ():
    runs = [{"scheduling": "vllm_v1", "routing": "random"}, {"scheduling": "orca", "routing": "random"}]
    assert colours_of_runs(runs) == [policy_colour("vllm_v1"), policy_colour("orca")]
    runs = [{"scheduling": "orca", "routing": "random"}, {"scheduling": "orca", "routing": "round_robin"}]
    assert colours_of_runs(runs) == [policy_colour("random"), policy_colour("round_robin")]
    assert len(set(colours_of_runs([{"scheduling": "orca"}] * 3))) == 3
    assert len(colours_of_runs([{}] * 20)) == 20
