"""Prefill and decode replicas: who computes what, what travels when, and what happens without room."""

from pathlib import Path

import numpy as np
import pytest

from policies.roles.by_load import ByLoad
from policies.scheduling.orca import Orca
from policies.scheduling.sarathi import Sarathi
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator import Scenario, run
from simulator.replica.limits import Limits
from simulator.replica.request import RequestState
from tests.cluster_cases import KV_BYTES
from tests.refusals import folder, refusal
from tests.small_clusters import (
    ROOMY,
    apart,
    places,
    serve,
    synchronous,
    tight,
    times,
    traffic,
    transfers,
    used_blocks,
)

__all__ = ["folder"]

FULL = (tight(6), tight(3))  # three requests of 8 + 4 tokens at the prefill replica, one where they decode


def full(when_full, **more):
    return apart(limits=FULL, speed=8, when_full=when_full, **more)


# The way of a request


@pytest.mark.parametrize("policy", [synchronous, VllmV1, Sglang, Sarathi])
def test_the_first_token_is_computed_on_one_side_and_the_others_on_the_other(policy):
    """A prompt of 20 tokens at 10 tokens/s, half a second after its end."""
    outcome = serve(traffic([0], [20], [3]), apart(policies=(policy, policy), latency_s=0.5))
    assert times(outcome, 0) == [1.0, 4.5, 5.5]
    assert places(outcome, 0) == [0, 1, 1]
    assert transfers(outcome) == [(0, 0, 1, 1.0, 3.5, 20.0, True)]
    requests = outcome.tables.requests
    assert requests["first_token_s"].tolist() == [1.0]
    assert requests["replica"].tolist() == [1]
    assert requests["state"].tolist() == [RequestState.COMPLETED]


def test_the_source_holds_the_blocks_until_the_last_byte_is_there():
    moments = [0.5, 1.01, 3.49, 3.51]
    seen = used_blocks(traffic([0], [20], [3]), apart(limits=(tight(9), tight(9)), latency_s=0.5), 0, moments)
    assert seen == [5, 5, 5, 0]


def test_blocks_are_set_aside_before_the_first_byte_is_sent():
    moments = [0.99, 1.01, 3.49, 3.51, 4.6, 5.6]
    seen = used_blocks(traffic([0], [20], [3]), apart(limits=(tight(9), tight(9)), latency_s=0.5), 1, moments)
    assert seen == [0, 5, 5, 6, 6, 0]


@pytest.mark.parametrize(
    ("prefill", "decode", "arrived_s"),
    [(1, 1, [5.5, 7.5]), (1, 2, [5.5, 7.5]), (2, 1, [5.5, 7.5]), (2, 2, [3.5, 5.5])],
)
def test_transfers_at_one_port_share_it(prefill, decode, arrived_s):
    """20 and 40 tokens: half of 10 tokens/s each for four seconds, then all of it for the other."""
    outcome = serve(traffic([0, 0], [20, 40], [2, 2]), apart(prefill, decode, latency_s=0.5))
    assert [each[4] for each in transfers(outcome)] == arrived_s


def test_a_prompt_in_chunks_travels_when_all_of_it_is_computed():
    limits = (Limits(64, 8, 4096, 1000, 16), ROOMY)
    outcome = serve(traffic([0], [20], [2]), apart(limits=limits))
    assert times(outcome, 0) == [3.0, 6.0]


def test_a_request_with_one_token_stays():
    outcome = serve(traffic([0, 0], [20, 20], [1, 2]), apart())
    assert times(outcome, 0) == [1.0]
    assert [each[0] for each in transfers(outcome)] == [1]


def test_a_decode_replica_takes_turns_with_those_who_come():
    """The second request joins the steps of the first one after it has come."""
    outcome = serve(traffic([0, 1.5], [10, 10], [5, 3]), apart())
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0, 6.0]
    assert times(outcome, 1) == [2.5, 5.0, 6.0]


def test_each_side_serves_by_its_own_limits():
    """With one seat at the decode replica who comes second waits there, with its blocks."""
    limits = (tight(20), tight(20, seqs=1))
    outcome = serve(traffic([0, 0], [10, 10], [3, 3]), apart(limits=limits))
    assert times(outcome, 0) == [1.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 6.0, 7.0]


