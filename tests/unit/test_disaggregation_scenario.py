"""Prefill and decode replicas from the scenario file."""

from pathlib import Path

import pytest

import hardware_profiles
from simulator import Scenario, run
from simulator.results.result import Result
from simulator.scenario.deploy import deploy
from simulator.scenario.resolve import resolve_pools
from tests.refusals import folder, refusal

__all__ = ["folder"]
TWO_POOLS = """
[workload]
arrivals = "constant"
rate_rps = 2.0
requests = 20
prompt_tokens = 500
output_tokens = 30
[cluster.prefill]
replicas = 2
gpu = "h100-80gb-sxm"
max_num_batched_tokens = 4096
[cluster.decode]
gpu = "a100-80gb-sxm"
tensor_parallel_size = 2
scheduling = "sarathi"
max_num_seqs = 17
"""


def test_pools_have_hardware_and_policies_of_their_own():
    Path("two.toml").write_text(TWO_POOLS)
    result = run(Scenario.from_toml(Path("two.toml")))
    prefill, decode = result.manifest["pools"]
    assert (prefill["role"], prefill["replicas"], prefill["gpu"]) == ("prefill", 2, "h100-80gb-sxm")
    assert (prefill["scheduling"], prefill["tensor_parallel_size"]) == ("vllm_v1", 1)
    assert prefill["max_num_batched_tokens"] == 4096
    assert (decode["role"], decode["replicas"], decode["gpu"]) == ("decode", 1, "a100-80gb-sxm")
    assert (decode["scheduling"], decode["tensor_parallel_size"]) == ("sarathi", 2)
    assert decode["max_num_seqs"] == 17
    assert result.manifest["gpus"] == 4
    assert set(result.requests()["state"].to_pylist()) == {"completed"}
    tokens = result.tokens().to_pydict()
    first = [replica for i, replica in zip(tokens["token_index"], tokens["replica"], strict=True) if i == 1]
    later = [replica for i, replica in zip(tokens["token_index"], tokens["replica"], strict=True) if i > 1]
    assert (set(first), set(later)) == ({2}, {2})
    # Llama 3.1 8B: 32 layers of 8 heads of 128 numbers of two bytes, keys and values; all but the last token's
    assert set(result.transfers()["bytes"].to_pylist()) == {499 * 32 * 8 * 128 * 2 * 2}
    # 32 blocks of 16 tokens, keys and values in 32 layers, in two parts, as one GPU sends to two
    assert set(result.transfers()["descriptors"].to_pylist()) == {32 * 2 * 32 * 2}


def test_the_prefill_side_may_give_the_first_token():
    Path("two.toml").write_text(TWO_POOLS)
    decode, prefill = (
        run(Scenario.from_toml(Path("two.toml"), [f"cluster.hand_off.first_token={side}"]))
        for side in ("decode", "prefill")
    )
    tokens = prefill.tokens().to_pydict()
    first = [replica for i, replica in zip(tokens["token_index"], tokens["replica"], strict=True) if i == 1]
    assert set(first) == {0, 1}
    ttft_s = [each.summary()["latency"]["ttft_s"]["p50"] for each in (decode, prefill)]
    took_s = decode.summary()["engine"]["hand_over_s"]["total"]["p50"]
    assert ttft_s[0] - ttft_s[1] == pytest.approx(took_s - decode.manifest["engine"]["frontend_s"], rel=0.01)


