"""The studies of RouterBench, JITServe, Aladdin and ScaleLLM: what they measure, and verdicts that follow the data."""

import itertools
import json
from collections import defaultdict

import numpy as np
import pytest

from experiments.paper._reproduce import Study
from experiments.systems import aladdin, jitserve, routerbench, scalellm
from experiments.systems._hull import hull, mean_quality
from experiments.systems._jitserve_traffic import in_time, write_traffic
from experiments.systems._scalellm_switch import ORDERS, SERVED, SWITCH
from simulator import Scenario, run

SEEDS = np.array([0.99, 1.0, 1.01])


@pytest.mark.parametrize("study", [routerbench, jitserve, aladdin, scalellm])
def test_a_study_judges_draws_and_writes_all_it_measures(study, tmp_path, monkeypatch):
    """With numbers from a generator in place of runs; every scenario is made."""
    draw = np.random.default_rng(1)

    def measured(_, cases, looked_at, label):
        assert looked_at is study.numbers
        (n,) = {len(runs) for runs in cases.values()}
        return {case: defaultdict(lambda: np.sort(draw.uniform(0.2, 0.9, n))) for case in cases}

    monkeypatch.setattr(study, "gathered", measured)
    monkeypatch.setattr(Study, "save", lambda self, figure, name: self.files.append(f"{name}.png"))
    if study is routerbench:  # prices have to be those of the models
        monkeypatch.setattr(study, "mean_quality", lambda points, low, high: float(np.mean(points)))
    mine = Study(tmp_path / "study", quick=True)
    found = study.run(mine)
    assert len(found.readings) >= 4
    assert any(name.endswith(".png") for name in mine.files)
    assert "table_findings.csv" in mine.files
    assert "nan" not in found.numbers


def test_quality_for_its_price_is_the_area_under_the_hull():
    points = [(1.0, 0.2), (2.0, 0.3), (3.0, 0.8), (4.0, 0.7), (2.5, 0.4)]
    assert hull(points) == [(1.0, 0.2), (3.0, 0.8)]
    assert mean_quality(points, 1.0, 3.0) == pytest.approx(0.5)
    assert mean_quality(points, 1.0, 5.0) == pytest.approx((0.5 * 2 + 0.8 * 2) / 4)  # no more for more money
    assert mean_quality([*points, (9.0, 0.9)], 1.0, 3.0) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="expected a point at 0"):
        mean_quality(points, 0.5, 3.0)


def test_no_mix_of_points_is_above_their_hull():
    draw = np.random.default_rng(3)
    for _ in range(50):
        points = [tuple(point) for point in draw.random((12, 2))]
        x, y = np.array(hull(points)).T
        assert (np.diff(x) > 0).all()
        assert (np.diff(y) > 0).all()
        for one, two in itertools.combinations(points, 2):
            middle = (np.array(one) + np.array(two)) / 2
            assert np.interp(middle[0], x, y) >= middle[1] - 1e-12 or middle[0] < x[0]


def test_cascades_are_judged_against_all_others():
    scores = dict.fromkeys(routerbench.CURVES, 0.7 * SEEDS)
    scores |= {
        f"cascade, {error} %": level * SEEDS for error, level in ((0, 0.9), (10, 0.8), (20, 0.7), (40, 0.5))
    }
    assert routerbench.cascades(scores).outcome == "agree"
    assert routerbench.decay(scores).outcome == "agree"
    assert routerbench.estimates(scores).outcome == "agree"
    scores |= {
        "cascade, 10 %": 0.65 * SEEDS,
        "cascade, 40 %": 0.9 * SEEDS,
        "predictive, noise 1": 0.8 * SEEDS,
    }
    assert routerbench.cascades(scores).outcome == "partly"
    assert routerbench.decay(scores).outcome == "not"
    assert routerbench.estimates(scores).outcome == "partly"


def test_a_cascade_serves_best_only_among_routers_that_are_no_dearer():
    def found(mine, cheap, dear):
        runs = {}
        for kind, (_, rates) in routerbench.TRAFFIC.items():
            for rate, way in itertools.product(rates, routerbench.SERVED):
                known = {routerbench.ALL: (mine, 2.0), routerbench.ONE_CALL[-1]: (dear, 9.0)}
                worth, usd = known.get(way, (cheap, 1.0))
                runs[kind, rate, way] = {"worth": worth * SEEDS, "usd": usd * SEEDS}
        return runs

    assert routerbench.readers(found(2.0, 1.0, 5.0)).outcome == "agree"
    assert routerbench.readers(found(1.0, 2.0, 0.5)).outcome == "not"


def test_the_gpus_that_are_needed_lie_between_two_numbers_that_were_tried():
    found = {("a", count): {"kept": np.full(3, kept)} for count, kept in zip(
        aladdin.COUNTS, (0.1, 0.5, 0.8, 0.95, 0.97, 0.98, 1.0), strict=True)}  # fmt: skip
    gpus = aladdin.needed(found, ["a"])["a"]["gpus"]
    assert ((gpus > 3) & (gpus < 4)).all()
    assert aladdin.needed(found, ["a"], least=0.05)["a"]["gpus"] == pytest.approx(1)


