"""Speculative decoding: what acceptance comes to, what it costs, and what a scenario may say."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_profiles import load_gpu, load_model, step_cost
from hardware_profiles.drafter import SpeculativeCost, drafter_on, list_drafters, load_drafter
from policies.acceptance import _shape
from policies.acceptance._curves import CURVES
from policies.acceptance.by_position import ByPosition
from policies.acceptance.curve import Curve, shares
from policies.acceptance.match import Match
from policies.acceptance.rate import Rate
from policies.acceptance.recorded import Recorded
from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from simulator.replica.speculation import AnswerDraws, Speculation
from simulator.results.recorded import draft_columns
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from tests.engine_cases import EvenCost, serve

# Llama-3.1-8B on one H100, one request at a time: TPOT in ms by number of drafts (vLLM issue 20780)
MEASURED_MS = {
    "eagle": {2: 4.37, 3: 4.29, 4: 4.48, 5: 4.71, 6: 4.94, 7: 5.20},
    "eagle3": {2: 4.32, 3: 4.09, 4: 4.05, 5: 4.13, 6: 4.20, 7: 4.29},
}


def mean_length(acceptance, drafts, answers=400, tokens=250):
    """Tokens a step of long answers, its own token included, over all steps."""
    steps = given_tokens = 0
    for number in range(answers):
        answer, generated = AnswerDraws(7, number, tokens + 40), 1
        while generated < tokens:
            steps += 1
            got = 1 + acceptance.verify(answer, generated, drafts)[1]
            given_tokens += got
            generated += got
    return given_tokens / steps


@pytest.mark.parametrize("name", CURVES)
def test_a_shipped_curve_is_met_for_each_number_of_drafts(name):
    for drafts, tokens in CURVES[name].tokens.items():
        found = shares(CURVES[name], drafts)
        assert 1 + sum(found) == pytest.approx(tokens, abs=1e-9)
        assert all(later <= share for share, later in zip([1.0, *found], found, strict=False))


@pytest.mark.parametrize("name", ["llama-3.1-8b-eagle3-mtbench", "deepseek-v4-pro-mtp"])
def test_answers_have_the_length_of_their_curve(name):
    for drafts in (3, 7):
        assert mean_length(Curve(name), drafts) == pytest.approx(CURVES[name].tokens[drafts], abs=0.02)


def test_a_spread_over_requests_leaves_the_mean_length():
    alike, spread = Rate(0.7), Rate(0.7, 0.15)
    expected = (1 - 0.7**9) / 0.3
    assert mean_length(alike, 8) == pytest.approx(expected, rel=0.02)
    assert mean_length(spread, 8, answers=2000) == pytest.approx(expected, rel=0.02)
    lengths = [mean_length(OneAnswer(spread, number), 8, answers=1, tokens=2000) for number in range(100)]
    assert np.std(lengths) > 0.5


def test_any_spread_keeps_the_mean_or_is_refused():
    """A step gives as many tokens on the average over steps, which is harmonic over requests, as without a spread."""
    rng = np.random.default_rng(4)
    for _ in range(150):
        drafts = int(rng.integers(1, 9))
        chances = _shape.after_each_other(np.sort(rng.random(drafts))[::-1].tolist())
        largest = np.sqrt(np.mean(chances) * (1 - np.mean(chances)))
        rows = np.array(_shape.spread(chances, 0.999 * float(rng.random() * largest)))
        tokens = 1 + np.cumprod(rows, axis=1).sum(axis=1)
        assert 1 / (1 / tokens).mean() == pytest.approx(_shape.mean_tokens(chances), abs=1e-6)
    with pytest.raises(ValueError, match=r"spread: expected less than 0.33, with which so many requests"):
        _shape.spread([0.01] + [0.99] * 7, 0.33)


@dataclasses.dataclass
class OneAnswer:
    """The acceptance of one request's answer."""

    of: Rate
    number: int

    def verify(self, answer, generated, drafts):
        if not hasattr(self, "answer"):
            self.answer = AnswerDraws(11, self.number, 3000)
        return self.of.verify(self.answer, generated, drafts)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_shares_become_chances_and_back(values):
    falling = sorted(values, reverse=True)
    chances = _shape.after_each_other(falling)
    assert np.cumprod(chances) == pytest.approx(falling)
    assert _shape.mean_tokens(chances) == pytest.approx(1 + sum(falling))


