"""Routers between models of unlike quality: RouterBench's own metric, cascades and what they cost readers."""

import math

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.workload.difficulty import expected_score, good_answers, routerbench

MODELS = {"small": "mistral-7b", "middle": "mixtral-8x7b", "large": "gpt-4-1106"}
HARDWARE = {"small": "llama-3.1-8b", "middle": "qwen3-8b", "large": "qwen3-14b"}
POOLS = {name: {"model": HARDWARE[name], "quality": quality} for name, quality in MODELS.items()}
TRAFFIC = {
    "arrivals": "poisson",
    "rate_rps": 10.0,
    "duration_s": 40.0,
    "prompt_tokens": 100,
    "output_tokens": 10,
}


def served(routing, pools=POOLS, workload=TRAFFIC, **others):
    return run(Scenario(cluster={"pools": pools}, policy={"routing": routing, **others}, workload=workload))


def cost_and_quality(result):
    found = result.summary()["quality"]
    return found["usd_per_request"], found["good_share"]


def on_hull(point, others):
    """Whether no mix of two other points, or one of them, has as much quality for less."""
    cost, quality = point
    for one in others:
        for two in others:
            for share in np.linspace(0, 1, 101):
                mixed = share * np.array(one) + (1 - share) * np.array(two)
                if mixed[1] >= quality - 1e-12 and mixed[0] < cost - 1e-12:
                    return False
    return True


def test_the_model_of_difficulty_meets_the_published_shares():
    """Fitted to one number, that 3.6 % are answered well by no model, it predicts who is the cheapest good one."""
    table, rng = routerbench(), np.random.default_rng(1)
    difficulty = rng.standard_normal(200_000)
    left = np.ones(len(difficulty), bool)
    for name, model in sorted(table.items(), key=lambda item: item[1].usd_per_request):
        good = good_answers(difficulty, model.score, 0, name)
        assert good.mean() == pytest.approx(model.score, abs=0.005)
        assert (left & good).mean() * 100 == pytest.approx(model.cheapest_good_pct, abs=4.0)
        left &= ~good
    assert left.mean() == pytest.approx(0.036, abs=0.002)


def test_an_estimate_is_what_is_found_among_requests_that_look_alike():
    rng = np.random.default_rng(2)
    difficulty = rng.standard_normal(400_000)
    seen = difficulty + 0.7 * rng.standard_normal(len(difficulty))
    good = good_answers(difficulty, 0.6, 0, "any")
    for estimate in (-1.0, 0.0, 1.5):
        alike = np.abs(seen - estimate) < 0.03
        assert expected_score(0.6, estimate, 0.7) == pytest.approx(good[alike].mean(), abs=0.02)
    assert expected_score(0.6, math.nan) == 0.6
    assert expected_score(0.6, 3.0, 1e9) == pytest.approx(0.6)


def test_a_cascade_with_a_judge_that_never_errs_is_on_the_hull():
    alone = [cost_and_quality(served("least_loaded", {name: pool})) for name, pool in POOLS.items()]
    cascade = cost_and_quality(served({"name": "cascade"}))
    errs = [cost_and_quality(served({"name": "cascade", "judge_error": error})) for error in (0.1, 0.3, 0.5)]
    pays = [
        cost_and_quality(
            served({"name": "willingness_to_pay", "usd_per_good_answer": usd, "estimate_error": 1.0})
        )
        for usd in (1e-4, 1e-3, 1e-2)
    ]
    assert on_hull(cascade, [*alone, *errs, *pays])
    assert cascade[1] > max(quality for _, quality in alone)
    assert not on_hull(errs[-1], [*alone, cascade])
    assert [quality for _, quality in errs] == sorted((quality for _, quality in errs), reverse=True)


def test_a_cascade_pays_latency():
    one, all_asked = served("least_loaded", {"small": POOLS["small"]}), served({"name": "cascade"})
    requests = all_asked.requests().to_pydict()
    calls, ttft = (
        np.array(requests["calls"]),
        np.array(requests["first_token_s"]) - np.array(requests["arrival_s"]),
    )
    assert set(calls) == {1, 2, 3}
    assert ttft[calls == 1].max() < ttft[calls == 2].min() < ttft[calls == 2].max() < ttft[calls == 3].max()
    assert one.summary()["latency"]["ttft_s"]["mean"] < all_asked.summary()["latency"]["ttft_s"]["mean"]
    work = all_asked.work().to_pydict()
    assert max(work["request_id"]) < len(calls)


def test_who_pays_more_gets_more():
    found = [
        cost_and_quality(
            served({"name": "willingness_to_pay", "usd_per_good_answer": usd, "estimate_error": 0.0})
        )
        for usd in (1e-5, 1e-3, 1.0)
    ]
    assert found == sorted(found)
    assert found[0][1] < found[-1][1]


def test_the_cheapest_that_meets_serves_fast_requests_dear():
    pools = {
        "cheap": {"gpu": "a100-80gb-sxm", "model": "qwen3-14b", "usd_per_gpu_hour": 1.0},
        "dear": {"gpu": "h100-80gb-sxm", "model": "qwen3-14b", "usd_per_gpu_hour": 9.0},
    }
    lengths = {"prompt_tokens": 100, "output_tokens": 10}
    classes = {
        "fast": {"share": 0.5, "slo": {"tpot_s": 0.013}, **lengths},
        "slow": {"share": 0.5, "slo": {"tpot_s": 0.5}, **lengths},
    }
    traffic = {"arrivals": "poisson", "rate_rps": 1.0, "duration_s": 60.0, "classes": classes}
    requests = served("cheapest_that_meets", pools, traffic).requests().to_pydict()
    replica, fast = np.array(requests["replica"]), np.array(requests["traffic_class"]) == 0
    assert (replica[~fast] == 0).all()
    assert (replica[fast] == 1).mean() > 0.9


@pytest.mark.parametrize(
    ("routing", "pools", "others", "said"),
    [
        (
            "cascade",
            {"a": {}},
            {},
            "policy.routing: 'cascade' weighs the quality of models; expected quality and",
        ),
        ("willingness_to_pay", {"a": {"quality": 0.5}}, {}, "usd_per_request in cluster.pools.a"),
        (
            "least_loaded",
            {"a": {"quality": 0.5}, "b": {}},
            {},
            "cluster.pools.b.quality: missing; expected in all",
        ),
        (
            "least_loaded",
            {"a": {"quality": "gpt-5"}},
            {},
            "quality 'gpt-5' found; expected a number from 0 to 1",
        ),
        ("cascade", POOLS, {"delivery": "batched"}, "policy.delivery: 'batched' with routing 'cascade'"),
    ],
)
def test_what_cannot_be_is_refused(routing, pools, others, said):
    with pytest.raises(InputError) as error:
        served(routing, pools, **others)
    assert said in str(error.value)
