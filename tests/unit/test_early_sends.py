"""Prompts whose KV is sent before they are computed to their end, and that do not get there."""

from functools import partial

import pytest

from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.small_clusters import ROOMY, apart, serve, tight, traffic, transfers


@pytest.mark.parametrize("layers", [0, 2])
def test_a_request_that_ends_with_its_next_token_is_not_sent_early_again(layers):
    """Its client leaves after the first chunk; SGLang computes the other four, and nothing goes to a decode replica."""
    chunked = partial(Sglang, chunked_prefill_size=8)
    deployment = apart(policies=(chunked, chunked), speed=1000, early=True, layers=layers)
    outcome = serve(traffic([0], [40], [3], leave_s=[1.5]), deployment)
    assert outcome.stalled is None
    assert outcome.tables.requests["state"].tolist() == [RequestState.ABANDONED_BY_USER]
    assert outcome.tables.steps["prefill_tokens"].sum() == 40
    assert [moved[-1] for moved in transfers(outcome)] == [False]


CHUNKS = Limits(64, 8, 4096, 10_000, 4)  # eight tokens a second


def arrived(outcome):
    """Who was sent, in the order of time, and whether it arrived."""
    return [(moved[0], moved[-1]) for moved in sorted(transfers(outcome), key=lambda each: each[3])]


def test_what_is_not_computed_yet_makes_way_for_what_is():
    """Of 15 blocks the prompt of 40 tokens has ten and more set aside; that of 24 is through first and needs six."""
    deployment = apart(prefill=2, limits=(CHUNKS, tight(15)), speed=1000, early=True)
    outcome = serve(traffic([0, 0], [40, 24], [9, 9]), deployment)
    assert outcome.tables.requests["delivered_tokens"].tolist() == [9, 9]
    assert arrived(outcome) == [(0, False), (1, True), (0, True)]
    first_s = outcome.tables.requests["first_token_s"]
    assert first_s.tolist() == [5.0, 3.0]
    roomy = serve(
        traffic([0, 0], [40, 24], [9, 9]),
        apart(prefill=2, limits=(CHUNKS, tight(30)), speed=1000, early=True),
    )
    assert sorted(arrived(roomy)) == [(0, True), (1, True)]


def test_what_was_sent_of_a_prompt_that_is_preempted_is_sent_again():
    """Two prompts of 40 tokens in 14 blocks of four: the second makes way, and all of it is computed anew."""
    policy = partial(VllmV1, async_scheduling=False, long_prefill_token_threshold=4, scheduler_reserve_full_isl=False,
                     enable_prefix_caching=False)  # fmt: skip
    limits = Limits(64, 8, 4096, 15, 4)
    deployment = apart(limits=(limits, ROOMY), policies=(policy, policy), speed=1000, early=True)
    outcome = serve(traffic([0, 0], [40, 40], [3, 3]), deployment)
    assert outcome.tables.requests["preemptions"].tolist() == [0, 1]
    assert outcome.tables.requests["delivered_tokens"].tolist() == [3, 3]
    sent = arrived(outcome)
    assert sorted(sent) == [(0, True), (1, False), (1, True)]
    assert sent[-1] == (1, True)
