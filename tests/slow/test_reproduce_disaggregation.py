"""What triggers of moves do to readers: counted right, compared alike, and a verdict that turns round with the data."""

import numpy as np
import pytest

from experiments.paper import _disaggregation_cases as cases
from experiments.paper import disaggregation_moves
from experiments.paper._disaggregation_counts import Timeline, count, counted, timeline
from experiments.paper._protocol import PROTOCOL
from simulator import run
from simulator.metrics._options import UserModel
from simulator.replica.cost import StepShape
from simulator.scenario.resolve import resolve_pools
from simulator.workload import build
from tests.engine_cases import EvenCost

READER = UserModel(v_s_per_token=1.0)
STEP_S = EvenCost().step_s(StepShape())


def tokens_of(*requests, steps=(60, 60)):
    """A run of steps of 0.25 s on two replicas; a request is its arrival and, of each token, replica and step."""
    rows = [
        (number, position, replica, step)
        for number, (_, tokens) in enumerate(requests)
        for position, (replica, step) in enumerate(tokens, 1)
    ]
    request, position, replica, step = map(np.array, zip(*rows, strict=True))
    at_s = STEP_S * (step + 1.0)
    arrival_s = np.array([each for each, _ in requests])
    return Timeline(
        request, position, at_s, at_s, replica, step, arrival_s, arrival_s,
        np.repeat([0, 1], steps), np.concatenate([STEP_S * (1 + np.arange(n)) for n in steps]),
    )  # fmt: skip


def kinds(run, worse_s=0.05, user=READER):
    """How many moves were harmful, needless, with text in hand, and how many there were."""
    return count(run, user, worse_s)[:4]


def steady(first, tokens, replica=0):
    return [(replica, first + i) for i in range(tokens)]


# Counting


def test_without_a_pause_nothing_was_moved():
    assert kinds(tokens_of((0.0, steady(0, 9)))) == (0, 0, 0, 0)


def test_a_pause_while_there_is_text_in_hand_is_needless():
    # The fifth token is due at 5 s; it comes after a pause from 1 s to 2.5 s, and the reader never waits.
    assert kinds(tokens_of((0.0, steady(0, 4) + steady(9, 3)))) == (0, 1, 1, 1)


def test_a_pause_that_outlasts_the_text_is_harmful():
    outlasts = tokens_of((0.0, steady(0, 4) + steady(30, 3)))  # the fifth comes at 7.75 s, and is due at 5 s
    assert kinds(outlasts) == (1, 0, 1, 1)
    assert kinds(outlasts, worse_s=3.0) == (0, 1, 1, 1)


def test_the_idle_latency_that_pauses_add_is_the_mean_over_all_requests():
    moved = (
        0.0,
        steady(0, 4) + steady(30, 3),
    )  # 2.75 s late after the pause, which otherwise it would not be
    assert count(tokens_of(moved), READER, 0.05).pauses_idle_s == pytest.approx(2.75)
    assert count(tokens_of(moved, (0.0, steady(0, 9))), READER, 0.05).pauses_idle_s == pytest.approx(2.75 / 2)


def test_a_reader_who_waited_before_is_harmed_by_what_the_pause_adds():
    # Its first token is due at 1 s and comes at 5 s: it waits 4 s whatever happens to the third, due at 3 s.
    early = tokens_of((0.0, [(0, 19), (0, 20), (0, 26)]))  # the third at 6.75 s instead of 5.5 s
    late = tokens_of((0.0, [(0, 19), (0, 20), (0, 28)]))  # at 7.25 s
    assert kinds(early) == (0, 0, 0, 1)
    assert kinds(late) == (1, 0, 0, 1)


def test_a_pause_for_a_reader_who_waits_there_is_not_needless():
    moved = (0.0, steady(0, 4) + steady(9, 3))
    waiting = (-4.0, [(0, 7)])  # due at -3 s, and it comes at 2 s
    assert kinds(tokens_of(moved, waiting)) == (0, 0, 1, 1)
    elsewhere = (-4.0, [(1, 7)])
    assert kinds(tokens_of(moved, elsewhere)) == (0, 1, 1, 1)


def test_a_token_from_another_replica_is_a_migration():
    assert kinds(tokens_of((0.0, steady(0, 4) + steady(4, 3, replica=1)))) == (0, 1, 1, 1)
    assert kinds(tokens_of((0.0, steady(0, 4) + steady(40, 3, replica=1)))) == (1, 0, 1, 1)


