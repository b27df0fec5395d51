"""Prefill and decode replicas: who computes what, what travels when, and which prefixes are found."""

import pytest

from policies.scheduling.sarathi import Sarathi
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.cluster_cases import KV_BYTES
from tests.full_replicas import full
from tests.small_clusters import (
    ROOMY,
    apart,
    places,
    serve,
    synchronous,
    tight,
    times,
    traffic,
    transfers,
    used_blocks,
)

# The way of a request


@pytest.mark.parametrize("policy", [synchronous, VllmV1, Sglang, Sarathi])
def test_the_first_token_is_computed_on_one_side_and_the_others_on_the_other(policy):
    """A prompt of 20 tokens at 10 tokens/s, half a second after its end."""
    outcome = serve(traffic([0], [20], [3]), apart(policies=(policy, policy), latency_s=0.5))
    assert times(outcome, 0) == [1.0, 4.5, 5.5]
    assert places(outcome, 0) == [0, 1, 1]
    assert transfers(outcome) == [(0, 0, 1, 1.0, 3.5, 20.0, True)]
    requests = outcome.tables.requests
    assert requests["first_token_s"].tolist() == [1.0]
    assert requests["replica"].tolist() == [1]
    assert requests["state"].tolist() == [RequestState.COMPLETED]


def test_the_source_holds_the_blocks_until_the_last_byte_is_there():
    moments = [0.5, 1.01, 3.49, 3.51]
    seen = used_blocks(traffic([0], [20], [3]), apart(limits=(tight(9), tight(9)), latency_s=0.5), 0, moments)
    assert seen == [5, 5, 5, 0]


def test_blocks_are_set_aside_before_the_first_byte_is_sent():
    moments = [0.99, 1.01, 3.49, 3.51, 4.6, 5.6]
    seen = used_blocks(traffic([0], [20], [3]), apart(limits=(tight(9), tight(9)), latency_s=0.5), 1, moments)
    assert seen == [0, 5, 5, 6, 6, 0]


@pytest.mark.parametrize(
    ("prefill", "decode", "arrived_s"),
    [(1, 1, [5.5, 7.5]), (1, 2, [5.5, 7.5]), (2, 1, [5.5, 7.5]), (2, 2, [3.5, 5.5])],
)
def test_transfers_at_one_port_share_it(prefill, decode, arrived_s):
    """20 and 40 tokens: half of 10 tokens/s each for four seconds, then all of it for the other."""
    outcome = serve(traffic([0, 0], [20, 40], [2, 2]), apart(prefill, decode, latency_s=0.5))
    assert [each[4] for each in transfers(outcome)] == arrived_s


def test_a_prompt_in_chunks_travels_when_all_of_it_is_computed():
    limits = (Limits(64, 8, 4096, 1000, 16), ROOMY)
    outcome = serve(traffic([0], [20], [2]), apart(limits=limits))
    assert times(outcome, 0) == [3.0, 6.0]


def test_a_request_with_one_token_stays():
    outcome = serve(traffic([0, 0], [20, 20], [1, 2]), apart())
    assert times(outcome, 0) == [1.0]
    assert [each[0] for each in transfers(outcome)] == [1]


def test_a_decode_replica_takes_turns_with_those_who_come():
    """The second request joins the steps of the first one after it has come."""
    outcome = serve(traffic([0, 1.5], [10, 10], [5, 3]), apart())
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0, 6.0]
    assert times(outcome, 1) == [2.5, 5.0, 6.0]


def test_each_side_serves_by_its_own_limits():
    """With one seat at the decode replica who comes second waits there, with its blocks."""
    limits = (tight(20), tight(20, seqs=1))
    outcome = serve(traffic([0, 0], [10, 10], [3, 3]), apart(limits=limits))
    assert times(outcome, 0) == [1.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 6.0, 7.0]


# Layer by layer


