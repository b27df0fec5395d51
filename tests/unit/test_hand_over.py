"""What a hand-over consists of, and what each part of it waits for. Steps of a second, 10 tokens/s of KV."""

import numpy as np
import pytest

from policies.scheduling.orca import Orca
from policies.scheduling.sarathi import Sarathi
from policies.scheduling.sglang import Sglang
from policies.scheduling.static import Static
from policies.scheduling.vllm_v0 import VllmV0
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.deployment import Fault, Faults
from simulator.replica.request import RequestState
from simulator.results.transfer_table import MOMENTS, hand_over_parts
from tests.full_replicas import FULL
from tests.small_clusters import (
    ROOMY,
    column,
    decoded,
    places,
    serve,
    synchronous,
    tight,
    times,
    traffic,
    transfers,
    used_blocks,
)

# The first token


@pytest.mark.parametrize("policy", [synchronous, VllmV1, VllmV0, Sglang, Sarathi, Orca, Static])
def test_the_decode_side_computes_the_last_token_of_the_prompt_and_gives_the_first(policy):
    """A prompt of 21: the KV of 20 tokens takes two seconds, from the prompt's end at 1.0 on."""
    outcome = serve(traffic([0], [21], [3]), decoded(policies=(policy, policy)))
    assert times(outcome, 0) == [4.0, 5.0, 6.0]
    assert places(outcome, 0) == [1, 1, 1]
    assert transfers(outcome) == [(0, 0, 1, 1.0, 3.0, 20.0, True)]
    requests = outcome.tables.requests
    assert requests["first_token_s"].tolist() == [4.0]
    assert requests["state"].tolist() == [RequestState.COMPLETED]


def test_a_request_of_one_token_is_not_handed_over():
    assert times(serve(traffic([0], [21], [1]), decoded()), 0) == [1.0]


def test_the_last_token_of_a_prompt_is_a_decode_to_the_step():
    outcome = serve(traffic([0], [21], [3]), decoded())
    steps = outcome.tables.steps
    there = steps["replica"] == 1
    assert steps["prefill_tokens"][there].tolist() == [0, 0, 0]
    assert steps["decode_seqs"][there].tolist() == [1, 1, 1]
    assert steps["decode_context_tokens"][there].tolist() == [21, 22, 23]


def test_a_prompt_of_one_token_brings_nothing_along():
    outcome = serve(traffic([0], [1], [3]), decoded())
    assert times(outcome, 0) == [2.0, 3.0, 4.0]
    assert transfers(outcome)[0][5] == 0.0


@pytest.mark.parametrize("when_full", ["recompute", "colocate"])
def test_no_token_of_the_prefill_side_is_given_however_it_goes_on(when_full):
    """The second one finds no room: it has its first token where it decodes, one step after it could begin."""
    outcome = serve(traffic([0, 0], [9, 9], [3, 3]), decoded(limits=FULL, speed=8, when_full=when_full))
    assert times(outcome, 0) == [3.0, 4.0, 5.0]
    expected = {"recompute": ([6.0, 7.0, 8.0], 1), "colocate": ([2.0, 3.0, 4.0], 0)}[when_full]
    assert (times(outcome, 1), set(places(outcome, 1))) == (expected[0], {expected[1]})


@pytest.mark.parametrize(
    ("at_s", "tokens_s"),
    [
        (1.5, [6.5, 7.5, 8.5, 9.5]),  # on the way: pulled again when the replica is back
        (3.5, [8.5, 9.5, 10.5, 11.5]),  # its first token in flight: the prompt is computed again
        (
            4.5,
            [4.0, 9.6, 10.6, 11.6],
        ),  # the first one given: prompt and token are computed again, and 21 tokens sent
    ],
)
def test_a_crash_on_the_way_loses_no_token_and_makes_up_none(at_s, tokens_s):
    faults = Faults([Fault("crash", 1, at_s, 2.0)])
    outcome = serve(traffic([0], [21], [4]), decoded(faults=faults))
    assert times(outcome, 0) == pytest.approx(tokens_s)
    assert places(outcome, 0) == [1, 1, 1, 1]


