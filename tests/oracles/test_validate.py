"""Re-simulating measured servers: the rows, the protocols, the arithmetic of the errors, the bars."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.commands import validate as command
from experiments.validation import bars, fit_overheads, protocols, rows, sets
from experiments.validation.rows import BurstRow, ClosedLoopRow, Deployment, OpenLoopRow, RequestRow
from experiments.validation.scores import Bar, Score, judge, summarise
from experiments.validation.servers import Server, closed_loop_server, model_of, server_of
from experiments.validation.step_tables import step_tables
from hardware_profiles import load_engine, load_gpu
from hardware_profiles.fit import step_shape
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cli.main import main
from simulator.errors import InputError, StallError
from simulator.replica.limits import Limits
from tests.engine_cases import EvenCost

H100 = Deployment("h100-80gb-sxm", "llama-3.1-8b", "vllm", "0.12.0")
FRONTEND_S = 0.004


def server(step_s=0.25, blocks=10_000, **policy):
    limits = Limits(64, 4096, 4096, blocks, 16)
    rules = load_engine("vllm-0.11").engine_rules
    return Server(
        EvenCost(step_s), limits, lambda: VllmV1(engine_version="0.11.0", **policy), FRONTEND_S, rules
    )


def closed_row(concurrency=2, prompt=32, output=5, **changes):
    return replace(
        ClosedLoopRow("made up", H100, concurrency, prompt, output, ttft_ms=1, tpot_ms=1, e2e_ms=1), **changes
    )


def burst_row(**changes):
    row = BurstRow(
        "made up", H100, "", requests=6, total_prompt_tokens=65, total_output_tokens=24, fixed_lengths=True,
        concurrency=None, duration_s=1, output_tok_per_s=1, ttft_mean_ms=1, tpot_mean_ms=1,
    )  # fmt: skip
    return replace(row, **changes)


def score(predicted, measured=100.0, **changes):
    return replace(
        Score("made-up", "row", "gpu", "model", "engine", "light", "TPOT ms", measured, predicted), **changes
    )


# The rows


def test_every_measured_row_is_read():
    assert len(rows.closed_loop_rows()) == 431
    assert len(rows.burst_rows()) == 17
    assert len(rows.open_loop_rows()) == 5
    assert len(rows.cycle_bins()) == 27
    for run in ("rtxpro6000_llama-31-8b", "rtx4090_llama-31-8b", "rtxpro6000_qwen3-30b-a3b_dp2ep2"):
        assert len(rows.request_rows(run)) == 300


def test_rows_are_in_the_units_their_names_say():
    first = rows.closed_loop_rows()[0]
    assert (first.row, first.concurrency, first.prompt_tokens, first.output_tokens) == (
        "cl0000",
        4,
        1024,
        1024,
    )
    assert first.e2e_ms == pytest.approx(first.ttft_ms + (first.output_tokens - 1) * first.tpot_ms, rel=1e-4)
    run = rows.open_loop_rows()[0]
    assert sum(run.stage_rates_rps) * run.stage_duration_s == run.requests
    a_bin = rows.cycle_bins()[0]
    assert 300 < a_bin.decode_context_tokens / a_bin.decode_seqs < 1200  # tokens of context each
    arrivals = [each.arrival_s for each in rows.request_rows("rtx4090_llama-31-8b")]
    assert arrivals == sorted(arrivals)


@pytest.mark.parametrize("chosen", sets.CLOSED_LOOPS, ids=lambda chosen: chosen.name)
def test_no_run_is_both_fitted_and_scored(chosen):
    every = {row.row for row in chosen.rows()}
    fitted, scored = ({row.row for row in half} for half in sets.halves(chosen.rows()))
    assert not fitted & scored
    assert fitted | scored == every
    assert 0 <= len(fitted) - len(scored) <= len(every) / 4


# The protocols


def test_a_closed_loop_keeps_its_clients_busy():
    row = closed_row()
    served = protocols.closed_loop(row, server())
    assert len(served.arrival_s) == row.concurrency * protocols.REQUESTS_PER_CLIENT
    np.testing.assert_allclose(served.tpot_s, 0.25)
    np.testing.assert_allclose(served.e2e_s, served.ttft_s + 4 * 0.25)
    assert (served.arrival_s[:2] == 0).all()
    # A client that has an answer asks again at once.
    assert set(served.arrival_s[2:]) <= set(served.last_token_s)


def test_a_closed_loop_draws_lengths_where_its_source_did():
    varied = closed_row(output=100, deployment=replace(H100, engine_version="unknown"))
    lengths = protocols.closed_loop(varied, server()).output_tokens
    assert lengths.min() >= 80
    assert 80 < lengths.mean() < 100


def test_a_burst_adds_up_to_its_totals():
    prompt, output = protocols.burst_lengths(burst_row(), seed=0)
    assert (prompt.sum(), output.sum(), len(prompt)) == (65, 24, 6)
    assert prompt.max() - prompt.min() <= 1
    drawn, _ = protocols.burst_lengths(burst_row(fixed_lengths=False, total_prompt_tokens=900), seed=0)
    assert drawn.sum() == 900
    assert drawn.max() > 2 * drawn.min()


def test_a_burst_lasts_from_its_first_arrival_to_its_last_token():
    served = protocols.burst(burst_row(), server())
    assert served.duration_s == pytest.approx(4 * 0.25 + FRONTEND_S)  # all in one batch, four tokens each
    read = protocols.burst(burst_row(), replace(server(), frontend_request_s=0.1))
    assert read.duration_s == pytest.approx(6 * 0.1 + served.duration_s)  # none begins before all are read


def test_an_open_loop_computes_little_of_prompts_that_it_has_seen():
    row = OpenLoopRow("made up", H100, 400, 200, 4, (20.0, 40.0), 20.0, 64, 4096, 10_000, 1, 1)
    served = protocols.open_loop(row, server(step_s=0.01, enable_prefix_caching=True), thin=2)
    assert len(served.arrival_s) == 600
    prompts = served.steps["prefill_tokens"] > 0
    late = prompts & (served.steps["start_s"] > served.arrival_s[protocols.DISTINCT_PROMPTS] + 0.1)
    each = served.steps["prefill_tokens"][late] / served.steps["prefill_seqs"][late]
    assert each.max() <= 16
    assert served.steps["prefill_tokens"].max() >= 210  # the first time: all of it


def test_a_replay_keeps_times_and_lengths():
    trace = [RequestRow(40, 3, 0.0, 0, 0, 0), RequestRow(50, 1, 7.0, 0, 0, 1)]
    served = protocols.replay(trace, server())
    np.testing.assert_allclose(served.ttft_s, 0.25 + FRONTEND_S)
    np.testing.assert_allclose(served.e2e_s, [0.75 + FRONTEND_S, 0.25 + FRONTEND_S])
    assert len(served.tpot_s) == 1  # one token has no time per further token


def test_requests_that_never_end_are_an_error():
    with pytest.raises(StallError):
        protocols.replay([RequestRow(4000, 90, 0.0, 0, 0, 0)], server(blocks=40))


# The servers


def test_weights_of_eight_bits_are_half_as_heavy_and_so_is_their_cache_where_it_was():
    bf16 = Deployment("b200-sxm", "llama-3.1-70b", "trtllm", "unknown")
    fp8 = replace(bf16, weights="fp8")
    assert model_of(fp8).linear_parameters == model_of(bf16).linear_parameters
    assert model_of(fp8).weight_bytes < 0.6 * model_of(bf16).weight_bytes
    assert model_of(fp8).kv_bytes_per_token * 2 == model_of(bf16).kv_bytes_per_token
    assert server_of(fp8).limits.num_gpu_blocks > 30_000


def test_what_the_profiles_do_not_describe_is_said_and_counts_as_missing():
    unknown = closed_row(deployment=replace(H100, engine_version="0.0"))
    with pytest.raises(InputError, match=r"vllm 0\.0"):
        server_of(unknown.deployment)


# The arithmetic


def test_errors_are_signed_and_relative_to_the_measurement():
    assert score(110.0).error_pct == pytest.approx(10)
    assert score(90.0).error_pct == pytest.approx(-10)
    assert math.isnan(score(None).error_pct)


def test_a_summary_counts_what_is_missing():
    summary = summarise([score(110.0), score(80.0), score(103.0), score(None)])
    assert (summary.n, summary.missing) == (3, 1)
    assert summary.median_pct == pytest.approx(10)
    assert summary.mean_pct == pytest.approx(11)
    assert summary.worst_pct == pytest.approx(20)
    assert summary.bias_pct == pytest.approx(3)


@pytest.mark.parametrize(
    ("scores", "holds"),
    [
        ([score(104.0), score(104.9), score(150.0)], True),  # the median counts
        ([score(104.0), score(105.1), score(150.0)], False),
        ([score(100.0), score(None)], False),  # a row that cannot be simulated is no success
        ([], False),
        ([score(101.0), score(200.0, role="fitted"), score(200.0, role="shown")], True),
        ([score(101.0, role="fitted")], False),  # nothing left to score
        ([score(101.0, set_name="another")], False),
    ],
)
def test_a_bar_holds_only_on_scored_rows_that_were_all_simulated(scores, holds):
    bar = Bar("made-up", "TPOT", "median", 5.0, lambda each: each.metric == "TPOT ms")
    assert judge(bar, scores).holds is holds


def test_every_bar_covers_rows():
    runs = command.sets()
    assert {bar.set_name for bar in bars.BARS} <= set(runs)


def test_the_fit_finds_the_constants_that_made_the_rows():
    truth = load_gpu("h100-80gb-sxm").overheads("vllm-0_12-sync").model_copy(
        update={"kernel_factor": 1.05, "step_ms": 0.8, "prefill_step_ms": 4.0, "per_sequence_ms": 0.03}
    )  # fmt: skip
    made = []
    for concurrency in (1, 4, 16, 48):
        for prompt, output in ((64, 8), (2048, 30), (512, 60)):
            row = closed_row(concurrency, prompt, output)
            served = protocols.closed_loop(row, closed_loop_server(row, truth))
            made.append(replace(row, tpot_ms=1e3 * float(served.tpot_s.mean())))
    start = truth.model_copy(update={"kernel_factor": 1.0, "step_ms": 0.0, "prefill_step_ms": 0.0})
    found, errors = fit_overheads.fit(made, start)
    assert np.abs(errors).max() < 0.003
    assert found.kernel_factor == pytest.approx(1.05, abs=0.01)
    assert found.prefill_step_ms == pytest.approx(4.0, rel=0.1)
    with pytest.raises(ValueError, match="8"):
        fit_overheads.fit(made[:5], start)


def test_tables_are_met_by_the_model_that_reads_them():
    scores = list(step_tables(quick=True))
    read = [each for each in scores if each.metric.endswith("tabulated")]
    assert max(abs(each.error_pct) for each in read) < 0.5


def test_two_ranks_read_half_of_the_experts_each_and_wait_for_the_busier_one():
    one, two = (server_of(replace(sets.TWO_RANKS, ranks=ranks)) for ranks in (1, 2))
    assert two.limits.max_num_seqs == one.limits.max_num_seqs  # of each rank
    assert (
        two.limits.num_gpu_blocks > 2 * one.limits.num_gpu_blocks
    )  # half of the experts, the greater part, is gone
    few, many = (step_shape(decodes=n, context_tokens=500) for n in (4, 256))
    # All experts are read by 256 tokens: half of them a rank, which was 20 of 42 ms in all layers.
    assert 0.010 < one.cost.step_s(many) - two.cost.step_s(many) < 0.020  # less what the exchange takes
    assert two.cost.pass_s([many, few]) > two.cost.step_s(many) > two.cost.step_s(few)
    assert two.cost.pass_s([many, few]) == two.cost.pass_s([few, many])
    assert two.cost.step_s(step_shape()) == 0
    with pytest.raises(InputError, match="no experts to spread"):
        server_of(replace(sets.RTX_PRO_6000, ranks=2))


# The command


def test_one_set_end_to_end(tmp_path, capsys):
    assert main(["validate", "--set", "per-request-4090", "--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == "3 of 3 bars hold"
    assert "nothing fitted" in text
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["scores"]) == 12
    assert all(bar["holds"] and bar["n"] == 1 for bar in results["bars"])
    assert (tmp_path / "scatter.png").stat().st_size > 10_000


def test_a_missed_bar_is_exit_code_1(tmp_path, capsys, monkeypatch):
    impossible = [replace(bar, limit_pct=1e-9) for bar in bars.BARS if bar.what != "p99 TTFT"]
    monkeypatch.setattr(bars, "BARS", impossible)
    assert main(["validate", "--set", "per-request", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 5 bars hold"


def test_rows_that_cannot_be_simulated_are_named_and_miss_the_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sets, "RTX_PRO_6000", replace(sets.RTX_PRO_6000, tensor_parallel=3))
    assert main(["validate", "--set", "per-request", "--out", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert "not simulated" in text
    assert "tensor_parallel = 3" in text
    assert text.splitlines()[-1] == "0 of 6 bars hold"


def test_an_unknown_set_is_one_sentence(tmp_path, capsys):
    assert main(["validate", "--set", "nothing", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "expected one of step-tables" in error
    assert error.count("\n") == 1
