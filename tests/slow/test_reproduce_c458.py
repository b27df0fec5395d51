"""The verdicts of C4, C5 and C8 follow from the data, and turn round when the data do."""

from typing import Any

import numpy as np
import pytest

from experiments.paper import _c8_runs
from experiments.paper import c4_operating_point as c4
from experiments.paper import c5_chunked_prefill as c5
from experiments.paper import c8_parameters as c8
from experiments.paper._reproduce import ORIGINS
from simulator.metrics import RequestLog, UserModel
from simulator.metrics._options import Penalty
from simulator.metrics._reader import benefit_tokens
from simulator.replica.request import RequestState
from simulator.workload import build

SEEDS = 4


def seeded(values: Any, noise: float = 0.01) -> np.ndarray:
    """The values once a seed, each with a little noise of its own."""
    values = np.asarray(values, np.float64)
    return values + noise * np.random.default_rng(0).standard_normal((SEEDS, *values.shape))


RISES = [1.0, 2.0, 3.0, 3.1, 3.2]
PEAKS = [1.0, 2.0, 2.9, 2.0, 1.0]


def sweep(smooth: list[float] = PEAKS, throughput: list[float] = RISES, span_s: float = 40.0) -> c4.Sweep:
    return c4.Sweep(
        setting=c4.SweepSetting("A100", "8B", "vllm_v1", span_s),
        rates=np.array([10.0, 20.0, 30.0, 40.0, 50.0]),
        throughput=seeded(throughput),
        smooth=seeded(smooth),
        attainment=np.tile([1.0, 0.95, 0.8, 0.1, 0.0], (SEEDS, 1)),
        goodput=np.tile([10.0, 19.0, 24.0, 4.0, 0.0], (SEEDS, 1)),
    )


class FakeStudy:
    """Stands in for a study: summaries of what a server of 30 requests/s would do."""

    quick = True
    seeds = (0, 1, 2)

    def both_origins(self, scenarios: Any, **options: Any) -> dict[str, list[dict[str, Any]]]:
        rates = [scenario.workload.rate_rps for scenario in scenarios]
        return {origin: [self._summary(rate, origin) for rate in rates] for origin in ORIGINS}

    def _summary(self, rate: float, origin: str) -> dict[str, Any]:
        served = min(rate, 30.0)
        lost = 5 * (rate - served) if origin == "arrival" else 0.0
        return {
            "throughput": {"output_tokens_per_s": served},
            "smooth_goodput": {"smooth_goodput_tokens_per_s": served - lost},
            "slo": {"attainment_all": 1.0, "goodput_requests_per_s": served},
        }


def by_origin(arrival: list[c4.Sweep], first_token: list[c4.Sweep] | None = None) -> Any:
    return {"arrival": arrival, "first_token": arrival if first_token is None else first_token}


def judged(*sweeps: c4.Sweep, first_token: list[c4.Sweep] | None = None, horizons: Any = ()) -> str:
    found = by_origin(list(sweeps), first_token)
    return c4.judge(found, by_origin(list(horizons))).outcome


def test_c4_sees_a_maximum_in_between() -> None:
    assert judged(sweep()) == "reproduced"
    assert judged(sweep(), sweep(smooth=RISES)) == "partly reproduced"


def test_c4_needs_both_clocks_and_all_horizons() -> None:
    assert judged(sweep(), first_token=[sweep(smooth=RISES)]) == "partly reproduced"
    assert judged(sweep(), horizons=[sweep(span_s=80.0), sweep(RISES, span_s=10.0)]) == "partly reproduced"
    assert judged(sweep(), horizons=[sweep(span_s=80.0), sweep(span_s=10.0)]) == "reproduced"


@pytest.mark.parametrize(
    ("smooth", "throughput"),
    [
        (RISES, PEAKS),
        (RISES, RISES),
        (PEAKS, PEAKS),
        ([*PEAKS[2:], 0.5, 0.2], RISES),
        (RISES[::-1], RISES[::-1]),
    ],
    ids=["swapped", "no fall", "throughput falls too", "falls from the start", "reversed"],
)
def test_c4_is_not_reproduced_by_other_shapes(smooth: list[float], throughput: list[float]) -> None:
    assert judged(sweep(smooth, throughput)) == "not reproduced"


def test_c4_is_corrected_for_the_number_of_sweeps() -> None:
    noisy = sweep()
    falls = np.array([-0.5, -1.0, -1.5, -1.2])  # p = 0.013 alone
    noisy.smooth[:, -1] = noisy.smooth[:, noisy.peak] + falls
    assert c4.shown([noisy]) == [True]
    assert c4.shown([noisy] * 20) == [False] * 20


def test_c4_operating_points() -> None:
    found = sweep()
    assert found.peak == 2
    assert found.chosen() == {"attainment": 1, "goodput": 2, "throughput": 4}
    assert found.lost(4) == pytest.approx(1 - 1 / 2.9, abs=0.02)
    low, high = found.width()
    assert low == pytest.approx(30 - 10 * 0.05 * 2.9 / 0.9, abs=0.3)
    assert high == pytest.approx(30 + 10 * 0.05 * 2.9 / 0.9, abs=0.3)
    assert found.chosen()["attainment"] <= found.chosen()["goodput"]


def test_c4_says_where_the_maximum_is_at_other_horizons() -> None:
    horizons = by_origin([sweep(span_s=20.0), sweep(RISES, span_s=10.0)])
    verdict = c4.judge(by_origin([sweep()]), horizons)
    assert "30, 50 requests/s for 20, 10 s of arrivals (A100 8B vllm_v1" in verdict.numbers
    assert "of the horizons 1 of 2 and 1 of 2" in verdict.numbers


def test_c4_reads_summaries_in_the_order_in_which_it_asks() -> None:
    settings = [c4.SweepSetting("A100", model, "vllm_v1", 40.0) for model in ("8B", "14B")]
    sweeps = c4.measure(FakeStudy(), settings)  # type: ignore[arg-type]
    for setting, one in zip(settings, sweeps["arrival"], strict=True):
        assert one.throughput[1].tolist() == [min(rate, 30.0) for rate in setting.rates(quick=True)]
    assert c4.shown(sweeps["first_token"]) == [False, False]


def test_c4_sends_the_same_requests_at_every_rate_for_the_same_time() -> None:
    setting = c4.SweepSetting("H100", "14B", "orca", 40.0)
    few, many = (setting.scenario(rate, 1) for rate in (9.0, 40.0))
    assert few.metrics.window == many.metrics.window == 40.0
    slow, fast = (build(each.workload, each.seed, None) for each in (few, many))
    n = len(slow)
    assert (n, len(fast)) == (360, 1600)
    assert slow.prompt_tokens.tolist() == fast.prompt_tokens[:n].tolist()
    assert slow.output_tokens.tolist() == fast.output_tokens[:n].tolist()
    assert slow.arrival_s * 9.0 == pytest.approx(fast.arrival_s[:n] * 40.0)


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
