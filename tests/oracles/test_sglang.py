"""The rules of SGLang 0.5.3's scheduler, by their numbers: batches, orders and admission."""

import pytest

from policies.scheduling.sglang import Sglang
from simulator.scenario.resolve import resolve_pool
from simulator.scenario.scenario import Scenario
from simulator.testing import new_job
from tests.engine_cases import EvenCost, serve
from tests.sglang_server import Server

SECOND = EvenCost(1.0)


def test_the_unit_is_the_token():
    """Rule 1: the KV cache is counted in tokens, unless the scenario sets a page size."""
    server = Server()
    server.arrive(10, 3)
    server.step()
    assert server.engine.total_blocks - server.engine.free_blocks == 10
    server.step()
    assert server.engine.total_blocks - server.engine.free_blocks == 11
    for name, engine, expected in [
        ("sglang", {"profile": "native"}, 1),
        ("sglang", {}, 16),
        ("vllm_v1", {}, 16),
        ("sglang", {"profile": "native", "block_size": 32}, 32),
    ]:
        scenario = Scenario(policy={"scheduling": name}, engine=engine)
        assert resolve_pool(scenario).limits.block_size == expected
        shown = [line for line in scenario.to_toml().splitlines() if "block_size =" in line]
        assert shown[0].startswith(f"block_size = {expected}" if "block_size" in engine else "# block_size =")


def test_overlap_processes_a_result_one_batch_later():
    """Rule 2: with overlap a batch is planned when the one before begins, and ends are seen a batch late."""
    plain = serve(lambda: Sglang(disable_overlap_schedule=True), [0.0, 0.5], [4, 4], [4, 4], cost=SECOND)
    assert plain.tables.steps["prefill_tokens"].tolist()[:2] == [4, 4]
    assert plain.tables.steps["decode_seqs"].sum() == 6
    overlap = serve(Sglang, [0.0, 0.5], [4, 4], [4, 4], cost=SECOND)
    assert overlap.tables.steps["prefill_tokens"].tolist()[:3] == [4, 0, 4]  # planned before it arrived
    assert overlap.tables.steps["decode_seqs"].sum() == 8  # each computes a token after its last one
    assert overlap.tables.requests["delivered_tokens"].tolist() == [4, 4]


def test_prompts_go_first_and_decodes_pause():
    """Rule 3: a step extends or decodes; the extend batch then joins the running one."""
    server = Server()
    server.arrive(10, 9)
    assert server.steps(2) == [({0: 10}, 0), ({}, 1)]
    server.arrive(7, 9)
    assert server.steps(2) == [({1: 7}, 0), ({}, 2)]


def test_a_full_batch_is_not_tried_again_until_a_request_leaves():
    """Rule 4: no attempt while the batch is full; leaving is seen by the next decode step."""
    server = Server(seqs=2)
    for output in (2, 9, 9):
        server.arrive(5, output)
    assert server.step() == ({0: 5, 1: 5}, 0)
    assert server.step() == ({}, 2)  # the last token of request 0
    assert server.step() == ({}, 1)  # its seat is free, but the batch counts as full in this attempt
    assert server.step() == ({2: 5}, 0)
    early = Server(seqs=2)
    for output in (1, 9, 9):
        early.arrive(5, output)
    assert early.steps(2) == [({0: 5, 1: 5}, 0), ({2: 5}, 0)]  # who ends with the prompt is seen at once
    memory = Server(kv=60)
    memory.arrive(10, 20, 40)
    memory.step()
    memory.arrive(10, 20, 40)
    memory.step()
    assert memory.policy._full
    memory.engine.kv.free_blocks += 1000  # room alone does not end it
    assert memory.steps(3) == [({}, 1)] * 3


@pytest.mark.parametrize(
    ("rule", "order"),
    [
        ("fcfs", [0, 1, 2, 3]),
        ("lof", [1, 3, 0, 2]),
        ("lpm", [2, 3, 0, 1]),
        ("dfs-weight", [2, 3, 0, 1]),
    ],
)
def test_orders_of_the_queue(rule, order):
    """Rule 5: fcfs, lof, lpm and dfs-weight; request 4 has put the beginning of 2 and 3 into the cache."""
    segments = [[(1, 40)], [(2, 40)], [(9, 30), (3, 10)], [(9, 20), (4, 20)], [(9, 30)]]
    server = Server(segments=segments, schedule_policy=rule)
    jobs = [new_job(i, 0.0, 40, 4, most) for i, most in enumerate([5, 50, 5, 9])]
    first = new_job(4, 0.0, 30, 1, 1)
    server.engine.submit(first)
    server.step()
    for job in jobs:
        server.engine.submit(job)
    assert list(server.step()[0]) == order