def of_gpus(best, default):
    """Made-up shares kept, so that each way needs about so many GPUs."""
    return {
        (way, count): {"kept": (0.95 if count >= needs else 0.5) * SEEDS, "worth": SEEDS}
        for way, needs in ((aladdin.BEST, best), (aladdin.DEFAULT, default), (aladdin.SHORTEST, best))
        for count in aladdin.COUNTS
    }


def test_fewer_gpus_are_judged_by_how_many():
    assert aladdin.default(of_gpus(2, 6)).outcome == "agree"
    assert aladdin.default(of_gpus(4, 6)).outcome == "partly"
    assert aladdin.default(of_gpus(6, 4)).outcome == "not"


def test_jitserves_traffic_has_as_many_calls_of_each_kind(tmp_path):
    for path in (tmp_path / "a.jsonl", tmp_path / "b.jsonl"):
        write_traffic(path, 6.0, 3000, 0)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    for name in ("ttft_slo_s", "e2e_slo_s", "task_slo_s"):
        assert sum(name in row for row in rows) / len(rows) == pytest.approx(1 / 3, abs=0.05)
    assert len(rows) / rows[-1]["arrival_s"] == pytest.approx(6.0, rel=0.1)
    by_node = {row["node"]: row for row in rows}
    for session in {row["session_id"] for row in rows if "task_slo_s" in row}:
        calls = [row for row in rows if row["session_id"] == session]
        stages = {tuple(row["after"]) for row in calls}
        assert {row["task_slo_s"] for row in calls} == {20.0 * len(stages)}
        assert all(by_node[node]["session_id"] == session for row in calls for node in row["after"])


def test_tokens_in_time_are_those_of_a_plain_loop(tmp_path):
    path = tmp_path / "traffic.jsonl"
    write_traffic(path, 6.0, 200, 0)
    result = run(
        Scenario(
            engine={"max_num_seqs": 4},
            workload={"trace": str(path)},
            user={"v_s_per_token": 0.05, "alpha": 20.0},
        )
    )
    rows, log = result.requests().to_pylist(), result.log
    expected, last, begins = {"latency": 0.0, "deadline": 0.0, "collective": 0.0}, {}, {}
    for row in rows:
        last[row["session"]] = max(last.get(row["session"], 0.0), row["end_s"])
        begins[row["session"]] = min(begins.get(row["session"], 1e9), row["arrival_s"])
    for i, row in enumerate(rows):
        times = log.delivered_s[log.token_offsets[i] : log.token_offsets[i + 1]]
        whole = row["prompt_tokens"] + row["output_tokens"]
        if row["ttft_slo_s"] is not None:
            expected["latency"] += sum(t <= row["arrival_s"] + 2.0 + 0.1 * k for k, t in enumerate(times))
        elif row["e2e_slo_s"] is not None:
            expected["deadline"] += whole * (row["end_s"] - row["arrival_s"] <= 20.0)
        else:
            took_s = last[row["session"]] - begins[row["session"]]
            expected["collective"] += whole * (took_s <= row["task_slo_s"])
    found = in_time(result)
    assert {kind: each.tokens for kind, each in found.items()} == expected
    assert all(0 < each.tokens < each.of_tokens for each in found.values())
    assert sum(each.of_tokens for each in found.values()) > sum(expected.values())


def rates_of(gateway, four):
    """Made-up mean E2E: so much more with vLLM's gateway, and so many times as long on four engines."""
    factor = {scalellm.VLLM: gateway, scalellm.SCALELLM: four}
    return {
        (model, rate, way): {"e2e_s": factor.get(way, 1.0) * SEEDS}
        for model, rates in scalellm.RATES.items()
        for rate, way in itertools.product(rates, scalellm.WAYS)
    }


def test_the_gateway_is_judged_by_its_share():
    assert scalellm.speed(rates_of(5.0, 1.0)).outcome == "agree"
    assert scalellm.gateway(rates_of(5.0, 1.0)).outcome == "agree"
    assert scalellm.speed(rates_of(1.5, 1.0)).outcome == "partly"
    assert scalellm.gateway(rates_of(1.5, 1.0)).outcome == "not"
    assert scalellm.speed(rates_of(1.5, 2.0)).outcome == "not"


@pytest.mark.parametrize(("changes_at", "outcome"), [(64, "agree"), (128, "partly"), (1000, "not")])
def test_layouts_are_judged_by_where_they_change_sides(changes_at, outcome):
    clients = {
        (model, count, each): {"e2e_s": (2.0 if (each == scalellm.ONE) == (count >= changes_at) else 1.0) * SEEDS}
        for model in scalellm.RATES
        for count, each in itertools.product(scalellm.CLIENTS, scalellm.LAYOUTS)
    }  # fmt: skip
    assert scalellm.layout(clients).outcome == outcome


@pytest.mark.parametrize(
    ("factors", "outcome"), [((0.8, 0.9), "agree"), ((0.8, 1.1), "partly"), ((1.1, 1.2), "not")]
)
def test_a_switch_is_judged_beside_the_better_layout(factors, outcome):
    found = {
        (order, each): {"e2e_s": (factor if each == SWITCH else place + 1) * SEEDS, "worth": SEEDS}
        for order, factor in zip(ORDERS, factors, strict=True)
        for place, each in enumerate(SERVED)
    }
    assert scalellm.switch(found).outcome == outcome
