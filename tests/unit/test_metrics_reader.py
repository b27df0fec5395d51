"""Idle latency, benefit and smooth goodput: the reader as oracle, and four promised properties."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics import smooth_goodput as smooth_goodput_metric
from simulator.metrics._reader import benefit_tokens, idle_latency_s, meets_token_slo, penalty, stalls
from simulator.replica.request import RequestState

SECONDS = st.floats(0, 20, allow_subnormal=False)
SPEEDS = st.sampled_from([0.0, 0.01, 0.05, 0.25, 1.0])
USERS = st.builds(
    UserModel,
    v_s_per_token=SPEEDS,
    alpha=st.sampled_from([0.5, 20.0]),
    f=st.sampled_from(["linear", "quadratic", "exponential", "step", "hinge"]),
    f_scale_s=st.sampled_from([0.3, 2.0]),
    first_token_allowance_s=st.sampled_from([0.0, 1.5]),
    weight_input=st.sampled_from([0.0, 0.1]),
)


@st.composite
def logs(draw: st.DrawFn) -> RequestLog:
    """Up to five requests; completed ones have tokens, the others leave at or after their last token."""
    arrivals, tokens, states, ends = [], [], [], []
    for arrival in sorted(draw(st.lists(SECONDS, min_size=1, max_size=5))):
        state = draw(st.sampled_from(RequestState))
        completed = state == RequestState.COMPLETED
        gaps = draw(st.lists(st.floats(0, 3), min_size=int(completed), max_size=8))
        times = (arrival + np.cumsum(gaps)).tolist()
        last = times[-1] if times else arrival
        arrivals.append(arrival)
        tokens.append(times)
        states.append(state)
        ends.append(last if completed else last + draw(st.floats(0, 5)))
    return RequestLog.from_lists(
        arrivals, tokens, state=states, end_s=ends, start_s=0.0, end_of_run_s=max(ends) + 1.0
    )


def tokens_of(log: RequestLog) -> list[list[float]]:
    return [part.tolist() for part in np.split(log.delivered_s, log.token_offsets[1:-1])][: log.n]


def with_tokens(log: RequestLog, tokens: list[list[float]]) -> RequestLog:
    """The same requests with other delivery times, over the same window."""
    offsets = np.cumsum([0, *map(len, tokens)])
    return replace(
        log, token_offsets=offsets, delivered_s=np.array([t for row in tokens for t in row], dtype=float)
    )


def smooth_goodput(log: RequestLog, user: UserModel) -> float:
    value = smooth_goodput_metric.measure(log, user, Slo())["smooth_goodput_tokens_per_s"]
    assert isinstance(value, float)
    return value


def idle_time_of_a_reader(log: RequestLog, user: UserModel, request: int) -> float:
    """Live through one answer: take a token every V seconds; wait, and count, when it is late."""
    tokens = tokens_of(log)[request]
    now = log.arrival_s[request] + user.first_token_allowance_s
    if user.origin == "first_token":
        now = tokens[0] if tokens else log.arrival_s[request]
    idle = 0.0
    for arrives in tokens:
        now += user.v_s_per_token
        if arrives > now:
            idle += arrives - now
            now = arrives
    if log.state[request] != RequestState.COMPLETED:
        now += user.v_s_per_token
        idle += max(0.0, log.end_s[request] - now)
        if log.state[request] != RequestState.UNFINISHED:  # and asks again for what it did not get
            idle += user.v_s_per_token * max(int(log.output_tokens[request]) - len(tokens), 0)
    return idle


@given(logs(), USERS, st.sampled_from(["arrival", "first_token"]))
def test_idle_latency_is_the_idle_time_of_a_step_by_step_reader(
    log: RequestLog, user: UserModel, origin: str
) -> None:
    if origin == "first_token":
        user = replace(user, origin="first_token", first_token_allowance_s=0.0)
    expected = [idle_time_of_a_reader(log, user, request) for request in range(log.n)]
    assert idle_latency_s(log, user) == pytest.approx(expected, abs=1e-9)


@given(logs(), USERS)
def test_stalls_of_a_request_add_up_to_its_idle_latency(log: RequestLog, user: UserModel) -> None:
    found = stalls(log, user)
    waited_s = found.idle_after_s - found.idle_before_s
    total = np.bincount(found.request, waited_s, minlength=log.n)
    assert total == pytest.approx(idle_latency_s(log, user), abs=1e-9)
    asks = found.start_s == found.end_s  # when it left, for what it did not get
    assert waited_s[~asks] == pytest.approx((found.end_s - found.start_s)[~asks], abs=1e-9)
    assert np.all(np.diff(found.request) >= 0)
    assert np.all(found.start_s >= log.arrival_s[found.request] - 1e-9)
    assert np.all(found.end_s <= log.end_s[found.request] + 1e-9)


@given(logs(), USERS, st.data())
def test_a_delivering_tokens_earlier_never_lowers_smooth_goodput(
    log: RequestLog, user: UserModel, data: st.DataObject
) -> None:
    earlier = []
    for arrival, row in zip(log.arrival_s, tokens_of(log), strict=True):
        pulled = [max(float(arrival), t - data.draw(st.floats(0, 4))) for t in row]
        # A token may not come after its successor: the running minimum from behind.
        earlier.append(np.minimum.accumulate(pulled[::-1])[::-1].tolist() if row else [])
    assert smooth_goodput(with_tokens(log, earlier), user) >= smooth_goodput(log, user) - 1e-9


@given(logs(), USERS, st.data())
def test_b_delaying_tokens_never_raises_smooth_goodput(
    log: RequestLog, user: UserModel, data: st.DataObject
) -> None:
    """Also when the delay loses tokens, because the user has left or the run is over before they come."""
    delayed, states, ends = [], [], []
    for r, row in enumerate(tokens_of(log)):
        late = np.maximum.accumulate([t + data.draw(st.floats(0, 4)) for t in row]).tolist() if row else []
        done = log.state[r] == RequestState.COMPLETED
        leaves = log.end_of_run_s if done else float(log.end_s[r])
        kept = [t for t in late if t <= leaves]
        cut = len(kept) < len(row)
        delayed.append(kept)
        states.append(RequestState.UNFINISHED if done and cut else log.state[r])
        ends.append((leaves if cut else late[-1]) if done else leaves)
    worse = replace(with_tokens(log, delayed), state=np.array(states, dtype=np.int8), end_s=np.array(ends))
    assert smooth_goodput(worse, user) <= smooth_goodput(log, user) + 1e-9


def test_first_token_origin_pays_for_holding_back_the_first_token() -> None:
    """The counter-example to (b) that makes ``arrival`` the default: every later deadline moves with it."""
    prompt_start = RequestLog.from_lists([0.0], [[1.0, 5.0, 5.1]], end_of_run_s=6.0)
    held_back = RequestLog.from_lists([0.0], [[5.0, 5.0, 5.1]], end_of_run_s=6.0)
    clock_at_first_token = UserModel(origin="first_token")
    assert smooth_goodput(held_back, clock_at_first_token) > smooth_goodput(
        prompt_start, clock_at_first_token
    )
    assert smooth_goodput(held_back, UserModel()) <= smooth_goodput(prompt_start, UserModel())


@given(logs(), USERS, st.data())
def test_c_a_dropped_request_keeps_its_tokens_and_the_idle_time_it_caused(
    log: RequestLog, user: UserModel, data: st.DataObject
) -> None:
    """Dropping one request at some moment, all else equal, is worth no more than what was lost with it."""
    tokens = tokens_of(log)
    victim = data.draw(st.integers(0, log.n - 1))
    keep = data.draw(st.integers(0, len(tokens[victim])))
    left_s = data.draw(st.floats(0, 1)) * (log.end_s[victim] - log.arrival_s[victim]) + log.arrival_s[victim]
    kept = [t for t in tokens[victim][:keep] if t <= left_s]
    states, ends = log.state.copy(), log.end_s.copy()
    states[victim], ends[victim] = RequestState.ABANDONED_BY_SYSTEM, left_s
    dropped = replace(
        with_tokens(log, [*tokens[:victim], kept, *tokens[victim + 1 :]]), state=states, end_s=ends
    )
    others = np.arange(log.n) != victim
    assert benefit_tokens(dropped, user)[others] == pytest.approx(benefit_tokens(log, user)[others])

    caused = idle_time_of_a_reader(dropped, user, victim)
    served_prompt = float(log.prompt_tokens[victim]) if kept else 0.0
    worth = user.weight_input * served_prompt + len(kept) - penalty(np.array([caused]), user)[0]
    if user.f != "step" or abs(caused - user.f_scale_s) > 1e-6:
        assert benefit_tokens(dropped, user)[victim] == pytest.approx(worth, rel=1e-6, abs=1e-6)


@given(logs(), st.lists(st.floats(1e-3, 2), min_size=2, max_size=2, unique=True))
def test_d_attainment_under_the_token_slo_is_monotone_in_v(log: RequestLog, speeds: list[float]) -> None:
    fast, slow = (UserModel(v_s_per_token=v) for v in sorted(speeds))
    met_fast, met_slow = meets_token_slo(log, fast), meets_token_slo(log, slow)
    assert np.all(met_slow | ~met_fast)


def test_waiting_goes_on_for_the_token_that_never_came() -> None:
    user = UserModel(v_s_per_token=1.0, unserved="wait_ends")
    log = RequestLog.from_lists(
        [0.0, 0.0, 0.0],
        [[1.0, 2.0], [1.0, 2.0], []],
        state=[RequestState.COMPLETED, RequestState.ABANDONED_BY_SYSTEM, RequestState.UNFINISHED],
        end_s=[2.0, 10.0, 10.0],
    )
    # Token 3 was due at 3 s, token 1 of the empty answer at 1 s; both users left at 10 s.
    assert idle_latency_s(log, user) == pytest.approx([0.0, 7.0, 9.0])
    assert benefit_tokens(log, user) == pytest.approx([2.0, -5.0, -9.0])


def test_empty_answers_between_full_ones_do_not_borrow_their_neighbours_lateness() -> None:
    log = RequestLog.from_lists([0.0] * 4, [[], [9.0], [], []], end_s=[0.0, 9.0, 0.0, 0.0])
    assert idle_latency_s(log, UserModel(v_s_per_token=1.0)) == pytest.approx([0.0, 8.0, 0.0, 0.0])


def test_a_token_that_makes_no_one_wait_longer_is_no_stall() -> None:
    log = RequestLog.from_lists([0.0], [[2.0, 2.5, 4.0, 6.0]])  # late by 1, 0.5, 1 and 2 s
    found = stalls(log, UserModel(v_s_per_token=1.0))
    assert (found.start_s.tolist(), found.end_s.tolist()) == ([1.0, 5.0], [2.0, 6.0])


def test_an_agent_reads_at_once_and_its_idle_latency_is_the_largest_lateness() -> None:
    log = RequestLog.from_lists([1.0], [[2.0, 2.5, 7.0]])
    agent = UserModel(v_s_per_token=0.0, alpha=2.0, first_token_allowance_s=1.5)
    assert idle_latency_s(log, agent) == pytest.approx([7.0 - 1.0 - 1.5])


def test_tokens_exactly_on_their_deadlines_meet_the_token_slo() -> None:
    times = [0.1 + 0.05 * i for i in range(1, 200)]
    log = RequestLog.from_lists([0.1, 0.1], [times, [*times[:-1], times[-1] + 1e-6]])
    assert meets_token_slo(log, UserModel()).tolist() == [True, False]


def test_a_request_dropped_before_anything_was_late_still_misses_the_token_slo() -> None:
    log = RequestLog.from_lists(
        [0.0, 0.0],
        [[0.01], []],
        state=[RequestState.ABANDONED_BY_USER, RequestState.REJECTED],
        end_s=[0.02, 0.0],
    )
    assert idle_latency_s(log, UserModel()).tolist() == [0.0, 0.0]
    assert meets_token_slo(log, UserModel()).tolist() == [False, False]


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        ("linear", [0.0, 2.0, 8.0]),
        ("quadratic", [0.0, 2.0, 32.0]),
        ("exponential", [0.0, 2 * math.expm1(0.5), 2 * math.expm1(2.0)]),
        ("step", [0.0, 0.0, 2.0]),
        ("hinge", [0.0, 0.0, 4.0]),
    ],
)
def test_each_penalty_by_hand(f: str, expected: list[float]) -> None:
    user = UserModel(alpha=2.0, f=f, f_scale_s=2.0)  # type: ignore[arg-type]
    assert penalty(np.array([0.0, 1.0, 4.0]), user) == pytest.approx(expected)


def test_alpha_defaults_to_the_tokens_read_in_a_second() -> None:
    assert UserModel(v_s_per_token=0.05).alpha_tokens == pytest.approx(20.0)
    assert UserModel(v_s_per_token=0.05, alpha=3.0).alpha_tokens == 3.0


def test_an_endless_wait_under_the_exponential_penalty_stays_a_number() -> None:
    log = RequestLog.from_lists([0.0] * 1000, [[1e9]] * 1000)
    summary = summarise(log, UserModel(f="exponential", f_scale_s=1e-3), Slo())
    assert math.isfinite(summary["smooth_goodput"]["smooth_goodput_tokens_per_s"])


def test_smooth_goodput_by_hand() -> None:
    log = RequestLog.from_lists(
        [0.0, 2.0], [[0.5, 1.0], [6.0, 6.5]], prompt_tokens=[10, 30], end_of_run_s=10.0
    )
    user = UserModel(v_s_per_token=1.0, weight_input=0.1, weight_output=2.0)
    # The second user waits from 3 s (first token due) to 6 s: 3 tokens not read.
    measures = smooth_goodput_metric.measure(log, user, Slo())
    assert measures["benefit_tokens"] == pytest.approx((1 + 4) + (3 + 4 - 3))
    assert measures["smooth_goodput_tokens_per_s"] == pytest.approx(0.9)
    assert measures["share_of_arrived_with_negative_benefit"] == 0.0


def test_a_prompt_that_was_turned_away_earns_nothing() -> None:
    log = RequestLog.from_lists([0.0], [[]], prompt_tokens=[1000], state=[RequestState.REJECTED], end_s=[0.0])
    assert benefit_tokens(log, UserModel(weight_input=1.0)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"v_s_per_token": -1.0}, "user.v_s_per_token"),
        ({"v_s_per_token": math.nan}, "user.v_s_per_token"),
        ({"v_s_per_token": "fast"}, "user.v_s_per_token"),
        ({"v_s_per_token": 0.0}, "user.alpha must be given"),
        ({"alpha": math.inf}, "user.alpha"),
        ({"f": "cubic"}, "user.f must be one of linear"),
        ({"f_scale_s": 0.0}, "user.f_scale_s"),
        ({"origin": "birth"}, "user.origin"),
        ({"first_token_allowance_s": -0.1}, "user.first_token_allowance_s"),
        ({"origin": "first_token", "first_token_allowance_s": 1.0}, "user.first_token_allowance_s"),
        ({"weight_input": -1.0}, "user.weight_input"),
        ({"weight_output": True}, "user.weight_output"),
    ],
)
def test_a_user_model_that_makes_no_sense_is_refused_by_field(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        UserModel(**fields)  # type: ignore[arg-type]
