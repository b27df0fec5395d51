"""AdaServe: who gets nodes of drafts first, how many there are, and that targets are kept by it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles.drafter import SpeculativeCost, drafter_on, load_drafter
from policies.acceptance.rate import Rate
from policies.scheduling.adaserve import Adaserve
from policies.scheduling.vllm_v1 import VllmV1
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.replica.draft_trees import beam
from simulator.replica.limits import Limits
from simulator.replica.speculation import Speculation
from simulator.results.recorded import draft_columns
from simulator.testing import FakeLedger, new_job
from tests.engine_cases import EvenCost, serve

TREES = st.lists(
    st.builds(
        beam,
        st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=1, max_size=5),
        st.integers(1, 3),
        st.just(0.4),
    ),
    min_size=1,
    max_size=6,
)


class Offering(FakeLedger):
    """A ledger of decoding jobs with these trees."""

    def __init__(self, jobs, trees, budget, step_s=0.1):
        super().__init__(Limits(64, budget, 4096, 10_000, 16), running=jobs)
        self.partial, self.most_drafts = {}, 5
        for job in jobs:
            job.computed, job.generated = job.prompt_tokens, 1
            self.group.join(job)
        self.trees = list(zip(jobs, trees, strict=True))
        self.price = lambda shape: step_s
        self.chosen = None

    def decode_trees(self, depth, width, choose):
        self.asked, self.chosen = (depth, width), choose(self.trees)
        return True


TREE = beam([0.7] * 5, 3, 0.4)


def chosen(bounds_s, nodes, most_nodes=15):
    """Nodes that jobs with these bounds get 0.4 s after their first token, in a step of 0.1 s."""
    jobs = [new_job(number, tpot_slo_s=bound_s) for number, bound_s in enumerate(bounds_s)]
    policy = Adaserve(verify_tokens=nodes + len(jobs), least_depth=5, most_nodes=most_nodes)
    ledger = Offering(jobs, [TREE] * len(jobs), 1000)
    policy.plan(ledger)
    ledger.now_s = 0.4
    policy.plan(ledger)
    return ledger.chosen


def test_who_is_behind_gets_nodes_first_and_up_to_its_need():
    # By 0.5 s those promised a token in 0.2 s need 2.5, one in 0.5 s needs 1
    some = chosen([0.5, 0.2, 0.5], 3)
    needed = int(np.searchsorted(TREE.expected, 2.5))
    assert some == [0, min(needed, 3), 0]
    enough = chosen([0.5, 0.2, 0.5], needed + 2)
    assert enough[1] >= needed
    assert sum(enough) == needed + 2


def test_the_further_behind_goes_first_and_none_needs_more_than_a_search_can_give():
    assert chosen([0.2, 0.01, 0.2], 4)[1] == 4
    deep = int(np.searchsorted(TREE.expected, 6.0))
    assert deep == len(TREE.expected) > TREE.size  # its need is beyond all of its tree


def test_a_request_gets_no_more_nodes_by_need_than_its_bound():
    assert chosen([0.01, 0.01], 6, most_nodes=4) == [4, 2]


def test_where_all_nodes_can_be_verified_all_are():
    assert chosen([0.01, 5.0], 100) == [TREE.size, TREE.size]


@given(
    TREES,
    st.integers(1, 60),
    st.lists(st.sampled_from([0.0, 0.01, 0.1, 1.0, float("nan")]), min_size=6, max_size=6),
)
def test_the_budget_is_never_exceeded(trees, verify, bounds_s):
    jobs = [new_job(number, tpot_slo_s=bounds_s[number]) for number in range(len(trees))]
    ledger = Offering(jobs, trees, 50)
    Adaserve(verify_tokens=verify).plan(ledger)
    if ledger.asked[0]:
        assert sum(ledger.chosen) + len(jobs) <= min(verify, 50)
    else:
        assert not any(ledger.chosen)


def test_by_slack_the_need_is_what_the_reader_lacks():
    """A reader of 0.2 s a token lacks 1.5 tokens of the 2.5 that are due by 0.5 s; one of 0.5 s none."""
    jobs = [new_job(number, pace_s=pace_s) for number, pace_s in enumerate([0.5, 0.1, 0.5])]
    policy, ledger = (
        Adaserve(need="slack", verify_tokens=6, least_depth=5, most_nodes=15),
        Offering(jobs, [TREE] * 3, 1000),
    )
    ledger.now_s = 0.4
    policy.plan(ledger)
    assert ledger.chosen == [0, 3, 0]


def test_depth_and_width_follow_how_many_decode():
    found = {}
    for count in (1, 8, 16, 32, 63):
        jobs = [new_job(number) for number in range(count)]
        ledger = Offering(jobs, [TREE] * count, 1000)
        Adaserve(verify_tokens=64, draft_tokens=32, least_depth=2).plan(ledger)
        found[count] = ledger.asked
    # floor(64/n) - 1 within 2 and 5, floor(32/n) within 1 and 3 (equations 8 and 9)
    assert found == {1: (5, 3), 8: (5, 3), 16: (3, 2), 32: (2, 1), 63: (2, 1)}


def test_where_nodes_cost_much_few_are_verified_and_the_search_is_shallow():
    jobs = [new_job(number) for number in range(8)]
    asked = {}
    for each_s in (0.0, 0.004, 0.1):
        ledger, policy = Offering(jobs, [TREE] * 8, 1000), Adaserve(least_depth=1)
        ledger.price = lambda shape, each_s=each_s: 0.1 + each_s * shape.draft_tokens
        policy.plan(ledger)
        policy.plan(ledger)
        asked[each_s] = ledger.asked[0], sum(ledger.chosen)
    assert asked[0.0] == (5, 8 * TREE.size)
    assert asked[0.1] == (1, 0)
    assert 1 < asked[0.004][0] < 5
    assert 0 < asked[0.004][1] < 8 * TREE.size


def trees_of(limits, *, outputs=(60,) * 6, k=4, **options):
    outcome = serve(
        lambda: Adaserve(**options),
        [0.0] * len(outputs),
        [20] * len(outputs),
        list(outputs),
        cost=EvenCost(),
        limits=limits,
        speculation=Speculation(Rate(0.7), k),
    )
    return outcome.tables, draft_columns(outcome.tables.incarnations[0].records)


@pytest.mark.parametrize("verify", [8, 20, 64])
def test_steps_verify_up_to_the_budget_and_no_more(verify):
    tables, (_, step, nodes, accepted, got) = trees_of(
        Limits(64, 4096, 4096, 10_000, 16), verify_tokens=verify
    )
    computed = np.bincount(step, 1 + nodes)
    assert computed.max() <= verify
    assert computed.max() > verify - 6 or verify == 64
    assert (accepted <= np.minimum(nodes, 4)).all()
    assert tables.requests["delivered_tokens"].tolist() == [60] * 6
    assert got.sum() == 6 * 59


def test_drafts_give_way_before_a_request_does():
    """With blocks for the answers and no more all run to the end without a preemption."""
    limits = Limits(64, 4096, 4096, 6 * 80 + 1, 1)
    tables, (_, _, nodes, _, _) = trees_of(limits, watermark=0.0)
    assert tables.steps["preemptions"].sum() == 0
    assert nodes.any()


def served(rate_rps, tight_s, scheduling, drafts=5, gpu="h100-80gb-sxm"):
    """Summary of two classes that ask for the same, of which one is promised a shorter TPOT."""
    each = {"prompt_tokens": 60, "output_tokens": 80}
    classes = {
        "tight": {"share": 0.5, **each, "slo": {"tpot_s": tight_s}},
        "loose": {"share": 0.5, **each, "slo": {"tpot_s": 0.2}},
    }
    scenario = Scenario(
        hardware={"gpu": gpu},
        workload={"arrivals": "poisson", "rate_rps": rate_rps, "requests": 400, "classes": classes},
        speculation={"method": "eagle3", "num_speculative_tokens": drafts},
        policy={"scheduling": scheduling, "acceptance": {"name": "rate", "rate": 0.8}},
    )
    return run(scenario).summary()


def test_a_class_that_is_promised_more_gets_more():
    found = served(150, 0.013, {"name": "adaserve", "verify_tokens": 384})["classes"]
    tpot_s = {name: each["latency"]["tpot_s"]["mean"] for name, each in found.items()}
    assert tpot_s["tight"] < 0.93 * tpot_s["loose"]


def test_more_requests_keep_their_bound_than_with_the_same_drafts_for_all():
    """The paper's claim (section 6.2), on an H100 near its knee: half of the requests are promised 15 ms a token."""
    ours = served(200, 0.015, "adaserve")["slo"]["attainment_all"]
    for drafts in (3, 5):
        alike = served(200, 0.015, {"name": "vllm_v1", "async_scheduling": False}, drafts)
        assert ours > 0.02 + alike["slo"]["attainment_all"]


