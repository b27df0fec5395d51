"""Readers who are not steady: the metrics against one that reads token by token, and what must hold of them all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics._options import UNIT_TOKENS
from simulator.metrics._presets import PRESETS
from simulator.metrics._reader import (
    benefit_tokens,
    idle_latency_s,
    lateness_s,
    meets_token_slo,
    stalls,
)
from simulator.replica.reading import BY_TOKEN, ReadingCurve
from simulator.replica.request import RequestState
from simulator.testing import new_job
from tests.unit.test_metrics_reader import tokens_of, with_tokens

FIELDS = {
    "v_s_per_token": st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    "first_token_allowance_s": st.sampled_from([0.0, 1.5]),
    "reads": st.sampled_from(["token", "sentence", "answer", 1, 2, 3, 5]),
    "fatigue": st.sampled_from([0.0, 0.2, 300.0]),  # the last one so that it shows within ten tokens
    "skim_after_tokens": st.sampled_from([0, 2, 4]),
    "skim_speedup": st.sampled_from([1.0, 1.5, 4.0]),
    "thinking_share": st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    "unserved": st.sampled_from(["asks_again", "wait_ends"]),
    "weight_thinking": st.sampled_from([None, 0.0, 0.5]),
}
USERS = st.builds(UserModel, alpha=st.just(2.0), **FIELDS)
BY_FIRST = st.builds(
    UserModel,
    alpha=st.just(2.0),
    origin=st.just("first_token"),
    **{key: value for key, value in FIELDS.items() if key != "first_token_allowance_s"},
)


@st.composite
def logs(draw: st.DrawFn) -> RequestLog:
    """Up to four requests of up to ten tokens; of some it is said how many of these are thinking."""
    arrivals, tokens, states, ends, asked = [], [], [], [], []
    for arrival in sorted(draw(st.lists(st.floats(0, 9, allow_subnormal=False), min_size=1, max_size=4))):
        state = draw(st.sampled_from(RequestState))
        completed = state == RequestState.COMPLETED
        gaps = draw(st.lists(st.floats(0, 3, allow_subnormal=False), min_size=int(completed), max_size=10))
        times = (arrival + np.cumsum(gaps)).tolist()
        arrivals.append(arrival)
        tokens.append(times)
        states.append(state)
        ends.append((times[-1] if times else arrival) + (0.0 if completed else draw(st.floats(0, 5))))
        asked.append(len(times) + (0 if completed else draw(st.integers(1, 6))))
    thinking = draw(st.none() | st.lists(st.integers(-1, 12), min_size=len(arrivals), max_size=len(arrivals)))
    return RequestLog.from_lists(
        arrivals, tokens, state=states, end_s=ends, start_s=0.0, end_of_run_s=max(ends) + 1.0,
        output_tokens=asked, thinking_tokens=thinking,
    )  # fmt: skip


class SlowReader:
    """Reads one answer token by token, waiting for units that are not whole; its own arithmetic."""

    def __init__(self, user: UserModel, now_s: float) -> None:
        self.user, self.now_s, self.idle_s = user, now_s, 0.0
        self.number, self.effort = 0, 0.0  # tokens read, and read as if steadily

    def reads_one(self) -> float:
        """Read a token, and return how long that takes: less beyond some tokens, more the longer it has read."""
        user = self.user
        easy = 1.0 / user.skim_speedup if self.number >= user.skim_after_tokens else 1.0
        tired = 1.0 + user.fatigue / 1000 * (self.effort + easy / 2)
        self.number, self.effort = self.number + 1, self.effort + easy
        return user.v_s_per_token * easy * tired

    def live_through(self, times_s: list[float]) -> float:
        """Take the tokens that come then unit by unit; return the time with nothing to read."""
        unit = UNIT_TOKENS.get(self.user.reads, self.user.reads)
        rest = list(times_s)
        while rest:
            size = int(min(unit, len(rest)))
            mine, rest = rest[:size], rest[size:]
            self.now_s += self.reads_one()
            if mine[-1] > self.now_s:
                self.idle_s += mine[-1] - self.now_s
                self.now_s = mine[-1]
            for _ in mine[1:]:
                self.now_s += self.reads_one()
        return self.idle_s


def idle_of_slow_reader(log: RequestLog, user: UserModel, r: int) -> float:
    tokens, asked, state = tokens_of(log)[r], int(log.output_tokens[r]), log.state[r]
    thinking = int(user.thinking_share * asked)
    if log.thinking_tokens is not None and log.thinking_tokens[r] >= 0:
        thinking = int(log.thinking_tokens[r])
    read = tokens[thinking:]
    start_s = log.arrival_s[r] + user.first_token_allowance_s
    if user.origin == "first_token":
        start_s = read[0] if read else log.arrival_s[r]
    reader = SlowReader(user, start_s)
    if state != RequestState.COMPLETED:
        read = [*read, log.end_s[r]]  # it waits for the token that never comes
    idle_s = reader.live_through(read or tokens[-1:])  # of thinking alone, for its end
    if state not in (RequestState.COMPLETED, RequestState.UNFINISHED) and user.unserved == "asks_again":
        again = SlowReader(user, 0.0)
        for _ in tokens[thinking:]:
            again.reads_one()
        idle_s += sum(again.reads_one() for _ in range(asked - max(len(tokens), thinking)))
    return idle_s


@given(logs(), USERS | BY_FIRST)
def test_idle_latency_is_that_of_a_slow_reader(log, user):
    expected = [idle_of_slow_reader(log, user, r) for r in range(log.n)]
    assert idle_latency_s(log, user) == pytest.approx(expected, abs=1e-9)


@given(logs(), st.sampled_from(sorted(PRESETS)))
def test_idle_latency_of_every_preset_is_that_of_a_slow_reader(log, name):
    user = UserModel(preset=name)
    expected = [idle_of_slow_reader(log, user, r) for r in range(log.n)]
    assert idle_latency_s(log, user) == pytest.approx(expected, abs=1e-9)


@given(logs(), USERS | BY_FIRST)
def test_stalls_of_a_request_add_up_to_its_idle_latency(log, user):
    found = stalls(log, user)
    total = np.bincount(found.request, found.idle_after_s - found.idle_before_s, minlength=log.n)
    assert total == pytest.approx(idle_latency_s(log, user), abs=1e-9)


@given(logs(), USERS, st.data())
def test_a_token_that_comes_earlier_makes_no_reader_wait_longer(log, user, data):
    earlier = []
    for arrival, row in zip(log.arrival_s, tokens_of(log), strict=True):
        pulled = [max(float(arrival), t - data.draw(st.floats(0, 4))) for t in row]
        earlier.append(np.minimum.accumulate(pulled[::-1])[::-1].tolist() if row else [])
    sooner = with_tokens(log, earlier)
    assert np.all(idle_latency_s(sooner, user) <= idle_latency_s(log, user) + 1e-9)
    assert np.all(benefit_tokens(sooner, user) >= benefit_tokens(log, user) - 1e-9)


@given(logs(), USERS | BY_FIRST)
def test_a_steady_reader_is_one_of_units_of_one_token(log, user):
    """To the bit: nothing changes for whom no curve is given."""
    steady = replace(
        user, reads="token", fatigue=0.0, skim_speedup=1.0, thinking_share=0.0, weight_thinking=None
    )
    log = replace(log, thinking_tokens=None)
    assert steady.curve is None
    assert replace(steady, reads=1).curve is None
    by_curve = steady.reading._replace(curve=BY_TOKEN)
    assert lateness_s(log, steady).tolist() == lateness_s(replace(log), by_curve).tolist()
    none = replace(log, thinking_tokens=np.zeros(log.n, np.int64))
    assert idle_latency_s(log, steady).tolist() == idle_latency_s(none, steady).tolist()
    assert benefit_tokens(log, steady).tolist() == benefit_tokens(none, steady).tolist()


@given(logs(), USERS)
def test_who_wants_more_sooner_waits_longer(log, user):
    user = replace(user, unserved="wait_ends")
    idle_s = idle_latency_s(log, user)
    # While the model thinks there is nothing to read.
    for harder in ({"reads": "answer"}, {"skim_speedup": 8.0}, {"fatigue": 0.0}, {"thinking_share": 1.0}):
        assert np.all(idle_latency_s(replace(log), replace(user, **harder)) >= idle_s - 1e-9), harder
    by_token = replace(user, reads="token")
    assert np.all(idle_latency_s(replace(log), by_token) <= idle_s + 1e-9)


@given(logs(), USERS)
def test_thinking_binds_nothing_by_itself(log, user):
    """A request with read tokens keeps or misses the objective by those alone."""
    met = meets_token_slo(log, user)
    for r in range(log.n):
        (one,) = log.rows(r, r + 1).parts()
        late_s = lateness_s(one, user)
        own = -1 if log.thinking_tokens is None else int(log.thinking_tokens[r])
        thinking = own if own >= 0 else int(user.thinking_share * log.output_tokens[r])
        if log.completed[r] and len(late_s) > thinking:
            assert met[r] == bool(late_s[thinking:].max() <= 1e-9)


@given(USERS, st.integers(0, 9), st.integers(1, 400), st.floats(0, 1e4))
def test_policies_are_told_the_deadlines_that_are_measured(user, thinking, token, arrival_s):
    times_s = arrival_s + np.arange(1.0, token + 1)
    log = RequestLog.from_lists([arrival_s], [times_s], thinking_tokens=[thinking])
    due_s = (times_s - lateness_s(log, user))[-1]
    job = new_job(
        arrival_s=arrival_s, pace_s=user.v_s_per_token, allowance_s=user.first_token_allowance_s,
        curve=user.curve, thinking_tokens=thinking,
    )  # fmt: skip
    assert job.due_s_of(token) == pytest.approx(due_s, abs=1e-6, rel=1e-9)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 300))
def test_before_thinking_ends_a_deadline_does_not_tell_when_it_does(token, one, other):
    curve = ReadingCurve(unit_tokens=7.0)
    if token <= min(one, other) + 1:
        assert curve.position(token, one) == curve.position(token, other) == 1.0


def test_the_examples_of_the_page():
    """Sentences of 20: token 21 is due when 20 tokens are read; the whole answer of an agent at once."""
    voice, agent = UserModel(preset="voice").curve, UserModel(preset="agent").curve
    assert [voice.position(i, 0) for i in (1, 20, 21, 41)] == [1, 1, 21, 41]
    assert [agent.position(i, 0) for i in (1, 500)] == [1, 1]
    tired, skims = ReadingCurve(fatigue=0.5), ReadingCurve(skim_after_tokens=100, skim_speedup=2.0)
    assert tired.position(1000, 0) == 1000 + 0.5 / 2000 * 1000**2
    assert [skims.position(i, 0) for i in (100, 101, 200)] == [100, 100.5, 150]
    assert [BY_TOKEN.position(i, 50) for i in (1, 50, 51, 52)] == [1, 1, 1, 2]


def test_a_thinking_token_may_be_worth_less():
    log = RequestLog.from_lists([0.0, 0.0], [[0.01] * 10, [0.01] * 2], thinking_tokens=[4, 4])
    user = UserModel(weight_thinking=0.25, weight_output=2.0)
    assert benefit_tokens(log, user).tolist() == [6 * 2 + 4 * 0.25, 2 * 0.25]


def test_indices_of_steady_readers_are_not_made_of_others():
    log = RequestLog.from_lists([0.0, 1.0], [[0.5, 1.0], [1.5, 2.0]])
    for user in (UserModel(reads="answer"), UserModel(thinking_share=0.5)):
        summary = summarise(log, user, Slo(), ["fluid_rate"])
        assert summary["qoe"]["qoe"]["mean"] is None
        assert summary["fluidity"]["fluidity_index"]["mean"] is None
        assert summary["fluidity"]["share_of_arrived_above_0_9"] is None
        assert summary["fluid_rate"]["tokens_per_s"] is None
    assert summarise(log, UserModel(), Slo())["qoe"]["qoe"]["mean"] > 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reads": "chapter"}, "user.reads must be one of token, sentence, paragraph, answer, or a whole number"),
        ({"reads": 0}, "user.reads"),
        ({"reads": 1.5}, "user.reads"),
        ({"reads": True}, "user.reads"),
        ({"fatigue": -0.1}, "user.fatigue"),
        ({"skim_speedup": 0.5}, "user.skim_speedup must be a finite number >= 1"),
        ({"thinking_share": 1.1}, "user.thinking_share"),
        ({"weight_thinking": 2.0}, "user.weight_thinking must be at most user.weight_output = 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(given, says):
    with pytest.raises(InputError, match=says.replace(".", r"\.")):
        UserModel(**given)
