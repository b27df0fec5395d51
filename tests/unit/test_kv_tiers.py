"""KV tiers, worked out by hand: steps of a second, blocks of four tokens, links of a few tokens a second."""

import numpy as np
import pytest

from policies.routing.round_robin import RoundRobin
from simulator.cluster import simulate as engine
from simulator.cluster.deployment import Deployment, Pool
from simulator.errors import InputError
from simulator.replica.content import Content
from simulator.replica.engine import Engine
from simulator.replica.kv_tier import Attached, ChunkNames, Tier, TierLink, TierPlan, TiersPlan
from simulator.replica.limits import Limits
from simulator.replica.prefix_blocks import PrefixBlocks
from simulator.replica.tiered_cache import TieredCache
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from simulator.testing import new_job
from simulator.workload.workload import Workload
from tests.engine_cases import native
from tests.small_clusters import SECOND, synchronous, tight

FAST = 1e9


def host(chunks=100, read=4.0, write=FAST, **more):
    return TierPlan("host", chunks, read, write, **more)


def disk(read=2.0, kind="disk", **more):
    return TierPlan(kind, 100, read, FAST, **more)


def traffic(*requests):
    """Requests of an arrival, a prompt as (stream, tokens) and an output."""
    arrivals, prompts, outputs = zip(*requests, strict=True)
    return Workload(
        "test", np.array(arrivals, float), [sum(tokens for _, tokens in each) for each in prompts], list(outputs), 99,
        "a test", segments=list(prompts), output_stream=-1 - np.arange(len(requests)),
    )  # fmt: skip


AGAIN = traffic(
    (0, [(0, 8)], 1), (10, [(1, 20)], 1), (100, [(0, 8), (2, 4)], 1)
)  # the GPU has lost the first prompt


def first_tokens(requests, *tiers, replicas=1, seats=64, cost=SECOND, **rules):
    """When each request gets its first token, and how many tokens were found in the GPU and each tier."""
    plan = TiersPlan(tiers, 4, 1, **rules)
    pool = Pool(synchronous, cost, tight(5, seats), replicas, rules=native(synchronous))
    outcome = engine.simulate(requests, Deployment([pool], RoundRobin(), tiers=plan))
    return outcome.tables.requests["first_token_s"].tolist(), [row["hit_tokens"] for row in outcome.tiers]


def test_what_the_host_has_is_loaded_before_the_step():
    assert first_tokens(AGAIN, host()) == ([1, 11, 103], [0, 8])
    assert first_tokens(AGAIN, host(latency_s=0.5)) == ([1, 11, 103.5], [0, 8])


def test_layer_by_layer_the_last_layer_waits():
    assert first_tokens(AGAIN, host(), load="layerwise", layers=4) == ([1, 11, 102.25], [0, 8])


def test_what_is_computed_as_fast_is_not_fetched():
    assert first_tokens(AGAIN, host(), fetch="cheaper") == ([1, 11, 101], [0, 0])


@pytest.mark.parametrize(("output", "found"), [(8, 12), (9, 16)])
def test_what_was_generated_is_written_when_a_request_is_complete(output, found):
    """All but its last token, by whole chunks: 15 or 16 of them; the next turn repeats prompt and answer."""
    turns = traffic((0, [(0, 8)], output), (30, [(1, 20)], 1), (100, [(0, 8), (-1, 8), (2, 4)], 1))
    assert first_tokens(turns, host()) == ([1, 31, 101 + found / 4], [0, found])


class ByPrompt:
    """A second a token of a prompt, and a hundredth of it for each pair of tokens that attend."""

    def step_s(self, shape):
        return shape.prefill_tokens + 0.01 * shape.prefill_attention_pairs


@pytest.mark.parametrize(("read", "found"), [(0.97, 8), (0.955, 0)])
def test_what_is_fetched_sooner_than_computed_is_fetched(read, found):
    """Of 12 tokens eight: 12 s and 0.72 s less the 4 s and 0.4 s of the rest are 8.32 s, at 0.9615 tokens a second."""
    assert first_tokens(AGAIN, host(read=read), fetch="cheaper", cost=ByPrompt())[1] == [0, found]


def test_what_was_scheduled_and_preempted_in_a_step_is_not_written():
    """It was not computed; what the other one has computed is."""
    plan, tier = TiersPlan([host()], 4, 1), Tier("host", 100)
    gpu = PrefixBlocks(10, 4, lambda job: Content([(job.id, 8)], job.id + 9))
    names = ChunkNames(4)
    attached = [Attached(tier, TierLink(FAST, 0.0), TierLink(FAST, 0.0))]
    cache = TieredCache(
        gpu, plan, attached, names, lambda job: Content([(job.id, 8)], job.id + 9), lambda _: 1.0
    )
    engine = Engine(Limits(4, 100, 200, 10, 4), cache, cache=cache)
    jobs = [new_job(number, prompt_tokens=8) for number in range(2)]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    for job in jobs:
        assert engine.admit(job, 8)
    engine.preempt(jobs[1])
    cache.step_end_s(0.0, 1.0)
    contents = [Content([(number, 8)], number + 9) for number in range(2)]
    assert [[name in tier for name in names.of(each, 8)] for each in contents] == [[True] * 2, [False] * 2]


