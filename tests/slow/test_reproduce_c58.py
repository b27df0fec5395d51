"""The verdicts of C5 and C8 follow from the data, and turn round when the data do."""

from typing import Any

import numpy as np
import pytest

from experiments.paper import _c8_runs
from experiments.paper import c5_chunked_prefill as c5
from experiments.paper import c8_parameters as c8
from experiments.paper._reproduce import ORIGINS
from simulator.metrics import RequestLog, UserModel
from simulator.metrics._options import Penalty
from simulator.metrics._reader import benefit_tokens
from simulator.replica.request import RequestState

SEEDS = 4


def seeded(values: Any, noise: float = 0.01) -> np.ndarray:
    """The values once a seed, each with a little noise of its own."""
    values = np.asarray(values, np.float64)
    return values + noise * np.random.default_rng(0).standard_normal((SEEDS, *values.shape))


def plane(tail: float, gain: Any) -> c5.Plane:
    gain = np.asarray(gain, np.float64)
    return c5.Plane(
        prompt_tokens=1024,
        chunks=(256, 1024),
        loads=(0.5, 1.0),
        tail=seeded(np.full(gain.shape, tail)),
        gain={origin: seeded(gain, 0.0005) for origin in ORIGINS},
    )


SOME = [[-0.5, -0.9], [0.0, 0.3]]


def test_c5_sees_gains_in_part_of_the_plane() -> None:
    verdict = c5.judge([plane(-1.0, SOME)])
    assert verdict.outcome == "reproduced"
    assert "higher in 1 of 4 cells, lower in 2, within 0.5% in 1" in verdict.numbers
    assert "+30% of throughput (1024-token prompts, chunks of 1024, load 1)" in verdict.numbers


@pytest.mark.parametrize("gain", [0.3, -0.3, 0.0], ids=["everywhere", "nowhere", "no difference"])
def test_c5_is_partly_reproduced_where_there_is_no_part(gain: float) -> None:
    assert c5.judge([plane(-1.0, np.full((2, 2), gain))]).outcome == "partly reproduced"


def test_c5_leaves_out_what_chance_makes_of_many_cells() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.02, (SEEDS, 20, 20))
    chunks, loads = tuple(range(20)), tuple(map(float, range(20)))
    pure = c5.Plane(1024, chunks, loads, noise, dict.fromkeys(ORIGINS, noise))
    alone = [cell for row in c5.cells(noise) for cell in row]
    assert sum(cell.above_zero or cell.below_zero for cell in alone) > 10
    assert not [mark for row in c5.marks([pure], "arrival")[0] for mark in row if mark]


def test_c5_is_not_reproduced_by_reversed_data() -> None:
    assert c5.judge([plane(1.0, np.negative(SOME))]).outcome == "not reproduced"
    assert c5.judge([plane(0.0, SOME)]).outcome == "not reproduced"


def test_c5_compares_the_same_requests() -> None:
    whole, chunked = (c5.scenario(8192, 1.0, chunk, 0, 40.0) for chunk in (0, 512))
    assert whole.workload == chunked.workload
    assert chunked.engine.max_num_batched_tokens == 512
    assert whole.engine.max_num_batched_tokens is None


def choice(values: Any, ordered: bool = True) -> c8.Choice:
    """Options with one worth each under the defaults and one under the other two user models."""
    values = np.array(values, np.float64)  # option, user model
    noisy = values[:, None] + seeded(np.zeros_like(values), 0.002).swapaxes(0, 1)
    worth = np.repeat(noisy[:, :, :, None, None], len(c8.SHAPES), axis=4)
    return c8.Choice("schedulers", ("a", "b", "c"), worth, (0, 0, 0), ordered)


HOLDS = [[0.9, 0.6, 0.99], [0.8, 0.5, 0.9], [0.7, 0.2, 0.8]]
FLIPS = [[0.9, 0.2, 0.3], [0.8, 0.5, 0.9], [0.7, 0.6, 0.95]]


def test_c8_tells_stable_conclusions_from_those_that_flip() -> None:
    assert c8.judge([choice(HOLDS)]).outcome == "reproduced"
    assert c8.judge([choice(HOLDS), choice(FLIPS)]).outcome != "reproduced"
    order_only = [HOLDS[0], [0.8, 0.1, 0.2], HOLDS[2]]
    verdict = c8.judge([choice(order_only)])
    assert verdict.outcome == "partly reproduced"
    assert "schedulers 0%, order of schedulers 67%" in verdict.numbers


def test_c8_simulates_policies_that_decide_by_v_anew_for_each() -> None:
    options = _c8_runs.options_of(("vllm_v1", "smooth", "edf"), (10.0,), (0, 1), (0.02, 0.05))
    for name in ("schedulers on A100", "schedulers on H100"):
        paces = {
            policy: [{each.user.v_s_per_token for each in seeds} for seeds in by_v]
            for policy, by_v in options[name].items()
        }
        assert paces["smooth"] == paces["edf"] == [{0.02}, {0.05}]
        assert paces["vllm_v1"] == [{0.05}, {0.05}]
    every = [each for some in options.values() for of_v in some.values() for seeds in of_v for each in seeds]
    assert {each.metrics.window for each in every} == {30.0, 40.0}


def test_c8_is_not_reproduced_by_reversed_data() -> None:
    reversed_elsewhere = np.array(HOLDS)
    reversed_elsewhere[:, 1:] = reversed_elsewhere[::-1, 1:]
    assert c8.judge([choice(reversed_elsewhere)]).outcome == "not reproduced"


def test_c8_takes_no_small_difference_for_a_flip() -> None:
    close = [[0.90, 0.90], [0.89, 0.905]]
    found = choice([*close, [0.1, 0.1]])
    assert found.best((1, 0, 0)) == 1
    assert not found.contradicted((1, 0, 0))
    assert found.swapped((1, 0, 0)) == 0


@pytest.mark.parametrize("origin", ORIGINS)
def test_c8_scores_as_the_metric_does(origin: Any) -> None:
    log = RequestLog.from_lists(
        [0.0, 0.5, 1.0],
        [[0.3, 0.35, 4.0], [2.5], []],
        state=[RequestState.COMPLETED, RequestState.ABANDONED_BY_SYSTEM, RequestState.UNFINISHED],
        end_s=[4.0, 3.0, 5.0],
        end_of_run_s=5.0,
    )
    scores = c8.score(log, (0.05, 0.2), (1.0, 3.0), origin)
    shapes: tuple[Penalty, ...] = c8.SHAPES
    for i, v in enumerate((0.05, 0.2)):
        for j, alpha in enumerate((1.0, 3.0)):
            for k, f in enumerate(shapes):
                user = UserModel(v_s_per_token=v, alpha=alpha / v, f=f, origin=origin)
                assert scores[i, j, k] == pytest.approx(benefit_tokens(log, user).sum() / 5.0)
