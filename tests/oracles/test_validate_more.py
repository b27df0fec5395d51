"""The sets that came second: which rows are scored, and that their parts are the model's."""

import dataclasses

import numpy as np
import pytest

from experiments.validation import (
    fit_overheads,
    kv_tiers,
    layouts,
    own_tables,
    protocols,
    rows,
    sets,
    sglang_blocks,
    unequal_contexts,
)
from experiments.validation.bands import bands
from experiments.validation.rows import ClosedLoopRow, Deployment, RequestRow
from experiments.validation.scores import Score
from experiments.validation.servers import closed_loop_server, server_of
from hardware_profiles import find_table, load_gpu, load_model, step_cost
from tests.oracles.test_validate import server


def test_one_replica_on_two_gpus_is_fitted_and_no_other_layout():
    found = layouts.layout_rows()
    assert len(found) == 84
    assert {row.layout for row in found if row.role == "fitted"} == {"1 TP2"}
    assert all(row.requests == 10 * row.concurrency for row in found)


def test_a_single_client_gets_the_same_of_one_replica_and_of_two(monkeypatch):
    row = dataclasses.replace(
        layouts.layout_rows()[6], replicas=1, tensor_parallel=4, concurrency=1, requests=4, output_tokens=50
    )
    monkeypatch.setattr(layouts, "layout_rows", lambda: [row, dataclasses.replace(row, replicas=2)])
    scores = list(layouts.layouts(False))
    one, two = ({s.metric: s.predicted for s in scores[i * 3 : i * 3 + 3]} for i in (0, 1))
    assert one == two  # a single client is never beside another, wherever each of its requests is sent


def test_the_formula_is_scored_on_no_table_that_it_was_fitted_to():
    scores = list(own_tables.own_tables(quick=False))
    fitted = {(s.model, s.engine, s.load) for s in scores if s.role == "fitted"}
    assert fitted == {(model, "bf16", "1 GPUs") for model in own_tables.FITTED}
    assert not any("mixtral" in s.model for s in scores)
    assert {s.engine for s in scores} == {"bf16", "fp8", "nvfp4"}


def test_attention_of_equal_contexts_is_that_of_the_table():
    gpu, model = load_gpu("rtx-4090"), load_model("llama-3.1-8b")
    cost, table = step_cost(gpu, model, "tabulated"), find_table(gpu, model, 1)
    assert table is not None
    seqs, context, ms = next(row for row in table.decode.tolist() if row[0] == 32 and row[1] == 1024)
    row = {"n": int(seqs), "nb": 1, "skew": 1.0, "kvs": int(context), "pc": 0, "kp": 0}
    assert unequal_contexts.attention_us(cost, row) == pytest.approx(
        1e3 * ms / model.num_hidden_layers, rel=1e-6
    )
    chunk, prior, ms = next(row for row in table.prefill.tolist() if row[0] == 512 and row[1] == 1024)
    beside = {**row, "pc": int(chunk), "kp": int(prior)}
    assert unequal_contexts.attention_us(cost, beside) > 1e3 * ms / model.num_hidden_layers


def test_drawn_lengths_add_up_to_the_totals_of_the_source():
    for row in rows.table("sglang_cookbook_dense.csv"):
        prompt, output = sglang_blocks.lengths(row)
        assert (prompt.sum(), output.sum()) == (
            int(row["total_input_tokens"]),
            int(row["total_output_tokens"]),
        )


def test_a_run_of_the_page_finds_what_those_before_it_left_and_is_priced_as_sglang():
    low, high, *_ = rows.table("sglang_cookbook_dense.csv")
    a100 = server_of(Deployment("a100-80gb-sxm", "llama-3.1-70b", "sglang", "0.5.6", "bf16", 8))
    assert a100.cost.overheads.engine_version.startswith("SGLang")
    first = sglang_blocks.after_the_page(low, a100)
    assert first.ttft_s[0] < 0.5 * first.ttft_s[1:].mean()  # the warm-up request was the same
    assert np.array_equal(sglang_blocks.lengths(low)[0], sglang_blocks.lengths(high)[0][:10])


def test_a_replay_computes_a_shared_beginning_once():
    trace = [RequestRow(64, 1, 0.0, 0, 0, 0), RequestRow(80, 1, 7.0, 0, 0, 1, prefix_of=0, prefix_tokens=48)]
    third = RequestRow(
        100, 1, 14.0, 0, 0, 2, prefix_of=1, prefix_tokens=64
    )  # 48 of the first, 16 of the second
    served = protocols.replay([*trace, third], server(enable_prefix_caching=True))
    assert served.steps["prefill_tokens"].tolist() == [64, 32, 36]


