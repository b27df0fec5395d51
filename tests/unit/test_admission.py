"""The rules of the admission controls."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission.early_reject import EarlyReject
from policies.admission.none import AdmitAll
from policies.admission.queue_cap import QueueCap
from policies.admission.token_bucket import TokenBucket
from policies.routing.round_robin import RoundRobin
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.replica.limits import Limits
from tests.engine_cases import RaggedCost, workload
from tests.policy_views import View, request
from tests.served import CHAT, served


def test_queue_cap_counts_those_who_wait():
    policy = QueueCap(max_waiting=2)
    assert policy.admit(request(), View(waiting=1), 0.0, None)
    assert not policy.admit(request(), View(waiting=2), 0.0, None)


def test_early_reject_looks_at_the_predicted_first_token():
    policy = EarlyReject(ttft_s=2.0)
    assert policy.admit(request(arrival_s=5.0), View(ttft_s=2.0), 5.0, None)
    assert not policy.admit(request(arrival_s=5.0), View(ttft_s=2.1), 5.0, None)
    assert not policy.admit(
        request(arrival_s=5.0), View(ttft_s=1.5), 6.0, None
    )  # it has waited a second already


def test_early_reject_looks_at_the_load_of_the_decodes_if_told_to():
    busy = View(ttft_s=0.1, tbt_s=0.06)
    assert EarlyReject(ttft_s=2.0).admit(request(), busy, 0.0, None)
    assert EarlyReject(ttft_s=2.0, tbt_s=0.06).admit(request(), busy, 0.0, None)
    assert not EarlyReject(ttft_s=2.0, tbt_s=0.05).admit(request(), busy, 0.0, None)


BEYOND = {
    "seats": {"gpu": "a100-80gb-sxm", "engine": {"max_num_seqs": 64}, "rate_rps": 25.0},
    "KV blocks": {"engine": {"num_gpu_blocks": 2200, "max_model_len": 16_000}, "rate_rps": 80.0},
    "long outputs": {
        "gpu": "a100-80gb-sxm",
        "model": "qwen-2.5-14b",
        "lengths": "translation_bwb_4k",
        "rate_rps": 2.5,
    },
}


@pytest.mark.parametrize("what", BEYOND)
def test_early_reject_keeps_its_bound_whatever_is_short(what):
    """Twice as many as without get their first token in time, or those who would have got it late are refused."""
    given = dict(BEYOND[what])
    traffic = {**CHAT, "requests": 800} | {
        key: given.pop(key) for key in ("lengths", "rate_rps") if key in given
    }
    in_time = []
    for admission in ("none", {"name": "early_reject", "ttft_s": 2.0}):
        run = served(**given, workload=traffic, policy={"admission": admission})
        in_time.append((run.ttft_s <= 2.0).sum())
    assert np.quantile(run.ttft_s, 0.9) < 2.2
    assert in_time[1] > 1.5 * in_time[0]


def test_predictions_hold_on_the_average_while_seats_are_short():
    """What is told to each arrival against what came: a fifth too much or too little at the most."""
    told = []

    class Asks(AdmitAll):
        looks_at_load = True

        def admit(self, job, replica, now_s, draw):
            told.append(replica.predicted_ttft_s(job))
            return True

    draw = np.random.default_rng(0)
    arrivals = np.cumsum(draw.exponential(0.02, 400))
    outputs = draw.geometric(1 / 50, 400)
    plain = colocated(VllmV1, RaggedCost(), Limits(8, 512, 2048, 1000, 16), RoundRobin())
    deployment = plain._replace(admission=Asks())
    requests = simulate(workload(arrivals, [100] * 400, outputs), deployment).tables.requests
    came = requests["first_token_s"] - requests["arrival_s"]
    full = came[100:] > 1.0
    assert full.sum() > 100
    assert np.sum(told[100:], where=full) / came[100:][full].sum() == pytest.approx(1.0, abs=0.2)


def test_a_token_bucket_empties_and_fills():
    policy = TokenBucket(rate_tokens_per_s=100.0, burst_tokens=250.0, count="prompt")

    def asked(now_s, prompt=100):
        return policy.admit(request(prompt=prompt), View(), now_s, None)

    assert [asked(1.0), asked(1.0), asked(1.0)] == [True, True, False]
    assert not asked(1.4)  # 90 tokens
    assert asked(1.5)  # 100: those who were refused took none
    assert not asked(1000.0, 251)  # it holds 250 at most
    assert asked(1000.0, 250)


def test_a_token_bucket_counts_predictions_and_tenants():
    job = request(prompt=100, predicted_tokens=30)
    assert TokenBucket(burst_tokens=130.0).admit(job, View(), 0.0, None)
    assert not TokenBucket(burst_tokens=129.0).admit(job, View(), 0.0, None)
    one, other = request(prompt=100, tenant=1), request(prompt=100, tenant=2)
    for per_tenant in (False, True):
        policy = TokenBucket(1.0, 100.0, "prompt", per_tenant)
        assert policy.admit(one, View(), 0.0, None)
        assert policy.admit(other, View(), 0.0, None) is per_tenant
        assert not policy.admit(one, View(), 0.0, None)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300)), min_size=1, max_size=50))
def test_a_token_bucket_never_lets_in_more_than_rate_and_burst(arrivals):
    policy, now_s, let_in = TokenBucket(50.0, 400.0, "prompt"), 0.0, 0
    for gap_s, prompt in arrivals:
        now_s += gap_s
        let_in += prompt * policy.admit(request(prompt=prompt), View(), now_s, None)
        assert let_in <= 400.0 + 50.0 * now_s + 1e-6
