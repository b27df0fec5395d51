"""Every number of a summary equals that of a slow implementation that knows the documentation only."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import penalty
from simulator.metrics._summary import summarise
from simulator.metrics._window import Window, measured
from simulator.replica.idle_cost import IdleCost
from simulator.replica.request import RequestState
from tests import plain_metrics as plain
from tests.cluster_cases import deployments, play
from tests.examples import examples

BOUNDS = {"ttft_s": 0.4, "tpot_s": 0.05, "e2e_s": 3.0}


@st.composite
def drawn_options(draw, allowance_s, scales_s):
    """How long a reader allows for, that or nothing, and what waiting costs, as both take it."""
    origin = draw(st.sampled_from(["arrival", "first_token"]))
    allowed_s = draw(st.sampled_from([0.0, allowance_s])) if origin == "arrival" else 0.0
    return allowed_s, {
        "alpha": draw(st.sampled_from([None, 0.0, 2.5])),
        "f": draw(st.sampled_from(["linear", "quadratic", "exponential", "step", "hinge"])),
        "f_scale_s": draw(st.sampled_from(scales_s)),
        "origin": origin,
        "unserved": draw(st.sampled_from(["asks_again", "wait_ends", "wait_to_end"])),
        "weight_input": draw(st.sampled_from([0.0, 0.25])),
        "weight_output": draw(st.sampled_from([1.0, 0.5])),
    }


@st.composite
def users(draw):
    """The same reader twice: as the simulator has it, and as the plain metrics do."""
    allowance_s, options = draw(drawn_options(0.3, [0.5, 2.0]))
    v_s = draw(st.sampled_from([0.005, 0.05, 0.2]))
    model = UserModel(v_s_per_token=v_s, first_token_allowance_s=allowance_s, **options)
    return v_s, model, plain.PlainUser(allowance_s=allowance_s, **options)


def log_of(outcome, own_v_s):
    """Return the delivery record of a run, from the first arrival to the last event."""
    requests, tokens = outcome.tables.requests, outcome.tables.tokens
    arrival_s = requests["arrival_s"]
    return RequestLog(
        **{
            name: requests[name] for name in ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s")
        },
        token_offsets=np.concatenate([[0], np.cumsum(requests["delivered_tokens"], dtype=np.int64)]),
        delivered_s=tokens["delivered_s"],
        start_s=float(arrival_s[0]) if len(arrival_s) else 0.0,
        end_of_run_s=outcome.end_s,
        v_s_per_token=own_v_s,
    )


def plain_requests(log, v_s):
    """Return the same requests as rows."""
    offsets = log.token_offsets.tolist()
    return [
        plain.PlainRequest(
            float(log.arrival_s[r]),
            int(log.prompt_tokens[r]),
            int(log.output_tokens[r]),
            RequestState(log.state[r]).name.lower(),
            float(log.end_s[r]),
            log.delivered_s[offsets[r] : offsets[r + 1]].tolist(),
            float(v_s[r]),
        )
        for r in range(log.n)
    ]


def at(found, key):
    """Return what stands in a summary under a key with dots."""
    for part in key.split("."):
        found = found[part]
    return found


def check(log, model, user, v_s, window) -> None:
    """Raise AssertionError unless both have the same numbers."""
    seen = measured(log, window)
    found = summarise(seen, model, Slo(**BOUNDS))
    expected = plain.summary(plain_requests(log, v_s), user, BOUNDS, (seen.start_s, seen.end_of_run_s))
    for key, value in expected.items():
        mine = at(found, key)
        if value is None:
            assert mine is None, (key, mine)
        else:
            assert mine is not None, (key, value)
            assert math.isclose(mine, value, rel_tol=1e-7, abs_tol=1e-7), (key, mine, value)


def check_outcome(outcome, user, window, own_readers=False) -> None:
    """Raise AssertionError unless the summary of a run is that of the plain metrics."""
    n = len(outcome.tables.requests["state"])
    if not n:
        return
    v_s, model, described = user
    own_v_s = np.where(np.arange(n) % 3 == 0, 0.1, np.nan) if own_readers else None
    v = np.full(n, v_s) if own_v_s is None else np.where(np.isnan(own_v_s), v_s, own_v_s)
    check(log_of(outcome, own_v_s), model, described, v, window)


@settings(max_examples=examples(75))
@given(
    deployments(),
    users(),
    st.sampled_from([Window(), Window("whole"), Window(1.5), Window(warmup=0.2, cooldown=0.1)]),
    st.booleans(),
)
def test_a_summary_equals_that_of_the_plain_metrics(case, user, window, own_readers) -> None:
    check_outcome(play(*case)[1], user, window, own_readers)


@pytest.mark.parametrize(("late_s", "f"), [(0.0, 0.0), (1e-12, 0.0), (1e-6, 1.0)])
def test_who_waits_as_long_as_the_step_allows_is_not_beyond_it_by_rounding(late_s, f) -> None:
    user = UserModel(v_s_per_token=0.1, alpha=1.0, f="step", f_scale_s=0.3)
    idle_s = 0.1 + 0.2 + late_s  # 0.30000000000000004
    assert penalty(np.array([idle_s]), user).tolist() == [f]
    assert IdleCost(alpha=1.0, f="step", f_scale_s=0.3).units(idle_s) == f


def test_the_plain_metrics_by_hand() -> None:
    """Three tokens, V = 1 s: on time, a second late, and 0.5 s later than that; l = 1.5 s."""
    request = plain.PlainRequest(0.0, 5, 3, "completed", 4.5, [1.0, 3.0, 4.5], 1.0)
    user = plain.PlainUser(alpha=2.0)
    assert plain.last_idle_s(request, user, 10.0) == 1.5
    assert plain.idle_s(request, user, 10.0, 3.2) == 1.0
    assert plain.worth_tokens(request, user, 10.0, 10.0) == 3 - 2 * 1.5
    assert plain.fluidity(request, user, 10.0) == pytest.approx(1 / (1 + 2 + 1))
    dropped = plain.PlainRequest(0.0, 5, 3, "rejected", 2.5, [1.0], 1.0)
    assert plain.last_idle_s(dropped, user, 10.0) == 0.5 + 2.0
    assert plain.last_idle_s(dropped, plain.PlainUser(unserved="wait_ends"), 10.0) == 0.5
    assert plain.last_idle_s(dropped, plain.PlainUser(unserved="wait_to_end"), 10.0) == 8.0
