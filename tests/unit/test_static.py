"""Static batches pay for their padding."""

import numpy as np
import pytest

from policies.scheduling.static import Static
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from tests.engine_cases import RaggedCost, serve


def test_rows_are_as_long_as_the_longest_prompt_and_compute_until_the_longest_output_ends():
    outcome = serve(Static, [0.0, 0.0, 0.0], [10, 40, 30], [2, 5, 3])
    steps = outcome.tables.steps
    assert steps["prefill_tokens"].tolist() == [120, 0, 0, 0, 0]
    assert steps["decode_seqs"].tolist() == [0, 3, 3, 3, 3]
    assert steps["decode_context_tokens"].tolist() == [0, 123, 126, 129, 132]
    prompts_s = RaggedCost().step_s(StepShape(prefill_tokens=120, prefill_attention_pairs=3 * 0.5 * 40 * 40))
    assert steps["end_s"][0] == pytest.approx(prompts_s)
    assert (outcome.tables.requests["end_s"] == steps["end_s"][[1, 4, 2]]).all()


def test_prompts_that_do_not_fit_a_step_take_several_before_any_row_decodes():
    outcome = serve(
        Static, np.zeros(5), [10, 40, 30, 40, 5], [3] * 5, limits=Limits(64, 100, 100, 10_000, 16)
    )
    steps = outcome.tables.steps
    assert steps["prefill_tokens"].tolist() == [80, 80, 40, 0, 0]
    assert steps["decode_seqs"].tolist() == [0, 0, 0, 5, 5]


def test_each_row_has_kv_for_the_longest_prompt_and_the_longest_output():
    """48 tokens a row, three blocks: two rows in seven blocks."""
    outcome = serve(Static, np.zeros(3), [40, 10, 10], [8, 2, 2], limits=Limits(64, 100, 48, 7, 16))
    assert outcome.tables.steps["running"].max() == 2
    assert outcome.tables.steps["kv_blocks_used"].max() == 6
