"""Metrics of tokens that are never all there: the same values a request, distributions within a stated error."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import simulator.metrics
from simulator.metrics import RequestLog, Slo, UserModel, _segments, summarise
from simulator.metrics._pool import PERCENTILES, RELATIVE_ERROR, ValuePool, described
from simulator.metrics._streamed import NoTokensError, StreamedLog
from simulator.metrics._summary import marked
from simulator.metrics._window import Window, measured
from simulator.replica.request import RequestState
from simulator.results import tokens
from tests.cluster_cases import deployments, play

POOLED = (("latency", "tbt_s"), ("token_slo", "deadline_slack_s"))
VALUES = arrays(
    np.float64,
    st.integers(1, 60),
    elements=st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.02, -0.02, 1e-12, 3.0])),
)
USERS = st.builds(
    UserModel,
    v_s_per_token=st.sampled_from([0.01, 0.1, 0.5]),
    alpha=st.sampled_from([None, 2.0]),
    f=st.sampled_from(["linear", "quadratic"]),
    origin=st.sampled_from(["arrival", "first_token"]),
)


def whole_and_streamed(outcome, part_tokens):
    """The log of a simulation with all tokens, and the one that unfolds them anew in each pass."""
    source, requests = outcome.tables.unfolding, outcome.tables.requests
    counts, arrival_s = requests["delivered_tokens"], requests["arrival_s"]
    columns = {
        name: requests[name] for name in ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s")
    }
    columns |= {
        "token_offsets": np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        "start_s": float(arrival_s[0]) if len(arrival_s) else 0.0,
        "end_of_run_s": outcome.end_s,
    }
    whole = RequestLog(**columns, delivered_s=outcome.tables.tokens["delivered_s"])
    streamed = StreamedLog(
        **columns, first_s=requests["first_token_s"], last_s=requests["last_token_s"], source=source
    )
    assert len(source.bounds) > 2 or len(counts) <= 1 or len(source) <= part_tokens
    return whole, streamed


def assert_alike(exact, sketched):
    """All the same, except that what is pooled is within its error, which is stated."""
    for family, name in POOLED:
        one, two = exact[family].pop(name), sketched[family].pop(name)
        assert one["count"] == two["count"]
        assert "exact" not in one
        assert (two["exact"], two["relative_error"]) == (False, RELATIVE_ERROR)
        if one["count"]:
            assert two["max"] == one["max"]
            assert two["mean"] == pytest.approx(one["mean"], rel=1e-9, abs=1e-12)
    assert exact == sketched


@settings(max_examples=60, deadline=None)
@given(deployments(), USERS, st.integers(1, 40), st.sampled_from([(0.0, 0.0), (0.1, 0.0), (0.2, 0.3)]))
def test_random_deployments_measure_the_same_from_parts(case, user, part_tokens, trim):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_segments, "PART", part_tokens)
        patch.setattr(tokens, "KEPT_TOKENS", -1)
        _, outcome = play(*case)
        whole, streamed = whole_and_streamed(outcome, part_tokens)
        assert outcome.tables.unfolding.delivered_s is None
        slo = Slo(ttft_s=0.5, tail_tbt_s=0.2)
        exact = summarise(measured(whole, Window("arrivals", *trim)), user, slo)
        assert_alike(exact, summarise(measured(streamed, Window("arrivals", *trim)), user, slo))
        for each in marked():
            if not each.pools:
                assert np.array_equal(each(whole, user), each(streamed, user), equal_nan=True), each.name
        # The other way round too: a log that has all tokens is looked at part by part where it is long.
        again = RequestLog(**{name: getattr(whole, name) for name in RequestLog.__dataclass_fields__})
        assert summarise(again, user, slo) == summarise(whole, user, slo)


@given(VALUES)
def test_exact_percentiles_are_those_of_numpy_to_the_last_bit(values):
    pool = ValuePool(exact=True)
    pool.add(values.copy())
    figures = pool.figures()
    assert [figures[f"p{p}"] for p in PERCENTILES] == np.percentile(values, PERCENTILES).tolist()
    assert (figures["mean"], figures["max"]) == (values.mean(), values.max())


@given(VALUES, st.lists(st.integers(0, 60), max_size=4))
def test_a_sketch_keeps_its_stated_error_however_it_is_filled(values, cuts):
    whole, parts = ValuePool(exact=False), ValuePool(exact=False)
    whole.add(values)
    for piece in np.split(values, sorted(cuts)):
        parts.add(piece)
    figures = whole.figures()
    for name, value in parts.figures().items():
        assert value == pytest.approx(figures[name], rel=1e-12, abs=1e-9)  # sums in another order
    assert (whole.count, figures["max"]) == (len(values), values.max())
    ordered = np.sort(values)
    for percent in PERCENTILES:
        rank = (len(values) - 1) * percent / 100
        low, high = ordered[int(np.floor(rank))], ordered[int(np.ceil(rank))]
        between = low + (high - low) * (rank % 1)
        error = RELATIVE_ERROR * max(abs(low), abs(high)) + 1e-9
        assert abs(figures[f"p{percent}"] - between) <= error * (1 + 1e-9)


def test_a_sketch_of_many_values_is_that_close_and_no_better():
    """Guards the bound: half of it would not hold."""
    values = np.random.default_rng(0).lognormal(-4, 1, 200_000)
    pool = ValuePool(exact=False)
    pool.add(values)
    errors = [
        abs(pool.figures()[f"p{p}"] / exact - 1)
        for p, exact in zip(PERCENTILES, np.percentile(values, PERCENTILES), strict=True)
    ]
    assert max(errors) <= RELATIVE_ERROR
    middles = [ValuePool(exact=False) for _ in range(500)]
    for each, value in zip(middles, np.linspace(1.0, 1.01, 500), strict=True):
        each.add(np.array([value * 0.9, value, value * 1.1]))
    worst = max(
        abs(p.figures()["p50"] / v - 1) for p, v in zip(middles, np.linspace(1.0, 1.01, 500), strict=True)
    )
    assert RELATIVE_ERROR / 2 < worst <= RELATIVE_ERROR


def test_what_a_sketch_has_no_bucket_for_is_in_the_last_one_or_zero():
    pool = ValuePool(exact=False)
    pool.add(np.repeat([-1e12, 1e-12, -1e-12, 1e12], [1, 3, 2, 4]))
    figures = pool.figures()
    assert (figures["p50"], figures["max"], pool.count) == (0.0, 1e12, 10)
    assert 2.0**31 * (1 - 2 * RELATIVE_ERROR) < figures["p90"] <= 2.0**31


def test_nan_is_no_value_and_an_empty_pool_has_no_figures():
    for exact in (True, False):
        pool = ValuePool(exact)
        pool.add(np.array([np.nan, 2.0, np.nan]))
        assert (pool.count, pool.figures()["p99"]) == (1, pytest.approx(2.0, rel=RELATIVE_ERROR))
        described_none = described(ValuePool(exact))
        assert described_none["count"] == 0
        assert described_none["mean"] is None
    assert described(ValuePool.of(described(pool))) == described(pool)


def synthetic(requests, tokens_each, part_tokens):
    """``requests`` of a prompt and a span of decodes on a replica of steady ticks."""
    ticks_s = 0.01 * np.arange(1, 8 * requests + tokens_each + 1)
    owner = np.repeat(np.arange(requests, dtype=np.int32), 2)
    begins = 8 * np.arange(requests)
    first = np.column_stack([len(ticks_s) + np.arange(requests), begins + 1]).ravel().astype(np.int32)
    count = np.tile(np.array([1, tokens_each - 1], np.int32), requests)
    points_s = np.concatenate([ticks_s, ticks_s[begins]])
    source = tokens.UnfoldedTokens(
        tokens.TokenSegments(owner, first, count, np.zeros(2 * requests, np.int32)),
        points_s,
        np.arange(len(points_s), dtype=np.int32),
        requests,
        tokens.Delay(),
    )
    first_s, last_s = source.first_and_last_s()
    log = StreamedLog(
        arrival_s=ticks_s[begins] - 0.02,
        prompt_tokens=np.full(requests, 9),
        output_tokens=np.full(requests, tokens_each),
        state=np.full(requests, RequestState.COMPLETED, np.int8),
        end_s=last_s,
        token_offsets=source.offsets,
        start_s=0.0,
        end_of_run_s=float(ticks_s[-1]),
        first_s=first_s,
        last_s=last_s,
        source=source,
    )
    assert len(source.bounds) > requests * tokens_each // part_tokens
    return log


def test_memory_is_by_requests_and_not_by_tokens(monkeypatch):
    """At most 200 bytes a request beside the parts, for ten times the tokens too."""
    monkeypatch.setattr(tokens, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 1 << 12)
    summarise(synthetic(100, 50, 1 << 12), UserModel(), Slo())  # whatever is imported and made once
    requests, peaks = 30_000, []
    for tokens_each in (12, 120):
        tracemalloc.start()
        log = synthetic(requests, tokens_each, 1 << 12)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        summary = summarise(log, UserModel(), Slo())
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
        tracemalloc.stop()
        assert summary["latency"]["tbt_s"]["count"] == requests * (tokens_each - 1)
        assert summary["latency"]["tbt_s"]["p50"] == pytest.approx(0.01, rel=RELATIVE_ERROR)
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 200 * requests + 2 * 2**20  # two sketches and a part


METRIC = """
from simulator.metrics._distribution import distribution
from simulator.metrics._reduce import per_request
from simulator.metrics._segments import row_max