def test_the_clock_may_start_with_the_first_token():
    moved = tokens_of((0.0, steady(19, 4) + steady(30, 3)))  # tokens from 5 s on; the fifth comes at 7.75 s
    assert kinds(moved)[2] == 0
    from_first = UserModel(v_s_per_token=1.0, origin="first_token")
    assert kinds(moved, user=from_first) == (0, 1, 1, 1)


@pytest.mark.parametrize(
    ("mechanism", "layout"), [("recompute", "1P1D"), ("swap", "1P1D"), ("migration", "2P2D")]
)
def test_every_move_of_a_run_is_counted(mechanism, layout):
    setting = cases.ClusterSetting("llama-3.1-8b", "ShareGPT", layout, "load 0.9, one slow", mechanism)
    result = run(cases.scenario(setting, "TBT", 0, PROTOCOL.reader, 0.5))
    engine = result.summary()["engine"]
    there = engine["migrations"] if mechanism == "migration" else engine["preemptions"]
    found = count(timeline(result), PROTOCOL.reader, 0.05)
    assert found.moves == there > 10
    assert found.harmful + found.needless <= found.moves
    both = counted(result, {"slow": PROTOCOL.reader, "fast": UserModel(v_s_per_token=0.05)})
    assert both["slow"]["moves"] == both["fast"]["moves"] == there
    assert both["slow"]["idle_s"] < both["fast"]["idle_s"]
    assert both["slow"]["hand_overs"] == len(result.requests())


# What is compared


def test_between_triggers_nothing_but_the_trigger_differs():
    def without(setting, trigger):
        tables = cases.scenario(setting, trigger, 1, PROTOCOL.reader).model_dump(mode="json")
        scheduling = tables["policy"]["scheduling"]
        rules = scheduling.pop("trigger"), tables["policy"].pop("migration")["name"]
        return rules, tables

    for setting in cases.settings(quick=False):
        (none, left), (tbt, other), (due, third) = (without(setting, trigger) for trigger in cases.TRIGGERS)
        assert left == other == third
        if setting.mechanism == "migration":
            assert (none, tbt, due) == (
                ("memory", "none"),
                ("memory", "tbt_chasing"),
                ("memory", "token_slack"),
            )
        else:
            assert (none, tbt, due) == (("memory", "none"), ("tbt", "none"), ("due", "none"))


def test_all_layouts_models_and_mechanisms_are_there():
    every = cases.settings(quick=False)
    assert {each.layout for each in every} == {"1P1D", "2P2D", "1P3D"}
    assert {each.model for each in every} == {"llama-3.1-8b", "qwen-2.5-14b"}
    assert {each.mechanism for each in every if each.layout != "1P1D"} == {"recompute", "swap", "migration"}
    assert {each.mechanism for each in every if each.layout == "1P1D"} == {"recompute", "swap"}
    assert set(cases.settings(quick=True)) < set(every)


@pytest.mark.parametrize("traffic", list(PROTOCOL.disaggregation.traffic))
@pytest.mark.parametrize("model", PROTOCOL.disaggregation.models)
def test_load_1_follows_from_the_cost_model(model, traffic):
    setting = cases.ClusterSetting(model, traffic, "1P1D", "load 0.9", "swap")
    scenario = cases.scenario(setting, "none", 1, PROTOCOL.reader)
    many = scenario.workload.model_copy(update={"requests": 20_000})
    requests = build(many, 1)
    prompt, output = requests.prompt_tokens.mean(), requests.output_tokens.mean()
    prefill, decode = resolve_pools(scenario)
    step = StepShape()
    budget = prefill.limits.max_num_batched_tokens
    step.count(budget, 0, False, 1)
    prefill_rps = budget / prefill.cost.step_s(step) / prompt
    limits, context = decode.limits, prompt + output / 2
    seqs = min(limits.max_num_seqs, int(limits.num_gpu_blocks * limits.block_size / context))
    full = StepShape(decode_seqs=seqs, decode_context_tokens=int(seqs * context))
    decode_rps = seqs / decode.cost.step_s(full) / output
    ours = PROTOCOL.disaggregation.traffic[traffic]
    assert ours.prefill_rps[model] == pytest.approx(prefill_rps, rel=0.05)
    assert ours.decode_rps[model] == pytest.approx(decode_rps, rel=0.05)
    assert cases.load_1_rps(setting) == min(ours.prefill_rps[model], ours.decode_rps[model])
    assert scenario.workload.rate_rps == pytest.approx(0.9 * cases.load_1_rps(setting))