@pytest.mark.parametrize(
    ("speed", "layers", "second_token_s"),
    [
        # 32 tokens in a step of one second: as fast as 32 tokens/s they are made
        (64, 0, 2.5),
        (64, 4, 2.125),  # only the last layer is left: 8 tokens
        (256, 4, 2.03125),
        (32, 4, 2.25),  # the bound: above it the last layer alone is not hidden
        (16, 4, 3.25),  # below it, three quarters of the step at full speed are saved: 1 + 2 - 0.75
        (8, 4, 5.25),
        (64, 32, 2.015625),
        (64, 1, 2.5),  # one layer is there when the step ends
    ],
)
def test_layers_travel_while_the_next_are_computed(speed, layers, second_token_s):
    outcome = serve(traffic([0], [32], [2]), apart(speed=speed, layers=layers))
    assert times(outcome, 0) == [1.0, second_token_s]
    assert transfers(outcome)[0][5] == 32.0


def test_no_layer_is_sent_before_it_is_computed():
    """However fast the link: 8 tokens a quarter of a second, each a quarter late."""
    sent = []
    looks = dict.fromkeys(
        [0.2, 0.375, 0.5, 0.75, 0.99],
        lambda cluster: sent.append(cluster.kv_transfers.fabric.sent_bytes / KV_BYTES),
    )
    serve(traffic([0], [32], [2]), apart(speed=1024, layers=4), looks)
    assert sent == pytest.approx([0, 4, 8, 16, 23.68])


def test_the_latency_is_waited_for_once():
    """Three layers at 32 tokens/s from 0.5 on, not 0.25: 16 tokens are left at the end of the step."""
    outcome = serve(traffic([0], [32], [2]), apart(speed=64, layers=4, latency_s=0.25))
    assert times(outcome, 0) == [1.0, 2.25]


@pytest.mark.parametrize(
    ("early", "layers", "second_token_s"),
    [
        (False, 0, 3.5),  # 32 tokens at 64 tokens/s when the prompt is computed
        (True, 0, 3.25),  # the second chunk of 16 alone is left then
        (True, 4, 3.0625),  # of that the last layer
    ],
)
def test_chunks_are_sent_when_they_are_computed(early, layers, second_token_s):
    limits = (Limits(64, 16, 4096, 1000, 16), ROOMY)
    outcome = serve(traffic([0], [32], [2]), apart(limits=limits, speed=64, early=early, layers=layers))
    assert times(outcome, 0) == [2.0, second_token_s]
    assert transfers(outcome)[0][5] == 32.0


def test_layers_have_to_wait_for_room_too():
    with_layers = serve(traffic([0, 0], [8, 8], [4, 4]), full("wait", layers=4))
    assert times(with_layers, 0) == [1.0, 2.25, 3.25, 4.25]
    assert times(with_layers, 1) == [1.0, 6.25, 7.25, 8.25]  # from 4.25 on, when the prompt is long computed


# Prefix caches


def test_the_prefill_side_finds_prefixes():
    def caching():
        return VllmV1(async_scheduling=False, enable_prefix_caching=True)

    requests = traffic(
        [0, 20], [40, 40], [3, 3], segments=[[(7, 32), (1, 8)], [(7, 32), (2, 8)]], output_stream=[11, 12]
    )
    outcome = serve(requests, apart(policies=(caching, caching)))
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 0].tolist() == [40, 8]
    assert outcome.prefix_hits[0] == 32
    assert [each[5] for each in transfers(outcome)] == [40, 8]  # the decode side has the rest already
    assert outcome.tables.transfers["cached_tokens"].tolist() == [0, 32]


def test_the_decode_side_finds_what_it_was_sent():
    """The first one's KV was sent there; the second one's prompt, computed again there, begins alike."""

    def caching():
        return VllmV1(async_scheduling=False, enable_prefix_caching=True)

    requests = traffic(
        [0, 0.5], [8, 8], [4, 4], segments=[[(7, 4), (1, 4)], [(7, 4), (2, 4)]], output_stream=[11, 12]
    )
    limits = (tight(6), tight(3))
    outcome = serve(
        requests, apart(limits=limits, policies=(caching, caching), when_full="recompute", speed=8)
    )
    assert places(outcome, 1) == [0, 1, 1, 1]
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 1].sum() == 5  # of nine tokens four are there