# No room at the decode replica


def test_wait_is_first_come_first_served():
    outcome = serve(traffic([0, 0, 0], [8, 8, 8], [4, 4, 4]), full("wait"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 7.0, 8.0, 9.0]
    assert times(outcome, 2) == [1.0, 11.0, 12.0, 13.0]
    assert outcome.tables.requests["preemptions"].tolist() == [0, 0, 0]
    assert [each[3:5] for each in transfers(outcome)] == [(1.0, 2.0), (1.0, 6.0), (1.0, 10.0)]


def test_who_waits_holds_the_source():
    requests = traffic([0, 0, 0], [8, 8, 8], [4, 4, 4])
    assert used_blocks(requests, full("wait"), 0, [1.5, 4.9, 5.9, 6.1, 9.9, 10.1]) == [6, 4, 4, 2, 2, 0]


def test_prompts_stall_when_those_who_wait_fill_the_prefill_replica():
    outcome = serve(traffic([0, 0, 0, 1.5, 3.5], [8] * 5, [4] * 5), full("wait"))
    assert times(outcome, 3)[0] == 3.0  # at 2.0 the first one's blocks were free
    assert times(outcome, 4)[0] == 7.0  # at 6.0 the second one's


def test_recompute_computes_the_prompt_again_where_it_decodes():
    outcome = serve(traffic([0, 0], [8, 8], [4, 4]), full("recompute"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 6.0, 7.0, 8.0]
    assert places(outcome, 1) == [0, 1, 1, 1]
    steps = outcome.tables.steps
    there = steps["replica"] == 1
    assert steps["prefill_tokens"][there].tolist() == [0, 0, 0, 9, 0, 0]  # the prompt and its first token
    assert [each[0] for each in transfers(outcome)] == [0]
    assert used_blocks(traffic([0, 0], [8, 8], [4, 4]), full("recompute"), 0, [0.5, 1.5, 2.5]) == [4, 2, 0]


def test_colocate_decodes_at_the_prefill_replica():
    outcome = serve(traffic([0, 0], [8, 8], [4, 4]), full("colocate"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 5.0]
    assert times(outcome, 1) == [1.0, 2.0, 3.0, 4.0]
    assert places(outcome, 1) == [0] * 4


def test_evict_preempts_who_decodes():
    """The second one's prompt is done at 3.5; the step at 4.0 is the first that can do without the first."""
    outcome = serve(traffic([0, 2.5], [8, 8], [4, 4]), full("evict"))
    assert times(outcome, 0) == [1.0, 3.0, 4.0, 9.0]
    assert times(outcome, 1) == [3.5, 6.0, 7.0, 8.0]
    assert outcome.tables.requests["preemptions"].tolist() == [1, 0]


def test_what_can_never_fit_there_fails_with_its_first_token():
    """Orca sets blocks aside for all that may come: 12 + 8 tokens, and there is room for 16."""
    outcome = serve(
        traffic([0, 0], [12, 2], [8, 8]), apart(limits=FULL, policies=(synchronous, Orca), speed=8)
    )
    requests = outcome.tables.requests
    assert requests["state"].tolist() == [RequestState.FAILED, RequestState.COMPLETED]
    assert requests["delivered_tokens"].tolist() == [1, 8]
    assert requests["end_s"][0] == 1.0


# Layer by layer


@pytest.mark.parametrize(
    ("speed", "layers", "second_token_s"),
    [
        # 32 tokens in a step of one second: as fast as 32 tokens/s they are made
        (64, 0, 2.5),
        (64, 4, 2.125),  # only the last layer is left: 8 tokens
        (256, 4, 2.03125),
        (32, 4, 2.25),  # the bound: above it the last layer alone is not hidden
        (16, 4, 3.25),  # below it, three quarters of the step at full speed are saved: 1 + 2 - 0.75
        (8, 4, 5.25),
        (64, 32, 2.015625),
        (64, 1, 2.5),  # one layer is there when the step ends
    ],
)
def test_layers_travel_while_the_next_are_computed(speed, layers, second_token_s):
    outcome = serve(traffic([0], [32], [2]), apart(speed=speed, layers=layers))
    assert times(outcome, 0) == [1.0, second_token_s]
    assert transfers(outcome)[0][5] == 32.0


def test_no_layer_is_sent_before_it_is_computed():
    """However fast the link: 8 tokens a quarter of a second, each a quarter late."""
    sent = []
    looks = dict.fromkeys(
        [0.2, 0.375, 0.5, 0.75, 0.99],
        lambda cluster: sent.append(cluster.courier.fabric.sent_bytes / KV_BYTES),
    )
    serve(traffic([0], [32], [2]), apart(speed=1024, layers=4), looks)
    assert sent == pytest.approx([0, 4, 8, 16, 23.68])


def test_the_latency_is_waited_for_once():
    """Three layers at 32 tokens/s from 0.5 on, not 0.25: 16 tokens are left at the end of the step."""
    outcome = serve(traffic([0], [32], [2]), apart(speed=64, layers=4, latency_s=0.25))
    assert times(outcome, 0) == [1.0, 2.25]


def test_of_a_prompt_in_chunks_all_is_sent_in_the_last_step():
    limits = (Limits(64, 16, 4096, 1000, 16), ROOMY)
    outcome = serve(traffic([0], [32], [2]), apart(limits=limits, speed=64, layers=4))
    assert times(outcome, 0) == [2.0, 3.125]


def test_layers_have_to_wait_for_room_too():
    with_layers = serve(traffic([0, 0], [8, 8], [4, 4]), full("wait", layers=4))
    assert times(with_layers, 0) == [1.0, 2.25, 3.25, 4.25]
    assert times(with_layers, 1) == [1.0, 6.25, 7.25, 8.25]  # from 4.25 on, when the prompt is long computed


# Prefix caches


def test_the_prefill_side_finds_prefixes():
    def caching():
        return VllmV1(async_scheduling=False, enable_prefix_caching=True)

    requests = traffic(
        [0, 20], [40, 40], [3, 3], segments=[[(7, 32), (1, 8)], [(7, 32), (2, 8)]], output_stream=[11, 12]
    )
    outcome = serve(requests, apart(policies=(caching, caching)))
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 0].tolist() == [40, 8]
    assert outcome.prefix_hits[0] == 32
    assert [each[5] for each in transfers(outcome)] == [40, 40]  # all of it is sent all the same


def test_the_decode_side_finds_what_it_was_sent():
    """The first one's KV was sent there; the second one's prompt, computed again there, begins alike."""

    def caching():
        return VllmV1(async_scheduling=False, enable_prefix_caching=True)

    requests = traffic(
        [0, 0.5], [8, 8], [6, 4], segments=[[(7, 4), (1, 4)], [(7, 4), (2, 4)]], output_stream=[11, 12]
    )
    limits = (tight(6), tight(4))
    outcome = serve(
        requests, apart(limits=limits, policies=(caching, caching), when_full="recompute", speed=8)
    )
    assert places(outcome, 1) == [0, 1, 1, 1]
    steps = outcome.tables.steps
    assert steps["prefill_tokens"][steps["replica"] == 1].sum() == 5  # of nine tokens four are there


# Roles


class Switch:
    """Changes the side of one replica at the first look."""

    def __init__(self, replica, interval_s=2.25):
        self.replica, self.interval_s = replica, interval_s

    def switch(self, prefill, decode, now_s):
        found = [each for each in (*prefill, *decode) if each.index == self.replica]
        self.replica = None
        return found[0] if found else None


def test_a_decode_replica_that_becomes_a_prefill_replica_takes_prompts_and_ends_what_it_has():
    requests = traffic([0, 0, 3, 3], [10] * 4, [5] * 4)
    before = serve(requests, apart(1, 2))
    assert {places(before, i)[0] for i in range(4)} == {0}
    after = serve(requests, apart(1, 2, roles=Switch(2)))
    assert [places(after, i) for i in range(4)] == [
        [0, 1, 1, 1, 1],
        [0, 2, 2, 2, 2],  # decoded there before
        [2, 1, 1, 1, 1],
        [0, 1, 1, 1, 1],
    ]


def test_a_prefill_replica_that_becomes_a_decode_replica_may_keep_what_it_has():
    """The router may name the replica where the request already is; then nothing travels."""
    requests = traffic([0, 2], [10] * 2, [1, 3])
    outcome = serve(requests, apart(2, 1, roles=Switch(1)))
    assert places(outcome, 1) == [1, 1, 1]
    assert times(outcome, 1) == [3.0, 4.0, 5.0]
    assert transfers(outcome) == []


def test_the_last_of_a_side_keeps_its_role():
    requests = traffic([0, 3], [10] * 2, [3] * 2)
    for replica in (0, 1):
        outcome = serve(requests, apart(1, 1, roles=Switch(replica)))
        assert [places(outcome, i) for i in range(2)] == [[0, 1, 1]] * 2


def test_by_load_lends_a_decode_replica_to_a_flood_of_prompts():
    n = 40
    limits = (Limits(64, 64, 4096, 10_000, 16), ROOMY)
    requests = traffic(np.arange(n) * 0.3, [64] * n, [4] * n)
    roles = ByLoad(interval_s=1.3, prefill_tokens=200, cooldown_s=1000.0)
    fixed = serve(requests, apart(1, 3, limits=limits, speed=1000))
    lent = serve(requests, apart(1, 3, limits=limits, speed=1000, roles=roles))
    assert {places(fixed, i)[0] for i in range(n)} == {0}
    assert len({places(lent, i)[0] for i in range(n)}) == 2
    assert lent.tables.requests["first_token_s"].max() < 0.7 * fixed.tables.requests["first_token_s"].max()


# Scenarios

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
    assert (set(first), set(later)) == ({0, 1}, {2})
    # Llama 3.1 8B: 32 layers of 8 heads of 128 numbers of two bytes, keys and values
    assert set(result.transfers()["bytes"].to_pylist()) == {500 * 32 * 8 * 128 * 2 * 2}


def test_the_kind_of_link_and_the_overlap_come_from_the_scenario():
    """500 prompt tokens are 65,536,000 bytes; 50 GB/s take 1.3 ms, Ethernet 5.2 ms, and overlap less."""
    Path("two.toml").write_text(TWO_POOLS)
    lasted_s = {}
    for kind, overlap in [("infiniband", "after"), ("ethernet", "after"), ("ethernet", "layerwise")]:
        changes = [f"cluster.link.kind={kind}", f"cluster.hand_off.overlap={overlap}"]
        result = run(Scenario.from_toml(Path("two.toml"), changes))
        transfers, requests = result.transfers().to_pydict(), result.requests().to_pydict()
        first_s = requests["first_token_s"][0] - result.manifest["engine"]["frontend_s"]
        assert transfers["request_id"][0] == 0
        lasted_s[kind, overlap] = transfers["end_s"][0] - first_s
    assert lasted_s["infiniband", "after"] == pytest.approx(20e-6 + 65_536_000 / 50e9)
    assert lasted_s["ethernet", "after"] == pytest.approx(100e-6 + 65_536_000 / 12.5e9)
    assert lasted_s["ethernet", "layerwise"] == pytest.approx(65_536_000 / 32 / 12.5e9, rel=0.7)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
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


def test_evict_spares_whoever_is_about_to_end():
    """A victim whose last token is under way would be computed again for nothing; its blocks are free soon."""
    from simulator.replica.transfers import BlockRequest
    from simulator.testing import new_engine, new_job

    books = new_engine(Limits(4, 64, 64, 8, 4))
    ending, going, coming = new_job(0, 0.0, 8, 1, 9), new_job(1, 0.0, 8, 9, 9), new_job(2, 0.0, 20, 9, 9)
    for job in (going, ending):
        books.submit(job)
    books.open(0.0)
    assert books.admit(going, 8)
    assert books.admit(ending, 8)
    completing = books.advance()  # the step is under way: one more is planned before it ends
    assert list(completing) == [ending]
    coming.generated, coming.computed = 1, 20
    books.transfers.request(BlockRequest(coming, True, lambda job: None))
    books.open(1.0)
    assert books.preempted == [going]
    assert ending in books.running
    assert coming in books.transfers.reserved