def test_runs_of_many_clients_leave_the_time_of_a_step_as_it_was():
    start = load_gpu("h200-sxm").overheads("sglang-0_5")
    truth = start.model_copy(update={"kernel_factor": 1.05, "prefill_step_ms": 4.0, "per_sequence_ms": 0.05})
    made, h100 = [], Deployment("h100-80gb-sxm", "llama-3.1-8b", "vllm", "0.12.0")
    for clients, prompt, output in ((40, 64, 8), (41, 512, 20), (44, 2048, 9), (50, 1024, 6)) * 2:
        row = ClosedLoopRow("made", h100, clients, prompt + len(made), output, 1.0, 1.0, 1.0)
        served = protocols.closed_loop(row, closed_loop_server(row, truth))
        made.append(dataclasses.replace(row, tpot_ms=1e3 * float(served.tpot_s.mean())))
    found, errors = fit_overheads.fit(made, start.model_copy(update={"kernel_factor": 0.9}))
    assert np.abs(errors).max() < 0.005
    assert found.kernel_factor == pytest.approx(1.05, abs=0.02)
    assert found.step_ms == start.step_ms


def test_a_source_sets_the_budget_of_its_own_runs():
    budgets = {
        (row.deployment.engine, row.deployment.engine_version): (
            row.prompt_tokens, row.max_num_batched_tokens, row.max_prefill_tokens
        )
        for row in rows.closed_loop_rows()
    }  # fmt: skip
    prompt, budget, _ = budgets["vllm", "0.12.0"]
    assert budget == prompt + 1628
    prompt, budget, prompts = budgets["sglang", "0.5.6.post2"]
    assert (budget, prompts) == (None, prompt + 1500)
    assert budgets["trtllm", "unknown"][1:] == (None, None)
    (row, *_) = sets.SGLANG_8B.rows()
    policy = closed_loop_server(row).scheduler()
    assert (policy.max_prefill_tokens, policy.enable_mixed_chunk) == (row.max_prefill_tokens, True)


def test_each_row_is_held_to_the_band_of_the_others_of_its_corner():
    kind = Score("a", "row", "h100-80gb-sxm", "qwen3-32b", "vllm 1.0", "light", "TPOT ms", 100.0, 100.0)
    errors = (1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 50)
    some = [dataclasses.replace(kind, predicted=100.0 + error) for error in errors]
    (band,) = bands([*some, dataclasses.replace(kind, role="fitted", predicted=900.0)])
    assert (str(band.corner), band.metric, band.n) == ("h100-80gb-sxm, dense bf16", "TPOT", 11)
    assert band.within_pct == pytest.approx(50.0)  # the eleventh of eleven
    assert (band.held, band.could) == (10, 11)  # the largest of the ten others is a tenth
    assert bands(some[:9])[0].could == 0  # eight beside each


def test_heavy_rows_are_held_to_heavy_ones_where_there_are_enough():
    heavy = Score("a", "row", "h100-80gb-sxm", "qwen3-32b", "vllm 1.0", "heavy", "TPOT ms", 100.0, 130.0)
    light = [dataclasses.replace(heavy, load="light", predicted=101.0) for _ in range(12)]
    (band,) = bands([*light, *[heavy] * 12])
    assert (band.held, band.could) == (24, 24)
    assert sorted(set(band.widths_pct)) == pytest.approx([1.0, 30.0])


def test_conversations_are_as_long_as_the_page_says():
    rows = {row.row: row for row in kv_tiers.tier_rows()}
    for name, tokens in (
        ("turns-5k", 5416),
        ("turns-20k", 18_320),
    ):  # its input tokens a second, by its requests
        traffic = kv_tiers._turns(rows[name])
        assert traffic.prompt_tokens.mean() == pytest.approx(tokens, rel=0.08)
        assert len(set(traffic.session.tolist())) == rows[name].clients


def test_a_client_goes_round_its_conversations():
    row = next(
        row for row in kv_tiers.tier_rows() if row.row == "turns-20k"
    )  # two clients, ten conversations active
    conversations = [
        [f"{name}{turn}" for turn in range(turns)]
        for name, turns in zip("abcdef", (2, 3, 3, 3, 3, 1), strict=True)
    ]
    sent = list(kv_tiers._rounds(conversations, row))
    assert sent[:5] == ["a0", "b0", "c0", "d0", "e0"]
    assert sorted(sent) == sorted(turn for each in conversations for turn in each)
    assert sent.index("f0") > sent.index("a1")


def test_misses_are_what_the_rate_of_writing_was_fitted_to():
    assert {row.row for row in kv_tiers.tier_rows() if row.role == "fitted"} == {"misses-1k", "misses-8k"}
    assert {row.kind for row in kv_tiers.tier_rows() if row.role == "shown"} == {"remote"}
