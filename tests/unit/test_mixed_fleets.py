"""A fleet of unlike replicas, from the scenario to its bill."""

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.cluster.deployment import Deployment, Pool
from simulator.cluster.mixed import MixedPools
from simulator.cluster.simulate import assemble
from simulator.errors import InputError
from simulator.replica.limits import Limits
from simulator.replica.offer import Offer
from simulator.replica.request import Request
from simulator.scenario.discover import discover
from simulator.scenario.scenario import default_scenario
from simulator.testing import new_job
from tests.engine_cases import native
from tests.small_clusters import SECOND, First, synchronous, traffic

POOLS = {
    "small": {"gpu": "a100-80gb-sxm", "model": "llama-3.1-8b", "replicas": 2},
    "large": {
        "gpu": "h100-80gb-sxm",
        "model": "qwen3-32b",
        "tensor_parallel_size": 2,
        "usd_per_gpu_hour": 5.0,
    },
}
TRAFFIC = {"arrivals": "poisson", "rate_rps": 4.0, "duration_s": 12.0}
LENGTHS = {"prompt_tokens": 200, "output_tokens": 20}
SIMPLE = {**TRAFFIC, **LENGTHS}


def scenario(pools=POOLS, workload=SIMPLE, **others):
    others.setdefault("policy", {"routing": "least_loaded"})
    return Scenario(cluster={"pools": pools}, workload=workload, **others)


def classes(**models):
    found = {
        name: {"share": 1 / len(models), **LENGTHS, **({"model": model} if model else {})}
        for name, model in models.items()
    }
    return {**TRAFFIC, "classes": found}


@pytest.mark.parametrize(
    "given", [["cluster.pools.a.gpu=l40s", "cluster.pools.b.replicas=2"], ["cluster.pools={a={}}"]]
)
def test_pools_stand_in_place_of_the_replicas_that_no_file_names(given):
    assert default_scenario(given).cluster.pools


def test_each_pool_has_its_own_gpu_model_and_price():
    result = run(scenario())
    summary, pools = result.summary(), result.manifest["pools"]
    assert [(each["name"], each["gpu"], each["model"]) for each in pools] == [
        ("small", "a100-80gb-sxm", "llama-3.1-8b"),
        ("large", "h100-80gb-sxm", "qwen3-32b"),
    ]
    hours = summary["window"]["duration_s"] / 3600
    found = summary["pools"]
    assert found["large"]["cost"]["usd"] == pytest.approx(2 * 5.0 * hours)
    assert sum(each["cost"]["usd"] for each in found.values()) == pytest.approx(summary["cost"]["usd"])
    assert sum(each["requests"] for each in found.values()) == summary["states"]["arrived"]
    parts = [each["throughput"]["output_tokens"] for each in found.values()]
    assert sum(parts) == summary["throughput"]["output_tokens"]
    assert found["small"]["latency"]["tbt_s"]["p50"] != found["large"]["latency"]["tbt_s"]["p50"]


@pytest.mark.parametrize("routing", discover("routing"))
def test_every_router_serves_a_mixed_fleet(routing):
    known = {
        "small": {"quality": 0.6, "usd_per_request": 0.01},
        "large": {"quality": 0.8, "usd_per_request": 0.1},
    }
    pools = {name: pool | known[name] for name, pool in POOLS.items()}
    result = run(scenario(pools, classes(ask="qwen3-32b", any=None), policy={"routing": routing}))
    requests = result.requests().to_pydict()
    assert set(requests["state"]) == {"completed"}
    asked = np.array(requests["model"]) == 0
    assert 0 < asked.sum() < len(asked)
    assert (np.array(requests["replica"])[asked] == 2).all()


def test_one_pool_of_that_name_is_the_cluster_without_pools():
    alone = Scenario(cluster={"replicas": 2}, workload=SIMPLE, policy={"routing": "least_loaded"})
    one, other = run(alone), run(scenario({"only": {"replicas": 2}}))
    for name, column in one.request_columns.items():
        assert column.tobytes() == other.request_columns[name].tobytes(), name


