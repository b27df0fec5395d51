"""SLOs-Serve: which requests are promised their bounds, what a step holds, who gives way, and where the others go."""

import math
from itertools import combinations

import numpy as np
import pytest

from policies.routing.next_on_decline import NextOnDecline
from policies.scheduling._slos_admission import Capacity, Claim, most_kept
from policies.scheduling._slos_choice import FAR_S
from policies.scheduling._slos_drafts import by_tier, expected_tokens, other_length
from policies.scheduling.slos_serve import SlosServe
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from simulator.testing import FakeLedger, new_job
from simulator.workload.workload import Workload
from tests.engine_cases import PROTOTYPE
from tests.laws.test_slos_serve_laws import ROUNDING_S, TokenCost, late_s, served

ROOMY = Limits(64, 4096, 4096, 10_000, 16)


def kept_together(claims, capacity):
    """Whether all of these can be kept, added up anew: no program, no states."""
    blocks = sum(each.blocks for each in claims)
    if len(claims) > capacity.seats or blocks > capacity.blocks:
        return False
    for until in {each.steps for each in claims}:
        needed = 0.0
        for (first, every), weight in capacity.decodes:
            needed += weight * math.ceil(max(0, until - first) / every)
        for each in claims:
            if each.steps <= until:
                needed += each.tokens + each.weight * math.ceil(until / each.every)
        if needed > until * capacity.step_tokens:
            return False
    return capacity.holds(len(claims), blocks)


def largest(claims, capacity):
    """The size of the largest choice, of all; None where the promised ones cannot be kept."""
    promised = [each for each in claims if each.promised]
    others = [each for each in claims if not each.promised]
    for count in range(len(others), -1, -1):
        if any(kept_together([*promised, *some], capacity) for some in combinations(others, count)):
            return len(promised) + count
    return None


@pytest.mark.parametrize("seed", range(200))
def test_admission_agrees_with_brute_force(seed):
    draw = np.random.default_rng(seed)
    weight = {1: 1.0, 2: float(draw.choice([1.0, 2.5])), 5: 1.0}
    claims = [
        Claim(
            int(draw.integers(0, 12)), int(draw.integers(1, 120)), every := int(draw.choice([1, 2, 5])), weight[every],
            int(draw.integers(1, 40)), bool(draw.random() < 0.15),
        )
        for _ in range(draw.integers(1, 10))
    ]  # fmt: skip
    claims.sort(key=lambda each: each.steps)
    decodes = [((int(draw.integers(0, 4)), int(draw.integers(1, 4))), float(draw.integers(1, 6)))]
    most = int(draw.integers(2, 10))
    capacity = Capacity(
        float(draw.integers(12, 70)), int(draw.integers(20, 200)), int(draw.integers(2, 10)), decodes,
        lambda count, blocks: count <= most and 2 * count + blocks <= 20 * most,
    )  # fmt: skip
    chosen, expected = most_kept(claims, capacity), largest(claims, capacity)
    assert (None if chosen is None else len(chosen)) == expected
    if chosen is not None:
        assert kept_together([claims[index] for index in chosen], capacity)
        assert {index for index, each in enumerate(claims) if each.promised} <= set(chosen)


def test_the_cases_of_brute_force_differ():
    """Else they would say little: in some none is declined, in some all, and in most a part."""
    capacity = Capacity(10.0, 100, 5, [], lambda count, blocks: True)
    easy, hard = Claim(5, 10, 1, 1.0, 1, False), Claim(1, 100, 1, 1.0, 1, False)
    assert most_kept([easy], capacity) == (0,)
    assert most_kept([hard], capacity) == ()
    assert most_kept([hard._replace(promised=True)], capacity) is None
    assert most_kept([hard, easy, easy], capacity) == (1, 2)


def one_replica(arrivals, prompts, outputs, ttft_s, tpot_s, *, cost=None, limits=ROOMY, **more):
    n = len(arrivals)
    columns = {key: np.array(more.pop(key)) for key in ("thinking_tokens", "predicted_tokens") if key in more}
    traffic = Workload(
        "test", np.array(arrivals, float), prompts, outputs, max(outputs), "a test",
        ttft_slo_s=np.broadcast_to(np.array(ttft_s, float), n), tpot_slo_s=np.broadcast_to(np.array(tpot_s, float), n),
        **columns,
    )  # fmt: skip
    requests, promised = served(traffic, cost or TokenCost(0.0, 0.001), limits, **more)
    return traffic, requests, promised


def test_of_two_that_do_not_fit_together_one_is_promised_and_keeps_it():
    traffic, requests, promised = one_replica([0.0, 0.0], [100, 100], [5, 5], 0.12, 0.02)
    assert promised == {0}
    assert late_s(traffic, requests)[0] <= 0
    assert late_s(traffic, requests)[1] > 0


def test_many_short_ones_are_promised_before_one_long_one():
    _, _, promised = one_replica([0.0] * 5, [210, 50, 50, 50, 50], [2] * 5, 0.24, 0.05)
    assert promised == {1, 2, 3, 4}


def test_a_promise_is_not_broken_for_those_who_come_later():
    traffic, requests, promised = one_replica([0.0] + [0.05] * 20, [200] + [50] * 20, [2] * 21, 0.22, 0.05)
    assert 0 in promised
    assert late_s(traffic, requests)[sorted(promised)].max() <= ROUNDING_S


