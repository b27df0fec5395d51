"""Two sub-steps on one GPU: what they take on a part of the SMs, and that prompts go on from layer to layer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_gpu
from simulator.replica.cost import StepShape
from simulator.replica.lanes import Lanes
from simulator.replica.limits import Limits
from simulator.replica.sm_split import SmSplit, SoloTime
from simulator.testing import new_engine, new_job
from tests.engine_cases import RaggedCost

# SGLang's fits for an 8B model on A100s (python/sglang/srt/managers, predictor.py of commit 56f74d2), ms by SMs:
# decode a·(contexts/1024) + b·sequences + c, prompt a·(n/1024)² + b·(n/1024) + c for 2 to 8 thousand tokens
DECODES = {8: (0.122, 0.0629, 13.36), 16: (0.0611, 0.0309, 8.95), 32: (0.0303, 0.0212, 6.45),
           56: (0.0168, 0.0215, 5.95), 108: (0.0098, 0.0227, 5.43)}  # fmt: skip
PROMPTS = {56: (0.142, 21.7, 10.7), 108: (0.150, 13.8, 15.0)}
A100 = load_gpu("a100-80gb-sxm").sm_split


def fitted(shape):
    """A step of an A100 with all its SMs by the fits, s."""
    a, b, c = DECODES[108]
    ms = a * shape.decode_context_tokens / 1024 + b * shape.decode_seqs + c if shape.decode_seqs else 0.0
    if shape.prefill_tokens:
        a, b, c = PROMPTS[108]
        n = shape.prefill_tokens / 1024
        ms += a * n * n + b * n + c
    return ms * 1e-3


def split(**more):
    given = {
        name: getattr(A100, name) for name in ("sms", "least_sms", "sms_step", "fixed_scaling", "kv_scaling")
    }
    return SmSplit(**given | {"layers": 4, "layer_overhead": 0.0, "contention": 1.2} | more)


@pytest.mark.parametrize("sms", DECODES)
@pytest.mark.parametrize(("seqs", "context"), [(1, 1024), (32, 1024), (32, 4096), (128, 1024), (128, 2048)])
def test_decodes_on_a_part_take_what_the_fits_say_within_an_eighth(sms, seqs, context):
    a, b, c = DECODES[sms]
    measured_ms = a * seqs * context / 1024 + b * seqs + c
    shape = StepShape(decode_seqs=seqs, decode_context_tokens=seqs * context)
    assert 1e3 * split().decodes(fitted, shape).on(sms) == pytest.approx(measured_ms, rel=0.125)


@pytest.mark.parametrize("n", [2, 4, 8])
def test_prompts_of_several_gpus_scale_by_half_of_their_time_and_the_profile_by_more(n):
    shape = StepShape()
    shape.count(1024 * n, 0, False, 1)
    a, b, c = PROMPTS[56]
    measured_ms = a * n * n + b * n + c
    assert 1e3 * split(prompt_scaling=0.5).prompts(fitted, shape).on(56) == pytest.approx(
        measured_ms, rel=0.1
    )
    assert 1e3 * split(prompt_scaling=A100.prompt_scaling).prompts(fitted, shape).on(56) > measured_ms


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 131))
def test_a_part_is_never_faster_than_the_whole(full_s, share, sms):
    time = SoloTime(full_s, share * full_s, 132)
    assert time.on(132) == full_s
    assert time.on(sms) >= time.on(sms + 1) >= full_s


def lane(*prompts, decoding=(), budget=100, **more):
    """An engine at the beginning of a step, with prompts begun and requests that decode."""
    engine = new_engine(Limits(16, budget, 200, 400, 4), price=RaggedCost().step_s)
    engine.lanes = Lanes(engine, split(**more))
    numbers = iter(range(99))
    for tokens in decoding:
        engine.submit(new_job(next(numbers), 0.0, tokens, 30))
    engine.open(0.0)
    for job in [*engine.waiting]:
        engine.admit(job, job.known_tokens)
    engine.retire(engine.advance(), 0.1)
    for tokens in prompts:
        engine.submit(new_job(next(numbers), 0.0, tokens, 30))
    engine.open(0.1)
    begun = [*engine.waiting]
    for job in begun:
        assert engine.admit(job, 0, job.known_tokens)
    return engine, begun


def test_a_prompt_that_is_begun_holds_its_blocks_and_computes_nothing():
    engine, (job,) = lane(10)
    assert (job.blocks, job.computed, engine.shape.prefill_tokens) == (3, 0, 0)
    assert job in engine.partial
    assert engine.token_budget == 100
    with pytest.raises(ValueError, match="cannot schedule 0 tokens"):
        engine.prefill(job, 0)
    engine.submit(other := new_job(9, 0.0, 5, 5))
    with pytest.raises(ValueError, match="cannot schedule 0 tokens"):
        engine.admit(other, 0)
    assert other in engine.waiting


def test_prompts_alone_have_all_sms_and_layers_add_up():
    engine, jobs = lane(10, 20)
    whole_s = engine.lanes.prompts(jobs).full_s
    engine.lanes.run(0, [(jobs, 1)])
    assert engine.lanes.busy_s == pytest.approx(whole_s / 4)
    assert [engine.lanes.layers(job) for job in jobs] == [1, 1]
    assert engine.lanes.under_way() == [jobs]
    engine.retire(engine.advance(), 0.2)
    assert jobs[0].generated == 0
    engine.open(0.2)
    engine.lanes.run(0, [(jobs, 4)])
    assert engine.lanes.busy_s == pytest.approx(whole_s * 3 / 4)
    assert engine.shape.prefill_tokens == 30
    assert engine.lanes.under_way() == []  # their last layers are in this step
    engine.retire(engine.advance(), 0.3)
    assert [job.generated for job in jobs] == [1, 1]
    assert engine.lanes.under_way() == []
    step, request, tokens, _ = engine.records.rows("chunks")
    assert list(zip(step.tolist(), request.tolist(), tokens.tolist(), strict=True)) == [
        (1, 0, 0), (1, 1, 0), (2, 0, 10), (2, 1, 20),
    ]  # fmt: skip


def test_beside_decodes_a_layer_that_is_not_done_goes_on_in_the_next_step():
    engine, (job,) = lane(90, decoding=(5, 5), layers=40)
    assert engine.decode_all()
    alone = engine.lanes.decodes()
    layer_s = engine.lanes.prompts([job]).on(108 - 16) / 40
    engine.lanes.run(16, [([job], 40)])
    assert engine.lanes.busy_s == pytest.approx(1.2 * alone.on(16))
    assert engine.lanes.layers(job) == pytest.approx(engine.lanes.busy_s / layer_s)
    engine.retire(engine.advance(), 0.2)
    engine.open(0.2)
    engine.decode_all()
    before = engine.lanes.layers(job)
    engine.lanes.run(16, [([job], before + 0.25)])
    assert engine.lanes.layers(job) == before + 0.25  # no more than is launched


def test_without_prompts_decodes_have_all_sms_and_no_contention():
    engine, _ = lane(decoding=(5,))
    engine.decode_all()
    engine.lanes.run(16, [])
    assert engine.lanes.busy_s == RaggedCost().step_s(engine.shape)


def test_a_prompt_for_which_the_token_budget_is_short_waits_for_it_with_all_its_layers():
    engine, jobs = lane(8, 8, budget=10)
    engine.lanes.run(0, [(jobs, 4)])
    assert engine.shape.prefill_tokens == 8
    assert engine.lanes.layers(jobs[1]) == 4
    engine.retire(engine.advance(), 0.2)
    engine.open(0.2)
    engine.lanes.run(0, [([jobs[1]], 4)])
    assert engine.lanes.busy_s == 0
    engine.advance()
    assert jobs[1].generated_tokens == 1


def test_what_stops_running_has_no_layers_any_more():
    engine, jobs = lane(10, 10)
    engine.lanes.run(0, [(jobs, 2)])
    engine.preempt(jobs[1])
    assert engine.lanes.layers(jobs[1]) == 0
    assert engine.lanes.under_way() == [jobs[:1]]


def test_nonsense_is_refused():
    engine, (one, two) = lane(10, 10, decoding=(5,))
    engine.decode_all()
    for sms in (0, 108):
        with pytest.raises(ValueError, match=f"{sms} of 108 SMs"):
            engine.lanes.run(sms, [([one], 1)])
    engine.lanes.run(16, [([one], 1)])
    with pytest.raises(ValueError, match="twice"):
        engine.lanes.run(16, [([two], 1)])
    engine.retire(engine.advance(), 0.2)
    engine.open(0.2)
    with pytest.raises(ValueError, match="not in the batch"):
        engine.lanes.run(0, [([one, two], 4)])
