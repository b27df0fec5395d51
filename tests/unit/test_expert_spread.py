"""Experts from a scenario: captured counts, copies and their memory, and what is refused in a sentence."""

import pytest

from simulator import InputError, Scenario, run
from simulator.scenario.run import ready
from simulator.scenario.toml import write

MOE = {"gpu": "h100-80gb-sxm", "model": "qwen3-30b-a3b"}
TWO = {"data_parallel_size": 2, "enable_expert_parallel": True}
TP2 = {"tensor_parallel_size": 2}
ZIPF = {"name": "zipf", "exponent": 1.0}


def scenario(engine=TWO, hardware=MOE, **policy):
    return Scenario(
        hardware=hardware, engine=engine, policy=policy, cluster={"replicas": 1},
        workload={"trace": "azure2023_conv", "limit": 40},
    )  # fmt: skip


def pool(engine=TWO, **policy):
    return ready(scenario(engine, **policy))[1][0]


@pytest.fixture
def counts(tmp_path):
    def write_(*lines):
        file = tmp_path / "counts.csv"
        file.write_text("\n".join(lines) + "\n")
        return {"name": "counts", "path": str(file)}

    return write_


def test_copies_take_memory_of_the_kv_cache():
    eplb = {"name": "eplb", "num_redundant_experts": 16}
    without, copied = pool(expert_load=ZIPF), pool(expert_load=ZIPF, expert_placement=eplb)
    more = copied.capacity.weight_bytes / without.capacity.weight_bytes
    assert 1.1 < more < 144 / 128  # all but attention and embedding
    assert copied.capacity.kv_bytes == pytest.approx(
        without.capacity.kv_bytes - (copied.capacity.weight_bytes - without.capacity.weight_bytes)
    )


def test_most_of_a_gpu_decides_a_large_pass_and_balance_helps():
    def experts_s(**policy):
        return pool({**TWO, "data_parallel_size": 8}, **policy).cost.experts_s(8000, 1000)

    even, uneven = experts_s(), experts_s(expert_load=ZIPF)
    balanced = experts_s(expert_load=ZIPF, expert_placement={"name": "eplb", "num_redundant_experts": 32})
    assert even < balanced < uneven


def test_experts_in_slices_are_read_as_they_are_picked():
    even, uneven = pool(TP2), pool(TP2, expert_load=ZIPF)
    assert uneven.cost.kind == even.cost.kind == "tabulated"
    assert uneven.cost.other_kernels_s(32, 32) < even.cost.other_kernels_s(32, 32)
    whole = pool({**TP2, "enable_expert_parallel": True}, expert_load=ZIPF)
    assert whole.lockstep == 1
    assert whole.cost.spread.imbalance > 1


def test_captured_counts_are_the_load(counts):
    given = counts("# of one run", ", ".join(["30"] * 64 + ["10"] * 64))
    result = run(scenario(expert_load=given))
    assert "the most loaded GPU has 1.50 times the mean" in str(result.manifest["engine"]["model_remarks"])
    assert Scenario.model_validate(result.manifest["scenario"]) == scenario(expert_load=given)
    assert f'path = "{given["path"]}"' in write(scenario(expert_load=given))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "has no counts; expected a line for each layer"),
        (["1 2 x"], r"line 1: expected a count >= 0, got 'x'"),
        (["# that", "1 -2"], "line 2: expected a count >= 0, got '-2'"),
        (["nan 2"], "expected a count >= 0"),
        (["0 0"], "line 1: expected a count above 0, got none"),
        (["1 2 3"], "line 1: expected 128 counts, one an expert, got 3"),
        (["1 " * 128] * 3, "expected 1 line or 48, one a layer with experts, got 3"),
        (["1 " + "0 " * 127], "8 above 0"),
    ],
)
def test_counts_of_something_else_are_refused(counts, lines, says):
    with pytest.raises(InputError, match=says) as refused:
        pool(expert_load=counts(*lines))
    assert str(refused.value).startswith("policy.expert_load: ")


@pytest.mark.parametrize(
    ("engine", "policy", "says"),
    [
        ({}, {"expert_placement": "eplb"}, "policy.expert_placement: GPUs hold whole experts only where"),
        (TWO, {"expert_placement": {"name": "eplb", "num_redundant_experts": 3}}, "128 experts and 3 copies"),
        (
            {**TP2, "enable_expert_parallel": True, "pipeline_parallel_size": 2},
            {"expert_load": ZIPF},
            "policy.expert_load: not simulated with whole experts in several stages",
        ),
    ],
)  # fmt: skip
def test_what_is_not_simulated_is_refused(engine, policy, says):
    with pytest.raises(InputError, match=says):
        pool(engine, **policy)


def test_a_dense_model_has_no_experts():
    with pytest.raises(InputError, match="has no experts, or of several kinds; expected 'even'"):
        ready(scenario({}, {"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"}, expert_load=ZIPF))


class Lost:
    """Holds the first expert in each place."""

    def place(self, load, gpus):
        return load.argsort().reshape(gpus, -1) * 0


class Flat:
    """Forgets the layers."""

    def shares(self, layers, experts, rng):
        return [1.0] * experts


def test_wrong_answers_of_own_policies_are_named():
    with pytest.raises(
        InputError,
        match=r"test_expert_spread.py: line \d+: Lost.place returned an array of shape .*each of 128 at",
    ):
        pool(expert_placement=Lost)
    with pytest.raises(InputError, match=r"Flat.shares returned .*; expected 48 x 128 finite numbers"):
        pool(expert_load=Flat)
