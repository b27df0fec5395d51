"""Decode attention beside a prefill: measured ratios are met, and depend on the prefill's tokens."""

import numpy as np
import pytest

from hardware_profiles import find_table, load_gpu, load_model, step_cost
from hardware_profiles.beside_prefill import beside_factors
from simulator.replica.cost import StepShape

GPU, MODEL = load_gpu("rtx-4090"), load_model("llama-3.1-8b")
TABLE = find_table(GPU, MODEL, 1)
BATCHES, CONTEXTS = np.array([32.0, 128.0]), np.array([256.0, 1024.0])


def test_a_longer_chunk_slows_decodes_more():
    limits, factors = beside_factors(GPU, MODEL, TABLE, BATCHES, CONTEXTS)
    assert len(factors) == len(limits) + 1 == 8
    assert limits == sorted(limits)
    assert limits[0] == pytest.approx(16 * 2**0.5)
    first, last = factors[0], factors[-1]
    assert (last > 1.15 * first).all()
    assert (first >= 1).all()


def test_a_table_without_both_together_has_the_gpus_own_factor_for_any_chunk():
    a100 = load_gpu("a100-80gb-sxm")
    limits, (factors,) = beside_factors(a100, MODEL, find_table(a100, MODEL, 1), BATCHES, CONTEXTS)
    assert limits == []
    group = MODEL.num_attention_heads / MODEL.num_key_value_heads
    mixed = a100.mixed_batch
    assert factors[:, 0].tolist() == pytest.approx(
        [1 + (group - 1) * mixed.packing_loss * (seqs / 128) ** mixed.exponent for seqs in (32, 128)]
    )


@pytest.mark.parametrize("chunk", [16, 128, 512, 2048])
def test_a_measured_step_is_met_within_the_scatter_over_prior_tokens(chunk):
    cost = step_cost(GPU, MODEL, "tabulated")
    rows = TABLE.mixed
    own = rows[(rows[:, 0] == chunk) & (rows[:, 2] == 128)]
    errors = []
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
        errors.append(1e3 * attention_s / cost.overheads.kernel_factor / ms - 1)
    assert abs(np.median(errors)) < 0.05