def test_lpm_orders():
    """Rule 5: above 128 waiting lpm is fcfs; without the tree it always is; random is neither."""
    segments = [[(9, 30)]] + [[(i + 10, 3)] for i in range(129)] + [[(9, 30), (1, 1)]]
    for count, options, first in [(127, {}, 130), (128, {}, 1), (127, {"disable_radix_cache": True}, 1)]:
        server = Server(segments=segments, schedule_policy="lpm", seqs=200, **options)
        server.engine.submit(new_job(0, 0.0, 30, 1, 1))
        server.step()
        for i in range(count):
            server.engine.submit(new_job(i + 1, 0.0, 3, 1, 1))
        server.engine.submit(new_job(130, 0.0, 31, 1, 1))
        assert next(iter(server.step()[0])) == first
    server = Server(schedule_policy="random")
    for _ in range(30):
        server.arrive(3, 1)
    assert list(server.step()[0]) not in ([*range(30)], [*range(30)][::-1])


def test_dfs_weight_goes_down_the_heaviest_branch():
    """Rule 5: of two cached branches, the one with more waiting requests; deeper nodes first."""
    segments = [[(1, 20)], [(2, 20)], [(1, 20), (5, 3)], [(2, 20), (6, 3)], [(2, 20), (7, 3)], [(8, 9)]]
    server = Server(segments=segments, schedule_policy="dfs-weight")
    for i in (0, 1):
        server.engine.submit(new_job(i, 0.0, 20, 1, 1))
    server.step()
    for i, prompt in ((5, 9), (2, 23), (3, 23), (4, 23)):
        server.engine.submit(new_job(i, 0.0, prompt, 1, 1))
    assert list(server.step()[0]) == [3, 4, 2, 5]


def test_lpm_holds_back_who_begins_like_an_earlier_one():
    """Rule 5: at most 32 tokens cached and at least 32 shared with an earlier waiting request: last."""
    segments = [[(1, 40), (2, 5)], [(1, 40), (3, 5)], [(4, 45)], [(1, 31), (5, 14)]]
    server = Server(segments=segments, schedule_policy="lpm")
    for _ in segments:
        server.arrive(45, 1)
    assert list(server.step()[0]) == [0, 2, 3, 1]


def test_budgets():
    """Rule 6: rem_input is max_prefill_tokens, rem_chunk is chunked_prefill_size, less the decodes if mixed."""
    server = Server(max_prefill_tokens=25)
    for _ in range(4):
        server.arrive(10, 2)
    assert server.step() == ({0: 10, 1: 10}, 0)  # a third one would not leave any
    exact = Server(max_prefill_tokens=20)
    exact.arrive(10, 2)
    exact.arrive(10, 2)
    assert exact.step() == ({0: 10}, 0)  # as many as are left is too many
    chunked = Server(chunked_prefill_size=12)
    chunked.arrive(10, 9)
    chunked.arrive(10, 9)
    assert chunked.step() == ({0: 10, 1: 2}, 0)
    mixed = Server(chunked_prefill_size=12, enable_mixed_chunk=True)
    mixed.arrive(10, 9)
    mixed.arrive(2, 9)
    mixed.step()
    mixed.arrive(30, 9)
    assert mixed.step() == ({2: 10}, 2)
    off = Server(chunked_prefill_size="off", max_prefill_tokens=25)
    off.arrive(10, 2)
    off.arrive(900, 2)
    assert off.steps(2) == [({0: 10}, 0), ({1: 900}, 0)]


@pytest.mark.parametrize(("kv", "admitted"), [(98, False), (99, True)])
def test_running_requests_are_expected_to_go_on(kv, admitted):
    """Rule 7: free tokens less (max_new_tokens - generated) * new_token_ratio of all that run."""
    server = Server(kv=kv)
    server.arrive(10, 50, max_tokens=51)
    server.step()  # one token generated, 10 held
    server.arrive(20, 5, max_tokens=33)
    # 50 * 0.7 = 35 expected, 53 needed, fewer than what is left: kv - 10 - 35 > 53
    assert (server.step()[0] == {1: 20}) == admitted


def test_the_estimate_is_clipped():
    """Rules 7 and 9: no request is expected to generate more than 4096 tokens."""
    server = Server(kv=9000)
    server.arrive(10, 9, max_tokens=8000)
    server.arrive(10, 9, max_tokens=8000)
    assert server.step()[0] == {0: 10, 1: 10}


