"""The rules of SGLang 0.5.3's scheduler, by their numbers: the radix cache, retraction, priorities."""

import pytest

from policies.scheduling.sglang import Sglang
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.engine_cases import EvenCost, serve
from tests.sglang_server import Server, crowd

SECOND = EvenCost(1.0)


@pytest.mark.parametrize(("kv", "admitted"), [(62, False), (63, True)])
def test_ignore_eos_foresees_completions(kv, admitted):
    """Rule 11: with ignore_eos and no radix cache, requests fit if they end in time to make room."""
    server = Server(kv=kv, ignore_eos=True, disable_radix_cache=True)
    server.arrive(20, 10)
    server.arrive(20, 20)
    # 40 held; in 10 steps both grow by 10 and one token each is kept: 40 + 20 + 2 < kv; then 20 come back
    assert (server.step()[0] == {0: 20, 1: 20}) == admitted
    plain = Server(kv=kv, disable_radix_cache=True)
    plain.arrive(20, 10)
    plain.arrive(20, 20)
    assert plain.step()[0] == {0: 20}  # 20 + 10 of the first leave too little for 20 + 20


def test_the_radix_tree_shares_beginnings():
    """Rule 12: found are whole pages, at most all tokens but one; never those of the same batch."""
    segments = [[(1, 40)], [(1, 40)], [(1, 40)], [(1, 40), (2, 10)]]
    server = Server(segments=segments, page=4)
    server.arrive(40, 3)
    server.arrive(40, 3)
    assert server.step()[0] == {0: 40, 1: 40}
    assert server.engine.blocks_held(server.jobs[0]) == server.engine.blocks_held(server.jobs[1]) == 10
    assert server.engine.total_blocks - server.engine.free_blocks == 10  # the second copy is dropped
    server.arrive(40, 3)
    server.arrive(50, 3)
    assert server.step()[0] == {2: 4, 3: 10}


def test_chunks_prompts_and_outputs_enter_the_tree():
    """Rule 12: a chunk before the next one, the prompt after its last step, the output at the end."""
    segments = [[(1, 20)]] * 2 + [[(1, 20), (1000, 9)]]
    server = Server(segments=segments, chunked_prefill_size=12)
    found = []
    server.arrive(20, 4)
    for _ in range(5):
        server.step()
        server.engine.open(server.now_s)
        found.append(server.engine.cache.tree.match(((1, 20), (1000, 29))).stop)
    assert found == [12, 20, 20, 20, 23]  # the last token's keys and values were never computed


def test_least_recently_used_leaves_are_evicted():
    """Rule 12: whole leaves go, the one used longest ago first; locked ones stay."""
    segments = [[(i, 20)] for i in range(4)]
    server = Server(segments=segments, kv=64)
    for _ in range(3):
        server.arrive(20, 1)
        server.step()
    tree = server.engine.cache.tree
    assert tree.tokens == 60
    tree.match(((0, 20),))  # the first one is used again
    server.arrive(20, 1)
    server.step()
    assert [tree.match(((i, 20),)).stop for i in range(4)] == [20, 0, 20, 20]


def test_the_first_token_comes_with_the_last_chunk():
    """Rule 13."""
    outcome = serve(
        lambda: Sglang(disable_overlap_schedule=True, chunked_prefill_size=8), [0.0], [20], [2], cost=SECOND
    )
    assert outcome.tables.tokens["generated_s"].tolist() == [3.0, 4.0]


def test_mixed_chunks():
    """Rule 14: the running requests decode in the extend batch too; off by default."""
    for mixed in (False, True):
        server = Server(enable_mixed_chunk=mixed)
        server.arrive(10, 9)
        server.step()
        server.arrive(10, 9)
        assert server.step() == ({1: 10}, 1 if mixed else 0)
        assert server.step() == ({}, 2)
    overlap = serve(lambda: Sglang(enable_mixed_chunk=True), [0.0, 0.5], [4, 4], [2, 4], cost=SECOND)
    assert overlap.tables.steps["prefill_tokens"].tolist()[:3] == [4, 0, 4]
    assert overlap.tables.steps["decode_seqs"].tolist()[:3] == [0, 1, 1]  # a token after the last one


def test_the_ratio_decays_and_is_reset():
    """Rule 15: down by (init - min) / 600 a decode step to 0.14 of it; up again when the server was idle."""
    server = Server()
    assert server.ratio == 0.7
    server.arrive(5, 700)
    server.step()
    assert server.ratio == 0.7
    server.step()
    assert server.ratio == pytest.approx(0.7 - 0.7 * 0.86 / 600)
    server.steps(698)
    assert server.ratio == pytest.approx(0.7 * 0.14)
    server.now_s += 5
    server.arrive(5, 2)
    server.step()
    assert server.ratio == 0.7
    assert Server(schedule_conservativeness=0.3).ratio == pytest.approx(0.21)
    assert Server(schedule_conservativeness=3.0).ratio == 1.0


def test_decodes_evict_before_any_request_is_retracted():
    """Rule 15: with pages, only those whose token begins one need memory; leaves of the tree go first."""
    server = Server(kv=48, page=4, segments=[[(i, 20)] for i in range(2)])
    server.arrive(20, 1)
    server.step()
    assert server.engine.cache.tree.tokens == 20
    server.arrive(20, 20)
    server.steps(19)
    assert server.jobs[1].preemptions == 0
    assert server.engine.cache.tree.match(((0, 20),)).stop == 0


