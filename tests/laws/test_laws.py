"""Laws that every scheduling and routing policy found in the project must keep, on random scenarios."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.policy import Ledger, Scheduler
from simulator.replica.limits import FixedKv, Limits
from simulator.replica.request import RequestState
from simulator.testing import new_engine, new_job
from tests.compiled import SHAPE
from tests.engine_cases import CHOICES, ENGINES, EvenCost, play, scenarios, serve
from tests.examples import examples


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_laws(choice, data):
    check(data.draw(scenarios([choice])))


def check(case):
    """Raise AssertionError unless all laws hold."""
    cluster, outcome = play(case)
    steps, tokens, requests = outcome.tables.steps, outcome.tables.tokens, outcome.tables.requests
    limits, n = case["limits"], len(requests["arrival_s"])
    longest = limits.max_model_len + case["rules"].overrun_tokens
    asked = np.minimum(requests["output_tokens"], longest - requests["prompt_tokens"])
    state, arrival_s = requests["state"], requests["arrival_s"]

    # Conservation: every request that arrived is in one state, and got each token once and in order
    horizon_s = case["horizon_s"] or np.inf
    assert n == int((case["workload"].arrival_s < horizon_s).sum())
    assert outcome.stalled is None
    if case["horizon_s"] is None:
        assert RequestState.UNFINISHED not in state
        for server in cluster.replicas:  # everything was given back
            engine = server.engine
            assert not engine.running
            assert not engine.waiting
            assert not engine.swapped
            assert engine.free_blocks == engine.total_blocks
            assert engine.outstanding_tokens == 0
            if RequestState.FAILED not in state:  # V0 never frees the host memory of those it gives up
                assert engine.free_cpu_blocks == case["limits"].num_cpu_blocks
    done = state == RequestState.COMPLETED
    assert (requests["delivered_tokens"] <= asked).all()
    assert (requests["delivered_tokens"][done] == asked[done]).all()
    assert (
        requests["delivered_tokens"][state == RequestState.UNFINISHED]
        < asked[state == RequestState.UNFINISHED]
    ).all()
    expected = [(r, i + 1) for r in range(n) for i in range(requests["delivered_tokens"][r])]
    assert list(zip(tokens["request_id"].tolist(), tokens["token_index"].tolist(), strict=True)) == expected

    # Causality
    started = ~np.isnan(requests["first_scheduled_s"])
    assert (requests["first_scheduled_s"][started] >= arrival_s[started]).all()
    got = requests["delivered_tokens"] > 0
    assert (requests["first_token_s"][got] > requests["first_scheduled_s"][got]).all()
    same = tokens["request_id"][1:] == tokens["request_id"][:-1]
    assert (np.diff(tokens["generated_s"])[same] > 0).all()
    assert (tokens["delivered_s"] >= tokens["generated_s"]).all()
    assert (tokens["generated_s"] < horizon_s).all()

    # Limits, and work conservation: no replica rests while one of its requests could run
    computed = steps["prefill_tokens"] + steps["decode_seqs"]
    assert (computed <= limits.max_num_batched_tokens).all()
    assert (steps["running"] <= limits.max_num_seqs).all()
    assert (steps["kv_blocks_used"] >= 0).all()
    assert (steps["kv_blocks_used"] <= limits.num_gpu_blocks - case["rules"].null_blocks).all()
    for replica in range(case["replicas"]):
        mine = steps["replica"] == replica
        start_s, end_s = steps["start_s"][mine], steps["end_s"][mine]
        assert (start_s[1:] >= end_s[:-1]).all()
        for rest_s, until_s in zip(end_s[:-1], start_s[1:], strict=True):
            if (
                until_s > rest_s and case["rules"].stages == 1
            ):  # the last of several waits for those before it
                here = requests["replica"] == replica
                assert not (here & (arrival_s <= rest_s) & (requests["end_s"] > rest_s)).any()

    # Little's law as an identity: seat-seconds by the steps are seat-seconds by the requests
    # (asynchronous scheduling plans, and so seats, a step before the one that it counts from)
    synchronous = case["rules"].serving(case["policy"]()).pipeline_depth == 1
    if synchronous and done.all() and not requests["preemptions"].any():
        by_steps = (steps["running"] * (steps["end_s"] - steps["start_s"])).sum()
        by_requests = (requests["end_s"] - requests["first_scheduled_s"])[done].sum()
        assert by_steps == pytest.approx(by_requests)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@settings(max_examples=examples(12), deadline=None)
@given(data=st.data())
def test_laws_on_every_engine(choice, data):
    """Under every policy, on every engine: the laws hold."""
    rules = data.draw(st.sampled_from(ENGINES))
    check(data.draw(scenarios([choice], rules=rules)))


@settings(max_examples=examples(30), deadline=None)
@given(scenarios())
def test_equal_inputs_give_equal_bytes(case):
    one, two = play(case)[1].tables, play(case)[1].tables
    for table in ("steps", "tokens", "requests"):
        for name, column in getattr(one, table).items():
            assert column.tobytes() == getattr(two, table)[name].tobytes(), (table, name)


class Chaos(Scheduler):
    """Calls every verb at random; what the ledger then holds is checked by counting again."""

    def __init__(self, draw):
        self.draw = draw

    def plan(self, step: Ledger) -> None:
        draw = self.draw
        before = self.seen(step)
        if draw(st.booleans()) and not step.decode_all():
            assert self.seen(step) == before
        for _ in range(draw(st.integers(0, 6))):
            jobs = [*step.waiting, *step.running]
            job = jobs[draw(st.integers(0, len(jobs) - 1))] if jobs else None
            if job is None:
                break
            verb = draw(st.sampled_from(["admit", "admit", "prefill", "preempt"]))
            tokens = draw(st.integers(1, max(1, job.remaining_tokens)))
            before, done = self.seen(step), False
            try:
                if verb == "admit":
                    whole = draw(st.sampled_from([0, 0, job.prompt_tokens + job.max_tokens]))
                    done = step.admit(job, tokens, whole)
                elif verb == "prefill":
                    done = step.prefill(job, tokens)
                else:
                    step.preempt(job)
                    done = True
            except ValueError:
                pass  # a verb that made no sense
            assert done or self.seen(step) == before
            self.check(step)
        if step.waiting and not step.running and not step.changed:
            step.admit(step.waiting[0], 1)

    def seen(self, step: Ledger) -> tuple:
        """What a verb that is refused must not change."""
        jobs = [(job.id, job.blocks, job.computed, job.reserved) for job in (*step.running, *step.waiting)]
        shape = [getattr(step.shape, name) for name in SHAPE]
        return jobs, shape, step.token_budget, step.free_blocks, dict(step.chunks), step.ticks, step.changed

    def check(self, step: Ledger) -> None:
        held = sum(step.blocks_held(job) + job.fixed_blocks for job in step.running)
        assert 0 <= step.free_blocks == step.total_blocks - held
        assert all(not job.fixed_blocks for job in step.waiting)
        assert step.token_budget >= 0
        assert step.seats >= 0
        assert step.outstanding_tokens == sum(job.known_tokens for job in [*step.waiting, *step.running])
        assert set(step.partial) == {job for job in step.running if job.group is None}
        decoding = [job for job in step.running if job.group is not None]
        assert step.group.size == len(decoding)
        assert step.group.context_tokens() == sum(job.known_tokens for job in decoding)
        opening = [job for job in decoding if not job.reserved and job.computed_tokens % step.block_size == 0]
        assert step.blocks_opening == len(opening)


@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_no_sequence_of_verbs_corrupts_the_ledger(data):
    n = data.draw(st.integers(1, 6))
    lengths = st.lists(st.integers(1, 9), min_size=n, max_size=n)
    fixed = data.draw(st.sampled_from([None, FixedKv(0.5), FixedKv(1.2, ((4, 0.5),))]))
    ledger = new_engine(Limits(3, 12, 64, 14, 2, fixed_kv=fixed))
    policy = Chaos(data.draw)
    for i, (prompt, output) in enumerate(zip(data.draw(lengths), data.draw(lengths), strict=True)):
        ledger.submit(new_job(i, 0.0, prompt, output, 9))
    for step in range(12):
        ledger.open(float(step))
        policy.check(ledger)
        policy.plan(ledger)
        shape = ledger.shape
        assert (
            shape.prefill_tokens + shape.decode_seqs + ledger.token_budget
            == ledger.limits.max_num_batched_tokens
        )
        ledger.retire(ledger.advance(), step + 1.0)
    policy.check(ledger)


class Idle(Scheduler):
    """Never schedules anything."""

    def plan(self, step):
        pass


class Thrash(Scheduler):
    """Starts the first prompt, then throws its work away, for ever."""

    def plan(self, step):
        if step.running:
            step.preempt(step.last_running())
        else:
            step.admit(step.waiting[0], 1)


class Undo(Scheduler):
    """Admits and preempts within one step: time stands still."""

    def plan(self, step):
        step.admit(step.waiting[0], 1)
        step.preempt(step.last_running())


@pytest.mark.parametrize(("policy", "says"), [(Idle, "never"), (Thrash, "no token"), (Undo, "no token")])
def test_a_policy_without_progress_ends_in_a_sentence(policy, says):
    outcome = serve(policy, [0.0, 1.0], [5, 5], [2, 2], cost=EvenCost())
    assert outcome.stalled is not None
    assert policy.__name__ in outcome.stalled
    assert says in outcome.stalled
    assert "Job(id=0" in outcome.stalled
    assert outcome.tables.requests["state"].tolist() == [RequestState.UNFINISHED] * len(
        outcome.tables.requests["state"]
    )


def test_verbs_refuse_nonsense_with_the_job_in_the_sentence():
    ledger = new_engine(Limits(2, 8, 64, 4, 4))
    job, other = new_job(7, 0.0, 6, 2, 2), new_job(8, 0.0, 6, 2, 2)
    ledger.submit(job)
    ledger.open(0.0)
    for verb in (lambda: ledger.prefill(job, 1), lambda: ledger.preempt(job), lambda: ledger.admit(job, 7)):
        with pytest.raises(ValueError, match="id=7"):
            verb()
    assert ledger.admit(job, 6)
    with pytest.raises(ValueError, match="not waiting but running"):
        ledger.admit(job, 1)
    with pytest.raises(ValueError, match="already scheduled"):
        ledger.prefill(job, 1)
    ledger.decode_all()
    ledger.submit(other)
    assert not ledger.admit(other, 6)  # two tokens of budget are left
    assert ledger.token_budget == 2
    assert ledger.admit(other, 2)
    assert ledger.seats == 0
