"""The rules of the admission controls."""

from hypothesis import given
from hypothesis import strategies as st

from policies.admission.early_reject import EarlyReject
from policies.admission.queue_cap import QueueCap
from policies.admission.token_bucket import TokenBucket
from tests.policy_views import View, request


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