# The parts


def test_the_parts_add_up():
    """Routing half a second, a handshake of one, 20 tokens in two blocks of 3 pieces: 0.25 + 6 x 0.125 s and 2 s."""
    costs = {
        "setup_s": 0.25,
        "descriptor_s": 0.125,
        "descriptors_per_block": 3,
        "handshake_s": 1.0,
        "connected": False,
    }
    deployment = decoded(hand_over={"routing_s": 0.5}, costs_of_link=costs, frontend_s=0.125)
    outcome = serve(traffic([0, 10], [21, 21], [3, 3]), deployment)
    table = outcome.tables.transfers
    moments = [[table[name][i] for name in MOMENTS] for i in range(2)]
    assert moments[0] == [1.0, 1.5, 1.5, 2.5, 5.5, 5.5, 6.5, 6.625]
    assert moments[1] == [11.0, 11.5, 11.5, 11.5, 14.5, 14.5, 15.5, 15.625]  # they know each other by now
    assert column(outcome, "descriptors") == [6, 6]
    assert outcome.tables.requests["first_token_s"].tolist() == [6.625, 15.625]
    parts = hand_over_parts(table)
    total = parts.pop("total")
    assert sum(parts.values()).tolist() == total.tolist() == [5.625, 4.625]
    assert {name: part[0] for name, part in parts.items()} == {
        "routing": 0.5, "blocks": 0.0, "handshake": 1.0, "transfer": 3.0, "decode_queue": 0.0, "decode_step": 1.0,
        "delivery": 0.125,
    }  # fmt: skip


def test_a_pull_begins_and_ends_at_steps_of_the_decode_side():
    """The first one decodes in steps that end at whole seconds; the second one's prompt ends at 2.5."""
    outcome = serve(traffic([0, 1.5], [6, 6], [9, 3]), decoded())
    assert times(outcome, 0)[:2] == [2.5, 3.5]
    assert column(outcome, "granted_s") == [1.0, 2.5]
    assert times(outcome, 1) == [
        4.5,
        5.5,
        6.5,
    ]  # 0.5 s on the way: it just misses the step at 2.5 and waits for none
    outcome = serve(traffic([0, 1.75], [6, 6], [9, 3]), decoded())
    assert column(outcome, "granted_s") == [1.0, 3.5]
    assert times(outcome, 1) == [5.5, 6.5, 7.5]


def test_a_handover_is_expected_where_it_was_sent_before_it_is_there():
    """Two prompts end at once: the second goes where the first did not, though nothing of that has arrived."""
    from policies.routing.least_loaded import LeastLoaded

    deployment = decoded(1, 2, hand_over={"routing_s": 5.0})
    deployment = deployment._replace(hand_off=deployment.hand_off._replace(router=LeastLoaded()))
    outcome = serve(traffic([0, 0], [21, 21], [3, 3]), deployment)
    assert sorted(column(outcome, "destination")) == [1, 2]


# Ports, ranks and pieces


@pytest.mark.parametrize(
    ("ranks", "descriptors", "lasts_s"),
    [
        ((1, 1), 2, 2.0),
        ((2, 2), 2, 1.0),  # two ports on either side
        ((4, 4), 2, 0.5),
        ((1, 4), 8, 2.0),  # the one port sends to four, a quarter of the heads each
        ((4, 1), 8, 2.0),
    ],
)
def test_each_gpu_has_a_port_and_unequal_ones_exchange_smaller_pieces(ranks, descriptors, lasts_s):
    outcome = serve(traffic([0], [21], [2]), decoded(ranks=ranks))
    assert column(outcome, "descriptors") == [descriptors]
    assert (outcome.tables.transfers["end_s"] - outcome.tables.transfers["connected_s"]).tolist() == [lasts_s]


# The decode side's queue


