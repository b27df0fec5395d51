"""Every number of a summary of any records equals that of the plain metrics, at edges, too.

All times are sixteenths of a second, which are summed without rounding: tokens come at the very ends of windows and at
their deadlines, readers wait as long as a step of the penalty allows, latencies are as long as their bounds.
"""

import math
import random

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from simulator.metrics._log import RequestLog
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._summary import summarise
from simulator.metrics._window import Window, measured
from simulator.replica.request import RequestState
from tests import plain_metrics as plain
from tests.examples import examples
from tests.laws.test_metrics_twice import at, drawn_options

GRID = 16
BOUNDS = {"ttft_s": 0.5, "tpot_s": 0.1875, "tail_tbt_s": 0.25, "e2e_s": 1.5}
NAN = float("nan")


def a_request(rng, run_end_s):
    """Return one as the plain metrics have it, in any state."""
    state = rng.choice([*RequestState, RequestState.COMPLETED, RequestState.COMPLETED])
    completed = state is RequestState.COMPLETED
    arrival_s = rng.randint(0, 48) / GRID
    gaps = rng.choices([0, 1, 1, 2, 3, 8], k=rng.randint(int(completed), 6))
    delivered_s = (arrival_s + np.cumsum(gaps) / GRID).tolist()
    end_s = delivered_s[-1] if delivered_s else arrival_s
    if state is RequestState.UNFINISHED:
        end_s = run_end_s
    elif not completed:
        end_s += rng.randint(0, 16) / GRID
    return plain.PlainRequest(
        arrival_s,
        rng.randint(1, 9),
        max(1, len(delivered_s) + (0 if completed else rng.randint(0, 4))),
        state.name.lower(),
        end_s,
        delivered_s,
        0.0,
        thinking_tokens=rng.randint(-1, 3),
        allowance_s=rng.choice([None, 0.0, 0.125]),
        ttft_slo_s=rng.choice([None, None, 0.125]),
        tpot_slo_s=rng.choice([None, None, 0.0625]),
    )


@st.composite
def readers(draw):
    """The same reader twice: as the simulator has it, and as the plain metrics do."""
    allowance_s, options = draw(drawn_options(0.25, [0.25, 1.0]))
    options["weight_thinking"] = draw(st.sampled_from([None, 0.25]))
    reads, fatigue, speedup = 1, 0.0, 1.0
    if draw(st.booleans()):
        reads, fatigue = draw(st.sampled_from([1, 2, "answer"])), draw(st.sampled_from([0.0, 500.0]))
        speedup = draw(st.sampled_from([1.0, 2.0]))
    share = draw(st.sampled_from([0.0, 0.0, 0.5]))
    v_s = draw(st.sampled_from([0.0625, 0.25]))
    model = UserModel(
        v_s_per_token=v_s, first_token_allowance_s=allowance_s, reads=reads, fatigue=fatigue,
        skim_after_tokens=2, skim_speedup=speedup, thinking_share=share, **options,
    )  # fmt: skip
    curve = {
        "unit_tokens": math.inf if reads == "answer" else reads,
        "fatigue": fatigue,
        "skim_speedup": speedup,
    }
    steady = (reads, fatigue, speedup, share) == (1, 0.0, 1.0, 0.0)
    described = {"skim_after_tokens": 2.0, "steady": steady, "allowance_s": allowance_s}
    return v_s, share, model, plain.PlainUser(**options, **curve, **described)


WINDOWS = st.sampled_from(
    [
        Window(),
        Window("whole"),
        Window(0.5),
        Window(2),
        Window(warmup=0.25),
        Window(warmup=0.25, cooldown=0.5),
    ]
)


@settings(max_examples=examples(100), deadline=None, phases=[Phase.generate])
@given(st.integers(0, 1 << 32), readers(), WINDOWS)
def test_a_summary_of_any_records_is_that_of_the_plain_metrics(seed, reader, window):
    v_s, share, model, user = reader
    rng = random.Random(seed)
    own_speeds, thinks, promised = (rng.random() < 0.5 for _ in range(3))
    run_end_s = rng.randint(96, 160) / GRID
    rows = [a_request(rng, run_end_s) for _ in range(rng.choice([0, 1, 2, 5, 20, 20]))]
    rows = [
        plain.replace(
            each,
            v_s=0.125 if own_speeds and nth % 3 == 0 else v_s,
            thinking_tokens=each.thinking_tokens
            if thinks and each.thinking_tokens >= 0
            else int(share * each.asked_tokens),
            allowance_s=each.allowance_s if own_speeds else None,
            ttft_slo_s=each.ttft_slo_s if promised else None,
            tpot_slo_s=each.tpot_slo_s if promised else None,
        )
        for nth, each in enumerate(sorted(rows, key=lambda each: each.arrival_s))
    ]
    if thinks:
        user = plain.replace(user, steady=False)

    def column(name, kind=float):
        return np.array([NAN if (value := getattr(each, name)) is None else value for each in rows], kind)

    log = RequestLog(
        arrival_s=column("arrival_s"),
        prompt_tokens=column("prompt_tokens", int),
        output_tokens=column("asked_tokens", int),
        state=np.array([RequestState[each.state.upper()] for each in rows], np.int8),
        end_s=column("end_s"),
        token_offsets=np.cumsum([0, *(len(each.delivered_s) for each in rows)], dtype=np.int64),
        delivered_s=np.array([t for each in rows for t in each.delivered_s], float),
        start_s=rows[0].arrival_s if rows else 0.0,
        end_of_run_s=run_end_s,
        v_s_per_token=np.where(column("v_s") == v_s, NAN, column("v_s")) if own_speeds else None,
        thinking_tokens=column("thinking_tokens", int) if thinks else None,
        first_token_allowance_s=column("allowance_s") if own_speeds else None,
        ttft_slo_s=column("ttft_slo_s") if promised else None,
        tpot_slo_s=column("tpot_slo_s") if promised else None,
    )
    seen = measured(log, window)
    found = summarise(seen, model, Slo(**BOUNDS))
    expected = plain.summary(rows, user, BOUNDS, (seen.start_s, seen.end_of_run_s))
    for key, value in expected.items():
        mine = at(found, key)
        assert (mine is None) == (value is None), (key, mine, value)
        assert value is None or math.isclose(mine, value, rel_tol=1e-9, abs_tol=1e-9), (key, mine, value)