# The verdict


def made(setting, moves=0.0, goodput=900.0, tbt_s=0.03, tpot_s=0.02):
    """The summaries of a trigger, a little different from seed to seed; 1,000 tokens/s are delivered."""
    noise = np.random.default_rng(len(str(setting))).normal(0, 1, PROTOCOL.seeds)
    return [
        {
            "moves": moves, "harmful": moves and moves + x, "needless": moves, "tokens_per_s": 1000.0,
            "goodput_tokens_per_s": goodput + 0.1 * x, "tbt_p99_s": tbt_s + 1e-5 * x, "tpot_s": tpot_s + 1e-5 * x,
            "idle_s": moves / 10, "pauses_idle_s": moves / 20,
        }
        for x in noise
    ]  # fmt: skip


SETTINGS = cases.settings(quick=False)[:12]
CALM = {"moves": 0.0}
CHASES = {"moves": 40.0, "goodput": 800.0, "tbt_s": 0.025}


def verdict(*pairs):
    """The verdict on settings in which chasing TBT and following d_i make so much of them."""
    found = {}
    for setting, (chasing, following) in zip(SETTINGS, pairs, strict=False):
        found[setting, "none"] = made(setting)
        found[setting, "TBT"] = [{**each} for each in made((setting, "TBT"), **chasing)]
        found[setting, "d_i"] = made((setting, "d"), **following)
    by_reading = {"the first": cases.decided(cases.cases_of(found))}
    return disaggregation_moves.judge(by_reading | {"another": by_reading["the first"]})


HIDDEN = (CHASES, CALM)
REVERSED = (CALM, CHASES)
TOLD_BY_TBT = ({**CHASES, "tbt_s": 0.09}, CALM)
TOLD_BY_TPOT = ({**CHASES, "tpot_s": 0.09}, CALM)
FOR_NOTHING = ({**CHASES, "goodput": 899.0}, CALM)  # 0.1 % of the tokens
ALIKE = (CHASES, CHASES)


@pytest.mark.parametrize(
    ("pairs", "outcome"),
    [
        ([HIDDEN] * 6, "reproduced"),
        ([REVERSED] * 6, "not reproduced"),
        ([HIDDEN] * 4 + [ALIKE] * 2, "reproduced"),
        ([HIDDEN] * 3 + [ALIKE] * 3, "partly reproduced"),
        ([HIDDEN] * 2 + [REVERSED] * 3, "not reproduced"),
        ([HIDDEN] * 2 + [TOLD_BY_TBT] * 2 + [TOLD_BY_TPOT] * 2, "partly reproduced"),
        ([TOLD_BY_TBT] * 6, "not reproduced"),
        ([TOLD_BY_TPOT] * 6, "not reproduced"),
        ([FOR_NOTHING] * 6, "not reproduced"),
        ([ALIKE] * 6, "not reproduced"),
        ([(CALM, CALM)] * 6, "not reproduced"),  # no case
    ],
)
def test_the_verdict_follows_from_the_runs_and_turns_round_with_them(pairs, outcome):
    found = verdict(*pairs)
    assert found.outcome == outcome
    assert found.readings == {"another": outcome}


def test_the_numbers_say_what_decided():
    numbers = verdict(*[HIDDEN] * 4, TOLD_BY_TBT, REVERSED).numbers
    assert (
        "Of 6 cases, detrimental moves are shown to be more by chasing TBT in 5, and fewer in 1." in numbers
    )
    assert (
        "Of those 5, smooth goodput tells in 5, p99 TBT in 1, mean TPOT in 0; smooth goodput alone in 4."
        in numbers
    )


def test_what_one_seed_has_is_no_finding():
    lucky = [made(SETTINGS[0]), made(SETTINGS[0])]
    lucky[0][0] = {**lucky[0][0], "moves": 40.0, "harmful": 40.0, "goodput_tokens_per_s": 100.0}
    case = cases.decided([cases.compare(SETTINGS[0], *lucky)])[0]
    assert not case.more
    assert not case.goodput_tells
