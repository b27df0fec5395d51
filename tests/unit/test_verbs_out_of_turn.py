"""What a scheduler of one's own may not do with a step, and an acceptance with drafts: each is one sentence."""

import pytest

from policies.acceptance.rate import Rate
from policies.scheduling._split_prompts import lanes_of
from policies.scheduling.adaserve import Adaserve
from policies.scheduling.vllm_v1 import VllmV1
from simulator import InputError, Scenario, run
from simulator.replica.limits import Limits
from simulator.testing import new_engine, new_job

TRAFFIC = {"arrivals": "burst", "requests": 2, "prompt_tokens": 40, "output_tokens": 12}
DRAFTS = {"method": "eagle3", "num_speculative_tokens": 3}


class Twice(VllmV1):
    """Has everyone decode a second time."""

    def plan(self, step):
        super().plan(step)
        if step.group.size:
            step.decode_all()


class HoldsAPrompt(VllmV1):
    """Leaves out of the group who is not in it."""

    def plan(self, step):
        super().plan(step)
        step.hold(next(iter(step.running)))


class SwapsInWhoWaits(VllmV1):
    def plan(self, step):
        step.swap_in(next(iter(step.waiting)), 1)


class HasLanes(VllmV1):
    """Splits the GPU of an engine that has one step at a time."""

    def plan(self, step):
        lanes_of(step)


class TreesTwice(Adaserve):
    def plan(self, step):
        super().plan(step)
        if step.group.size:
            step.decode_trees(2, 2, lambda trees: [0 for _ in trees])


class TooManyNodes(Adaserve):
    def plan(self, step):
        if step.group.size:
            step.decode_trees(2, 2, lambda trees: [999 for _ in trees])
        else:
            super().plan(step)


def served(policy, **tables):
    return run(Scenario(**{"policy": {"scheduling": policy}, "workload": TRAFFIC} | tables))


@pytest.mark.parametrize(
    ("policy", "tables", "said"),
    [
        (Twice, {}, "decode_all() was called twice in one step"),
        (Twice, {"speculation": DRAFTS}, "decode_all() was called twice in one step"),
        (HoldsAPrompt, {}, "is not in a decode group that could still leave it out"),
        (SwapsInWhoWaits, {}, "is not swapped out"),
        (HasLanes, {}, "the engine has one step at a time; expected one whose policy splits_sms()"),
        (TreesTwice, {"speculation": DRAFTS}, "decode_trees() was called after decodes were scheduled"),
        (TooManyNodes, {"speculation": DRAFTS}, "999 nodes chosen of the "),
    ],
)
def test_a_verb_out_of_turn_is_blamed_on_its_policy(policy, tables, said):
    with pytest.raises(InputError) as error:
        served(policy, **tables)
    text = str(error.value)
    assert said in text
    assert __file__ in text
    assert "\n" not in text


def test_more_drafts_than_were_wanted_are_not_verified():
    class Eager(Rate):
        def verify(self, answer, generated, wanted):
            return wanted + 5, 1

    found = run(Scenario(policy={"acceptance": Eager()}, workload=TRAFFIC, speculation=DRAFTS)).summary()
    assert found["engine"]["draft_acceptance"] == pytest.approx(1 / 3)


class PromptsFirst(Adaserve):
    """Has prompts take all of a step's tokens that they can, and trees what is left."""

    def plan(self, step):
        for job in list(step.partial):
            step.prefill(job, min(job.remaining_tokens, step.token_budget))
        while step.waiting and step.token_budget:
            job = next(iter(step.waiting))
            if not step.admit(job, min(job.known_tokens, step.token_budget)):
                break
        before = step.token_budget
        if step.group.size and not step.decode_trees(2, 2, lambda trees: [0 for _ in trees]):
            assert step.token_budget == before < step.group.size


def test_trees_wait_where_prompts_have_taken_the_step():
    workload = {"arrivals": "burst", "requests": 12, "prompt_tokens": 60, "output_tokens": 9}
    found = served(
        PromptsFirst,
        workload=workload,
        speculation=DRAFTS,
        engine={"max_num_batched_tokens": 64, "max_num_seqs": 16},
    )
    steps = found.steps()
    prefill, decoding = (steps[name].to_numpy() for name in ("prefill_tokens", "decode_seqs"))
    assert found.requests()["delivered_tokens"].to_pylist() == [9] * 12
    assert (prefill + decoding <= 64).all()
    assert (decoding[prefill == 64] == 0).all()
    assert (prefill == 64).sum() >= 10


def test_a_swap_in_that_is_refused_changes_nothing():
    ledger = new_engine(Limits(2, 8, 64, 4, 4, num_cpu_blocks=4))
    job, other = new_job(7, 0.0, 8, 2, 2), new_job(8, 0.0, 8, 2, 2)
    ledger.submit(job)
    ledger.submit(other)
    ledger.open(0.0)
    assert ledger.admit(job, 4)
    ledger.retire(ledger.advance(), 1.0)
    ledger.open(1.0)
    assert ledger.swap_out(job)
    ledger.retire(ledger.advance(), 2.0)
    ledger.open(2.0)
    assert ledger.admit(other, 6)
    before = ledger.free_blocks, ledger.free_cpu_blocks, ledger.token_budget
    assert not ledger.swap_in(job, 4)  # two tokens of the budget are left
    assert (ledger.free_blocks, ledger.free_cpu_blocks, ledger.token_budget) == before
    assert job in ledger.swapped
    assert ledger.swap_in(job, 2)
