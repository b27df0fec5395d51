"""What counts as delivered, and how long a run lasts: nothing for those who have gone, no event after its end."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.admission.token_bucket import TokenBucket
from policies.delivery.paced import Paced
from simulator import Scenario, run
from simulator.replica.request import RequestState
from tests.small_clusters import ends, serve, together, traffic

DONE, LEFT = RequestState.COMPLETED, RequestState.ABANDONED_BY_USER
UNFINISHED, REJECTED = RequestState.UNFINISHED, RequestState.REJECTED


def alone(**more):
    return together(1, **more)


def test_the_run_ends_with_its_last_event_though_that_is_a_refusal():
    bucket = TokenBucket(burst_tokens=100.0, rate_tokens_per_s=1.0, count="prompt")
    outcome = serve(traffic([0, 1000], [50, 3000], [5, 5]), alone(admission=bucket))
    assert ends(outcome)[1] == (REJECTED, 0, 1000.0)
    assert outcome.end_s == 1000.0
    outcome = serve(traffic([5, 1000], [3000, 3000], [5, 5]), alone(admission=bucket))
    assert outcome.end_s == 1000.0  # where no step was taken at all


def test_no_token_comes_to_a_client_that_has_gone():
    """Steps of a second and 0.25 s to the reader: the token of the fourth second would be there at 4.25."""
    outcome = serve(traffic([0], [8], [9], leave_s=[4.1]), alone(frontend_s=0.25))
    assert ends(outcome) == [(LEFT, 3, 4.1)]


def test_a_client_that_leaves_before_the_last_token_has_come_is_not_served():
    """The last of three tokens is computed at 3.0 and there at 3.25."""
    outcome = serve(traffic([0], [8], [3], leave_s=[3.1]), alone(frontend_s=0.25))
    assert ends(outcome) == [(LEFT, 2, 3.1)]
    assert outcome.tables.tokens["delivered_s"].tolist() == [1.25, 2.25]
    assert outcome.end_s == 3.1
    outcome = serve(traffic([0], [8], [3], leave_s=[3.3]), alone(frontend_s=0.25))
    assert ends(outcome) == [(DONE, 3, 3.25)]


def test_what_a_delivery_policy_holds_back_does_not_come_to_one_who_has_left():
    outcome = serve(
        traffic([0, 0], [8, 8], [6, 6], leave_s=[9.0, np.nan]), alone(delivery=Paced(gap_s=1.0, hold_s=5.0))
    )
    assert ends(outcome) == [(LEFT, 4, 9.0), (DONE, 6, 11.0)]  # at 6, 7, 8 and 9; at 6 to 11
    tokens = outcome.tables.tokens
    assert tokens["token_index"].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]
    assert tokens["delivered_s"].tolist() == [6, 7, 8, 9, 6, 7, 8, 9, 10, 11]
    assert tokens["generated_s"].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 5, 6]


def test_nothing_comes_after_the_horizon():
    held = serve(traffic([0], [8], [3]), alone(delivery=Paced(gap_s=0.0, hold_s=100.0), horizon_s=20.0))
    assert ends(held) == [(UNFINISHED, 0, 20.0)]
    assert held.end_s == 20.0
    on_its_way = serve(traffic([0], [8], [9]), alone(frontend_s=0.25, horizon_s=4.1))
    assert ends(on_its_way) == [(UNFINISHED, 3, 4.1)]
    assert on_its_way.end_s == 4.1


@given(
    patience_s=st.floats(0.05, 20.0),
    horizon_s=st.one_of(st.none(), st.floats(1.0, 30.0)),
    delivery=st.sampled_from(
        [
            {"name": "immediate"},
            {"name": "paced", "hold_s": 4.0, "gap_s": 0.05},
            {"name": "batched", "tokens": 5},
            {"name": "jitter", "delay_s": 0.3, "jitter_s": 0.4},
        ]
    ),
    seed=st.integers(0, 3),
)
def test_no_token_after_its_request_has_ended_and_no_event_after_the_run(
    patience_s, horizon_s, delivery, seed
):
    work = {"arrivals": "poisson", "rate_rps": 6.0, "requests": 30, "prompt_tokens": 900, "output_tokens": 40}
    given_up = {"patience_s": patience_s}
    result = run(
        Scenario(
            workload=work | given_up, policy={"delivery": delivery}, run={"horizon_s": horizon_s}, seed=seed
        )
    )
    log = result.log
    of_request = np.repeat(np.arange(log.n), log.token_counts)
    assert (log.delivered_s <= log.end_s[of_request]).all()
    assert log.end_of_run_s == pytest.approx(max(log.end_s.max(), log.arrival_s[-1]), abs=0.2)
    assert log.end_of_run_s >= log.end_s.max()
    assert horizon_s is None or log.end_of_run_s <= horizon_s
    assert (log.last_token_s[log.completed] == log.end_s[log.completed]).all()
