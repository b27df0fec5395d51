"""Traffic made from a spec: shipped traces, synthetic arrivals, lengths."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import Workload, WorkloadSpec, build, library
from simulator.workload.reader import describe, read_lengths, read_trace

POISSON = {"arrivals": "poisson", "rate_rps": 4.0, "prompt_tokens": 100, "output_tokens": 10}


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def test_the_default_is_the_azure_hour_to_the_token():
    workload = make()
    assert len(workload) == 19_366
    assert workload.prompt_tokens.sum() == 22_361_870
    assert workload.output_tokens.sum() == 4_088_665
    assert workload.max_tokens == workload.output_tokens.max() == 1000
    assert workload.arrival_s[0] == 0
    assert workload.name == "azure2023_conv"


@pytest.mark.parametrize("name", sorted(library.shipped_traces()))
def test_every_shipped_trace_reads_and_says_where_it_is_from(name):
    path = library.shipped_traces()[name]
    columns = read_trace(path)
    rows, source, license_ = describe(path)
    assert rows == len(columns.arrival_s) == len(columns.prompt_tokens) == len(columns.output_tokens)
    assert source
    assert license_


@pytest.mark.parametrize("name", sorted(library.shipped_samples()))
def test_every_shipped_sample_of_lengths_can_be_drawn_from(name):
    workload = make(arrivals="burst", requests=50, lengths=name)
    prompt, output = read_lengths(library.shipped_samples()[name])
    rows = set(zip(prompt.tolist(), output.tolist(), strict=True))
    drawn = set(zip(workload.prompt_tokens.tolist(), workload.output_tokens.tolist(), strict=True))
    assert drawn <= rows, "a row's prompt and output stay together"
    assert len(drawn) > 10


@pytest.mark.parametrize("name", sorted(library.shipped_quantiles()))
def test_draws_from_quantiles_reproduce_the_table(name):
    table = library.shipped_quantiles()[name]
    workload = make(arrivals="burst", requests=20_000, lengths=name)
    for drawn, quantiles in (
        (workload.prompt_tokens, table.prompt_tokens),
        (workload.output_tokens, table.output_tokens),
    ):
        assert drawn.min() >= quantiles[0]
        assert drawn.max() <= quantiles[-1]
        for level, value in zip(table.levels[2:-3], quantiles[2:-3], strict=True):
            # a quantile of n draws lies within 4.5 sigma of its level, whatever the distribution
            slack = 4.5 * math.sqrt(level * (1 - level) / 20_000)
            assert np.mean(drawn < value) <= level + slack
            assert np.mean(drawn <= value) >= level - slack


def test_the_names_of_shipped_lengths_do_not_collide():
    names = [*library.shipped_quantiles(), *library.shipped_samples(), *library.shipped_traces()]
    assert len(names) == len(set(names))


def test_a_shipped_trace_serves_as_a_sample_of_lengths():
    assert make(arrivals="burst", requests=100, lengths="azure2023_code").prompt_tokens.max() <= 7437


def test_a_window_is_cut_and_starts_at_zero():
    whole = make()
    part = make(start_s=600.0, end_s=1200.0)
    inside = (whole.arrival_s >= 600) & (whole.arrival_s < 1200)
    assert np.array_equal(part.arrival_s, whole.arrival_s[inside] - 600.0)
    assert np.array_equal(part.prompt_tokens, whole.prompt_tokens[inside])
    assert make(start_s=600.0, end_s=1200.0, limit=5).arrival_s.tolist() == part.arrival_s[:5].tolist()


def test_scaling_a_trace_divides_its_gaps():
    whole, twice = make(), make(rate_scale=2.0)
    assert np.array_equal(twice.arrival_s, whole.arrival_s / 2)
    assert np.array_equal(twice.output_tokens, whole.output_tokens)


def test_rate_rps_sets_the_mean_rate_of_a_trace():
    workload = make(rate_rps=3.0, limit=1000)
    assert (len(workload) - 1) / (workload.arrival_s[-1] - workload.arrival_s[0]) == pytest.approx(3.0)


def test_max_tokens_cuts_outputs_and_is_what_clients_send():
    workload = make(max_tokens=64)
    assert workload.max_tokens == workload.output_tokens.max() == 64
    assert make(max_tokens=5000).max_tokens == 5000


@pytest.mark.parametrize(("shape", "keys"), [(1.0, {"arrivals": "poisson"}), (0.25, {"arrivals": "gamma"})])
def test_gaps_have_the_mean_and_variation_that_the_rate_and_burstiness_say(shape, keys):
    n = 40_000
    if keys["arrivals"] == "gamma":
        keys = {**keys, "burstiness": shape}
    workload = make(**{**POISSON, **keys}, requests=n)
    gaps = np.diff(workload.arrival_s, prepend=0.0)
    cv = 1 / math.sqrt(shape)
    assert gaps.mean() == pytest.approx(1 / 4.0, rel=4 * cv / math.sqrt(n))
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_constant_arrivals_keep_one_gap_and_a_burst_none():
    constant = make(**{**POISSON, "arrivals": "constant"}, requests=8)
    assert constant.arrival_s.tolist() == [0.25 * i for i in range(1, 9)]
    burst = make(arrivals="burst", requests=3, prompt_tokens=7, output_tokens=2)
    assert burst.arrival_s.tolist() == [0, 0, 0]
    assert (burst.prompt_tokens.tolist(), burst.output_tokens.tolist()) == ([7, 7, 7], [2, 2, 2])


@given(seed=st.integers(0, 2**32), requests=st.integers(1, 200), extra=st.integers(1, 200))
@settings(max_examples=30, deadline=None)
def test_traffic_is_a_function_of_the_seed_and_longer_runs_only_append(seed, requests, extra):
    keys = {"arrivals": "poisson", "rate_rps": 2.0, "lengths": "chat_azure2023"}
    short, same, longer = (make(seed, **keys, requests=n) for n in (requests, requests, requests + extra))
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(short, column), getattr(same, column))
        assert np.array_equal(getattr(short, column), getattr(longer, column)[:requests])


def test_another_rate_stretches_the_same_arrivals_and_keeps_the_lengths():
    keys = {"arrivals": "poisson", "lengths": "code_completion_azure2023", "requests": 100}
    slow, fast = make(3, **keys, rate_rps=1.0), make(3, **keys, rate_rps=4.0)
    assert np.allclose(slow.arrival_s, 4 * fast.arrival_s, rtol=1e-15)
    assert np.array_equal(slow.prompt_tokens, fast.prompt_tokens)
    assert not np.array_equal(slow.arrival_s, make(4, **keys, rate_rps=1.0).arrival_s)


@given(duration_s=st.floats(0.5, 200))
@settings(max_examples=30, deadline=None)
def test_a_duration_takes_the_first_arrivals_up_to_it(duration_s):
    reference = make(**POISSON, requests=2000).arrival_s
    workload = make(**{**POISSON, "rate_rps": 4.0}, duration_s=duration_s + reference[0])
    expected = reference[reference <= duration_s + reference[0]]
    assert np.array_equal(workload.arrival_s, expected)


def test_numbers_of_numpy_become_numbers():
    outputs = np.array([3, 5])
    made = Workload(
        "x", [0, 1], [1, 1], outputs, outputs.max(), "s", np.int64(2), np.float32(1), np.float64(0.5)
    )
    kept = made.max_tokens, made.concurrency, made.ramp_s, made.send_gap_s
    assert [type(each) for each in kept] == [int, int, float, float]
    assert kept == (5, 2, 1.0, 0.5)


def test_columns_are_checked_and_read_only():
    workload = Workload("w", [0.0, 1.0], [3, 4], [1, 2], 2, "test")
    assert workload.prompt_tokens.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        workload.arrival_s[0] = 5.0


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([], [], []), "no requests"),
        (([0.0, 2.0, 1.0], [1] * 3, [1] * 3), r"request 2: arrival_s is 1.0 after 2.0"),
        (([0.0, math.nan], [1] * 2, [1] * 2), "request 1: arrival_s is nan"),
        (([-1.0], [1], [1]), "request 0: arrival_s is -1"),
        (([0.0], [0], [1]), "request 0: prompt_tokens is 0"),
        (([0.0], [1], [-4]), "request 0: output_tokens is -4"),
        (([0.0], [1.5], [1]), "request 0: prompt_tokens is 1.5"),
        (([0.0], [1], [99]), "request 0: output_tokens is 99, above max_tokens = 9"),
        (([0.0, 1.0], [1], [1]), "columns of one length"),
    ],
)
def test_wrong_columns_are_refused(columns, message):
    with pytest.raises(InputError, match=message):
        Workload("w", *columns, 9, "test")


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"rate_scale": 2.0, "rate_rps": 3.0}, "workload.rate_rps"),
        ({"start_s": 5.0, "end_s": 4.0}, "workload.end_s"),
        ({"requests": 5}, "workload.requests"),
        ({"lengths": "chat_azure2023"}, "workload.lengths"),
        ({**POISSON, "requests": 5, "trace": "azure2023_code"}, "workload.trace"),
        ({**POISSON, "requests": 5, "limit": 3}, "workload.limit"),
        ({**POISSON}, "workload.requests"),
        ({**POISSON, "requests": 5, "duration_s": 3.0}, "workload.duration_s"),
        ({**POISSON, "requests": 5, "burstiness": 3.0}, "workload.burstiness"),
        ({**POISSON, "requests": 5, "arrivals": "gamma"}, "workload.burstiness"),
        ({**POISSON, "requests": 5, "lengths": "chat_azure2023"}, "workload.prompt_tokens"),
        (
            {"arrivals": "poisson", "rate_rps": 1.0, "requests": 5, "prompt_tokens": 3},
            "workload.output_tokens",
        ),
        ({"arrivals": "poisson", "rate_rps": 1.0, "requests": 5}, "workload.lengths"),
        (
            {"arrivals": "constant", "requests": 5, "prompt_tokens": 3, "output_tokens": 3},
            "workload.rate_rps",
        ),
        ({"arrivals": "burst", "requests": 5, "rate_rps": 1.0, "lengths": "x"}, "workload.rate_rps"),
    ],
)
def test_keys_that_contradict_or_lack_each_other_are_named(keys, field):
    with pytest.raises(ValueError, match=f"{field}: "):
        WorkloadSpec(**keys)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"trace": "azure2023_cnov"}, "did you mean the shipped 'azure2023_conv'"),
        ({"trace": "nowhere/azure2023_code.csv"}, "did you mean the shipped 'azure2023_code'"),
        ({"start_s": 9000.0}, "no request of azure2023_conv arrives from 9000 s on"),
        ({"limit": 1, "rate_rps": 2.0}, "no time between arrivals"),
        ({**POISSON, "rate_rps": 1e-9, "duration_s": 1.0}, "nothing arrives within 1 s"),
        ({**POISSON, "rate_rps": 1e9, "duration_s": 1e9}, "at most 50,000,000"),
        (
            {"arrivals": "burst", "requests": 2, "lengths": "chat_azure"},
            "did you mean the shipped 'chat_azure2023'",
        ),
    ],
)
def test_traffic_that_cannot_be_made_is_refused(keys, message):
    with pytest.raises(InputError, match=message):
        make(**keys)
