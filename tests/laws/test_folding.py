"""A run that is measured while it goes on is measured as one that is kept, in whatever pieces that happens."""

import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cluster import handing_over
from simulator.cluster import simulate as engine
from simulator.metrics import Slo, UserModel, _by_rows, _segments, summarise
from simulator.metrics._streamed import StreamedLog
from simulator.metrics._summary import marked
from simulator.results import folding, tokens
from simulator.results.folded_tokens import FoldedTokens
from simulator.results.folding import Fold
from simulator.results.step_totals import StepSums
from simulator.results.tables import split_by_replica
from tests.cluster_cases import deployments

USER = UserModel(v_s_per_token=0.02)


class Seen:
    """What a fold is shown of steps."""

    def begin(self):
        self.steps = {}
        return lambda replica, steps: self.steps.setdefault(replica, []).append(steps)


def pieces(patch, part_tokens, fold_tokens, events):
    patch.setattr(tokens, "KEPT_TOKENS", -1)
    patch.setattr(_segments, "PART", part_tokens)
    patch.setattr(folding, "FOLD_TOKENS", fold_tokens)
    patch.setattr(handing_over, "EVENTS_BETWEEN", events)
    patch.setattr(_by_rows, "ROWS", part_tokens)
    patch.setattr(engine, "EVENTS_BETWEEN_LOOKS", events)


def log_of(outcome, end_s, saved):
    requests, source = outcome.tables.requests, outcome.tables.unfolding
    names = "arrival_s", "prompt_tokens", "output_tokens", "state", "end_s"
    return StreamedLog(
        **{name: requests[name] for name in names}, token_offsets=source.offsets,
        start_s=float(requests["arrival_s"][:1].sum()),
        end_of_run_s=end_s, first_s=requests["first_token_s"], last_s=requests["last_token_s"],
        source=source, saved=saved,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    deployments(modes=("plain", "tight")),
    st.integers(1, 30),
    st.integers(1, 60),
    st.integers(1, 9),
    st.booleans(),
)
def test_requests_steps_and_what_is_measured_are_those_of_a_run_that_is_kept(
    case, part_tokens, fold_tokens, events, with_arrivals
):
    traffic, deployment = case
    optional = {name: column for name, column in traffic.optional.items() if name != "leave_s"}
    traffic = dataclasses.replace(traffic, optional=optional)
    with pytest.MonkeyPatch.context() as patch:
        pieces(patch, part_tokens, fold_tokens, events)
        one = engine.simulate(traffic, copy.deepcopy(deployment))
        seen = Seen()
        fold = Fold(USER.reading, with_arrivals, seen.begin)
        two = engine.simulate(traffic, copy.deepcopy(deployment), fold=fold)
        assert isinstance(two.tables.unfolding, FoldedTokens)
        assert (one.end_s, one.stalled, one.prefix_hits) == (two.end_s, two.stalled, two.prefix_hits)
        for name, column in two.tables.requests.items():
            assert np.array_equal(column, one.tables.requests[name], equal_nan=column.dtype.kind == "f"), name
        prior = one.tables.prefill_prior_tokens()
        for replica, steps in split_by_replica(one.tables.steps):
            mine = seen.steps.pop(replica)
            for name, column in (steps | {"prefill_prior_tokens": prior[replica]}).items():
                if name not in ("replica", "step"):
                    assert np.array_equal(np.concatenate([each[name] for each in mine]), column), name
        assert not seen.steps
        arrival_s = one.tables.requests["arrival_s"]
        ends_s = one.end_s
        if with_arrivals and len(arrival_s) and arrival_s[-1] > arrival_s[0]:
            ends_s = float(arrival_s[-1])
        kept, folded = log_of(one, ends_s, {}), log_of(two, ends_s, two.tables.unfolding.readings)
        for each in marked():
            if not each.pools:
                assert np.array_equal(each(kept, USER), each(folded, USER), equal_nan=True), each.name
        assert summarise(kept, USER, Slo(ttft_s=0.5)) == summarise(folded, USER, Slo(ttft_s=0.5))


def test_what_steps_come_to_does_not_depend_on_whose_are_added_first():
    draw = np.random.default_rng(1)
    names = "running", "waiting", "kv_blocks_used", "preemptions"

    def steps(n):
        ends_s = np.cumsum(draw.uniform(0.01, 0.1, n))
        return {"start_s": ends_s - 0.01, "end_s": ends_s} | {name: draw.integers(0, 9, n) for name in names}

    some = [(replica, steps(50)) for replica in (0, 1, 2) for _ in range(3)]
    totals = []
    for order in (some, some[3:6] + some[:3] + some[6:], some[::3] + some[1::3] + some[2::3]):
        sums = StepSums(np.array([10, 11, 12]))
        for replica, mine in order:
            sums.add(replica, mine)
        totals.append(sums.totals())
    assert totals[0] == totals[1] == totals[2]
    assert totals[0].steps == 450
