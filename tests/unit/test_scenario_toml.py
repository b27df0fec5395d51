"""What is written of a scenario reads back as that scenario, whatever is in it."""

import tomllib

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.scenario.discover import KINDS, discover
from simulator.scenario.scenario import Scenario
from simulator.scenario.toml import as_toml
from tests.cluster_cases import NEEDS
from tests.examples import examples

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
POSITIVE = st.floats(1e-9, 1e9)
SECONDS = st.floats(0, 1e9)
COUNT = st.integers(1, 10_000)


def table(always=None, **keys):
    """Any of these keys, and those that are always there."""
    return st.fixed_dictionaries(always or {}, optional=keys)


def policies(kind):
    """Any policy of a kind, by name or as a table."""
    tables = {"name": st.sampled_from([name for name in discover(kind) if name not in NEEDS])}
    return tables["name"] | st.fixed_dictionaries(tables)


FAULT = table(
    {
        "kind": st.sampled_from(["crash", "slow", "link"]),
        "at_s": SECONDS,
        "for_s": POSITIVE,
        "replica": st.integers(0, 1),
    },
    factor=st.floats(1, 1e9),
)
FAULTS = table(
    events=st.lists(FAULT, max_size=4), mtbf_s=POSITIVE, repair_s=POSITIVE, retries=st.integers(0, 9)
)
LINK = table(
    kind=st.sampled_from(["nvlink", "infiniband", "ethernet", "pcie"]),
    bandwidth_gb_s=POSITIVE,
    latency_s=SECONDS,
)
POOL = table(
    {"replicas": st.integers(1, 9)},
    gpu=TEXT,
    tensor_parallel_size=st.sampled_from([1, 2, 4, 8]),
    max_num_seqs=COUNT,
    num_gpu_blocks=COUNT,
    scheduling=policies("scheduling"),
)
HAND_OFF = table(
    when_full=st.sampled_from(["wait", "recompute", "colocate", "evict"]), routing=policies("routing")
)
CLUSTER = table(
    {"replicas": st.integers(2, 99)},
    faults=FAULTS,
    link=LINK,
    scaling=table(provision_s=SECONDS, load_s=SECONDS),
) | table({"prefill": POOL, "decode": POOL}, faults=FAULTS, link=LINK, hand_off=HAND_OFF)
POLICY = table(**{kind: policies(kind) for kind in KINDS if kind not in ("roles", "scaling")}) | st.builds(
    lambda ttft_s, token_deadlines: {
        "abandonment": {"name": "missed_slo", "ttft_s": ttft_s, "token_deadlines": token_deadlines},
        "scheduling": {"name": "sglang", "schedule_policy": "lpm", "max_prefill_tokens": 99},
        "delivery": {"name": "jitter", "distribution": "lognormal", "sigma": ttft_s},
    },
    POSITIVE,
    st.booleans(),
)
SHARES = st.sampled_from([[1.0], [0.2, 0.8], [0.25, 0.25, 0.5]])
WORKLOAD = table(
    {"trace": st.just("azure2023_conv") | TEXT},
    limit=COUNT,
    start_s=SECONDS,
    rate_scale=POSITIVE,
    max_tokens=COUNT,
    priorities=SHARES,
    tenants=SHARES,
    patience_s=POSITIVE,
) | table(
    {
        "arrivals": st.sampled_from(["poisson", "constant"]),
        "rate_rps": POSITIVE,
        "requests": COUNT,
        "lengths": TEXT,
    },
    load_points=st.lists(st.lists(st.floats(0, 1e9), min_size=2, max_size=2), min_size=1, max_size=3),
    load_interpolation=st.sampled_from(["steps", "linear"]),
    priorities=SHARES,
    shared_prefixes=COUNT,
    shared_prefix_tokens=COUNT,
    predictor=st.just("perfect"),
)
TABLES = table(
    name=TEXT,
    seed=st.integers(0, 2**63 - 1),
    hardware=table(gpu=TEXT, model=TEXT, overheads=TEXT, quantization=st.sampled_from(["fp8", "nvfp4"])),
    engine=table(
        profile=TEXT,
        block_size=st.integers(1, 65536),
        gpu_memory_utilization=st.floats(0.01, 1),
        max_num_seqs=COUNT,
        swap_space=st.floats(0, 1e6),
        stop_tokens=st.booleans(),
        strict_engine=st.booleans(),
    ),
    cluster=CLUSTER,
    policy=POLICY,
    workload=WORKLOAD,
    user=table(
        v_s_per_token=st.floats(0.001, 10),
        alpha=POSITIVE,
        f=st.sampled_from(["quadratic", "hinge"]),
        f_scale_s=POSITIVE,
        weight_output=st.floats(0, 1e9),
    ),
    slo=table(ttft_s=POSITIVE, tail_tbt=st.sampled_from(["max", "p99"]), tail_tbt_s=POSITIVE),
    run=table(horizon_s=POSITIVE, trim_warmup=st.floats(0, 0.5), trim_cooldown=st.floats(0, 0.49)),
)


def round_trip(scenario):
    return Scenario(**tomllib.loads(scenario.to_toml()))


@given(TABLES)
@settings(max_examples=examples(60))
def test_any_scenario_survives_toml_and_an_empty_change(tables):
    try:
        scenario = Scenario(**tables)
    except InputError:
        assume(False)
    assert round_trip(scenario) == scenario
    assert scenario.with_overrides([]) == scenario


def test_a_list_of_faults_survives_toml():
    events = [
        {"kind": "crash", "replica": 0, "at_s": 1.0, "for_s": 1.0},
        {"kind": "slow", "replica": 1, "at_s": 2.0, "for_s": 1e-7, "factor": 3.0},
    ]
    scenario = Scenario(cluster={"replicas": 2, "faults": {"events": events}})
    assert round_trip(scenario) == scenario
    assert [each["kind"] for each in tomllib.loads(scenario.to_toml())["cluster"]["faults"]["events"]] == [
        "crash",
        "slow",
    ]


def test_what_is_unset_in_a_list_of_tables_is_left_out_of_toml():
    tiers = [{"kind": "host", "capacity_gib": 1.0}, {"kind": "disk", "capacity_gib": 5.0, "latency_s": 1e-3}]
    scenario = Scenario(engine={"kv_offloading": {"tiers": tiers}})
    assert round_trip(scenario) == scenario


def test_parameters_of_a_policy_of_ones_own_survive_toml_in_any_form(tmp_path):
    (tmp_path / "mine.py").write_text(
        """
from dataclasses import dataclass, field
from typing import Any

@dataclass
class Mine:
    shares: dict[str, Any] = field(default_factory=dict)
    rows: list[Any] = field(default_factory=list)

    def route(self, job, replicas, draw):
        return 0
"""
    )
    params = {
        "shares": {"a b": 1.5, "plain": {"": [1, 2]}, 'q"uote.d': "x\ny", "none": {}},
        "rows": [{"a.b": 1}, [{"c": [{}]}], True, "text", 2.0],
    }
    scenario = Scenario(policy={"routing": {"name": str(tmp_path / "mine.py"), **params}})
    assert round_trip(scenario) == scenario
    assert scenario.policy.routing.params == params


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
@settings(max_examples=examples(100))
def test_any_value_is_written_on_one_line_that_reads_back(value):
    line = as_toml(value)
    assert "\n" not in line
    assert tomllib.loads(f"value = {line}") == {"value": value}
