"""Each preemption says for which request it was, and ``explain`` says it; chunks that are decodes are called so."""

from collections import Counter

import pyarrow.parquet as pq
import pytest

from simulator import Result, Scenario, run
from simulator.report.explain import explain, slowest
from simulator.report.phases import Histories
from tests.saved_faults import unseal
from tests.unit.test_phases import CHAT, KINDS, LITTLE

TWO = {"arrivals": "burst", "requests": 2, "prompt_tokens": 100, "output_tokens": 100}


def of(policy, **more):
    return Histories.of(run(Scenario(workload=CHAT, **LITTLE, policy={"scheduling": policy}, **more)))


def preemptions(histories):
    work = histories.work
    rows = [row for row, kind in enumerate(work["kind"]) if kind == "preempted"]
    names = ("replica", "step", "request_id", "for_request", "blocks_lacked")
    return [tuple(int(work[name][row]) for name in names) for row in rows]


def test_of_two_requests_in_a_full_cache_the_later_gives_way_to_the_block_of_the_first():
    """20 blocks of 16 hold 320 tokens: two prompts of 100 and 60 tokens each; the 61st of the first opens a block."""
    engine = {"num_gpu_blocks": 21, "max_model_len": 320}
    histories = Histories.of(run(Scenario(workload=TWO, engine=engine)))
    ((_, step, victim, cause, blocks),) = preemptions(histories)
    assert (victim, cause, blocks) == (1, 0, 1)
    at_s = histories.step_start_s[0][step]
    text = explain(histories, 1)
    assert f"preempted at {at_s:.4g}" in text
    assert (
        f"s (step {step} of replica 0) by request 0, which needed 1 KV block; 160 tokens had been computed"
        in text
    )


@pytest.mark.parametrize("policy", ["vllm_v1", "vllm_v0", "continuous", "sjf", "smooth"])
def test_who_lacks_blocks_was_running_and_goes_on(policy):
    histories = of(policy)
    found = preemptions(histories)
    assert found
    tokens = histories.tokens
    for replica, step, victim, cause, blocks in found:
        if blocks and cause not in (
            victim,
            *(other for r, s, other, *_ in found if (r, s) == (replica, step)),
        ):
            here = (tokens["replica"] == replica) & (tokens["step"] == step)
            work = histories.work
            chunk = (work["replica"] == replica) & (work["step"] == step) & (work["kind"] != "preempted")
            assert cause in {*tokens["request_id"][here].tolist(), *work["request_id"][chunk].tolist()}


@pytest.mark.parametrize("policy", ["fastserve", "andes", "edf"])
def test_a_policy_that_lets_a_request_ahead_names_it(policy):
    histories = of(policy)
    chosen = [(victim, cause) for _, _, victim, cause, blocks in preemptions(histories) if not blocks]
    assert chosen
    assert all(cause >= 0 and cause != victim for victim, cause in chosen)
    victim, cause = chosen[0]
    assert f" by the policy {policy}, to let request {cause} ahead; " in explain(histories, victim)


def test_a_request_that_is_last_gives_way_to_itself():
    found = [
        (request, histories)
        for histories in (of("vllm_v1"),)
        for _, _, request, cause, _ in preemptions(histories)
        if cause == request
    ]
    request, histories = found[0]
    assert "because it needed 1 KV block itself and none was left; " in explain(histories, request)


def test_causes_are_kept_and_runs_without_them_are_read(tmp_path):
    histories = of("vllm_v1")
    histories.result.save(tmp_path / "r")
    again = Histories.of(Result.load(tmp_path / "r"))
    assert preemptions(again) == preemptions(histories)
    unseal(tmp_path / "r")
    path = tmp_path / "r" / "work.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["for_request", "blocks_lacked"]), path)
    older = Histories.of(Result.load(tmp_path / "r"))
    victim = preemptions(histories)[0][2]
    assert " by request " in explain(histories, victim)
    assert " by request " not in explain(older, victim)
    assert "tokens had been computed" in explain(older, victim)


@pytest.mark.parametrize("kind", ["disaggregated", "swapped", "preempted", "plain"])
def test_chunks_that_are_decodes_are_those_of_the_table_of_steps(kind):
    histories = Histories.of(run(Scenario(workload=CHAT, **KINDS[kind])))
    work, steps = histories.work, histories.result.steps().to_pydict()
    computed = Counter()
    for replica, step, name, tokens in zip(
        *(work[name].tolist() for name in ("replica", "step", "kind", "tokens")), strict=True
    ):
        if name == "prefill":
            computed[replica, step] += tokens
    for replica, step, tokens in zip(*(steps[n] for n in ("replica", "step", "prefill_tokens")), strict=True):
        assert computed[replica, step] == tokens


def test_a_request_that_was_handed_over_begins_with_a_decode():
    histories = Histories.of(run(Scenario(workload=CHAT, **KINDS["disaggregated"])))
    for request in slowest(histories, 20).tolist():
        doing = [phase.doing for phase in histories.phases(request)]
        assert doing.count("prefill") == 1, doing
        assert "1 chunk of 1 tokens" not in explain(histories, request)
