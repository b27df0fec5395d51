"""Who gives way when KV blocks run out, how, and when swapping is the cheaper way."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from hardware_profiles import step_cost
from policies.scheduling._preemption import choose_victim, give_way, recompute_s, swap_s
from policies.scheduling.continuous import Continuous
from simulator import Scenario
from simulator.replica.cost import StepShape
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.scenario.resolve import resolve_pool
from simulator.testing import new_engine, new_job
from tests.engine_cases import EvenCost, play, scenarios, serve

MECHANISMS = ("recompute", "swap", "cheapest")
RULES = ("latest", "priority", "most_slack", "least_progress")


def decoding(jobs, num_gpu_blocks, *, block_size=10, num_cpu_blocks=100, cost=None):
    """A ledger in whose next step these jobs all decode."""
    limits = Limits(64, 8192, 8192, num_gpu_blocks, block_size, num_cpu_blocks)
    engine = new_engine(limits, price=(cost or EvenCost()).step_s)
    engine.open(0.0)
    for job in jobs:
        engine.submit(job)
        assert engine.admit(job, job.prompt_tokens, job.prompt_tokens)
    engine.retire(engine.advance(), 1.0)
    engine.open(1.0)
    return engine


def four():
    """Each of them is what one rule looks for: urgent least, furthest ahead, shortest, latest."""
    return [
        new_job(0, 0.0, 50, 99, 99, priority=2),
        new_job(1, 0.1, 60, 99, 99, pace_s=5.0),
        new_job(2, 0.2, 10, 99, 99),
        new_job(3, 0.3, 40, 99, 99),
    ]


CHOSEN = {"priority": 0, "most_slack": 1, "least_progress": 2, "latest": 3}


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rule", RULES)
def test_each_rule_takes_the_blocks_of_the_one_that_it_names(rule, mechanism):
    jobs = four()
    engine = decoding(jobs, 16 + 3)  # four blocks are wanted, three are free
    assert choose_victim(jobs, rule).id == CHOSEN[rule]
    Continuous(mechanism, rule).plan(engine)
    assert [job.id for job in engine.preempted] == [CHOSEN[rule]]
    assert engine.shape.decode_seqs == 3
    victim = jobs[CHOSEN[rule]]
    if mechanism == "swap":
        assert list(engine.swapped) == [victim]
        assert engine.free_cpu_blocks == 100 - victim.blocks
        assert engine.shape.swap_out_blocks == victim.blocks == -(-victim.computed_tokens // 10)
    elif mechanism == "recompute":
        assert list(engine.waiting) == [victim]
        assert victim.computed_tokens == 0


def test_equals_give_way_by_arrival_the_latest_first():
    jobs = [new_job(i, arrival_s, 10, 99, 99) for i, arrival_s in enumerate([2.0, 1.0, 2.0])]
    assert choose_victim(jobs, "priority").id == 2
    assert choose_victim(jobs[:2], "least_progress").id == 0


def test_without_host_memory_a_swap_becomes_a_recomputation():
    engine = decoding(four(), 16 + 3, num_cpu_blocks=3)
    Continuous("swap").plan(engine)
    assert [job.id for job in engine.waiting] == [3]
    assert not engine.swapped
    assert engine.free_cpu_blocks == 3


def test_swapped_requests_come_back_before_any_other_is_admitted():
    limits = Limits(8, 64, 64, 9, 4, num_cpu_blocks=20)
    outcome = serve(
        lambda: Continuous("swap", watermark=0.0),
        [0.0, 0.0, 3.5],
        [16, 12, 4],  # eight blocks at once, the ninth goes to the first
        [12, 12, 2],
        limits=limits,
        cost=EvenCost(1.0),
    )
    requests = outcome.tables.requests
    assert requests["preemptions"].tolist() == [0, 1, 0]
    # The third would have fitted beside the first all the time.
    assert requests["first_scheduled_s"][2] >= requests["end_s"][0] == 12.0
    assert requests["delivered_tokens"].tolist() == [12, 12, 2]
    assert outcome.tables.steps["kv_blocks_used"][-1] <= 9


def server(gpu, model="llama-3.1-8b"):
    policy, engine = {"scheduling": "continuous"}, {"profile": "prototype"}
    return resolve_pool(Scenario(hardware={"gpu": gpu, "model": model}, policy=policy, engine=engine))


H100, A100 = server("h100-80gb-sxm"), server("a100-80gb-sxm")
PAGE = Path(__file__).parent.parent.parent / "docs" / "preemption.md"


def linked(gb_per_s):
    """The H100's cost model with another link to the host."""
    link = H100.gpu.host_link.model_copy(update={"bandwidth_gb_per_s": gb_per_s})
    gpu = H100.gpu.model_copy(update={"host_link": link})
    return step_cost(gpu, H100.model, "auto", 1, H100.cost.overheads, 16)


