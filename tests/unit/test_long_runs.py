"""Many decode steps computed at once are those that are priced one by one, to the last bit."""

from functools import partial

import pytest

from policies.acceptance.rate import Rate
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.cluster.simulate import simulate
from simulator.replica.draft_runs import DraftRunEngine
from simulator.replica.engine import Engine
from simulator.replica.kv import CountedBlocks
from simulator.replica.limits import Limits
from simulator.replica.speculation import Speculation
from simulator.testing import new_job
from simulator.workload.workload import Workload
from tests.engine_cases import RaggedCost, serve, workload
from tests.laws.test_cluster_laws import same
from tests.laws.test_draft_runs import check_draft_runs, deployed
from tests.laws.test_speculation_laws import speculating


class OneByOne(RaggedCost):
    """Another line from every 64 tokens on; it is not told in pieces."""

    decode_piece = None

    def line(self, seqs, context_tokens):
        low = context_tokens - context_tokens % 64
        return low, low + 64, 0.0041 + 1.7e-5 * seqs + 1.3e-7 * low, 2.3e-8 * (1 + low // 64 % 3)

    def step_s(self, shape):
        if shape.prefill_seqs:
            return super().step_s(shape)
        _, _, offset, slope = self.line(shape.decode_seqs, shape.decode_context_tokens)
        return offset + slope * shape.decode_context_tokens


class InPieces(OneByOne):
    """The same, told in pieces."""

    def decode_piece(self, seqs, context_tokens):
        return self.line(seqs, context_tokens)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("blocks", [10_000, 60])  # in the second case the later one is preempted
@pytest.mark.parametrize("late_s", [0.05, 0.9])
def test_a_long_run_over_pieces_of_a_price_is_the_sum_of_its_steps(ahead, blocks, late_s):
    def made(cost):
        return serve(
            lambda: VllmV1(async_scheduling=ahead, enable_prefix_caching=False),
            [0.0, late_s],
            [40, 50],
            [400, 330],
            cost=cost,
            limits=Limits(8, 4096, 4096, blocks, 8),
        ).tables

    pieces = made(InPieces())
    same(made(OneByOne()), pieces)
    assert (pieces.requests["preemptions"].sum() > 0) == (blocks < 10_000)


def drafting(budget):
    """An engine in which three jobs decode with three drafts each."""
    limits = Limits(8, budget, 200, 100, 4)
    engine = DraftRunEngine(limits, CountedBlocks(100, 4))
    engine.speculate(Speculation(None, 3))
    for number in range(3):
        engine.submit(new_job(number, prompt_tokens=2))
    engine.open(0.0)
    for job in list(engine.waiting):
        assert engine.admit(job, 2)
    engine.retire(engine.advance(), 1.0)
    return engine


@pytest.mark.parametrize(("budget", "whether"), [(11, False), (12, True), (13, True)])
def test_steps_need_no_plan_where_the_budget_holds_each_job_with_its_drafts(budget, whether):
    assert drafting(budget).only_decodes(()) == whether


def test_jobs_with_all_their_blocks_take_none_for_drafts_beyond_their_end():
    traffic = workload([0.0, 0.1, 0.2], [7, 8, 9], [40, 41, 42], 42)
    limits = Limits(6, 120, 120, 400, 1)
    for name in ("orca", "vllm_v1"):
        deployment = speculating(deployed(name, {}, limits, RaggedCost()), Speculation(Rate(0.3), 5))
        check_draft_runs(traffic, deployment)


@pytest.mark.parametrize("first", range(20, 26))
@pytest.mark.parametrize("stop_tokens", [False, True])
def test_what_is_planned_after_a_run_depends_on_how_it_ended(first, stop_tokens):
    """Of the last tokens of an answer there are one, two or three; others decode on."""
    traffic = workload([0.0, 0.0, 0.1], [7, 8, 9], [first, first + 9, 60], 70)
    limits = Limits(6, 120, 120, 400, 4, stop_tokens=stop_tokens)
    check_draft_runs(
        traffic, speculating(deployed("vllm_v1", {}, limits, RaggedCost()), Speculation(Rate(0.6), 2))
    )


def test_answers_given_in_runs_are_found_by_the_next_turn():
    """All but the last token of the first answer, 39 + 40 tokens, have been computed: 19 blocks of four."""
    traffic = Workload(
        "turns", [0.0, 60.0], [39, 90], [41, 5], 60, "a test", segments=[[(1, 39)], [(1, 39), (2, 41), (3, 10)]],
        output_stream=[2, 4],
    )  # fmt: skip
    deployment = deployed("vllm_v1", {}, Limits(6, 120, 120, 400, 4), RaggedCost())
    deployment = speculating(deployment, Speculation(Rate(0.6), 3))
    check_draft_runs(traffic, deployment)
    assert simulate(traffic, deployment).prefix_hits.hit_tokens == 19 * 4


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_policy_is_asked_for_each_plan_unless_it_says_that_decoding_goes_on(goes_on):
    """A prompt and 39 decodes; ``decoded`` hears of those that were not planned, each once and in order."""
    planned, heard = [], []

    class Says(VllmV1):
        def goes_on_decoding(self, step):
            return goes_on

        def decoded(self, begun_s, ends_s, first_tick):
            heard.extend(ends_s)

        def plan(self, step):
            planned.append(step.now_s)
            super().plan(step)

    generated_s = serve(Says, [0.0], [100], [40]).tables.tokens["generated_s"].tolist()
    assert (len(planned) >= 40, bool(heard)) == (not goes_on, goes_on)
    assert heard == [time_s for time_s in generated_s if time_s in heard]


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("refused", [0, 2, 3])
def test_a_policy_is_told_and_asked_again_where_a_request_is_complete(ahead, refused):
    """Answers of unequal lengths; each ``refused``-th time it is asked it wants to plan, which changes nothing."""
    asked, heard = [], []

    class Says(VllmV1):
        def goes_on_decoding(self, step):
            asked.append((step.now_s, len(step.running)))
            return not refused or len(asked) % refused > 0

        def decoded(self, begun_s, ends_s, first_tick):
            assert asked[-1][0] <= begun_s
            heard.append((first_tick, len(ends_s)))

    traffic = [0.0] * 6, [50] * 6, [12, 30, 30, 31, 33, 90]
    outcome = serve(partial(Says, async_scheduling=ahead), *traffic)
    same(outcome.tables, serve(partial(VllmV1, async_scheduling=ahead), *traffic).tables)
    assert asked == sorted(asked, key=lambda each: each[0])
    ends = [first + steps for first, steps in heard]
    assert all(end <= first for end, (first, _) in zip(ends, heard[1:], strict=False))
    if not refused:
        assert {running for _, running in asked} == {1, 2, 3, 5, 6}
        assert {11, 29, 30, 32, 89} <= set(ends)


@pytest.mark.parametrize("refused", [0, 2, 3])
@pytest.mark.parametrize("page", [1, 16])
def test_a_policy_that_plans_unseen_ends_is_asked_again_when_the_engine_has_seen_them(refused, page):
    """A step later, with which a request that has ended gets a token too many; until then it runs."""
    asked, heard = [], []

    class Says(Sglang):
        def goes_on_decoding(self, step):
            asked.append(len(step.running))
            return (not refused or len(asked) % refused > 0) and super().goes_on_decoding(step)

        def decoded(self, begun_s, ends_s, first_tick):
            heard.append((first_tick, len(ends_s)))
            super().decoded(begun_s, ends_s, first_tick)

    traffic = [0.0] * 6, [50] * 6, [12, 30, 30, 31, 33, 90]
    limits = Limits(64, 4096, 4096, 10_000, page)
    told = serve(Says, *traffic, limits=limits).tables
    same(told, serve(Sglang, *traffic, limits=limits).tables)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "only_decodes", lambda self, completing: False)
        same(told, serve(Sglang, *traffic, limits=limits).tables)
    ends = [first + steps for first, steps in heard]
    assert all(end <= first for end, (first, _) in zip(ends, heard[1:], strict=False))
    if not refused and page == 16:
        assert {12, 89} <= set(ends)
        assert {6, 5, 1} <= set(asked)