def test_the_kind_of_link_and_the_overlap_come_from_the_scenario():
    """499 prompt tokens are 65,404,928 bytes; 50 GB/s take 1.3 ms, Ethernet 5.2 ms, and overlap less."""
    Path("two.toml").write_text(TWO_POOLS)
    lasted_s, kv_bytes = {}, 499 * 131_072
    free = [f"cluster.link.{key}=0" for key in ("setup_s", "descriptor_s")]
    free += ["cluster.link.achieved_share=1", "cluster.decode.tensor_parallel_size=1"]
    for kind, overlap in [("infiniband", "after"), ("ethernet", "after"), ("ethernet", "layerwise")]:
        changes = [*free, f"cluster.link.kind={kind}", f"cluster.hand_off.overlap={overlap}"]
        result = run(Scenario.from_toml(Path("two.toml"), changes))
        transfers = result.transfers().to_pydict()
        assert transfers["request_id"][0] == 0
        lasted_s[kind, overlap] = transfers["end_s"][0] - transfers["connected_s"][0]
    assert lasted_s["infiniband", "after"] == pytest.approx(20e-6 + kv_bytes / 50e9)
    assert lasted_s["ethernet", "after"] == pytest.approx(100e-6 + kv_bytes / 12.5e9)
    assert lasted_s["ethernet", "layerwise"] == pytest.approx(kv_bytes / 32 / 12.5e9, rel=0.7)


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ([], [True, True]),
        (["cluster.decode.tensor_parallel_size=4"], [True, False]),
        (["hardware.node_link=ethernet"], [False, False]),
        (["hardware.gpus_per_node=8"], [False, False]),
        (["cluster.link.kind=pcie"], [False, True]),  # vllm_v1 swaps nothing, sarathi may
        (["cluster.link.kind=pcie", "engine.swap_space=0"], [False, False]),
        (["cluster.decode.scheduling=muxwise"], [True, False]),
    ],
)
def test_steps_share_the_wires_that_they_use(changes, shared):
    Path("two.toml").write_text(TWO_POOLS)
    nodes = [
        "engine.tensor_parallel_size=8",
        "cluster.decode.tensor_parallel_size=8",
        "hardware.gpus_per_node=4",
    ]
    scenario = Scenario.from_toml(Path("two.toml"), [*nodes, *changes])
    found = deploy(scenario, resolve_pools(scenario))
    assert [pool.on_wires_s is not None for pool in found.pools] == shared


def test_a_hand_off_beside_all_reduces_between_nodes_takes_longer_and_so_do_they(tmp_path):
    """A prompt is computed while the one before is sent; the same link under another name is another link."""
    (tmp_path / "other.toml").write_text(
        (Path(hardware_profiles.__file__).parent / "links/infiniband.toml").read_text()
    )
    burst = ["workload.requests=6", "workload.rate_rps=50", "workload.prompt_tokens=4000"]
    burst += ["cluster.link.setup_s=0", "cluster.link.descriptor_s=0", "cluster.hand_off.routing_s=0"]
    nodes = [f"{part}.tensor_parallel_size=8" for part in ("engine", "cluster.decode")]
    nodes += ["cluster.prefill.replicas=1", "hardware.gpus_per_node=4"]
    Path("two.toml").write_text(TWO_POOLS)
    lasted_s = []
    for kind in ("infiniband", str(tmp_path / "other.toml")):
        result = run(Scenario.from_toml(Path("two.toml"), [*burst, *nodes, f"cluster.link.kind={kind}"]))
        moves, steps = result.transfers().to_pydict(), result.steps().to_pydict()
        took_s = [end - begun for begun, end in zip(moves["connected_s"], moves["end_s"], strict=True)]
        busy_s = [end - begun for begun, end in zip(steps["start_s"], steps["end_s"], strict=True)]
        lasted_s.append((max(took_s), max(busy_s)))
        said = [
            each
            for each in result.manifest["engine"]["model_remarks"]
            if "steps and KV transfers share" in each
        ]
        assert len(said) == (kind == "infiniband")
    shared, apart = lasted_s
    assert shared[0] > apart[0]
    assert shared[1] > apart[1]


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (
            '[cluster.link]\nkind = "infinband"\n[cluster.prefill]\n[cluster.decode]\n',
            "cluster.link.kind: unknown link 'infinband': expected one of ethernet, infiniband",
        ),
        ("[cluster.prefill]\n", "cluster.decode: missing; expected beside cluster.prefill"),
        ("[cluster.decode]\n", "cluster.prefill: missing; expected beside cluster.decode"),
        (
            "[cluster]\nreplicas = 3\n[cluster.prefill]\n[cluster.decode]\n",
            "cluster.replicas: given together with cluster.prefill; expected cluster.prefill.replicas",
        ),
        (
            '[cluster.faults]\nevents = [{kind = "crash", replica = 1, at_s = 1.0, for_s = 1.0}]\n',
            "cluster.faults.events: there is no replica 1; expected a number from 0 to 0",
        ),
        (
            '[cluster.prefill]\ngpu = "h1OO-80gb-sxm"\n[cluster.decode]\n',
            "did you mean 'h100-80gb-sxm'",
        ),
        (
            "[cluster.prefill]\nreplicas = 0\n[cluster.decode]\n",
            "cluster.prefill.replicas: expected a number >= 1",
        ),
        (
            '[cluster.prefill]\n[cluster.decode]\nscheduling = "vllm_v2"\n',
            "cluster.prefill/decode.scheduling: no policy 'vllm_v2'",
        ),
        ('[cluster.hand_off]\nwhen_full = "drop"\n', "cluster.hand_off.when_full"),
        (
            '[policy]\nroles = "by_load"\n',
            "policy.roles: 'by_load' in a cluster whose replicas all do the same",
        ),
        (
            '[cluster.faults]\nevents = [{kind = "crash", replica = 0, for_s = 1.0}]\n',
            "cluster.faults.events.0.at_s: missing",
        ),
        ("[cluster.link]\nbandwidth_gb_s = 0\n", "cluster.link.bandwidth_gb_s: expected a number > 0, got 0"),
    ],
)
def test_a_wrong_cluster_is_one_sentence(capsys, toml, message):
    Path("s.toml").write_text('[workload]\ntrace = "t.csv"\n' + toml)
    assert message in refusal(capsys, "run", "s.toml", "--no-plot")