@pytest.mark.parametrize("write", ["write_through", "write_back", "on_eviction"])
def test_each_write_policy_keeps_what_the_gpu_loses(write):
    assert first_tokens(AGAIN, host(), write=write)[1] == [0, 8]


def test_a_step_may_wait_until_what_it_computed_is_written():
    assert first_tokens(AGAIN, host(write=4.0), writes_in_step=True)[0] == [3, 16, 104]


def test_on_eviction_the_step_waits_until_what_it_overwrites_is_written():
    assert first_tokens(AGAIN, host(write=4.0), write="on_eviction")[0][1] > 11


def test_a_full_tier_forgets_what_was_used_least_recently():
    assert first_tokens(AGAIN, host(chunks=4))[1] == [0, 0]
    assert first_tokens(AGAIN, host(chunks=4), replacement="oracle")[1] == [0, 8]


def test_what_the_host_has_lost_comes_from_the_disk():
    assert first_tokens(AGAIN, host(chunks=4), disk()) == ([1, 11, 105], [0, 0, 8])
    assert first_tokens(AGAIN, host(chunks=4), disk(), write="write_back") == ([1, 11, 105], [0, 0, 8])


def test_it_may_be_fetched_to_the_host_while_the_request_waits():
    busy = traffic((0, [(0, 8)], 1), (10, [(1, 20)], 1), (100, [(2, 4)], 10), (100.5, [(0, 8), (3, 4)], 1))
    told = {"seats": 1}
    assert first_tokens(busy, host(chunks=4), disk(), **told) == ([1, 11, 101, 115], [0, 0, 0 + 8])
    assert first_tokens(busy, host(chunks=4), disk(), prefetch=True, **told) == ([1, 11, 101, 113], [0, 8, 0])


def test_replicas_find_what_others_have_put_into_a_shared_store():
    twice = traffic((0, [(0, 8)], 1), (10, [(0, 8), (2, 4)], 1), (10, [(0, 8), (3, 4)], 1))
    found = first_tokens(twice, disk(kind="shared"), replicas=2)
    assert found == ([1, 15, 11], [8, 8])
    both = traffic((0, [(0, 8)], 1), (5, [(9, 4)], 1), (9, [(8, 20)], 1), (10, [(0, 8), (2, 4)], 1),
                   (10, [(0, 8), (3, 4)], 1))  # fmt: skip
    assert first_tokens(both, disk(kind="shared"), replicas=2)[0][3:] == [15, 15]
    assert first_tokens(both, disk(kind="shared", common_link=True), replicas=2)[0][3:] == [19, 15]


def given(tiers='[{kind = "host", capacity_gib = 4}]', *more):
    return Scenario().with_overrides(
        ["workload.prompt_tokens=600", "workload.output_tokens=2", "workload.arrivals=poisson",
         "workload.rate_rps=2", "workload.requests=10", f"engine.kv_offloading.tiers={tiers}", *more]
    )  # fmt: skip


def test_a_summary_says_what_each_tier_gave():
    engine_part = run(given()).summary()["engine"]
    assert [row["kind"] for row in engine_part["kv_tiers"]] == ["gpu", "host"]
    assert engine_part["kv_tiers"][1]["written_tokens"] == 10 * 512
    assert engine_part["host_hit_share"] == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["policy.scheduling=orca"], "keeps no prefixes"),
        (["policy.scheduling.enable_prefix_caching=false"], "keeps no prefixes"),
        (["cluster.prefill.replicas=1", "cluster.decode.replicas=1"], "cluster.prefill"),
        (["cluster.faults.mtbf_s=100"], "cluster.faults"),
        (["policy.migration=llumnix", "cluster.replicas=2"], "policy.migration"),
        (["engine.kv_offloading.chunk_size=100"], "multiple of engine.block_size = 16"),
        (['engine.kv_offloading.tiers=[{kind="disk",capacity_gib=4}]'], r"tiers\[0\].read_gb_s: missing"),
        (['engine.kv_offloading.tiers=[{kind="host",capacity_gib=0.01}]'], "holds no chunk"),
        (
            ['engine.kv_offloading.tiers=[{kind="host",capacity_gib=1},{kind="host",capacity_gib=1}]'],
            "each kind once",
        ),
        (['engine.kv_offloading.tiers=[{kind="tape",capacity_gib=1}]'], "kind"),
    ],
)
def test_what_cannot_be_is_refused(more, said):
    with pytest.raises(InputError, match=said):
        run(given('[{kind = "host", capacity_gib = 4}]', *more))
