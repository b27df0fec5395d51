"""``smooth`` with speculative decoding: what readers got counts, and what is in flight is taken as usual."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.acceptance.rate import Rate
from policies.acceptance.recorded import Recorded
from policies.scheduling._smooth_drafts import DraftReaders
from policies.scheduling.smooth import Smooth
from simulator.replica.limits import Limits
from simulator.replica.speculation import Speculation
from tests.engine_cases import RaggedCost, serve
from tests.examples import examples

V_S = 0.05


class Watched(Smooth):
    """Notes, at each plan, when each reader of the decode group will need a token."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.seen = []

    def plan(self, step):
        super().plan(step)
        readers = self._readers
        assert isinstance(readers, DraftReaders)
        needs = {
            job.id: key + job.pace_s * step.group.rounds
            for listed in readers._by_pace.values()
            for key, _, job in listed
        }
        self.seen.append((step.now_s, step.in_flight, needs, readers.tokens_each))


class DraftCost(RaggedCost):
    def step_s(self, shape):
        return super().step_s(shape) + 2e-4 * shape.draft_tokens + 1e-3 * shape.draft_passes


def needs_by_tokens(tables, request, until_s):
    """When its reader needs the next token after all that came until then: each late one lets the clock go on."""
    mine = tables.tokens["request_id"] == request
    times = tables.tokens["generated_s"][mine]
    need_s = tables.requests["arrival_s"][request] + V_S
    for number, time_s in enumerate(times[times <= until_s], 1):
        due_s = tables.requests["arrival_s"][request] + V_S * number
        need_s = max(need_s, due_s, time_s) + V_S
    return need_s


@settings(max_examples=examples(40), deadline=None)
@given(
    arrivals=st.lists(st.floats(0, 2), min_size=1, max_size=6),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    drafts=st.integers(0, 5),
    data=st.data(),
)
def test_a_reader_needs_a_token_as_what_it_got_says(arrivals, lengths, drafts, data):
    """Where no step is in flight, the need of each reader is that of the tokens that came, each at its time."""
    arrivals = sorted(arrivals)
    outputs = data.draw(st.lists(st.integers(2, 60), min_size=len(arrivals), max_size=len(arrivals)))
    policies = []

    def make():
        policies.append(Watched(async_scheduling=False))
        return policies[-1]

    speculation = Speculation(Recorded(lengths), drafts, lookahead=False)
    outcome = serve(
        make, arrivals, [20] * len(arrivals), outputs, cost=DraftCost(), speculation=speculation,
        limits=Limits(64, 512, 512, 1000, 16),
    )  # fmt: skip
    compared = 0
    for policy in policies:
        for now_s, in_flight, needs, _ in policy.seen:
            for request, need_s in needs.items() if not in_flight else ():
                first_s = outcome.tables.requests["first_token_s"][request]
                if first_s <= now_s:  # one whose prompt ends with this step is noted ahead
                    compared += 1
                    assert need_s == pytest.approx(needs_by_tokens(outcome.tables, request, now_s))
    assert compared or max(outputs) < 3


def test_what_a_round_gives_is_the_mean_of_the_last_ones():
    policies = []

    def make():
        policies.append(Watched())
        return policies[-1]

    outcome = serve(
        make, [0.0] * 40, [10] * 40, [200] * 40, cost=DraftCost(),
        speculation=Speculation(Rate(0.7), 3, lookahead=False),
    )  # fmt: skip
    assert outcome.stalled is None
    means = [each[-1] for policy in policies for each in policy.seen]
    assert np.mean(means[20:60]) == pytest.approx((1 - 0.7**4) / 0.3, rel=0.05)


def test_decodes_are_priced_with_their_drafts():
    """What a step of decodes alone is taken to last is what it lasts, drafts included, once one was seen."""
    compared = []

    class Priced(Smooth):
        def plan(self, step):
            super().plan(step)
            if step.ticks and not step.shape.prefill_seqs and step.shape.decode_seqs == step.group.size:
                compared.append((self._decode_s(step), step.price(step.shape), step.shape.draft_tokens))

    serve(
        Priced, [0.0] * 10 + [0.3], [10] * 10 + [400], [100] * 11, cost=DraftCost(),
        speculation=Speculation(Rate(0.7), 3, lookahead=False),
    )  # fmt: skip
    assert len(compared) > 20
    assert max(drafts for *_, drafts in compared) == 33
    for taken_s, lasts_s, _ in compared:
        assert taken_s == pytest.approx(lasts_s)