def test_match_drafts_only_where_it_finds_the_text():
    match, answers = Match(0.3, 0.5, 0.9), [AnswerDraws(1, number, 500) for number in range(40)]
    found = [match.verify(answer, generated, 4)[0] for answer in answers for generated in range(1, 400)]
    assert set(found) == {0, 4}
    assert np.mean(found) / 4 == pytest.approx(0.3, abs=0.01)


def test_recorded_lengths_come_one_after_another(tmp_path):
    (tmp_path / "lengths.txt").write_text("0\n1\n2\n")
    recorded = Recorded(path=str(tmp_path / "lengths.txt"))
    answer = AnswerDraws(1, 0, 10)
    assert sorted(recorded.verify(answer, place, 8)[1] for place in range(3)) == [0, 1, 2]
    assert max(recorded.verify(answer, place, 1)[1] for place in range(3)) == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Rate(1.2), "rate: expected a share"),
        (lambda: Rate(0.5, 0.6), "spread: expected less than 0.5"),
        (lambda: ByPosition([0.3, 0.5]), "never rise"),
        (lambda: ByPosition([]), "never rise"),
        (lambda: Curve("mine"), "no curve 'mine'"),
        (lambda: Recorded([-1]), "whole numbers"),
        (Recorded, "either numbers or a path"),
        (lambda: Recorded(path="nowhere.txt"), "cannot be read"),
    ],
)
def test_wrong_acceptances_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_what_is_accepted_depends_on_the_text_not_on_the_drafts():
    """Of two and of five drafts after the same token the first two are right alike."""
    rate, answer = Rate(0.6), AnswerDraws(3, 4, 300)
    for generated in range(250):
        few, many = rate.verify(answer, generated, 2)[1], rate.verify(answer, generated, 5)[1]
        assert few == min(many, 2)


# The engine


def drafting(limits=None, *, k=3, acceptance=None, outputs=(40, 40, 40), **more):
    outcome = serve(
        VllmV1,
        [0.0] * len(outputs),
        [20] * len(outputs),
        list(outputs),
        cost=EvenCost(),
        limits=limits or Limits(64, 4096, 4096, 10_000, 16),
        speculation=Speculation(acceptance or Rate(1.0), k, **more),
    )
    return outcome.tables, draft_columns(outcome.tables.incarnations[0].records)


def test_all_right_gives_k_and_one_tokens_a_step():
    tables, (_, _, drafts, accepted, got) = drafting(outputs=(41,))
    assert got.tolist() == [4] * 10
    assert (drafts == accepted).all()
    assert tables.requests["delivered_tokens"].tolist() == [41]
    by_step = np.bincount(tables.tokens["step"])
    assert by_step[:11].tolist() == [1] + [4] * 10


def test_the_last_step_wastes_what_lies_behind_the_end():
    _, (_, _, _, accepted, got) = drafting(outputs=(40,))
    assert got.tolist()[-1] == 3
    assert accepted.tolist()[-1] == 3


def test_drafts_are_cut_to_the_budget_in_order_of_admission():
    limits = Limits(64, 60, 4096, 10_000, 16)
    _, (request, step, drafts, _, _) = drafting(limits, k=30)
    first = step == step.min()
    assert request[first].tolist() == [0, 1]
    assert drafts[first].tolist() == [30, 28]  # 31 + 29 tokens: none is left for the third


