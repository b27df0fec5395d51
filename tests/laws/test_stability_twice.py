"""Whether a run is called unstable, by a slow implementation of what the documentation says."""

import random
from itertools import combinations, pairwise
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.metrics import RequestLog, Slo, UserModel, stability
from simulator.replica.request import RequestState
from tests.examples import examples


def plain_growth(rows):
    """Seconds of wait gained per second of arrivals, of (arrival_s, wait_s) in order of arrival; None: no growth."""
    if len(rows) < 100:
        return None
    size, more = divmod(len(rows), 10)
    starts = [block * size + min(block, more) for block in range(11)]
    blocks = [rows[first:stop] for first, stop in pairwise(starts)]
    when = [median(arrival_s for arrival_s, _ in block) for block in blocks]
    wait = [median(wait_s for _, wait_s in block) for block in blocks]
    rising = mean(later > earlier for earlier, later in combinations(wait, 2))
    if rising < 0.8 or wait[-1] < 3 * median(wait[:3]) or not when[-1] > when[0]:
        return None
    middle_s, usual_s = mean(when), mean(wait)
    both = sum((w - middle_s) * (t - usual_s) for w, t in zip(when, wait, strict=True))
    slope = both / sum((w - middle_s) ** 2 for w in when)
    return slope if slope >= 0.05 else None


def some_run(rng):
    """Rows of (arrival_s, wait_s, tokens, state) whose waits grow hardly, or do not; some get no token."""
    n, gap_s = rng.choice([1, 99, 100, 101, 137, 230]), rng.choice([0.0, 0.1, 1.0, 1.0])
    base_s, slope = rng.choice([0.02, 0.3, 5.0]), rng.choice([0.0, 0.045, 0.055, 0.3])
    noise_s, starved = rng.choice([0.0, 0.1, 2.0]), rng.choice([0.0, 0.0, 0.19, 0.2, 0.5])
    rows = []
    for number in range(n):
        state, tokens = RequestState.COMPLETED, 1
        if number >= n - round(starved * n):
            state, tokens = RequestState.UNFINISHED, int(rng.random() < 0.05)
        elif rng.random() < 0.3:
            state, tokens = RequestState.REJECTED, 0
        wait_s = max(0.0, base_s + slope * number * max(gap_s, 0.1) + rng.gauss(0, noise_s))
        rows.append((number * gap_s, wait_s, tokens, state))
    return rows


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(0, 1 << 32))
def test_a_run_is_called_unstable_as_the_documentation_says(seed):
    rows = some_run(random.Random(seed))
    end_s = rows[-1][0] + 1000.0
    log = RequestLog.from_lists(
        [arrival_s for arrival_s, *_ in rows],
        [[arrival_s + wait_s] * tokens for arrival_s, wait_s, tokens, _ in rows],
        state=[state for *_, state in rows],
        output_tokens=[3] * len(rows),
        end_s=[
            end_s if state is RequestState.UNFINISHED else arrival_s + wait_s
            for arrival_s, wait_s, _, state in rows
        ],
        end_of_run_s=end_s,
    )
    found = stability.measure(log, UserModel(), Slo())
    starved = [state is RequestState.UNFINISHED and not tokens for _, _, tokens, state in rows]
    slope = plain_growth([row[:2] for row, is_starved in zip(rows, starved, strict=True) if not is_starved])
    assert found["starved_share_of_arrived"] == pytest.approx(mean(starved))
    if slope is not None:
        assert f"by {slope:.2f} s per second" in found["reason"]
    elif len(rows) >= 100 and mean(starved) >= 0.2:
        assert f"{mean(starved):.0%} of the requests" in found["reason"]
    else:
        assert found["reason"] is None
    assert found["unstable"] == (found["reason"] is not None)