@per_request
def longest_wait_s(log, user):
    return row_max(log.delivered_s, log.token_offsets) - log.arrival_s - user.v_s_per_token

def measure(log, user, slo):
    return {"%s": %s}
"""


@pytest.fixture
def metric_files(tmp_path, monkeypatch):
    """A folder whose files are metrics too."""
    monkeypatch.setattr(simulator.metrics, "__path__", [*simulator.metrics.__path__, str(tmp_path)])
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(f"simulator.metrics.{path.stem}", None)
        vars(simulator.metrics).pop(path.stem, None)


def test_a_new_metric_file_measures_parts_or_says_what_it_would_need(metric_files: Path):
    marked_text = METRIC % ("wait_s", 'distribution(longest_wait_s(log, user), "arrived requests")')
    (metric_files / "longest.py").write_text(marked_text, encoding="utf-8")
    raw_text = "def measure(log, user, slo):\n    return {'last_s': float(log.delivered_s.max())}\n"
    (metric_files / "raw.py").write_text(raw_text, encoding="utf-8")
    log = synthetic(40, 10, 1 << 30)
    (part,) = log.parts()
    whole, streamed = (summarise(each, UserModel(), Slo()) for each in (part, log))
    assert whole["longest"] == streamed["longest"]
    assert whole["longest"]["wait_s"]["count"] == 40
    assert whole["raw"] == {"last_s": part.delivered_s.max()}
    assert "400 tokens are too many" in streamed["raw"]["not_measured"]
    assert "per_request or pooled" in streamed["raw"]["not_measured"]
    with pytest.raises(NoTokensError, match="too many"):
        _ = log.gaps_s


def test_what_is_marked_cannot_depend_on_more_of_the_user_than_is_kept():
    from simulator.metrics._reduce import per_request

    @per_request
    def worth(log, user):
        return np.full(log.n, user.alpha_tokens)

    with pytest.raises(AttributeError, match="alpha_tokens"):
        worth(RequestLog.from_lists([0.0], [[1.0]]), UserModel())
