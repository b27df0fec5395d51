"""Predictors of output length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Scenario
from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build

TRAFFIC = {"arrivals": "burst", "lengths": "chat_azure2023", "requests": 3000}
BUCKETS = [16, 64, 256]


def make(seed=0, **keys):
    return build(WorkloadSpec(**{**TRAFFIC, **keys}), seed)


predictors = st.one_of(
    st.just({"predictor": "perfect"}),
    st.floats(0, 3).map(lambda sigma: {"predictor": "lognormal", "predictor_sigma": sigma}),
    st.builds(
        lambda bounds, share: {
            "predictor": "bucketed", "predictor_buckets": sorted(bounds), "predictor_accuracy": share,
        },
        st.sets(st.integers(1, 2000), min_size=1, max_size=6), st.floats(0, 1),
    ),
)  # fmt: skip


@given(predictors, st.integers(1, 50), st.integers(0, 5), st.one_of(st.none(), st.integers(1, 800)))
def test_predictions_are_in_range_repeatable_and_shift_nothing(keys, requests, seed, max_tokens):
    workload = make(seed, requests=requests, max_tokens=max_tokens, **keys)
    plain = make(seed, requests=requests, max_tokens=max_tokens)
    assert plain.predicted_tokens is None
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert np.array_equal(getattr(workload, column), getattr(plain, column))
    predicted = workload.predicted_tokens
    assert predicted.min() >= 1
    assert predicted.max() <= workload.max_tokens
    again = make(seed, requests=requests, max_tokens=max_tokens, **keys)
    assert np.array_equal(predicted, again.predicted_tokens)
    longer = make(seed, requests=requests + 10, max_tokens=max_tokens or workload.max_tokens, **keys)
    assert np.array_equal(predicted, longer.predicted_tokens[:requests])


def test_a_perfect_predictor_knows_the_output_that_is_cut():
    workload = make(predictor="perfect", max_tokens=100)
    assert np.array_equal(workload.predicted_tokens, workload.output_tokens)
    assert workload.output_tokens.max() == 100
    assert workload.source.endswith("outputs known beforehand")


def test_lognormal_noise_has_its_sigma_and_no_bias_of_the_median():
    workload = make(predictor="lognormal", predictor_sigma=0.5, output_tokens=10_000, prompt_tokens=1, lengths=None,
                    max_tokens=1_000_000)  # fmt: skip
    error = np.log(workload.predicted_tokens / workload.output_tokens)
    assert error.std() == pytest.approx(0.5, rel=4.5 / np.sqrt(2 * 3000))
    assert error.mean() == pytest.approx(0, abs=4.5 * 0.5 / np.sqrt(3000))
    exact = make(predictor="lognormal", predictor_sigma=0.0)
    assert np.array_equal(exact.predicted_tokens, exact.output_tokens)


def right_bound(output, most):
    return next((bound for bound in BUCKETS if output <= bound), most)


def test_buckets_are_predicted_by_their_upper_bounds():
    workload = make(predictor="bucketed", predictor_buckets=BUCKETS)
    outputs = workload.output_tokens.tolist()
    assert workload.predicted_tokens.tolist() == [right_bound(each, workload.max_tokens) for each in outputs]
    assert len(set(workload.predicted_tokens.tolist())) == 4
    noisy = make(predictor="bucketed", predictor_buckets=BUCKETS, predictor_accuracy=0.8)
    right = noisy.predicted_tokens == workload.predicted_tokens
    assert right.mean() == pytest.approx(0.8, abs=4.5 * np.sqrt(0.16 / 3000))
    for true in {*BUCKETS, workload.max_tokens}:
        rows = (workload.predicted_tokens == true) & ~right
        others = {*BUCKETS, workload.max_tokens} - {true}
        for bound in others:
            share = np.mean(noisy.predicted_tokens[rows] == bound)
            assert share == pytest.approx(1 / 3, abs=4.5 * np.sqrt(2 / 9 / rows.sum()))
    never = make(predictor="bucketed", predictor_buckets=BUCKETS, predictor_accuracy=0.0)
    assert not (never.predicted_tokens == workload.predicted_tokens).any()


def test_buckets_above_what_clients_ask_for_are_one():
    workload = make(
        predictor="bucketed", predictor_buckets=[50, 100, 200], predictor_accuracy=0.0, max_tokens=60
    )
    assert set(workload.predicted_tokens.tolist()) == {50, 60}
    alone = make(predictor="bucketed", predictor_buckets=[100], predictor_accuracy=0.0, max_tokens=60)
    assert set(alone.predicted_tokens.tolist()) == {60}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"predictor": "oracle"}, "workload.predictor: expected"),
        ({"predictor": "lognormal"}, "workload.predictor_sigma: missing; predictor = 'lognormal' needs a number"),
        ({"predictor": "bucketed"}, "workload.predictor_buckets: missing; predictor = 'bucketed' needs upper"),
        ({"predictor_sigma": 0.1}, "workload.predictor_sigma: only for predictor = 'lognormal', got 'none'"),
        ({"predictor": "perfect", "predictor_accuracy": 0.5}, "workload.predictor_accuracy: only for predictor"),
        ({"predictor": "bucketed", "predictor_buckets": [9, 9]}, "workload.predictor_buckets: expected ascending"),
        ({"predictor": "bucketed", "predictor_buckets": []}, "workload.predictor_buckets: expected a list that is"),
        ({"predictor": "bucketed", "predictor_buckets": [0]}, "workload.predictor_buckets.0: expected a number >="),
        ({"predictor": "lognormal", "predictor_sigma": -1.0}, "workload.predictor_sigma: expected a number >= 0"),
        ({"predictor_accuracy": 1.5}, "workload.predictor_accuracy: expected a number <= 1"),
    ],
)  # fmt: skip
def test_wrong_keys_are_refused(keys, message):
    with pytest.raises(InputError) as caught:
        Scenario(workload=keys)
    assert message in str(caught.value)
