"""Lengths by a mean and a spread, by quantiles, or by a range are drawn as they are said."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import InputError, Scenario
from simulator.workload import build
from simulator.workload.length_shapes import LengthShape

N = 40_000


def drawn(**shape):
    return LengthShape(**shape).draw(np.random.default_rng(0), N)


@pytest.mark.parametrize("shape", ["lognormal", "gamma"])
@pytest.mark.parametrize(("mean", "cv"), [(1500, 0.8), (200, 0.3), (3000, 2.0)])
def test_a_mean_and_a_spread_are_met(shape, mean, cv):
    tokens = drawn(mean=mean, cv=cv, shape=shape)
    assert tokens.mean() == pytest.approx(mean, rel=0.05)
    assert tokens.std() / tokens.mean() == pytest.approx(cv, rel=0.15)


def test_the_shape_is_lognormal_unless_told():
    assert drawn(mean=900, cv=0.5).tolist() == drawn(mean=900, cv=0.5, shape="lognormal").tolist()
    assert drawn(mean=900, cv=0.5).tolist() != drawn(mean=900, cv=0.5, shape="gamma").tolist()


@given(
    levels=st.sets(st.sampled_from([5, 25, 50, 75, 90, 95, 99]), min_size=2, max_size=5),
    start=st.integers(20, 2000),
    growth=st.floats(1.3, 3.0),
)
def test_every_quantile_that_is_said_is_met(levels, start, growth):
    said = {f"p{level}": start * growth**i for i, level in enumerate(sorted(levels))}
    tokens = drawn(**said)
    for name, value in said.items():
        assert np.quantile(tokens, int(name[1:]) / 100) == pytest.approx(value, rel=0.12)


def test_a_range_is_that_of_vllms_bench():
    tokens = drawn(mean=512, range_ratio=0.5)
    assert (tokens.min(), tokens.max()) == (256, 768)
    assert tokens.mean() == pytest.approx(512, rel=0.01)
    assert set(drawn(mean=7, range_ratio=0.0)) == {7}


def test_what_is_drawn_is_cut_and_is_never_nothing():
    tokens = drawn(mean=100, cv=2.0, least=50, most=300)
    assert (tokens.min(), tokens.max()) == (50, 300)
    assert drawn(mean=2, cv=3.0).min() == 1


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ({}, "expected one of { mean"),
        ({"mean": 5}, "expected one of { mean"),
        ({"cv": 0.5}, "expected one of { mean"),
        ({"mean": 5, "cv": 1.0, "p50": 3}, "expected one of { mean"),
        ({"p50": 300}, "two or more quantiles that ascend"),
        ({"p50": 300, "p95": 200}, "two or more quantiles that ascend"),
        ({"mean": 5, "range_ratio": 1.0}, "range_ratio: input should be less than 1"),
        ({"mean": -5, "cv": 1.0}, "mean: input should be greater than 0"),
        ({"mean": 5, "cv": 1.0, "least": 9, "most": 8}, "least: expected at most most = 8, got 9"),
        ({"mean": 5, "range_ratio": 0.5, "shape": "gamma"}, "shape: only beside mean and cv"),
        ({"mean": 5, "cv": "big"}, "output_tokens.cv: expected a number, got 'big'"),
        ({"men": 5}, "output_tokens.men: unknown key; expected one of mean, cv"),
        ("long", "expected a whole number, or one of { mean"),
        (0, "expected a whole number from 1 to"),
        (2.5, "expected a whole number, or one of"),
        (True, "expected a whole number, or one of"),
    ],
)
def test_other_shapes_are_one_sentence(shape, error):
    with pytest.raises(InputError) as refused:
        scenario(output_tokens=shape)
    assert str(refused.value).startswith("workload.output_tokens")
    assert error in str(refused.value)


def scenario(**lengths):
    table = {
        "arrivals": "poisson",
        "rate_rps": 5.0,
        "requests": 500,
        "prompt_tokens": 100,
        "output_tokens": 10,
    }
    return Scenario(workload={**table, **lengths})


def test_traffic_is_drawn_by_shapes_one_stream_each():
    both = scenario(prompt_tokens={"mean": 1500, "cv": 0.8}, output_tokens={"p50": 200, "p95": 900})
    workload = build(both.workload, 3)
    assert workload.source.endswith("(mean 1500, cv 0.8) prompt and (p50 200, p95 900) output tokens each")
    other = build(scenario(output_tokens={"p50": 200, "p95": 900}).workload, 3)
    assert workload.output_tokens.tolist() == other.output_tokens.tolist()  # whatever the prompts are
    assert set(other.prompt_tokens) == {100}
    assert build(both.workload, 4).prompt_tokens.tolist() != workload.prompt_tokens.tolist()


def test_shapes_survive_toml_overrides_and_json(tmp_path):
    both = scenario(
        prompt_tokens={"mean": 1500, "cv": 0.8}, output_tokens={"p50": 200, "p95": 900, "most": 2000}
    )
    path = tmp_path / "s.toml"
    path.write_text(both.to_toml())
    assert Scenario.from_toml(path) == both
    assert Scenario(**json.loads(both.model_dump_json())) == both
    dearer = both.with_overrides(["workload.prompt_tokens.cv=0.4", "workload.output_tokens=64"])
    assert dearer.workload.prompt_tokens == LengthShape(mean=1500, cv=0.4)
    assert dearer.workload.output_tokens == 64
