"""What happens without room at the decode replica."""

from policies.scheduling.orca import Orca
from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.full_replicas import FULL, full
from tests.small_clusters import apart, places, serve, synchronous, times, traffic, transfers, used_blocks


def test_wait_is_first_come_first_served():
    outcome = serve(traffic([0, 0, 0], [8, 8, 8], [4, 4, 4]), full("wait"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 7.0, 8.0, 9.0]
    assert times(outcome, 2) == [1.0, 11.0, 12.0, 13.0]
    assert outcome.tables.requests["preemptions"].tolist() == [0, 0, 0]
    assert [each[3:5] for each in transfers(outcome)] == [(1.0, 2.0), (1.0, 6.0), (1.0, 10.0)]


def test_who_waits_holds_the_source():
    requests = traffic([0, 0, 0], [8, 8, 8], [4, 4, 4])
    assert used_blocks(requests, full("wait"), 0, [1.5, 4.9, 5.9, 6.1, 9.9, 10.1]) == [6, 4, 4, 2, 2, 0]


def test_prompts_stall_when_those_who_wait_fill_the_prefill_replica():
    outcome = serve(traffic([0, 0, 0, 1.5, 3.5], [8] * 5, [4] * 5), full("wait"))
    assert times(outcome, 3)[0] == 3.0  # at 2.0 the first one's blocks were free
    assert times(outcome, 4)[0] == 7.0  # at 6.0 the second one's


def test_recompute_computes_the_prompt_again_where_it_decodes():
    outcome = serve(traffic([0, 0], [8, 8], [4, 4]), full("recompute"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 6.0, 7.0, 8.0]
    assert places(outcome, 1) == [0, 1, 1, 1]
    steps = outcome.tables.steps
    there = steps["replica"] == 1
    assert steps["prefill_tokens"][there].tolist() == [0, 0, 0, 9, 0, 0]  # the prompt and its first token
    assert [each[0] for each in transfers(outcome)] == [0]
    assert used_blocks(traffic([0, 0], [8, 8], [4, 4]), full("recompute"), 0, [0.5, 1.5, 2.5]) == [4, 2, 0]


def test_without_a_prefix_cache_all_is_computed_again_too():
    def plain():
        return VllmV1(async_scheduling=False, enable_prefix_caching=False)

    cluster = apart(limits=FULL, policies=(plain, plain), when_full="recompute", speed=8)
    outcome = serve(traffic([0, 0], [8, 8], [4, 4]), cluster)
    assert times(outcome, 1) == [1.0, 6.0, 7.0, 8.0]
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 1].tolist() == [0, 0, 0, 9, 0, 0]


def test_colocate_decodes_at_the_prefill_replica():
    outcome = serve(traffic([0, 0], [8, 8], [4, 4]), full("colocate"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 2.0, 3.0, 4.0]
    assert places(outcome, 1) == [0] * 4


def test_evict_preempts_who_decodes():
    """The second one's prompt is done at 3.5; the step at 4.0 is the first that can do without the first."""
    outcome = serve(traffic([0, 2.5], [8, 8], [4, 4]), full("evict"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 9.0]
    assert times(outcome, 1) == [3.5, 6.0, 7.0, 8.0]
    assert outcome.tables.requests["preemptions"].tolist() == [1, 0]


def test_what_can_never_fit_there_fails_with_its_first_token():
    """Orca sets blocks aside for all that may come: 12 + 8 tokens, and there is room for 16."""
    outcome = serve(
        traffic([0, 0], [12, 2], [8, 8]), apart(limits=FULL, policies=(synchronous, Orca), speed=8)
    )
    requests = outcome.tables.requests
    assert requests["state"].tolist() == [RequestState.FAILED, RequestState.COMPLETED]
    assert requests["delivered_tokens"].tolist() == [1, 8]
    assert requests["end_s"][0] == 1.0


def test_evict_spares_a_request_about_to_end():
    """A victim whose last token is in flight would be computed again for nothing; its blocks are free soon."""
    from simulator.replica.transfers import BlockRequest
    from simulator.testing import new_engine, new_job

    engine = new_engine(Limits(4, 64, 64, 8, 4))
    ending, going, coming = new_job(0, 0.0, 8, 1, 9), new_job(1, 0.0, 8, 9, 9), new_job(2, 0.0, 20, 9, 9)
    for job in (going, ending):
        engine.submit(job)
    engine.open(0.0)
    assert engine.admit(going, 8)
    assert engine.admit(ending, 8)
    completing = engine.advance()  # the step is in flight: one more is planned before it ends
    assert list(completing) == [ending]
    coming.generated, coming.computed = 1, 20
    engine.transfers.request(BlockRequest(coming, 20, True, lambda job, found: None))
    engine.open(1.0)
    assert engine.preempted == [going]
    assert ending in engine.running
    assert coming in engine.transfers.reserved
