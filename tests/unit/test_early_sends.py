"""Prompts whose KV is sent before they are computed to their end, and that do not get there."""

from functools import partial

import pytest

from policies.scheduling.sglang import Sglang
from simulator.replica.request import RequestState
from tests.small_clusters import apart, serve, traffic, transfers


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