def added_s(cost, n, seqs, context, token_budget=8192):
    """What recomputing and swapping n tokens add to steps of other decodes, from the prices themselves."""

    def price(chunk=0, prior=0, **swap):
        shape = StepShape(decode_seqs=seqs, decode_context_tokens=context, **swap)
        if chunk:
            shape.prefill_tokens, shape.prefill_seqs = chunk, 1
            shape.prefill_attention_pairs = chunk * prior + chunk * chunk / 2
            shape.prefill_context_tokens = chunk + prior
        return cost.step_s(shape) - cost.step_s(StepShape(decode_seqs=seqs, decode_context_tokens=context))

    blocks, room = -(-n // 16), token_budget - seqs
    again = sum(price(min(room, n - prior), prior) for prior in range(0, n, room))
    return again, price(swap_out_blocks=blocks) + price(swap_in_blocks=blocks)


def break_even(cost, seqs, context):
    """The least length from which on, up to 4096 tokens, recomputing is never the dearer way."""
    dearer = [n for n in range(1, 4097) if (pair := added_s(cost, n, seqs, context))[1] < pair[0]]
    return dearer[-1] + 1 if dearer else 1


def choice(cost, n):
    """What becomes of a victim with n tokens computed beside 16 decodes of 500."""
    victim = new_job(99, 1.0, n, 99, 99)
    jobs = [new_job(i, 0.0, 499, 99, 99) for i in range(16)]
    engine = decoding(jobs, 10_000, block_size=16, num_cpu_blocks=10_000, cost=cost)
    engine.submit(victim)
    engine.admit(victim, n, n)
    engine.decode_all()
    engine.retire(engine.advance(), 2.0)
    engine.open(2.0)
    again, swapping = added_s(cost, n, 16, 16 * 501)
    assert recompute_s(engine, victim) == pytest.approx(again, rel=1e-9)
    assert swap_s(engine, victim) == pytest.approx(swapping, rel=1e-9)
    give_way(engine, victim, "cheapest")
    return "swap" if victim in engine.swapped else "recompute"


ROWS = re.findall(r"^\| (\S+), (\S+) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \|$", PAGE.read_text("utf-8"), re.M)


def test_the_page_quotes_the_cost_model():
    assert len(ROWS) == 4
    for gpu, model, n, again_ms, swap_ms, equal_gb_per_s in ROWS:
        quoted = server(gpu, model)
        tokens = quoted.limits.max_num_batched_tokens
        again_s, swapping_s = added_s(quoted.cost, int(n), 64, 64_000, tokens)
        assert float(again_ms) == pytest.approx(again_s * 1e3, abs=0.06)
        assert float(swap_ms) == pytest.approx(swapping_s * 1e3, abs=0.06)
        link = quoted.gpu.host_link.bandwidth_gb_per_s
        assert float(equal_gb_per_s) == pytest.approx(link * swapping_s / again_s, abs=0.06)


def test_over_the_profiles_links_swapping_is_cheaper_at_any_length():
    for each in (A100, H100):
        for n in (1, 16, 100, 1000, 8000):
            assert choice(each.cost, n) == "swap"


def test_over_a_slow_link_cheapest_changes_at_the_break_even_length():
    cost = linked(8.0)
    length = break_even(cost, 16, 16 * 501)
    assert 100 < length < 400
    for n in range(1, 16 * (length // 16 - 3), 16):  # the steps of whole blocks cross the line more than once
        assert choice(cost, n) == "swap"
    for n in (length, length + 1, 2 * length, 4000):
        assert choice(cost, n) == "recompute"


def one_victim(cost, n, mechanism):
    """The last of four requests has to give way once, when it has n + 32 tokens; return when all is done."""
    outcome = serve(
        lambda: Continuous(mechanism, watermark=0.0),
        [0.0] * 4,
        [n, 64, 64, n],
        [40, 60, 60, 60],
        limits=Limits(64, 8192, 16384, (2 * n + 128) // 16 + 9, 16, num_cpu_blocks=1000),
        cost=cost,
    )
    requests = outcome.tables.requests
    assert requests["preemptions"].tolist() == [0, 0, 0, 1]
    return requests["end_s"][3]


@pytest.mark.parametrize(
    ("gb_per_s", "n", "better"),
    [(8.0, 64, "swap"), (8.0, 1024, "recompute"), (50.0, 64, "swap"), (50.0, 1024, "swap")],
)
def test_the_victim_is_done_sooner_as_the_break_even_says(gb_per_s, n, better):
    cost = linked(gb_per_s)
    end_s = {mechanism: one_victim(cost, n, mechanism) for mechanism in MECHANISMS}
    again, swapping = added_s(cost, n + 32, 2, 2 * 105)
    assert min(("swap", "recompute"), key=end_s.__getitem__) == better
    assert end_s["cheapest"] == end_s[better]
    assert end_s["recompute"] - end_s["swap"] == pytest.approx(again - swapping, abs=0.3e-3)


CHOICES = [
    ("continuous", {"preemption": mechanism, "victim": rule, "watermark": watermark})
    for mechanism in MECHANISMS
    for rule in RULES
    for watermark in (0.01, 0.3)
]


@settings(max_examples=200, deadline=None)
@given(scenarios(CHOICES))
def test_everything_is_given_back_and_all_are_served(case):
    cluster, outcome = play(case)
    assert outcome.stalled is None
    if case["horizon_s"] is not None:
        return
    assert not {RequestState.UNFINISHED, RequestState.FAILED} & set(outcome.tables.requests["state"])
    for replica in cluster.replicas:
        engine = replica.engine
        assert not [*engine.running, *engine.waiting, *engine.swapped]
        assert engine.free_blocks == engine.total_blocks
        assert engine.free_cpu_blocks == engine.limits.num_cpu_blocks
        assert engine.outstanding_tokens == 0


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_outgrows_the_cache_fails_instead_of_swapping_for_ever(mechanism):
    limits = Limits(4, 64, 64, 5, 4, num_cpu_blocks=50)
    outcome = serve(lambda: Continuous(mechanism), [0.0], [10], [30], limits=limits)
    assert outcome.stalled is None
    assert outcome.tables.requests["state"].tolist() == [RequestState.FAILED]
    assert outcome.tables.requests["delivered_tokens"].tolist() == [11]


def test_a_watermark_is_a_share():
    with pytest.raises(ValueError, match="watermark is a share"):
        Continuous(watermark=2.0)
