"""The measured window: what it holds, what rates count, and that windows side by side add up to the whole."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics._window import Window, measured
from simulator.replica.request import RequestState
from tests.unit.test_metrics_reader import USERS, logs, smooth_goodput, tokens_of, with_tokens


def summary_of(log: RequestLog) -> dict[str, Any]:
    return summarise(log, UserModel(), Slo())


def test_trimming_is_by_arrival_time_and_rates_count_what_falls_into_the_rest_of_it() -> None:
    """Arrivals at 0, 1, 5, 9, 10, each with tokens 3 and 4 s later; between 2 s and 9 s come those of 0, 1 and 5."""
    arrivals = [0.0, 1.0, 5.0, 9.0, 10.0]
    log = RequestLog.from_lists(
        arrivals, [[a + 3.0, a + 4.0] for a in arrivals], prompt_tokens=[1, 2, 4, 8, 16]
    )
    trimmed = measured(log, Window("arrivals", 0.2, 0.1))
    summary = summary_of(trimmed)
    window, throughput = summary["window"], summary["throughput"]
    assert trimmed.arrival_s.tolist() == [5.0, 9.0]
    assert tokens_of(trimmed) == [[8.0, 9.0], [12.0, 13.0]]
    assert (window["start_s"], window["end_s"], window["duration_s"]) == pytest.approx((2.0, 9.0, 7.0))
    assert (window["trimmed_warmup_requests"], window["trimmed_cooldown_requests"]) == (2, 1)
    assert window["share_of_tokens"] == pytest.approx(6 / 10)
    assert throughput["output_tokens_per_s"] == pytest.approx(6 / 7)
    assert throughput["requests_per_s"] == pytest.approx(3 / 7)
    assert throughput["total_tokens_per_s"] == pytest.approx((6 + 1 + 2 + 4) / 7)
    assert measured(log, Window("whole")) is log
    assert log.window_s == 14.0


def test_windows_by_their_rules() -> None:
    log = RequestLog.from_lists([1.0, 3.0], [[2.0, 4.0], [9.0]])
    spans = {rule: measured(log, Window(rule)) for rule in ("arrivals", "whole", 1.5, 20.0)}  # type: ignore[arg-type]
    assert {rule: (each.start_s, each.end_of_run_s, each.n) for rule, each in spans.items()} == {
        "arrivals": (1.0, 3.0, 2),
        "whole": (1.0, 9.0, 2),
        1.5: (1.0, 2.5, 1),
        20.0: (1.0, 21.0, 2),
    }
    at_once = RequestLog.from_lists([1.0, 1.0], [[2.0, 4.0], [9.0]])  # which takes no time
    assert measured(at_once, Window("arrivals")).end_of_run_s == 9.0


@pytest.mark.parametrize(("warmup", "cooldown"), [(-0.1, 0.0), (1.0, 0.0), (0.0, math.nan), (0.6, 0.4)])
def test_trimming_that_leaves_nothing_is_refused(warmup: float, cooldown: float) -> None:
    with pytest.raises(InputError, match=r"run\.trim_"):
        Window("arrivals", warmup, cooldown)


@pytest.mark.parametrize("rule", [0.0, -1.0, math.inf, math.nan, True, "all"])
def test_a_window_that_is_none_is_refused(rule: Any) -> None:
    with pytest.raises(InputError, match=r"metrics\.window: expected"):
        Window(rule)


@pytest.mark.parametrize(("warmup", "cooldown"), [(0.1, 0.0), (0.0, 0.1)])
def test_only_the_time_of_arrivals_is_trimmed(warmup: float, cooldown: float) -> None:
    with pytest.raises(InputError, match=r"metrics\.window: 'whole' with run\.trim_warmup"):
        Window("whole", warmup, cooldown)


@given(logs(), USERS, st.floats(0, 1), st.integers(0, 40), st.sampled_from(["between", "with", "before"]))
def test_what_windows_side_by_side_hold_adds_up_to_the_whole(
    log: RequestLog, user: UserModel, at: float, token: int, cut: str
) -> None:
    """In every metric that is a rate, in stable runs and in others, with a token at the cut, just after it or not."""
    cut_s = log.start_s + at * log.window_s
    if cut != "between" and len(log.delivered_s):
        cut_s = float(log.delivered_s[token % len(log.delivered_s)])
        cut_s = cut_s if cut == "with" else float(np.nextafter(cut_s, -math.inf))
    assume(log.start_s < cut_s < log.end_of_run_s)
    user = replace(user, unserved="wait_ends")
    first = summarise(replace(log, end_of_run_s=cut_s), user, Slo(ttft_s=1.0))
    # A window begins with its first instant: what comes at the cut is in the first
    second = summarise(replace(log, start_s=float(np.nextafter(cut_s, math.inf))), user, Slo(ttft_s=1.0))
    whole = summarise(log, user, Slo(ttft_s=1.0))
    for name in ("output_tokens", "completed_requests", "prompt_tokens_processed"):
        parts = [each["throughput"][name] for each in (first, second)]
        assert sum(parts) == whole["throughput"][name]
    parts = [each["smooth_goodput"]["benefit_tokens"] for each in (first, second)]
    assert sum(parts) == pytest.approx(whole["smooth_goodput"]["benefit_tokens"], rel=1e-6, abs=1e-6)


def fixed(log: RequestLog, seconds: float) -> RequestLog:
    return measured(log, Window(seconds))


@given(logs(), USERS, st.floats(0.1, 30.0), st.data())
def test_a_and_b_hold_in_a_window_that_tokens_do_not_move(
    log: RequestLog, user: UserModel, seconds: float, data: st.DataObject
) -> None:
    """Delivering earlier never lowers smooth goodput and delaying never raises it, below 0 as above."""
    later = []
    for row in tokens_of(log):
        late = [t + data.draw(st.floats(0, 4)) for t in row]
        later.append(np.maximum.accumulate(late).tolist() if row else [])
    last_s = [row[-1] if row else end for row, end in zip(later, log.end_s, strict=True)]
    ends_s = np.where(log.completed, last_s, log.end_s)
    longer = replace(
        with_tokens(log, later), end_s=ends_s, end_of_run_s=float(max(ends_s.max(), log.end_of_run_s))
    )
    assert smooth_goodput(fixed(longer, seconds), user) <= smooth_goodput(fixed(log, seconds), user) + 1e-9


def test_b_does_not_hold_where_the_window_ends_with_the_last_event() -> None:
    """A late token makes the window longer, and the loss of all others per second less."""
    log = RequestLog.from_lists([0.0, 0.0], [[30.0], [31.0]])
    delayed = RequestLog.from_lists([0.0, 0.0], [[30.0], [231.0]])
    user = UserModel(f="hinge", f_scale_s=10.0)
    assert smooth_goodput(log, user) < smooth_goodput(delayed, user) < 0
    assert smooth_goodput(fixed(delayed, 31.0), user) <= smooth_goodput(fixed(log, 31.0), user)


@pytest.mark.parametrize("rate_rps", [50.0, 75.0, 125.0])  # some 0.8, 1.2 and 2 times what the server can do
def test_throughput_is_what_was_delivered_in_the_window_below_and_above_capacity(rate_rps: float) -> None:
    work = {"arrivals": "poisson", "rate_rps": rate_rps, "requests": 900, "lengths": "chat_sharegpt_vllm"}
    result = run(Scenario(workload=work))
    requests, tokens = result.requests().to_pydict(), result.tokens().to_pydict()
    first_s, last_s = requests["arrival_s"][0], requests["arrival_s"][-1]
    delivered_s, ends_s = np.array(tokens["delivered_s"]), np.array(requests["end_s"])
    found = []
    for trim in (0.0, 0.1, 0.2):
        summary = result.summary(window=Window("arrivals", trim, trim))
        begin_s, end_s = first_s + trim * (last_s - first_s), last_s - trim * (last_s - first_s)
        fell_in = [np.count_nonzero((times >= begin_s) & (times <= end_s)) for times in (delivered_s, ends_s)]
        rates = [summary["throughput"][name] for name in ("output_tokens_per_s", "requests_per_s")]
        assert rates == pytest.approx([count / (end_s - begin_s) for count in fell_in], rel=1e-9)
        found.append(rates[1])
    assert (
        max(found) < 1.25 * rate_rps
    )  # a trimmed window used to say what arrived, however little was served


@given(logs(), USERS, st.floats(0, 1))
def test_what_a_window_holds_is_what_a_run_would_that_is_cut_off_at_its_end(
    log: RequestLog, user: UserModel, at: float
) -> None:
    """Sums of windows would not show what is missing from one and counted twice in the next."""
    cut_s = log.start_s + at * log.window_s
    assume(log.arrival_s[0] <= cut_s and log.start_s < cut_s < log.end_of_run_s)
    user = replace(user, unserved="wait_ends")
    came = int(np.searchsorted(log.arrival_s, cut_s, side="right"))
    ended = (log.end_s <= cut_s)[:came]
    cut = RequestLog.from_lists(
        log.arrival_s[:came].tolist(),
        [[time_s for time_s in row if time_s <= cut_s] for row in tokens_of(log)[:came]],
        state=[RequestState(log.state[i]) if ended[i] else RequestState.UNFINISHED for i in range(came)],
        end_s=np.minimum(log.end_s[:came], cut_s).tolist(),
        start_s=log.start_s,
        end_of_run_s=cut_s,
    )
    found = summarise(replace(log, end_of_run_s=cut_s), user, Slo())["smooth_goodput"]["benefit_tokens"]
    expected = summarise(cut, user, Slo())["smooth_goodput"]["benefit_tokens"]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-6)