def test_a_prompt_in_flight_goes_first():
    """Rule 8: what is left of it, but no more than rem_chunk and what memory is expected to allow."""
    server = Server(chunked_prefill_size=8)
    server.arrive(20, 2)
    server.arrive(3, 2)
    assert [chunks for chunks, _ in server.steps(3)] == [{0: 8}, {0: 8}, {0: 4, 1: 3}]
    tight = Server(kv=60, chunked_prefill_size=20)
    tight.arrive(6, 30, max_tokens=30)
    tight.step()
    tight.arrive(28, 2, max_tokens=2)
    assert tight.step()[0] == {1: 20}
    # 34 are free, the first may still get 29 more: int(34 - 29 * 0.7) = 13, so all 8 left fit
    assert tight.step()[0] == {1: 8}
    clipped = Server(kv=60, chunked_prefill_size=20)
    clipped.arrive(10, 30, max_tokens=30)
    clipped.step()
    clipped.arrive(26, 1, max_tokens=1)
    clipped.step()
    clipped.policy._batch.ratio = 0.9  # as if it had risen meanwhile: int(30 - 29 * 0.9) = 3 of 6 left
    assert clipped.step()[0] == {1: 3}


def test_there_is_one_prompt_in_flight_at_most():
    """Rule 8."""
    server = Server(chunked_prefill_size=8)
    for _ in range(3):
        server.arrive(13, 2)
    for _ in range(9):
        server.step()
        assert len(server.engine.partial) <= 1


def test_admission_wants_room_for_all_that_may_come():
    """Rule 9: extend + max_new_tokens must be less than what is left; else the batch is full."""
    for kv, admitted in ((63, False), (64, True)):
        server = Server(kv=kv)
        server.arrive(1, 5, max_tokens=2)
        server.arrive(20, 5, max_tokens=40)  # 60 < kv - 1 - 2
        assert (1 in server.step()[0]) == admitted
        assert server.policy._full == (not admitted)


def test_the_first_prompt_may_exceed_the_input_budget():
    """Rule 9."""
    server = Server(max_prefill_tokens=10)
    server.arrive(30, 2)
    server.arrive(5, 2)
    assert [chunks for chunks, _ in server.steps(2)] == [{0: 30}, {1: 5}]


def test_locking_what_was_found_counts():
    """Rule 9: cached tokens are no longer evictable once they are used, so there is less left."""
    segments = [[(1, 30)], [(2, 20)], [(1, 30), (3, 10)]]
    for kv, admitted in ((80, False), (81, True)):
        server = Server(kv=kv, segments=segments)
        server.arrive(30, 1)
        server.step()
        server.arrive(20, 9)
        server.step()
        server.policy._batch.ratio = 0.0
        assert server.engine.free_blocks == kv - 20  # what the first one has left in the tree is evictable
        server.arrive(40, 20)
        assert (server.step()[0] == {2: 10}) == admitted  # 10 + 20 < kv - 20 - 30


def test_truncation_is_to_whole_pages():
    """Rule 10: a chunk is rounded down to pages, none means that the step is over."""
    server = Server(page=4, chunked_prefill_size=14)
    server.arrive(7, 2)
    server.arrive(20, 2)
    assert server.step()[0] == {0: 7, 1: 4}  # 14 - 8 = 6, a page and a half
    server = Server(page=4, chunked_prefill_size=8)
    server.arrive(5, 2)
    server.arrive(20, 2)
    assert server.step()[0] == {0: 5}


def test_a_chunk_is_not_expected_to_generate_yet():
    """Rule 10: offset grows by the chunk only; for a whole prompt by max_new_tokens too."""
    server = Server(chunked_prefill_size=30, kv=100)
    server.arrive(50, 9, max_tokens=40)
    server.step()
    in_flight = Server(chunked_prefill_size=8, kv=75)
    in_flight.arrive(20, 53)
    in_flight.step()
    in_flight.arrive(5, 2)
    assert in_flight.step()[0] == {0: 8}
    assert not in_flight.policy._full  # 7 are fewer than 75 - 16, though not than 75 - 16 - 53
    batch = server.policy._batch
    assert batch.jobs == []
    assert batch.expected(server.engine) == 0
    server.step()
    server.arrive(1, 1)
    server.step()
    assert batch.expected(server.engine) == pytest.approx(39 * 0.7, abs=0.7)


def test_stops_after_an_addition():
    """Rule 11: nothing left of the cache makes the batch full; nothing left of the step only ends it."""
    server = Server(chunked_prefill_size=10)
    server.arrive(10, 9)
    server.arrive(10, 990)  # would be refused for want of memory
    assert server.step()[0] == {0: 10}
    assert not server.policy._full
    pages = Server(kv=64, page=4)
    pages.arrive(5, 57)  # 62 tokens are fewer than 64, but the prompt takes two pages
    assert pages.step()[0] == {0: 5}
    assert pages.policy._full
    memory = Server(kv=61)
    memory.arrive(10, 9, max_tokens=50)
    memory.arrive(1, 1)
    assert memory.step()[0] == {0: 10}
    assert memory.policy._full