def test_a_prompt_goes_where_it_fits():
    pools = {"short": {"num_gpu_blocks": 20}, "long": {}}
    result = run(scenario(pools, {**TRAFFIC, "prompt_tokens": 1000, "output_tokens": 5}))
    assert set(result.requests()["replica"].to_pylist()) == {1}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"cluster": {"pools": {}}}, "cluster.pools: '' found; expected tables with names"),
        ({"cluster": {"pools": {"a b": {}}}}, "cluster.pools: 'a b' found"),
        ({"cluster": {"pools": POOLS, "replicas": 3}}, "cluster.replicas: given together with cluster.pools"),
        ({"cluster": {"pools": POOLS, "prefill": {}, "decode": {}}}, "pools: given together with cluster.prefill"),
        ({"cluster": {"pools": {"a": {"quality": 1.5}}}}, "cluster.pools.a.quality"),
        ({"cluster": {"pools": {"a": {"models": "x"}}}}, "cluster.pools.a.models: unknown key"),
        ({"cluster": {"pools": POOLS}, "policy": {"migration": "llumnix"}}, "'llumnix' with cluster.pools"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tables, said):
    with pytest.raises(InputError) as error:
        Scenario(**tables)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_no_pool_serves_is_refused():
    with pytest.raises(InputError) as error:
        run(scenario(workload=classes(ask="gpt-9", any=None)))
    assert "asks for model 'gpt-9', which no pool serves; expected one of llama-3.1-8b, qwen3-32b" in str(
        error.value
    )


def test_a_fault_in_a_pool_names_it():
    with pytest.raises(InputError, match=r"^cluster\.pools\.large: hardware\.model: "):
        run(scenario(POOLS | {"large": {"model": "llama-3.1-405b"}}))


def test_a_trace_names_the_models_and_an_empty_cell_leaves_it_to_the_router(tmp_path):
    trace = tmp_path / "asked.csv"
    rows = [f"{i}.0,100,5,{['qwen3-32b', '', 'llama-3.1-8b'][i % 3]}" for i in range(9)]
    trace.write_text("\n".join(["arrival_s,prompt_tokens,output_tokens,model", *rows]) + "\n")
    requests = run(scenario(workload={"trace": str(trace)})).requests().to_pydict()
    assert requests["model"] == [0, -1, 1] * 3
    assert {requests["replica"][i] for i in (0, 3, 6)} == {2}
    assert {requests["replica"][i] for i in (2, 5, 8)} <= {0, 1}


def test_a_pool_is_open_to_what_its_longest_sequence_and_its_blocks_hold():
    """Of 50 tokens one is left for the answer; ten blocks of four are 40 tokens, and a block is never handed out."""
    pools = [
        Pool(
            synchronous,
            SECOND,
            Limits(9, 100, 50, blocks, 4),
            1,
            rules=native(synchronous),
            offer=Offer(name, name),
        )
        for name, blocks in (("long", 100), ("small", 11))
    ]
    assert [(pool.rules.overrun_tokens, pool.rules.null_blocks) for pool in pools] == [(0, 1)] * 2
    requests = traffic([0], [8], [2], optional={"model": np.array([-1])}, model_names=("long", "small"))
    cluster = assemble(requests, Deployment(pools, First()))
    mixed = MixedPools(requests, cluster.deployment, cluster.replicas)
    request = Request(0, 0.0, 8, 2)
    found = {known: mixed.pools_for(request, known) for known in (40, 41, 49, 50)}
    assert found == {40: {0, 1}, 41: {0}, 49: {0}, 50: set()}
    job = new_job(0, prompt_tokens=8)
    assert list(mixed.open_to(job, cluster.replicas)) == cluster.replicas
    mixed.begin(job, cluster.replicas[1])
    assert list(mixed.open_to(job, cluster.replicas)) == cluster.replicas[1:]  # another model may not go on
