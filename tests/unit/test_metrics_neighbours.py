"""Fluidity index and quality of experience, each against a loop that lives through an answer."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.metrics import RequestLog, Slo, UserModel
from simulator.metrics import fluidity as fluidity_metric
from simulator.metrics import qoe as qoe_metric
from simulator.metrics.fluidity import fluidity_index
from simulator.metrics.qoe import qoe
from simulator.replica.request import RequestState
from tests.unit.test_metrics_reader import logs, tokens_of

# Deadlines and times on a grid of 1/8 s, which floats hold exactly: no test hangs on a rounded last bit.
USERS = st.builds(
    UserModel,
    v_s_per_token=st.sampled_from([0.125, 0.5, 1.0]),
    first_token_allowance_s=st.sampled_from([0.0, 1.5]),
)


@st.composite
def grid_logs(draw: st.DrawFn) -> RequestLog:
    """Draw up to four requests whose times lie on a grid."""
    eighths = st.integers(0, 24).map(lambda n: n / 8)
    arrivals, tokens, states, ends, wanted = [], [], [], [], []
    for arrival in sorted(draw(st.lists(eighths, min_size=1, max_size=4))):
        state = draw(st.sampled_from(RequestState))
        completed = state == RequestState.COMPLETED
        times = (arrival + np.cumsum(draw(st.lists(eighths, min_size=int(completed), max_size=8)))).tolist()
        arrivals.append(arrival)
        tokens.append(times)
        states.append(state)
        wanted.append(len(times) + (0 if completed else draw(st.integers(1, 9))))
        ends.append((times[-1] if times else arrival) + (0 if completed else draw(eighths)))
    return RequestLog.from_lists(arrivals, tokens, state=states, end_s=ends, output_tokens=wanted)


def fluidity_by_hand(log: RequestLog, user: UserModel, request: int) -> float:
    """Etalon's rule, token by token: after a miss the deadlines start again at the late token.

    Each token that never comes to one who asks again is a miss; the one that it waits for may be several.
    """
    v = user.v_s_per_token
    deadline = log.arrival_s[request] + user.first_token_allowance_s + v
    met = missed = 0
    for time in tokens_of(log)[request]:
        if time <= deadline:
            met += 1
            deadline += v
        else:
            missed += 1 + math.floor((time - deadline) / v)
            deadline = time + v
    state = log.state[request]
    undelivered = int(log.output_tokens[request]) - len(tokens_of(log)[request])
    if state != RequestState.COMPLETED and not tokens_of(log)[request]:
        return 0.0
    if state != RequestState.COMPLETED and log.end_s[request] > deadline:
        missed += 1 + math.floor((log.end_s[request] - deadline) / v)
        undelivered -= 1
    if state not in (RequestState.COMPLETED, RequestState.UNFINISHED) and user.unserved == "asks_again":
        missed += max(undelivered, 0)
    return met / (met + missed) if met + missed else math.nan


def qoe_by_hand(log: RequestLog, user: UserModel, request: int) -> float:
    """Two step curves on the grid, added up cell by cell."""
    v, tokens = user.v_s_per_token, tokens_of(log)[request]
    start = log.arrival_s[request] + user.first_token_allowance_s
    read, now = [], start
    for time in tokens:
        now = max(now + v, time)
        read.append(now)
    completed = log.state[request] == RequestState.COMPLETED
    if not completed and not tokens:
        return 0.0
    wanted = len(tokens) if completed else int(log.output_tokens[request])
    due = [start + v * (i + 1) for i in range(wanted)]
    end = max([start, *read, *([] if completed else [log.end_s[request]])])
    if user.unserved == "asks_again" and not completed and log.state[request] != RequestState.UNFINISHED:
        end = max([end, *due])
    cells = np.arange(start, end, 0.125)
    actual = sum(sum(time <= cell for time in read) for cell in cells)
    expected = sum(sum(time <= cell for time in due) for cell in cells)
    return actual / expected if expected else 1.0


@given(grid_logs(), USERS)
def test_fluidity_is_etalons_rule_lived_through(log: RequestLog, user: UserModel) -> None:
    expected = [fluidity_by_hand(log, user, request) for request in range(log.n)]
    np.testing.assert_allclose(fluidity_index(log, user), expected, rtol=1e-12)


@given(grid_logs(), USERS)
def test_qoe_is_the_area_between_two_curves(log: RequestLog, user: UserModel) -> None:
    expected = [qoe_by_hand(log, user, request) for request in range(log.n)]
    np.testing.assert_allclose(qoe(log, user), expected, rtol=1e-9, atol=1e-12)


@given(logs(), st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from(["arrival", "first_token"]))
def test_both_are_shares_whatever_the_log(log: RequestLog, v: float, origin: str) -> None:
    user = UserModel(v_s_per_token=v, alpha=1.0, origin=origin)
    quality = qoe(log, user)
    assert np.all((quality >= 0) & (quality <= 1))
    if v > 0:
        index = fluidity_index(log, user)
        index = index[~np.isnan(index)]
        assert np.all((index >= 0) & (index <= 1))


def test_a_case_small_enough_to_check_on_paper() -> None:
    # V = 1: due at 1, 2, 3; given at 1, 4.5, 5: the second is 2.5 s late, three deadlines missed.
    log = RequestLog.from_lists([0.0], [[1.0, 4.5, 5.0]])
    user = UserModel(v_s_per_token=1.0)
    assert fluidity_metric.measure(log, user, Slo())["fluidity_index"]["mean"] == pytest.approx(2 / 5)
    # Read at 1, 4.5, 5.5: areas until 5.5 are 4.5 + 1 + 0 of the expected 4.5 + 3.5 + 2.5.
    assert qoe_metric.measure(log, user, Slo())["qoe"]["mean"] == pytest.approx(5.5 / 10.5)


def test_without_a_period_there_is_no_fluidity() -> None:
    log = RequestLog.from_lists([0.0], [[1.0, 2.0]])
    measures = fluidity_metric.measure(log, UserModel(v_s_per_token=0.0, alpha=1.0), Slo())
    assert measures["fluidity_index"]["mean"] is None
    assert measures["share_of_arrived_above_0_9"] is None


@pytest.mark.parametrize(("v_s", "periods"), [(0.01, 4), (0.01, 5), (0.05, 6), (0.1, 3), (0.3, 7)])
def test_fluidity_counts_a_period_that_is_over_to_the_last_bit(v_s: float, periods: int) -> None:
    """Lateness of a whole number of V: float sums a bit above and below it are as many missed deadlines."""
    user, due_s = UserModel(v_s_per_token=v_s), v_s
    for late_s in (periods * v_s - 7.5e-17, periods * v_s + 3.6e-17, sum([v_s] * periods)):
        for begin_s in (0.0, 0.1, 1234.7, 98765.4):
            log = RequestLog.from_lists([begin_s], [[begin_s + due_s + late_s]])
            assert fluidity_index(log, user)[0] == pytest.approx(0.0)
            log = RequestLog.from_lists([begin_s], [[begin_s + due_s, begin_s + 2 * due_s + late_s]])
            assert fluidity_index(log, user)[0] == pytest.approx(1 / (2 + periods))