def test_wider_passes_of_the_drafter_take_longer():
    from hardware_profiles import load_gpu, load_model, step_cost
    from simulator.replica.cost import StepShape

    model = load_model("llama-3.1-70b")
    target = step_cost(load_gpu("h100-80gb-sxm"), model, "auto", 4)
    for name, own in (("eagle", None), ("draft_model", load_model("llama-3.1-8b"))):
        drafter = drafter_on(load_drafter(name), model, 4, own)
        small = None if own is None else step_cost(load_gpu("h100-80gb-sxm"), own)
        cost = SpeculativeCost(target, drafter, small)
        times_s = []
        for width in (1, 3, 40):
            shape = StepShape(decode_seqs=64, decode_context_tokens=64 * 500)
            shape.draft_passes, shape.draft_width = 4, width
            times_s.append(cost.step_s(shape))
        assert times_s == sorted(times_s)
        assert times_s[2] > times_s[0]
        shape.draft_passes = 1
        one_s = cost.step_s(shape)
        shape.draft_width = 1
        assert cost.step_s(shape) == one_s  # the first pass is over the tokens that were accepted


class Half:
    """Accepts half of them, by a rule of one's own."""

    def verify(self, answer, generated, wanted):
        return wanted, wanted // 2


class Sure(Half):
    def chances(self, answer, generated, depth):
        return [1.5] * depth


class Deep(Half):
    def chances(self, answer, generated, depth):
        return [0.5] * (depth + 1)


class More(Half):
    def verify(self, answer, generated, wanted):
        return wanted, wanted + 1


@pytest.mark.parametrize(
    ("rule", "scheduler", "said"),
    [
        (Half, Adaserve, "policy.acceptance: Half says nothing of how likely each draft is right"),
        (
            Sure,
            Adaserve,
            r"Sure.chances\(\) returned 3 numbers, the first \[1.5, 1.5, 1.5\]; expected up to 3 from",
        ),
        (
            Deep,
            Adaserve,
            r"policy.acceptance: Deep.chances\(\) returned 4 numbers, the first .* expected up to 3 from",
        ),
        (More, VllmV1, r"policy.acceptance: More.verify\(\) accepted 4 of 3 drafts"),
    ],
)
def test_an_acceptance_that_cannot_be_is_told(rule, scheduler, said):
    with pytest.raises(InputError, match=said):
        serve(scheduler, [0.0], [5], [9], limits=Limits(8, 99, 99, 99, 4), speculation=Speculation(rule(), 3))
