"""Policies where they are seldom: odd parameters, promised bounds, leavers in a batch, readers of several speeds."""

from pathlib import Path

import pytest

from hardware_profiles import load_gpu
from policies.scheduling import autellix
from simulator import InputError, Scenario
from tests.served import served

BURST = {"arrivals": "burst", "requests": 2, "prompt_tokens": 40, "output_tokens": 12}


@pytest.mark.parametrize(
    ("lengths", "said"),
    [
        ("", "has no numbers; expected accepted drafts, one step a line"),
        ("1 2\nx3", "number 3: expected a whole number >= 0, got 'x3'"),
    ],
)
def test_recordings_of_accepted_drafts_are_numbers(lengths, said, tmp_path):
    (tmp_path / "r.txt").write_text(lengths)
    with pytest.raises(InputError) as error:
        Scenario(
            speculation={"method": "eagle3"},
            policy={"acceptance": {"name": "recorded", "path": str(tmp_path / "r.txt")}},
        )
    assert f"policy.acceptance: path: {tmp_path / 'r.txt'}: {said}" in str(error.value)


@pytest.mark.parametrize(("more", "got"), [({}, "none"), ({"exponent": 99.0}, "99.0")])
def test_how_uneven_experts_are_is_said(more, got):
    with pytest.raises(InputError, match=f"exponent: expected above 0 and at most 10, got {got}"):
        Scenario(hardware={"model": "qwen3-30b-a3b"}, policy={"expert_load": {"name": "zipf", **more}})


def test_the_example_of_one_gpu_is_for_no_other():
    with pytest.raises(InputError, match="divisions: expected spread on a GPU of 108 SMs, got h200, of 132"):
        served({"name": "pdmux_sglang", "divisions": "h200"}, gpu="a100-80gb-sxm", workload=BURST)


def test_a_gpu_of_few_sms_has_no_parts_for_decodes(tmp_path):
    profile = Path(load_gpu("a100-80gb-sxm").path).read_text(encoding="utf-8")
    (tmp_path / "small.toml").write_text(profile.replace("\nsms = 108", "\nsms = 20"))
    with pytest.raises(InputError, match="20 SMs: expected a part of 16 that is no more than half"):
        served("pdmux_sglang", gpu=str(tmp_path / "small.toml"), workload=BURST)


def test_what_autellix_forgets_changes_nothing(monkeypatch):
    workload = {"arrivals": "poisson", "rate_rps": 30.0, "requests": 70, "prompt_tokens": 200,
                "output_tokens": 60, "session_turns": 4.0, "think_s": 0.1}  # fmt: skip
    found = []
    for every in (1, 10**9):
        monkeypatch.setattr(autellix, "FOLDED_EVERY", every)
        policy = {"name": "autellix", "bin_tokens": 20}
        found.append(served(policy, workload=workload, engine={"max_num_seqs": 4}).result)
    assert found[0].requests() == found[1].requests()
    assert found[0].tokens() == found[1].tokens()


@pytest.mark.parametrize(("bound_s", "ahead"), [(60.0, True), (0.001, False)])
def test_muxwise_lets_go_ahead_of_who_was_promised_later(bound_s, ahead, tmp_path):
    classes = {}
    for name, at_s, prompt in (("long", 0.0, 12_000), ("short", 0.05, 50)):
        (tmp_path / f"{name}.csv").write_text(f"arrival_s,prompt_tokens,output_tokens\n{at_s},{prompt},2\n")
        classes[name] = {"trace": str(tmp_path / f"{name}.csv"), "slo": {"ttft_s": bound_s}}
    long_s, short_s = served("muxwise", workload={"classes": classes}).requests["first_token_s"]
    assert (short_s < long_s) == ahead


def test_who_leaves_a_batch_before_its_prompt_is_computed_takes_no_place():
    workload = BURST | {"requests": 12, "prompt_tokens": 3000, "patience_s": 0.4}
    found = served(
        "static", workload=workload, engine={"max_model_len": 3100, "max_num_batched_tokens": 3100}
    )
    states = found.requests["state"]
    left = states == "abandoned_by_user"
    assert 0 < left.sum() < 12
    assert (states[~left] == "completed").all()
    assert (found.requests["delivered_tokens"][~left] == 12).all()


def test_smooth_serves_readers_of_several_speeds_better_than_in_turn():
    workload = {"arrivals": "poisson", "rate_rps": 24.0, "requests": 150, "prompt_tokens": 1500,
                "output_tokens": 100, "readers": [[0.5, 0.03], [0.5, 0.3]], "predictor": "perfect"}  # fmt: skip
    goodput = {}
    for policy in ("smooth", "vllm_v1"):
        found = served(policy, gpu="l40s", workload=workload)
        assert (found.requests["state"] == "completed").all()
        goodput[policy] = found.summary["smooth_goodput"]["per_requested_token"]
    assert goodput["smooth"] > goodput["vllm_v1"]
