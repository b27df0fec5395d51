"""Decode attention beside a prefill: what was measured is met, and depends on the prefill."""

import numpy as np
import pytest

from hardware_profiles import find_table, load_gpu, load_model, step_cost
from hardware_profiles.beside_prefill import BesidePrefill
from simulator.replica.cost import StepShape

GPU, MODEL = load_gpu("rtx-4090"), load_model("llama-3.1-8b")
TABLE = find_table(GPU, MODEL, 1)
BATCHES, CONTEXTS = np.array([32.0, 128.0]), np.array([256.0, 1024.0])


def test_a_longer_chunk_and_more_before_it_slow_decodes_more():
    beside = BesidePrefill(GPU, MODEL, TABLE, BATCHES, CONTEXTS)
    limits = beside.token_limits
    assert limits == sorted(limits)
    assert len(limits) == 7
    assert 16 < limits[0] < 32
    first, last = beside.factors(0, 0), beside.factors(7, 0)
    assert (last > 1.15 * first).all()
    assert (first >= 1).all()
    assert len(beside.prior_limits) == 11
    assert (beside.factors(4, 11) > 1.15 * beside.factors(4, 0)).all()


def test_a_table_without_both_together_has_the_gpus_own_factor_for_any_chunk():
    a100 = load_gpu("a100-80gb-sxm")
    beside = BesidePrefill(a100, MODEL, find_table(a100, MODEL, 1), BATCHES, CONTEXTS)
    assert beside.token_limits == beside.prior_limits == []
    group = MODEL.num_attention_heads / MODEL.num_key_value_heads
    mixed = a100.mixed_batch
    assert beside.factors(0, 0)[:, 0].tolist() == pytest.approx(
        [1 + (group - 1) * mixed.packing_loss * (seqs / 128) ** mixed.exponent for seqs in (32, 128)]
    )


@pytest.mark.parametrize("chunk", [16, 128, 512, 2048])
def test_a_measured_step_is_met(chunk):
    cost = step_cost(GPU, MODEL, "tabulated")
    rows = TABLE.mixed
    own = rows[(rows[:, 0] == chunk) & (rows[:, 2] == 128)]
    for new, prior, seqs, context, ms in own.tolist():
        shape = StepShape(
            prefill_tokens=int(new),
            prefill_seqs=1,
            prefill_attention_pairs=new * prior + new * new / 2,
            prefill_context_tokens=int(new + prior),
            decode_seqs=int(seqs),
            decode_context_tokens=int(seqs * context),
        )
        attention_s = cost.step_s(shape) - cost.other_kernels_s(int(new + seqs), int(seqs) + 1)
        assert 1e3 * attention_s / cost.overheads.kernel_factor == pytest.approx(ms, rel=1e-6)
