"""The rules of ``smooth``: who waits, who is served, who gives blocks up, and what it gains."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import policies.scheduling
from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from policies.scheduling.smooth import Smooth
from policies.scheduling.vllm_v1 import VllmV1
from simulator import Scenario, run
from simulator.policy import IdleCost
from simulator.replica.limits import Limits
from simulator.testing import new_job
from tests.engine_cases import play, scenarios, serve

V_S = 0.05


class ApartCost:
    """A decode step takes 10 ms, a prompt a millisecond a token; in one step they get in each other's way."""

    def step_s(self, shape):
        both = 0.05 if shape.decode_seqs and shape.prefill_seqs else 0.0
        decodes = 0.01 + 0.0001 * shape.decode_seqs if shape.decode_seqs else 0.0
        return both + decodes + (0.005 + 0.001 * shape.prefill_tokens if shape.prefill_seqs else 0.0)


def served(policy, arrivals, prompts, outputs, **options):
    outcome = serve(policy, arrivals, prompts, outputs, cost=ApartCost(), **options)
    assert outcome.stalled is None
    return outcome.tables


def lateness(tables, request):
    """How late each token of a request came."""
    mine = tables.tokens["request_id"] == request
    due_s = tables.requests["arrival_s"][request] + V_S * np.arange(1, mine.sum() + 1)
    return tables.tokens["generated_s"][mine] - due_s


@pytest.mark.parametrize("ahead", [True, False])
def test_a_reader_with_text_in_hand_pauses_while_a_prompt_is_computed(ahead):
    """Decoding alone for a second puts it some four seconds ahead; a prompt of one second then goes first."""
    tables = served(lambda: Smooth(async_scheduling=ahead), [0.0, 1.0], [10, 1000], [300, 5])
    steps = tables.steps
    prompt = steps["prefill_tokens"] == 1000
    assert prompt.sum() == 1
    assert steps["decode_seqs"][prompt] == 0
    gaps = np.diff(tables.tokens["generated_s"][tables.tokens["request_id"] == 0])
    assert gaps.max() > 1.0
    assert lateness(tables, 0).max() <= 0  # and its reader never noticed


@pytest.mark.parametrize("ahead", [True, False])
def test_a_reader_about_to_run_out_is_served_though_prompts_wait(ahead):
    """Six seconds of prompts arrive when the reader has less than one in hand: prompts go in pieces."""
    tables = served(
        lambda: Smooth(async_scheduling=ahead, queue_weight=0.01, queue_claim=0.01, queue_over_pace=0.01),
        [0.0, *[0.2] * 6],
        [10, *[1000] * 6],
        [300, *[2] * 6],
    )
    assert lateness(tables, 0).max() <= 1e-9
    plain = served(VllmV1, [0.0, *[0.2] * 6], [10, *[1000] * 6], [300, *[2] * 6])
    assert lateness(plain, 0).max() > 1.0


def test_shortest_prompts_go_first():
    prompts = [3000, 40, 900, 300]
    tables = served(Smooth, [0.0, 0.001, 0.001, 0.001], [10, *prompts[1:]], [2, 2, 2, 2])
    first_s = tables.requests["first_token_s"]
    assert first_s[1] <= first_s[3] <= first_s[2]


def test_without_blocks_the_reader_who_can_wait_longest_is_computed_again():
    """The older request is further ahead of its reader; vLLM would take the blocks of the younger."""
    limits = Limits(8, 4096, 400, 40, 16)
    arrivals, prompts, outputs = [0.0, 1.5], [16, 16], [380, 380]
    ours = served(Smooth, arrivals, prompts, outputs, limits=limits)
    assert ours.requests["preemptions"][0] >= 1
    assert ours.requests["preemptions"][1] == 0
    theirs = served(VllmV1, arrivals, prompts, outputs, limits=limits)
    assert theirs.requests["preemptions"].tolist() == [0, 1]