def test_a_request_without_bounds_is_served_with_what_is_left():
    _, requests, promised = one_replica([0.0, 0.0], [500, 100], [5, 50], [math.nan, 0.2], [math.nan, 0.02])
    assert promised == {1}
    assert requests["first_token_s"][0] > requests["first_token_s"][1]
    assert (requests["delivered_tokens"] == [5, 50]).all()


def test_those_without_a_promise_give_their_blocks_up():
    limits = Limits(8, 4096, 4096, 40, 16)
    more = {"predicted_tokens": [100, 200]}
    _, requests, promised = one_replica(
        [0.0, 0.3], [400, 300], [100, 200], [math.nan, 1.0], [math.nan, 0.05], limits=limits, **more
    )
    assert promised == {1}
    assert requests["preemptions"].tolist() == [1, 0]


def test_decodes_of_a_slow_tier_sit_steps_out_while_prompts_are_pressed_for_time():
    """All tiers at each step would take 60 of 100 tokens; every fifth step does for the slow ones."""
    slow, prompts = 50, 8
    arrivals = [0.0] * slow + [0.6] * prompts
    traffic, requests, promised = one_replica(
        arrivals, [1] * slow + [90] * prompts, [200] * slow + [40] * prompts,
        [10.0] * slow + [1.0] * prompts, [0.5] * slow + [0.1] * prompts,
    )  # fmt: skip
    assert len(promised) == slow + prompts
    assert late_s(traffic, requests).max() <= ROUNDING_S


def test_thinking_has_a_bound_of_its_own():
    arrivals, prompts, outputs, thinking = [0.0] * 60, [20] * 60, [60] * 60, [30] * 60
    shared = {"thinking_tokens": thinking, "cost": TokenCost(0.01, 0.0005)}
    same = one_replica(arrivals, prompts, outputs, 3.0, 0.1, **shared)
    faster = one_replica(arrivals, prompts, outputs, 3.0, 0.1, thinking_tpot_s=0.02, **shared)
    assert 0 < len(faster[2]) < len(same[2])
    assert late_s(*faster[:2])[sorted(faster[2])].max() <= ROUNDING_S


def test_what_a_front_end_adds_counts_into_ttft():
    for frontend_s, promised in ((0.0, True), (0.03, False)):
        policy = SlosServe().told_frontend(frontend_s)
        ledger = FakeLedger(ROOMY, waiting=[new_job(prompt_tokens=100, ttft_slo_s=0.12, tpot_slo_s=0.05)])
        ledger.price = TokenCost(0.0, 0.001).step_s
        assert policy.promises(ledger, new_job(1, prompt_tokens=1, ttft_slo_s=1.0, tpot_slo_s=0.05), 0.0)
        policy.plan(ledger)
        assert bool(policy._promises.kept) is promised


@pytest.mark.parametrize(("hops", "share"), [(1, 0.8), (2, 0.93), (4, 1.0)])
def test_a_declined_request_goes_to_the_next_replica(hops, share):
    """Three replicas in turn, of which the first gets long prompts only: it declines, the others have room."""
    n = 30
    prompts = np.array([90, 5, 5] * (n // 3))
    traffic = Workload(
        "test", np.arange(n) * 0.01, prompts, np.full(n, 2), 2, "a test",
        ttft_slo_s=np.full(n, 0.2), tpot_slo_s=np.full(n, 0.1),
    )  # fmt: skip
    deployment = colocated(
        SlosServe, TokenCost(0.0, 0.001), ROOMY, NextOnDecline(hops), replicas=3, rules=PROTOTYPE
    )
    requests = simulate(traffic, deployment).tables.requests
    in_time = late_s(traffic, requests) <= ROUNDING_S
    assert in_time.mean() == pytest.approx(share, abs=0.005)
    if hops == 1:
        assert (requests["replica"] == np.arange(n) % 3).all()


@pytest.mark.parametrize("rate", [0.3, 0.6, 0.8])
def test_slower_tiers_get_as_many_drafts_as_last_them_as_long(rate):
    for length in range(1, 8):
        lasts_s = expected_tokens(length, rate) * 0.02
        for bound_s in (0.02, 0.03, 0.05, 0.2):
            own = other_length(bound_s, 0.02, length, rate)
            assert 1 <= own <= length
            assert expected_tokens(own, rate) * bound_s >= lasts_s - 1e-12
            assert own == 1 or expected_tokens(own - 1, rate) * bound_s < lasts_s
    assert other_length(FAR_S, 0.02, 6, rate) == 1  # it has no bound, and another has
    assert other_length(FAR_S, FAR_S, 6, rate) == 6


def test_drafts_are_as_many_as_bring_the_most_tokens_a_second_within_the_step():
    ledger = FakeLedger(ROOMY)
    ledger.most_drafts = 5
    cases = (
        (TokenCost(0.01, 1e-6), 1.0, 6),  # tokens cost next to nothing: as many as there are
        (TokenCost(0.0, 0.001), 1.0, 1),  # each costs as much as the first
        (TokenCost(0.01, 0.0005), 1.0, 6),
        (
            TokenCost(0.01, 0.0005),
            0.0146,
            3,
        ),  # 14 ms with 3 tokens each and 2 passes of the drafter; 15.5 with 4
    )
    for cost, longest_s, expected in cases:
        ledger.price = cost.step_s
        shape = StepShape(decode_seqs=2, decode_context_tokens=10)
        found = by_tier(ledger, shape, {0.02: 2}, 0.8, longest_s)
        assert found == {0.02: expected}, cost
