"""The rule for dropping late requests."""

import math

import pytest

from policies.abandonment.missed_slo import MissedSlo
from simulator.errors import InputError
from simulator.scenario.discover import complete
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from tests.policy_views import decoding, request


def test_missed_slo_takes_the_first_bound_to_pass():
    fresh = request(arrival_s=10.0, pace_s=0.1, allowance_s=1.0)  # tokens due at 11.1, 11.2, ...
    served = decoding(0, arrival_s=10.0, tokens=9, pace_s=0.1, allowance_s=1.0)  # the next at 12.0
    assert MissedSlo(ttft_s=2.0).drop_s(fresh, 0) == 12.0
    assert MissedSlo(ttft_s=2.0).drop_s(served, 9) == math.inf
    assert MissedSlo(e2e_s=30.0).drop_s(fresh, 0) == MissedSlo(e2e_s=30.0).drop_s(served, 9) == 40.0
    late = MissedSlo(token_deadlines=True)
    assert late.drop_s(fresh, 0) == pytest.approx(11.1)
    assert late.drop_s(served, 9) == pytest.approx(12.0)
    assert MissedSlo(token_deadlines=True, grace_s=0.5).drop_s(served, 9) == pytest.approx(12.5)
    every = MissedSlo(ttft_s=0.5, e2e_s=1.5, token_deadlines=True)
    assert every.drop_s(fresh, 0) == 10.5
    assert every.drop_s(served, 9) == 11.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs at least one of ttft_s, e2e_s, token_deadlines"),
        ({"grace_s": 1.0}, "needs at least one"),
        ({"ttft_s": 1.0, "grace_s": 1.0}, "grace_s is for token_deadlines"),
    ],
)
def test_missed_slo_needs_a_bound(options, message):
    with pytest.raises(InputError, match=f"policy.abandonment: .*{message}"):
        complete("abandonment", "missed_slo", options)


@pytest.mark.parametrize(
    "leaving",
    [
        {"policy": {"abandonment": {"name": "missed_slo", "ttft_s": 0.05}}},
        {"workload": {"patience_s": 0.03}},
    ],
)
def test_requests_that_all_leave_before_their_first_token_are_no_livelock(leaving):
    """Each takes steps and gives no token; 2,000 of them are more of those than one livelock is allowed."""
    workload = {
        "arrivals": "constant",
        "rate_rps": 1.0,
        "requests": 2000,
        "prompt_tokens": 2000,
        "output_tokens": 10,
    }
    result = run(
        Scenario(
            engine={"max_num_batched_tokens": 64},
            workload=workload | leaving.get("workload", {}),
            policy=leaving.get("policy", {}),
        )
    )
    assert result.manifest["stalled"] is None
    assert result.summary()["states"]["completed"]["count"] == 0
    assert result.summary()["engine"]["steps"] > 1000