def test_a_policy_admits_what_has_come_in_its_own_order():
    """One seat; all three have come by the time that it is free, and the most urgent arrived last."""

    def by_priority():
        return VllmV1(async_scheduling=False, policy="priority")

    requests = traffic([0, 0.25, 0.5], [5, 5, 5], [9, 2, 2], optional={"priority": np.array([0, 2, 1])})
    more = {"limits": (ROOMY, tight(40, seqs=1)), "speed": 1000}
    in_turn = serve(requests, decoded(**more))
    assert times(in_turn, 1)[0] < times(in_turn, 2)[0]
    urgent = serve(requests, decoded(policies=(synchronous, by_priority), **more))
    assert times(urgent, 2)[0] < times(urgent, 1)[0]


def test_without_a_seat_nothing_is_pulled():
    """vLLM looks at its queue only while it has a seat: the second one waits at the source."""
    outcome = serve(traffic([0, 0], [6, 6], [3, 3]), decoded(limits=(tight(20), tight(20, seqs=1))))
    assert times(outcome, 0) == [
        3.0,
        4.0,
        5.0,
    ]  # both are pulled at 1.0, as there was a seat, and share the link
    assert times(outcome, 1) == [6.0, 7.0, 8.0]
    outcome = serve(traffic([0, 1], [6, 6], [3, 3]), decoded(limits=(tight(20), tight(20, seqs=1))))
    assert column(outcome, "granted_s") == [1.0, 4.5]


def test_what_waits_with_its_kv_may_leave():
    requests = traffic([0, 0], [6, 6], [9, 3], leave_s=[np.nan, 4.5])
    outcome = serve(requests, decoded(limits=(tight(20), tight(20, seqs=1))))
    assert outcome.tables.requests["state"].tolist()[1] == RequestState.ABANDONED_BY_USER
    assert outcome.tables.requests["delivered_tokens"].tolist() == [9, 0]


def test_requests_that_hold_all_blocks_in_the_queue_do_not_hold_one_another_up():
    """Two come with 8 tokens each, four blocks of four; a block more is needed, and none is left: one starts anew."""
    outcome = serve(traffic([0, 0], [9, 9], [3, 3]), decoded(limits=(tight(20), tight(4)), speed=1000))
    assert outcome.tables.requests["state"].tolist() == [RequestState.COMPLETED] * 2
    assert outcome.tables.requests["preemptions"].tolist() == [0, 1]


def test_one_that_asks_for_blocks_when_anothers_kv_arrives_gets_them():
    """The second prompt ends at the instant at which the first one's KV is there and its replica was woken."""
    outcome = serve(traffic([0, 0.5], [11, 11], [6, 4]), decoded(speed=10))
    assert column(outcome, "granted_s") == [1.0, 2.0]


# Prefixes at the decode side


@pytest.mark.parametrize(
    "policy", [lambda: VllmV1(async_scheduling=False, enable_prefix_caching=True), Sglang]
)
def test_what_the_decode_side_has_cached_is_not_sent(policy):
    requests = traffic(
        [0, 40], [40, 40], [3, 3], segments=[[(7, 32), (1, 8)], [(7, 32), (2, 8)]], output_stream=[11, 12]
    )
    outcome = serve(requests, decoded(policies=(policy, policy)))
    assert [each[5] for each in transfers(outcome)] == [39, 7]
    assert column(outcome, "cached_tokens") == [0, 32]


def test_a_shared_block_at_the_decode_side_is_taken_once():
    """Both blocks that the second one brings along are there and in use."""

    def caching():
        return VllmV1(async_scheduling=False, enable_prefix_caching=True)

    requests = traffic(
        [0, 3], [9, 9], [9, 9], segments=[[(7, 8), (1, 1)], [(7, 8), (2, 1)]], output_stream=[11, 12]
    )
    moments, limits = [3.5, 4.5, 5.5], (tight(20), tight(20))
    own = (lambda: VllmV1(async_scheduling=False, enable_prefix_caching=False),) * 2
    apart_ = used_blocks(requests, decoded(limits=limits, speed=1000, policies=own), 1, moments)
    shared = used_blocks(
        requests, decoded(limits=limits, speed=1000, policies=(caching, caching)), 1, moments
    )
    assert (apart_, shared) == ([3, 5, 7], [3, 3, 5])