def test_who_has_waited_is_owed_the_pace_from_there():
    readers = Readers(Worth(IdleCost(), 1.0))
    one, two = (new_job(i, 0.0, 5, 99, 99) for i in range(2))
    readers.join(one, 3.0, 0)  # its first token came three seconds late: the next is needed a pace later
    assert readers.need_s(0, 0) == pytest.approx(3.0 + V_S)
    readers.tick((3.01,), 0)  # it came early
    assert readers.need_s(0, 1) == pytest.approx(3.0 + 2 * V_S)
    readers.join(two, 3.02, 1)
    assert [readers.need_s(place, 1) for place in (0, 1)] == pytest.approx([3.02 + V_S, 3.1])
    assert readers.need_s(2, 1) == float("inf")
    readers.tick((4.0,), 1)  # late for both: equal from there
    assert [readers.need_s(place, 2) for place in (0, 1)] == pytest.approx([4.0 + V_S] * 2)
    assert readers.needing(4.06, 2) == (2, 1 / V_S)
    assert readers.take_most_ahead(2) in (one, two)


def test_nothing_hidden_is_read():
    folder = Path(policies.scheduling.__file__).parent
    for path in [folder / "smooth.py", *folder.glob("_smooth_*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                assert isinstance(node.value, ast.Name), f"{path.name}: {node.attr}"
                assert node.value.id == "self", f"{path.name}: {node.attr}"


def test_output_lengths_make_no_difference_before_the_first_end():
    draw = np.random.default_rng(3)
    arrivals = np.cumsum(draw.exponential(0.05, 40))
    prompts = draw.integers(5, 800, 40)
    outputs = draw.integers(30, 60, 40)
    limits = Limits(64, 2048, 2048, 2000, 16)
    one = served(Smooth, arrivals, prompts, outputs, limits=limits)
    two = served(Smooth, arrivals, prompts, outputs + draw.integers(0, 200, 40), limits=limits)
    ends_s = min(one.requests["end_s"].min(), two.requests["end_s"].min())
    steps = [tables.steps["end_s"][tables.steps["end_s"] < ends_s] for tables in (one, two)]
    assert len(steps[0]) > 20
    assert steps[0].tolist() == steps[1].tolist()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_all_are_served_without_looking_ahead_too(data):
    case = data.draw(scenarios([("smooth", {"async_scheduling": False})]))
    cluster, outcome = play(case)
    assert outcome.stalled is None
    if case["horizon_s"] is None:
        assert all(server.engine.free_blocks == server.engine.total_blocks for server in cluster.replicas)


def goodput(policy, gpu, rate_rps, limit, **tables):
    scenario = Scenario(
        hardware={"gpu": gpu, "model": "llama-3.1-8b"},
        policy={"scheduling": policy},
        workload={"trace": "azure2023_conv", "limit": limit, "rate_rps": rate_rps},
        **tables,
    )
    return run(scenario).summary()["smooth_goodput"]


@pytest.mark.parametrize(
    ("gpu", "rate_rps", "limit"), [("a100-80gb-sxm", 7.0, 600), ("h100-80gb-sxm", 26.0, 1500)]
)
def test_it_gains_where_vllm_is_overloaded(gpu, rate_rps, limit):
    ours, theirs = (goodput(policy, gpu, rate_rps, limit) for policy in ("smooth", "vllm_v1"))
    assert ours["smooth_goodput_tokens_per_s"] > 1.2 * theirs["smooth_goodput_tokens_per_s"]


def test_readers_who_take_tokens_at_once_do_not_keep_others_out():
    """No request can be served at the pace of a reader without one; batches are filled all the same."""
    user = {"v_s_per_token": 0.0, "alpha": 20.0}
    ours, theirs = (goodput(policy, "a100-80gb-sxm", 7.0, 600, user=user) for policy in ("smooth", "vllm_v1"))
    assert ours["window_s"] < 1.25 * theirs["window_s"]
