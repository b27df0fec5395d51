"""JITServe: the window, the gains of its three classes, the bounds of outputs; and its baselines Autellix and LTR."""

import math
import random

import numpy as np
import pytest

from policies.scheduling._gmax import best_window
from policies.scheduling._output_bounds import OutputBounds
from policies.scheduling._promised_gains import GainRule, densities
from policies.scheduling.autellix import Autellix
from policies.scheduling.continuous import Continuous
from policies.scheduling.jitserve import JitServe
from policies.scheduling.ltr import Ltr
from policies.scheduling.srpt import Srpt
from simulator import Scenario, run
from simulator.replica.limits import Limits
from tests.ranked_cases import job, play, seats, simulate

RULE = GainRule(ttft_s=2.0, tbt_s=0.1, penalty=1.0)


def test_gmax_picks_the_window_of_most_gain():
    """Against all windows, on 200 random cases."""
    for seed in range(200):
        draw = random.Random(seed)
        gains = [draw.choice([draw.random(), 0.0, 100 * draw.random()]) for _ in range(draw.randrange(1, 60))]
        size = draw.randrange(1, 70)
        totals = [math.fsum(gains[at : at + size]) for at in range(max(1, len(gains) - size + 1))]
        assert totals[best_window(gains, size)] == pytest.approx(max(totals))


def gain_of(each, output, now_s, step_s=0.01):
    return densities([each], RULE, lambda job: output, now_s, step_s, {})[each]


def test_a_latency_request_is_rewarded_for_its_prompt_and_its_output():
    each = job(0, 0.0, 100, 50)
    left_s = 50 * 0.01
    assert gain_of(each, 50, 1.0) == pytest.approx((100 + 8 * 50) / left_s)  # both in time
    late = (
        100 * 2.0 / 4.01 + 8 * 50
    ) / left_s  # the first token is late, the last is not: 2 s and 50 x 0.1 s
    assert gain_of(each, 50, 4.0) == pytest.approx(late)
    both = (100 * 2.0 / 20.01 + 8 * 50 * 7.0 / 20.5) / left_s
    assert gain_of(each, 50, 20.0) == pytest.approx(both)
    each.generated, each.computed = 10, 109
    left_s = 40 * 0.01
    assert gain_of(each, 50, 20.0) == pytest.approx((100 + 8 * (10 + 40 * 7.0 / 20.4)) / left_s)


def test_promises_of_its_own_count_before_those_of_the_policy():
    each = job(0, 0.0, 100, 50, ttft_slo_s=8.0, tpot_slo_s=1.0)
    assert gain_of(each, 50, 4.0) == pytest.approx((100 + 8 * 50) / 0.5)
    each = job(0, 0.0, 100, 50, e2e_slo_s=3.0)
    assert gain_of(each, 50, 2.5) == pytest.approx((100 + 8 * 50) / 0.5)
    assert gain_of(each, 50, 5.5) == pytest.approx((100 + 8 * 50) / 0.5 / 2)  # half of the time it takes


def test_a_collection_is_worth_its_end_and_shares_one_density():
    calls = [job(k, 4.0 + k, 100, 50, session=7, task_slo_s=10.0) for k in range(2)]
    alone = job(2, 0.0, 100, 50, session=7)  # of the session, but promised nothing
    began_s = {7: 1.0}  # an earlier call's arrival
    found = densities([*calls, alone], RULE, lambda job: 50, 6.0, 0.01, began_s)
    assert found[calls[0]] == found[calls[1]] == pytest.approx(2 * (100 + 8 * 50) / 1.0)
    late = densities(calls, RULE, lambda job: 50, 20.0, 0.01, began_s)
    assert late[calls[0]] == pytest.approx(2 * (100 + 8 * 50) / 1.0 * 10 / 20)


def test_a_harder_penalty_leaves_the_late_behind():
    hard = GainRule(2.0, 0.1, 100.0)
    assert hard.in_time(9.0, 10.0) == pytest.approx(0.9**100)
    assert hard.in_time(10.0, 9.0) == 1.0


def ended(predicted, generated):
    each = job(0, 0.0, 10, 10**6, predicted_tokens=predicted)
    each.generated = generated
    return each


