"""Errors of measured servers by corner, and the bands around predictions that follow from them."""

import datetime
import json

import pytest

from experiments.validation.scores import Score
from experiments.validation.validated_errors import json_of, main
from hardware_profiles.model_files import load_model
from hardware_profiles.validated import (
    FILE,
    Corner,
    is_validated,
    narrowest,
    validated_error,
    weights_of,
    within_pct,
)
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.report.validated import validated_words
from simulator.studies.band import band_document, banded, slowed, step_error

HERE = Corner("gpu", "dense", "bf16", 2, "light")
SMALL = {"workload": {"trace": "azure2023_conv", "limit": 60}}


def test_the_bound_is_the_order_statistic_that_nine_in_ten_are_within():
    assert within_pct([1.0, -9.0, *[2.0] * 7]) == 9.0  # of nine the largest
    assert within_pct([float(each) for each in range(1, 20)]) == 18.0  # ceil(0.9 x 20) of nineteen
    assert within_pct([1.0] * 8) == float("inf")


def test_a_corner_falls_back_to_the_narrowest_around_it_with_enough_rows():
    other_load = Corner("gpu", "dense", "bf16", 2, "heavy")
    other_size = Corner("gpu", "dense", "bf16", 4, "light")
    other_gpu = Corner("another", "dense", "bf16", 2, "light")
    few, many = [1.0] * 8, [5.0] * 9
    assert narrowest(HERE, [(HERE, many), (other_load, [50.0] * 9)])[0].corner == HERE
    assert narrowest(HERE, [(HERE, few), (other_load, [50.0] * 9)])[0].corner.load is None
    assert narrowest(HERE, [(HERE, few), (other_size, many)])[0].corner.tensor_parallel is None
    assert narrowest(HERE, [(HERE, few), (other_gpu, many)]) == (None, 8)


def test_what_was_never_measured_is_called_so():
    assert is_validated(Corner("h100-80gb-sxm", "dense", "bf16", 1, None))
    scenario = Scenario(hardware={"gpu": "a100-80gb-sxm", "model": "qwen3-30b-a3b"}, **SMALL)
    (said,) = validated_words(scenario, None, run(scenario).summary()).lines
    assert said == "not validated: no server with a100-80gb-sxm and a MoE bf16 model was measured"
    assert not step_error(scenario, None).validated


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        ("gpt-oss-120b", "mxfp4"),  # its experts, which its config names by what is not
        ("kimi-k2.5", "int4"),
        ("deepseek-r1", "fp8_block"),
        ("llama-3.1-8b", "bf16"),
    ],
)
def test_a_model_has_the_format_of_most_of_its_weights(model, weights):
    assert weights_of(load_model(model)) == weights


def test_the_shipped_errors_are_of_every_corner_once_and_finite():
    rows = json.loads(FILE.read_text(encoding="utf-8"))["corner"]
    keys = [tuple(value for key, value in row.items() if key != "errors_pct") for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(row["errors_pct"] for row in rows)


def test_a_file_of_errors_is_made_of_scored_rows_only(tmp_path):
    where = "a", "r", "h100-80gb-sxm", "mixtral-8x7b", "vllm 1", "light", "mean TPOT ms", 10.0
    score, fitted = Score(*where, 11.0, tensor_parallel=2), Score(*where, 19.0, role="fitted")
    path = tmp_path / "errors.json"
    path.write_text(json_of([score, fitted], datetime.date(2026, 1, 1)), encoding="utf-8")
    error, rows = validated_error(Corner("h100-80gb-sxm", "MoE", "bf16", 2, "light"), "TPOT", path)
    assert (error, rows) == (None, 1)
    assert len(json.loads(path.read_text(encoding="utf-8"))["corner"]) == 1


def test_errors_of_a_part_of_the_rows_are_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"quick": True, "scores": []}), encoding="utf-8")
    with pytest.raises(InputError, match="of --quick"):
        main(path)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"expected results\.json"):
        main(path)


def test_the_band_holds_the_same_traffic_with_shorter_and_longer_steps():
    scenario = Scenario(hardware={"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"}, **SMALL)
    summary = run(scenario).summary()
    error, (short, long) = banded(scenario, None, summary, lambda each: run(each).summary())
    tpot = [each["latency"]["tpot_s"]["mean"] for each in (short, summary, long)]
    assert tpot[0] < tpot[1] < tpot[2]
    assert tpot[0] / tpot[1] == pytest.approx(error.factors[0], rel=0.1)
    assert short["traffic"] == summary["traffic"] == long["traffic"]
    (table,) = band_document("it", scenario, None, summary, error, [short, long]).tables
    assert str(table.rows[0][0]).startswith("TTFT")


def test_steps_may_be_shorter_than_the_cost_model_says():
    scenario = Scenario(
        workload={"arrivals": "burst", "requests": 1, "prompt_tokens": 50, "output_tokens": 5}
    )
    ends = [run(each).steps()["end_s"][-1].as_py() for each in (scenario, slowed(scenario, 0.5))]
    assert ends[1] < 0.6 * ends[0]