def test_the_parts_of_hand_overs_are_the_same_at_every_trace_level_and_read_back(tmp_path):
    Path("two.toml").write_text(TWO_POOLS)
    found = []
    for level in ("tokens", "steps", "requests", "summary"):
        result = run(Scenario.from_toml(Path("two.toml"), [f"run.trace_level={level}"]))
        found.append(result.summary()["engine"]["hand_over_s"])
        result.save(tmp_path / level)
        found.append(Result.load(tmp_path / level).summary()["engine"]["hand_over_s"])
    assert all(each == found[0] for each in found)
    parts = {name: part["mean"] for name, part in found[0].items()}
    assert sum(parts.values()) == pytest.approx(2 * parts["total"])


@pytest.mark.parametrize("delivery", ["immediate", "batched"])
def test_the_last_part_of_a_hand_over_ends_with_the_token_that_the_client_has(delivery):
    Path("two.toml").write_text(TWO_POOLS)
    result = run(Scenario.from_toml(Path("two.toml"), [f"policy.delivery={delivery}"]))
    moves, requests = result.transfers().to_pydict(), result.requests().to_pydict()
    first_s = [requests["first_token_s"][request] for request in moves["request_id"]]
    assert moves["delivered_s"] == first_s


def test_a_prompt_of_5000_tokens_is_handed_over_as_fast_as_was_measured():
    """Llama 3.1 8B on H100 over InfiniBand at 400 Gbit/s: vLLM with NIXL takes 200 to 260 ms under load."""
    scenario = Scenario(
        workload={
            "arrivals": "constant", "rate_rps": 1, "requests": 5, "prompt_tokens": 5000, "output_tokens": 100,
        },
        cluster={"prefill": {}, "decode": {}},
    )  # fmt: skip
    parts = {name: part["p50"] for name, part in run(scenario).summary()["engine"]["hand_over_s"].items()}
    assert 0.06 < parts["total"] < 0.25
    assert parts["transfer"] == pytest.approx(
        0.0028 + 313 * 64 * 2.74e-6 + 4999 * 131_072 / 42.25e9, rel=0.001
    )
    assert parts["decode_step"] > 0
    assert parts["routing"] == pytest.approx(0.073)