def test_bounds_hold_for_the_quantile_and_are_refreshed_by_what_is_generated():
    draw, bounds = np.random.default_rng(1), OutputBounds(0.95)
    assert bounds.tokens(ended(100, 0)) == 100  # nothing is known: as predicted
    assert bounds.tokens(ended(100, 130)) == 131
    for _ in range(2000):
        bounds.ended(ended(100, max(1, round(100 * math.exp(0.5 * draw.standard_normal())))))
    fresh = np.maximum(1, np.rint(200 * np.exp(0.5 * draw.standard_normal(20_000))))
    for done in (0, 150, 300):
        bound = bounds.tokens(ended(200, done))
        longer = fresh[fresh > done]
        assert abs((longer <= bound).mean() - 0.95) < 0.03
        assert bound > done
    assert bounds.tokens(ended(200, 10_000)) == 10_001  # longer than all that were


def order_of(policy, jobs, limits):
    times = play(policy, jobs, limits)
    return sorted(times, key=lambda number: times[number][-1])


def test_the_window_takes_the_batch_from_who_gains_less():
    """Two seats. Of four who wait the two of like length gain most; who runs and is late gives way."""
    policy = JitServe(interval=1, batch_size=2, candidates=2.0)
    running = [job(k, 0.0, 10, 60, e2e_slo_s=1.0) for k in range(2)]  # late from the beginning
    urgent = [job(k, 5.0, 1000, 5, e2e_slo_s=1000.0) for k in (2, 3)]
    limits = Limits(2, 5000, 5000, 2000, 4, num_cpu_blocks=2000)
    times = play(policy, [*running, *urgent], limits)
    assert max(times[2][-1], times[3][-1]) < min(times[0][-1], times[1][-1])
    patient = JitServe(interval=1000, batch_size=2)
    times = play(patient, [job(k, 0.0, 10, 60, e2e_slo_s=1.0) for k in range(2)] + [
        job(k, 5.0, 1000, 5, e2e_slo_s=1000.0) for k in (2, 3)], limits)  # fmt: skip
    assert times[0][-1] < times[2][0]  # the first choice would be at step 999


def test_swaps_are_limited():
    def swapped(most):
        policy, seen = JitServe(interval=1, batch_size=2, max_swaps=most), []
        limits = Limits(2, 5000, 5000, 2000, 4, num_cpu_blocks=2000)
        jobs = [job(k, 0.0, 10, 60, e2e_slo_s=1.0) for k in range(2)]
        jobs += [job(k, 5.0, 1000, 5, e2e_slo_s=1000.0) for k in (2, 3)]
        play(policy, jobs, limits, look=lambda engine: seen.append(len(engine.swapped)))
        return next(number for number in seen if number)

    assert (swapped(0), swapped(1)) == (2, 1)


@pytest.mark.parametrize("wrong", [{"quantile": 0.0}, {"candidates": 0.5}, {"interval": 0}])
def test_what_is_no_quantile_or_window_is_refused(wrong):
    with pytest.raises(ValueError, match="expected quantile above 0"):
        JitServe(**wrong)


def test_ltr_runs_the_shortest_predicted_whatever_they_have_got():
    first, second = job(0, 0.0, 1, 20), job(1, 3.0, 1, 10)
    assert order_of(Ltr(), [first, second], seats(1)) == [1, 0]
    nearly = job(0, 0.0, 1, 20)  # two to go, but 20 in all
    assert order_of(Ltr(), [nearly, job(1, 18.0, 1, 10)], seats(1)) == [1, 0]


def test_ltr_shortens_the_mean_wait_where_changes_of_turn_are_free():
    draw = np.random.default_rng(5)
    arrivals = np.cumsum(draw.exponential(21.0, 300))
    outputs = np.minimum(200, draw.geometric(1 / 20, 300))
    limits = Limits(1, 1000, 1000, 5000, 1, num_cpu_blocks=5000)

    def mean_e2e_s(policy):
        requests = simulate(policy, arrivals, np.ones(300, int), outputs, limits).requests
        return (requests["end_s"] - requests["arrival_s"]).mean()

    assert mean_e2e_s(Srpt) <= mean_e2e_s(Ltr) < 0.7 * mean_e2e_s(Continuous)