def test_who_is_retracted():
    """Rule 16: fewest output tokens first, of equals the longest prompt; the last one stays."""
    server = crowd(Server(kv=60, disable_radix_cache=True), (5, 40), (10, 25), (12, 25))
    server.engine.kv.free_blocks -= server.engine.free_blocks - 2  # three want a token
    kept = server.engine.free_blocks
    order = []
    server.jobs[0].generated, server.jobs[1].generated, server.jobs[2].generated = 1, 1, 1
    server.step()
    order = server.waiting()
    assert order == [2]
    assert kept + 12 - 2 == server.engine.free_blocks
    server.engine.kv.free_blocks = 1
    server.step()
    assert server.waiting() == [2, 1]  # as many output tokens, but the longer prompt
    assert list(server.engine.running) == [server.jobs[0]]


def test_fewest_output_tokens_are_retracted_first():
    """Rule 16: an older request with a longer prompt stays."""
    server = crowd(Server(kv=60, disable_radix_cache=True), (20, 30))
    server.steps(3)
    crowd(server, (5, 10))
    server.engine.kv.free_blocks = 1
    server.step()
    assert server.waiting() == [1]


def test_a_retracted_prompt_stays_in_the_tree():
    """Rule 16: what was not in the tree is freed, and not put there."""
    server = crowd(Server(kv=200), (10, 30), (12, 30))
    server.steps(2)
    server.engine.preempt(server.jobs[1], at_head=False)
    assert server.engine.cached_tokens(server.jobs[1]) == 12
    assert server.engine.free_blocks == 200 - server.engine.blocks_held(server.jobs[0])


def test_the_ratio_after_a_retraction():
    """Rule 17: (generated + 20 each) / max_new_tokens of those who stay."""
    server = crowd(Server(kv=300, disable_radix_cache=True), (5, 100), (10, 100))
    server.engine.kv.free_blocks = 1
    server.step()
    assert server.waiting() == [1]
    assert server.ratio == pytest.approx((1 + 20) / 100)  # tokens before the step that follows


def test_retracted_requests_wait_at_the_end_and_go_on():
    """Rule 18: the output is kept; prompt and output are extended, less what the tree has."""
    server = crowd(Server(kv=300), (10, 100), (12, 60))
    server.steps(25)
    victim = server.jobs[1]
    server.policy._full = True
    server.arrive(40, 2)
    server.engine.kv.free_blocks, free = 1, server.engine.free_blocks
    server.step()
    server.engine.kv.free_blocks += free - 1
    assert server.waiting() == [2, 1]
    assert victim.generated_tokens == 26
    while victim in server.engine.waiting:
        extended, _ = server.step()
    assert extended[1] == 12 + 26 - 12
    assert victim.generated_tokens == 27


def test_an_urgent_request_takes_seats():
    """Rule 19: those less urgent by more than the threshold are retracted if that frees enough; off by default."""
    for options, expected in [
        ({}, {}),
        ({"enable_priority_scheduling": True}, {2: 5}),
        ({"enable_priority_scheduling": True, "priority_scheduling_preemption_threshold": 20}, {}),
    ]:
        server = Server(seqs=2, **options)
        server.arrive(5, 9, priority=15)
        server.arrive(5, 9, priority=13)
        server.step()
        server.arrive(5, 9, priority=3)
        assert server.step()[0] == expected
        assert server.waiting() == ([0] if expected else [2])
    queue = Server(enable_priority_scheduling=True, max_prefill_tokens=5)
    for priority in (2, 0, 1):
        queue.arrive(5, 1, priority=priority)
    assert [next(iter(chunks)) for chunks, _ in queue.steps(3)] == [1, 2, 0]
    with pytest.raises(ValueError, match="fcfs or lof"):
        Sglang(enable_priority_scheduling=True, schedule_policy="lpm")


def test_a_retracted_request_alone_is_served_where_the_engine_waits_for_ever():
    """Rule 20: 0.5.3 counts the tokens already generated twice; 0.5.23 does not. Strictly, that is a hang."""
    for strict in (False, True):
        server = Server(kv=60, strict=strict)
        victim = server.arrive(20, 35)
        server.steps(15)
        server.engine.preempt(victim, at_head=False)
        server.engine.open(server.now_s)
        server.policy.plan(server.engine)
        assert (victim in server.engine.running) != strict


def test_the_last_one_fails_if_it_outgrows_the_cache():
    """Rule 16: 0.5.3 ends with an assertion where one request does not fit by itself; here it fails alone."""
    outcome = serve(Sglang, [0.0, 0.0], [10, 4], [50, 3], limits=Limits(4, 100, 100, 40, 1))
    assert outcome.stalled is None
    assert outcome.tables.requests["state"].tolist() == [RequestState.FAILED, RequestState.COMPLETED]


def test_a_batch_that_becomes_the_running_one_is_not_full():
    """Rule 4: that there was no room is forgotten with the empty batch that it was said of."""
    server = Server(kv=60)
    server.arrive(10, 20, 40)
    server.arrive(10, 20, 40)
    server.step()
    assert server.policy._full
    server.engine.kv.free_blocks += 1000
    assert server.steps(2) == [({1: 10}, 0), ({}, 2)]