def test_the_number_of_drafts_follows_the_batch():
    _, (_, step, drafts, _, _) = drafting(by_batch_size=((1, 5), (2, 2)))
    seqs = np.bincount(step)[step]
    assert set(zip(seqs.tolist(), drafts.tolist(), strict=True)) <= {(3, 0), (2, 2), (1, 5)}
    assert (drafts[seqs == 3] == 0).all()


def test_a_drafter_with_kv_of_its_own_holds_more_blocks():
    limits = Limits(64, 4096, 4096, 10_000, 1)
    ahead, none = (drafting(limits, lookahead=lookahead)[0] for lookahead in (True, False))
    assert ahead.steps["kv_blocks_used"].max() == none.steps["kv_blocks_used"].max() + 3 * 3


# What it costs


@pytest.mark.parametrize("method", MEASURED_MS)
def test_time_per_token_of_one_request_is_as_measured(method):
    for drafts, measured_ms in MEASURED_MS[method].items():
        result = run(alone(method, drafts))
        tpot_ms = 1e3 * result.summary()["latency"]["tpot_s"]["mean"]
        assert tpot_ms == pytest.approx(measured_ms, rel=0.08), (method, drafts)


def alone(method, drafts, **more):
    return Scenario(
        workload={
            "arrivals": "burst",
            "requests": 25,
            "concurrency": 1,
            "prompt_tokens": 80,
            "output_tokens": 256,
        },
        speculation={"method": method, "num_speculative_tokens": drafts, **more},
    )


def test_drafts_shrink_the_pool_and_are_summed_up():
    plain, eagle = run(alone("none", 3)), run(alone("eagle", 3))
    blocks = [each.manifest["engine"]["num_gpu_blocks"] for each in (plain, eagle)]
    assert 0.92 < blocks[1] / blocks[0] < 0.96  # 410,128 of 442,000 tokens were reported
    assert any("drafter" in line for line in eagle.manifest["hardware"])
    engine = eagle.summary()["engine"]
    assert engine["accepted_length"] == pytest.approx(
        CURVES["llama-3.1-8b-eagle-mtbench"].tokens[3], abs=0.06
    )
    assert "accepted_length" not in plain.summary()["engine"]
    by_position = engine["draft_acceptance_by_position"]
    assert 1 + sum(by_position) == pytest.approx(engine["accepted_length"])
    assert sorted(by_position, reverse=True) == by_position


def test_at_a_full_batch_speculation_loses():
    """Measured on H100s: 1.6 to 1.7 times the tokens at one request, none more above 6 to 8 requests/s."""

    def rate(method, clients):
        more = {"requests": 3 * clients, "concurrency": clients, "prompt_tokens": 200, "output_tokens": 128}
        scenario = Scenario(
            workload={"arrivals": "burst", **more},
            speculation={"method": method, "num_speculative_tokens": 5},
        )
        return run(scenario).summary()["throughput"]["output_tokens_per_s"]

    assert 1.2 < rate("eagle", 1) / rate("none", 1) < 1.8
    assert rate("eagle", 256) < rate("none", 256)


@pytest.mark.parametrize("method", sorted(set(list_drafters()) - {"draft_model", "ngram"}))
def test_a_step_costs_more_with_more_drafts_and_passes(method):
    """The target's own step alone need not: measured matrices of 9 rows may take longer than those of 16."""
    target = step_cost(load_gpu("h100"), load_model("llama-3.1-8b"))
    cost = SpeculativeCost(target, drafter_on(load_drafter(method), target.model, 1))

    def step_s(drafts, passes):
        shape = StepShape(decode_seqs=8, decode_context_tokens=8000)
        shape.draft_tokens, shape.draft_passes = drafts, passes
        return cost.step_s(shape)

    assert step_s(0, 0) == target.step_s(StepShape(decode_seqs=8, decode_context_tokens=8000))
    times_s = [step_s(8 * k, k) for k in range(1, 9)]
    assert times_s == sorted(times_s)
    assert times_s[0] > step_s(0, 0)
