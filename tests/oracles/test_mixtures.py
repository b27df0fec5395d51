"""Measured mixtures of experts: every row is read or says why not, and a server is what its row says."""

import numpy as np
import pytest

from experiments.validation.closed_mixtures import closed_mixtures, fitted_rows, rows
from experiments.validation.fit_mixtures import times
from experiments.validation.mixtures import LATENT, SET, latent_mixtures, mixtures, play, rows_of, server_of
from experiments.validation.rows import table

ROWS = {row["row"]: row for row in table("mixtures_of_experts.csv")}


def test_every_row_is_in_one_set_and_is_served_or_says_why_not():
    names = [row["row"] for name in (SET, LATENT) for row in rows_of(name)]
    assert sorted(names) == sorted(ROWS)
    without = [row for row in ROWS.values() if row["not_expressed"]]
    assert len(without) == 20
    assert len(ROWS) == 152


@pytest.mark.parametrize("scores", [mixtures, latent_mixtures])
def test_rows_that_cannot_be_expressed_are_shown_with_their_reason(scores):
    found = list(scores(quick=True))
    assert {each.role for each in found} == {"scored", "shown"}
    for each in found:
        assert each.predicted is None or each.predicted > 0
        assert (each.predicted is None) <= (each.role == "shown" and bool(each.note))


def test_servers_are_what_their_rows_say():
    tensor, ranks = server_of(ROWS["g011"]), server_of(ROWS["g015"])  # SGLang, without and with DP attention
    assert (tensor.ranks, ranks.ranks) == (1, 8)
    assert ranks.limits.max_num_seqs * 8 == tensor.limits.max_num_seqs
    assert ranks.limits.max_num_batched_tokens * 8 == tensor.limits.max_num_batched_tokens == 8192
    budget = server_of(ROWS["g098"]).limits.max_num_batched_tokens
    assert budget == int(ROWS["g098"]["max_num_batched_tokens"]) == 4096
    # With data-parallel attention SGLang keeps 18 GiB more free, which the 512 of g054 had to do without.
    default, given = (server_of(ROWS[name]).limits.num_gpu_blocks for name in ("g054", "g055"))
    assert default < 0.5 * given
    kv = server_of(ROWS["g074"]).limits  # gpt-oss-120b on one H100, with PyTorch's sampler
    assert kv.fixed_kv is not None
    assert 60_000 < kv.num_gpu_blocks * kv.block_size < 90_000


def test_closed_loops_are_fitted_to_or_scored_and_those_that_are_scored_are_near():
    every, fitted = rows(), fitted_rows()
    assert len(every) == 173
    assert len(fitted) == 87
    scored = [row for row in every if row not in fitted]
    found = {each.row.split()[0]: each for each in closed_mixtures(quick=True) if each.metric == "TPOT ms"}
    assert set(found) <= {row["row"] for row in scored}
    assert np.median([abs(each.error_pct) for each in found.values()]) < 12
    assert all(each.role == "scored" for each in found.values())


def test_the_fit_moves_what_it_names():
    row = next(row for row in rows() if row["model"] == "glm-5-fp8")
    base = np.array([1.5, 20.0, 95.0, 0.5])
    tpot, ttft = times(row, base)
    slower_prompts, other_layers, sparse_layers, launches = base + np.diag([0.5, 20.0, 20.0, 2.0])
    assert times(row, launches)[1] > ttft
    assert times(row, slower_prompts)[1] > ttft
    assert times(row, sparse_layers)[0] > tpot
    assert times(row, other_layers)[0] == tpot  # it has an indexer in every layer


def test_a_model_near_those_that_experts_were_measured_of_is_predicted():
    row = ROWS["g096"]  # Qwen3-235B-A22B, FP8, four A100
    served = play(row)
    assert len(served.output_tokens) == int(row["requests"])
    assert served.output_tokens.sum() == int(row["output_tokens"])
    tokens_per_s = served.output_tokens.sum() / served.duration_s
    assert tokens_per_s == pytest.approx(float(row["output_tok_s"]), rel=0.12)
    assert np.mean(served.tpot_s) * 1e3 == pytest.approx(float(row["tpot_mean_ms"]), rel=0.12)
