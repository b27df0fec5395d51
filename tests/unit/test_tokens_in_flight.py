"""Steps that are planned before the one before has ended: tokens too many, lost tokens, and clients that leave."""

import pytest

from hardware_profiles import native_rules
from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import colocated
from simulator.cluster.simulate import simulate
from simulator.errors import InputError
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from simulator.testing import new_engine, new_job
from simulator.workload.workload import Workload
from tests.engine_cases import EvenCost
from tests.sglang_server import Server

LIMITS = Limits(8, 1000, 1000, 40, 4)


def running(*lengths):
    """An engine that plans ahead, with jobs whose prompts have been computed; the step is still in flight."""
    engine = new_engine(LIMITS, plans_ahead=True)
    jobs = [new_job(i, 0.0, prompt, output) for i, (prompt, output) in enumerate(lengths)]
    for job in jobs:
        engine.submit(job)
    engine.open(0.0)
    for job in jobs:
        assert engine.admit(job, job.prompt_tokens)
    return engine, jobs, engine.advance()


@pytest.mark.parametrize(("prompt", "blocks"), [(8, 1), (7, 0)])
def test_a_token_too_many_takes_a_block_until_its_step_has_ended(prompt, blocks):
    engine, _, completing = running((prompt, 1))
    free = engine.free_blocks
    engine.open(1.0)
    assert engine.decode_all(beyond=True)
    assert engine.shape.decode_seqs == 1
    assert engine.free_blocks == free - blocks
    ending = engine.advance()
    engine.retire(completing, 1.0)
    assert engine.free_blocks == LIMITS.num_gpu_blocks - blocks
    engine.retire(ending, 2.0)
    assert engine.free_blocks == LIMITS.num_gpu_blocks


def test_what_does_not_fit_beyond_the_end_is_refused_and_changes_nothing():
    engine, _, _ = running((80, 1), (80, 9))
    assert engine.free_blocks == 0
    engine.open(1.0)
    assert not engine.decode_all(beyond=True)
    assert (engine.shape.decode_seqs, engine.ticks, engine.free_blocks) == (0, False, 0)


@pytest.mark.parametrize(("output", "decoded"), [(1, False), (2, False), (9, False), (2, True), (9, True)])
def test_a_lost_token_is_computed_again(output, decoded):
    """Whether it was the first, the last or one between, and the outstanding tokens are what they were."""
    engine, (job,), completing = running((8, output))
    ended = 1.0
    if decoded:
        engine.open(ended)
        assert engine.decode_all()
        engine.retire(completing, ended)
        completing = engine.advance()
    had = job.generated_tokens
    engine.open(ended)
    engine.preempt(job, at_head=False, keeps_token=False)
    assert job.generated == had - 1
    assert engine.outstanding_tokens == job.known_tokens
    engine.advance()
    engine.retire(completing, 2.0)
    engine.open(2.0)
    assert engine.admit(job, job.known_tokens)
    assert job.id == engine.records.rows("preemptions")[1, 0]
    engine.retire((), 2.0)
    completing = engine.advance()
    assert job.generated_tokens == had
    assert (job in completing) == (had == output)
    tokens = engine.records.rows("prompt_ends").shape[1]
    if job.group is not None:
        engine.group.leave(job)
    assert tokens + engine.records.rows("spans")[2].sum() == had


def played(policy, workload, seats=8):
    """Serve a workload on the policy's own engine; each step takes a second."""
    limits = Limits(seats, 1000, 1000, 1000, 1)
    rules = native_rules(policy())
    return simulate(workload, colocated(policy, EvenCost(1.0), limits, RoundRobin(), rules=rules))


def leaving(policy, leave_s):
    """Two requests, of which the first leaves; each step takes a second."""
    workload = Workload("test", [0.0, 0.0], [4, 4], [9, 9], 9, "a test", leave_s=[leave_s, float("nan")])
    return played(policy, workload)


@pytest.mark.parametrize(
    ("policy", "decodes"),
    [
        (lambda: Sglang(disable_overlap_schedule=True), [2, 2, 2, 1]),  # the step planned at 3 s has it still
        (Sglang, [2, 2, 2, 2, 1]),  # that one is in flight at 3 s, and the next has a token too many
        (lambda: VllmV1(async_scheduling=False), [2, 2, 1, 1]),  # the step planned at 3 s does without it
    ],
)
def test_a_client_that_leaves_sglang_is_dropped_with_the_next_token(policy, decodes):
    tables = leaving(policy, 2.5).tables
    assert tables.steps["decode_seqs"][1 : 1 + len(decodes)].tolist() == decodes
    requests = tables.requests
    assert requests["state"].tolist() == [RequestState.ABANDONED_BY_USER, RequestState.COMPLETED]
    assert requests["delivered_tokens"][0] == 2


def test_a_request_has_a_limit_of_its_own():
    workload = Workload("test", [0.0, 0.0], [4, 4], [2, 2], 50, "a test", limit_tokens=[2, 40])
    longest_first = played(lambda: Sglang(schedule_policy="lof"), workload, seats=1)
    assert longest_first.tables.requests["end_s"].argsort().tolist() == [1, 0]
    with pytest.raises(InputError, match="request 1: output_tokens is 3, above its limit_tokens = 2"):
        Workload("test", [0.0, 0.0], [4, 4], [2, 3], 50, "a test", limit_tokens=[40, 2])


def test_what_is_not_chunked_is_not_mixed():
    server = Server(enable_mixed_chunk=True, chunked_prefill_size="off")
    server.arrive(10, 9)
    server.step()
    server.arrive(10, 9)
    assert server.step() == ({1: 10}, 0)
    assert native_rules(server.policy).drops_with_next_token