def test_the_program_that_got_least_goes_first():
    policy = Autellix(bin_tokens=10)
    greedy = [job(0, 0.0, 1, 40, session=1), job(1, 41.0, 1, 5, session=1)]
    other = job(2, 42.0, 1, 5, session=2)
    blocker = job(3, 40.5, 1, 4, session=3)
    times = play(policy, [*greedy, other, blocker], seats(1))
    assert times[2][-1] < times[1][0]  # session 1 had 40 tokens when its second call came
    alone = play(Autellix(bin_tokens=10), [job(0, 0.0, 1, 40), job(1, 12.0, 1, 10)], seats(1))
    assert alone[1][-1] < alone[0][-1]  # without sessions: each by its own tokens


def test_a_graph_of_calls_has_one_deadline(tmp_path):
    """One seat. The calls of a graph go before a request of like length that has more time, the later ones too."""
    call = '"session_id":"a","prompt_tokens":100,"output_tokens":80,"task_slo_s":3'
    lines = [
        '{"node":9,"session_id":"z","after":[],"arrival_s":0,"prompt_tokens":9,"output_tokens":90,"e2e_slo_s":900}',
        f'{{"node":0,"after":[],"arrival_s":0.01,{call}}}',
        *(f'{{"node":{k},"after":[0],"think_time_s":0.001,{call}}}' for k in (1, 2)),
        *(
            f'{{"node":{k},"session_id":"b{k}","after":[],"arrival_s":0.02,"prompt_tokens":2,"output_tokens":80}}'
            for k in range(3, 9)
        ),
    ]
    (tmp_path / "graph.jsonl").write_text("\n".join(lines) + "\n")
    policy = {"name": "jitserve", "interval": 1, "penalty": 100.0, "tbt_s": 0.001, "ttft_s": 0.1}
    result = run(
        Scenario(
            engine={"max_num_seqs": 1},
            policy={"scheduling": policy},
            workload={"trace": str(tmp_path / "graph.jsonl"), "predictor": "perfect"},
        )
    )
    table = result.requests()
    of_graph = np.array([bound == 3.0 for bound in table["task_slo_s"].to_pylist()])
    end_s = table["end_s"].to_numpy()
    assert of_graph.sum() == 3
    assert end_s[of_graph].max() <= 3.0
    assert (end_s < end_s[of_graph].max()).sum() <= 4


def gained_in_time(scheduling):
    """Tokens of the requests that kept their promises, 8 for one of the output (JITServe's weights)."""
    lengths = {"share": 1 / 3, "lengths": "chat_azure2023"}
    classes = {
        "chat": {**lengths, "slo": {"ttft_s": 2.0, "tpot_s": 0.1}},
        "batch": {**lengths, "slo": {"e2e_s": 20.0}},
        "agents": {**lengths, "session_turns": 3.0, "think_s": 0.5, "task_slo_s": 60.0},
    }
    traffic = {"arrivals": "poisson", "rate_rps": 4.5, "requests": 700, "predictor": "lognormal"}
    result = run(
        Scenario(
            hardware={"gpu": "a100-80gb-sxm", "model": "llama-3.1-8b"},
            engine={"max_num_seqs": 64, "swap_space": 16.0},
            policy={"scheduling": scheduling},
            workload={**traffic, "predictor_sigma": 0.4, "classes": classes},
        )
    )
    table = result.requests()
    of = {name: table[name].to_numpy() for name in table.column_names}
    takes_s, tokens = of["end_s"] - of["arrival_s"], of["delivered_tokens"]
    in_time = np.where(
        of["traffic_class"] == 0,
        (of["first_token_s"] - of["arrival_s"] <= 2.0) & (takes_s <= 2.0 + 0.1 * tokens),
        takes_s <= 20.0,
    )
    for session in np.unique(of["session"][of["traffic_class"] == 2]):
        calls = of["session"] == session
        in_time[calls] = of["end_s"][calls].max() - of["arrival_s"][calls].min() <= 60.0
    return (in_time * (8 * tokens + of["prompt_tokens"])).sum()


def test_it_gains_more_in_time_than_first_come_first_served():
    jit = {"name": "jitserve", "penalty": 100.0, "interval": 10}
    assert gained_in_time(jit) > 1.15 * gained_in_time("continuous")
