"""Rows that are made small as soon as a replica needs them no more are those of one that keeps them as they are."""

import copy
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster import simulate as engine
from simulator.replica import taking
from tests.cluster_cases import deployments, play
from tests.examples import examples
from tests.laws.test_cluster_laws import same
from tests.laws.test_draft_runs import one_pool


@settings(max_examples=examples(100), deadline=None)
@given(deployments() | one_pool(), st.integers(1, 5))
def test_packing_changes_nothing(case, events):
    traffic, deployment = case

    def packed(rows):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(taking, "PACKED_ROWS", rows)
            patch.setattr(engine, "EVENTS_BETWEEN_LOOKS", events)
            return play(traffic, copy.deepcopy(deployment))[1]

    never, at_once = packed(math.inf), packed(0)
    same(never.tables, at_once.tables)
    assert (never.end_s, never.stalled) == (at_once.end_s, at_once.stalled)
