"""MuxWise and SGLang's PD multiplexing: the smallest part that is in time, and prompts that fill the step."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.scheduling.muxwise import Muxwise
from policies.scheduling.pdmux_sglang import PdmuxSglang
from simulator.errors import InputError
from simulator.replica.limits import Limits
from simulator.replica.sm_split import DEFAULT_SPLIT
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.scenario import Scenario
from tests.engine_cases import RaggedCost, serve
from tests.examples import examples
from tests.served import served


def watched(tbt_s, seen):
    """MuxWise that notes of each step with both how long it is, its decodes, and what is done of each batch.

    Of each batch: what it takes whole, and the share that is done of it in this step; and whether prompts are left.
    """

    @dataclass(frozen=True)
    class Watched(Muxwise):
        tbt_target_s: float = tbt_s

        def plan(self, step):
            lanes, layers = step.lanes, step.lanes.split.layers
            before = lanes.under_way()
            begun = {jobs[0]: lanes.layers(jobs[0]) for jobs in before}
            decoding = step.group.size
            super().plan(step)
            new = [job for job in step.partial if not any(job in jobs for jobs in before)]
            if not decoding or lanes.busy_s < 0 or len(new) > 1 or step.preempted:
                return
            done = []
            for jobs in [*before, *([new] if new else [])]:
                after = layers if jobs[0] in step.chunks else lanes.layers(jobs[0])
                done.append((lanes.prompts(jobs), (after - begun.get(jobs[0], 0)) / layers))
            left = any(job not in step.chunks and lanes.layers(job) < layers for job in step.partial)
            late = any(job in step.chunks and job.decodes for job in step.partial)  # decodes that came after
            if not late:
                seen.append((lanes.busy_s, lanes.decodes(), done, left))

    return Watched


@settings(max_examples=examples(40), deadline=None)
@given(
    st.lists(st.integers(1, 1500), min_size=2, max_size=12),
    st.lists(st.integers(2, 60), min_size=12, max_size=12),
    st.sampled_from([0.006, 0.0075, 0.01, 0.05]),
    st.floats(0, 0.05),
)
def test_decodes_get_the_smallest_part_in_time_and_prompts_fill_the_step(prompts, outputs, tbt_s, gap_s):
    seen, split = [], DEFAULT_SPLIT
    n = len(prompts)
    outcome = serve(watched(tbt_s, seen), np.arange(n) * gap_s, prompts, outputs[:n])
    assert outcome.stalled is None
    for busy_s, decodes, done, left in seen:
        took = {sms: split.contention * decodes.on(sms) for sms in split.parts()}
        in_time = [sms for sms, time_s in took.items() if time_s <= tbt_s]
        chosen = min(in_time) if in_time else max(took)
        assert busy_s == took[chosen]
        beside_s = sum(whole.on(split.sms - chosen) * share for whole, share in done)
        assert beside_s == pytest.approx(busy_s) if left else beside_s <= busy_s * (1 + 1e-9)


def test_the_law_above_looks_at_steps():
    seen = []
    serve(watched(0.0075, seen), [0.0, 0.1, 0.2], [100, 1500, 1500], [60, 60, 60])
    assert len(seen) > 20
    assert sum(left for *_, left in seen) > 10


def test_a_short_prompt_goes_ahead_of_a_long_one_that_is_still_in_time():
    def first_s(**options):
        served = serve(lambda: Muxwise(tbt_target_s=0.005, **options), [0.0, 0.02], [4000, 50], [2, 2])
        return served.tables.requests["first_token_s"]

    long_s, short_s = first_s(ttft_target_s=1.0)
    assert short_s < long_s
    waiting_long_s, waiting_short_s = first_s(ttft_target_s=0.0, ttft_target_s_per_token=0.0)
    assert waiting_short_s >= waiting_long_s
    assert waiting_long_s < long_s


def test_no_prompt_goes_ahead_of_one_that_went_ahead():
    arrivals, prompts = [0.0, 0.02, 0.03], [4000, 1500, 5]
    outcome = serve(lambda: Muxwise(tbt_target_s=0.005), arrivals, prompts, [2, 2, 2])
    first_s = outcome.tables.requests["first_token_s"]
    assert first_s[1] < first_s[2]
    assert first_s[1] < first_s[0]


def test_shared_beginnings_are_computed_once():
    traffic = {
        "arrivals": "poisson",
        "rate_rps": 8.0,
        "requests": 60,
        "prompt_tokens": 2000,
        "output_tokens": 50,
    }
    traffic |= {"shared_prefixes": 1, "shared_prefix_tokens": 1500}

    def computed(name, **options):
        steps = served({"name": name, **options}, workload=traffic).result.steps()
        return steps["prefill_tokens"].to_numpy().sum()

    assert computed("muxwise") < 0.5 * computed("muxwise", enable_prefix_caching=False)
    assert computed("pdmux_sglang") < 0.5 * computed("pdmux_sglang", disable_radix_cache=True)


class Decoding:
    """A step in which so many requests decode."""

    def __init__(self, seqs):
        self.shape = type("Shape", (), {"decode_seqs": seqs})
        self.lanes = type("Split", (), {"split": DEFAULT_SPLIT})


@pytest.mark.parametrize(
    ("seqs", "spread", "h200"),
    [(0, 20, 20), (1, 20, 20), (9, 20, 28), (18, 36, 52), (25, 44, 76), (999, 60, 76)],
)
def test_sglang_splits_by_how_many_decode(seqs, spread, h200):
    """Six parts between 112 + 20 and 72 + 60 SMs; by hand up to 56 + 76, as its example for an H200."""
    assert PdmuxSglang()._part(Decoding(seqs)) == spread
    assert PdmuxSglang(divisions="h200")._part(Decoding(seqs)) == h200


def test_sglang_computes_one_batch_of_prompts_at_a_time_slice_by_slice():
    limits = Limits(64, 4096, 4096, 10_000, 16)
    options = {"split_forward_token_budget": 1000, "max_prefill_tokens": 1000}
    outcome = serve(
        lambda: PdmuxSglang(**options),
        [0.0, 0.01, 0.01],
        [100, 900, 900],
        [40, 2, 2],
        cost=RaggedCost(),
        limits=limits,
    )
    steps = outcome.tables.steps
    through = np.flatnonzero(steps["prefill_tokens"])
    assert steps["prefill_tokens"][through].tolist() == [100, 900, 900]
    slices = outcome.tables.incarnations[0].records.rows("chunks").T
    assert (slices[slices[:, 1] == 1, 0].max() < slices[slices[:, 1] == 2, 0]).all()  # one after the other
    beside = [(slices[:, 1] == request).sum() for request in (1, 2)]
    assert beside[0] >= DEFAULT_SPLIT.layers  # a layer a step while the first decodes


@pytest.mark.parametrize("name", ["muxwise", "pdmux_sglang"])
def test_a_gpu_whose_split_is_unknown_is_refused(name):
    scenario = Scenario(hardware={"gpu": "l40s"}, policy={"scheduling": name})
    with pytest.raises(
        InputError, match=rf"policy\.scheduling: {name} splits the SMs .* l40s has no \[sm_split\]"
    ):
        resolve_pool(scenario)
    pool = resolve_pool(Scenario(hardware={"gpu": "a100-40gb"}, policy={"scheduling": name}))
    assert (pool.sm_split.sms, pool.sm_split.layers, pool.sm_split.contention) == (108, 32, 1.2)


@pytest.mark.parametrize(
    ("policy", "options", "says"),
    [
        (Muxwise, {"tbt_target_s": 0.0}, "tbt_target_s: expected more than 0 s"),
        (Muxwise, {"contention_guard": 0.5}, "contention_guard: expected 0 or at least 1"),
        (Muxwise, {"watermark": 1.0}, "watermark is a share"),
        (PdmuxSglang, {"sm_group_num": 2}, "sm_group_num: expected at least 3"),
        (PdmuxSglang, {"decode_bs_divisor": 0}, "decode_bs_divisor: expected at least 1"),
    ],
)
def test_parameters_without_a_meaning_are_refused(policy, options, says):
    with pytest.raises(ValueError, match=says):
        policy(**options)
