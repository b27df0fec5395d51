"""From a deployment to the parts of a simulation: price of a step, limits, scheduling policy.

The kernels come from the hardware profile. What an engine adds to them (a factor, milliseconds per step and
per sequence, the front end) belongs to the engine and its version: named blocks of the GPU's profile.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from experiments.validation.rows import ClosedLoopRow, Deployment
from hardware_profiles import (
    Gpu,
    HardwareCost,
    Model,
    TabulatedCost,
    find_table,
    kv_capacity,
    list_models,
    load_gpu,
    load_model,
    native_rules,
    step_cost,
)
from hardware_profiles.expert_parallel import RanksCost, rank_model
from hardware_profiles.gpu import EngineOverheads
from hardware_profiles.kv_capacity import Sampler
from hardware_profiles.quantisation.scheme import UNIFORM
from policies.scheduling.orca import Orca
from policies.scheduling.sglang import Sglang
from policies.scheduling.vllm_v1 import VllmV1
from simulator.errors import InputError
from simulator.policy import Scheduler
from simulator.replica.limits import Limits
from simulator.studies.calibration.served import Server

# In which an API server of GPUStack's test beds reads a request: medians of 10 and 4 bursts (``fit_front_end``). Of
# TensorRT-LLM there is one (5.2 ms), and its factor on A100 was fitted without.
READ_S = {"vllm": 5.1e-3, "sglang": 0.9e-3, "trtllm": 0.0}


@dataclass(frozen=True)
class Engine:
    """How an engine of a set is stood for: its overheads, its scheduler, and limits unlike the GPU's."""

    overheads: str  # the block of the GPU's profile
    asynchronous: bool  # plans a step while the one before still runs
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    kv_share_of_free: float | None = None  # of the memory that weights and activations leave; None: as vLLM
    cuda_graphs_gib: float | None = None  # subtracted from the memory; None: as the GPU's profile says
    prefix_caching: bool = False
    policy: Literal["vllm_v1", "sglang", "orca"] = "vllm_v1"
    mixed_chunk: bool = False  # SGLang's enable_mixed_chunk
    fp8_kv_on: tuple[str, ...] = ()  # GPUs where the KV cache has 8 bits a value if the weights have


def vllm(overheads: str, asynchronous: bool, cuda_graphs_gib: float | None = None) -> Engine:
    """Return vLLM with its defaults."""
    return Engine(overheads, asynchronous, prefix_caching=True, cuda_graphs_gib=cuda_graphs_gib)


def trtllm(overheads: str, policy: Literal["vllm_v1", "orca"]) -> Engine:
    """Return TensorRT-LLM with its defaults: overlapped scheduling, nine tenths of the free memory for KV."""
    return Engine(
        overheads, True, max_num_seqs=2048, max_num_batched_tokens=8192, kv_share_of_free=0.9, policy=policy
    )


def sglang(overheads: str, *, mixed_chunk: bool = False) -> Engine:
    """Return SGLang with overlapped scheduling, and chunks of 8,192 tokens."""
    return Engine(
        overheads,
        True,
        max_num_seqs=2048,
        max_num_batched_tokens=8192,
        policy="sglang",
        mixed_chunk=mixed_chunk,
    )


# TensorRT-LLM computes prompts whole and admits only what fits to its end (GUARANTEED_NO_EVICT, its default),
# as Orca does here. Where requests have lengths of their own, Orca would reserve for the longest of all, so
# vLLM's rules stand for it. The engines of unknown version are InferenceMAX's of October 2025, as its launch
# scripts set them.
ENGINES = {
    ("vllm", "0.11.0"): vllm("vllm-0_12-sync", asynchronous=False),
    ("vllm", "0.12.0"): vllm("vllm-0_12-sync", asynchronous=False),
    ("vllm", "2025-09"): vllm("vllm-0_12-sync", asynchronous=False),
    ("vllm", "0.15.1"): vllm("vllm-0_15-async", asynchronous=True),
    ("vllm", "0.19.0"): vllm("vllm-0_19-async", asynchronous=True, cuda_graphs_gib=0.4),
    ("vllm", "unknown"): Engine(
        "vllm-2025_10",
        True,
        max_num_seqs=512,
        max_num_batched_tokens=8192,
        fp8_kv_on=("b200-sxm",),
    ),
    ("trtllm", "1.0.0rc3"): trtllm("trtllm-1_0", "orca"),
    ("trtllm", "1.2.0rc1"): trtllm("trtllm-1_0", "vllm_v1"),
    ("trtllm", "unknown"): Engine(
        "trtllm-2025_10",
        True,
        max_num_seqs=2048,
        max_num_batched_tokens=16384,
        kv_share_of_free=0.9,
        policy="orca",
        fp8_kv_on=("h200-sxm", "b200-sxm"),
    ),
    ("sglang", "0.5.1.post1"): sglang("sglang-0_5"),
    ("sglang", "0.5.3.post3"): sglang("sglang-0_5"),
    ("sglang", "0.5.6"): sglang("sglang-0_5"),
    # As AIConfigurator's generator sets it
    ("sglang", "0.5.6.post2"): sglang("sglang-0_5", mixed_chunk=True),
}


# vLLM sampled with FlashInfer from 0.11.0 on, where it is a dependency, with PyTorch from 0.11.1 on
# (vllm-project/vllm#26859), and again with FlashInfer as the start-up log of 0.19.0 has it.
_SAMPLES_WITH_PYTORCH = "2025-09", "0.10.2", "0.12.0", "0.13.0", "0.15.1", "0.16.0", "0.17.0", "0.18.0"


def sampler_of(engine: str, version: str) -> Sampler:
    """Return whose memory an engine keeps free for sampling."""
    return "pytorch" if engine == "vllm" and version in _SAMPLES_WITH_PYTORCH else "flashinfer"


def engine_of(deployment: Deployment) -> Engine:
    """Return how a deployment's engine is simulated; InputError if it is not known."""
    key = deployment.engine, deployment.engine_version
    if key not in ENGINES:
        raise InputError(f"{' '.join(key)}: no engine of that name and version is described")
    return ENGINES[key]


class Fp8KvModel(Model):
    """A model that is served with 8 bits a KV value."""

    def kv_bytes_per_token_on(self, tensor_parallel: int) -> int:
        """KV-cache bytes of one token on each of so many GPUs."""
        return super().kv_bytes_per_token_on(tensor_parallel) // 2


def model_of(deployment: Deployment) -> Model:
    """Return the deployment's model, with the weights and the KV cache it is served in."""
    weights = deployment.weights
    if weights == "bf16":
        return load_model(deployment.model)
    if weights not in ("fp8", "fp8_block", "nvfp4"):
        raise InputError(f"weights of kind {weights} are not described")
    named = f"{deployment.model}-{weights}"
    model = load_model(named if named in list_models() else deployment.model)
    kind = Fp8KvModel if deployment.gpu in engine_of(deployment).fp8_kv_on else Model
    fields = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
    return kind(**fields | {"quantization": UNIFORM[weights]})


def server_of(
    deployment: Deployment,
    *,
    overheads: EngineOverheads | None = None,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
    num_gpu_blocks: int | None = None,
    max_prefill_tokens: int | None = None,
) -> Server:
    """Return the server of a deployment, by default with its engine's own overheads and limits (of each rank).

    Raises InputError where the profiles do not describe it (model, tensor parallel, overheads).
    """
    engine = engine_of(deployment)
    gpu, model, tp = load_gpu(deployment.gpu), model_of(deployment), deployment.tensor_parallel
    chosen = overheads or overheads_of(gpu, engine)
    seqs = max_num_seqs or engine.max_num_seqs or gpu.default_max_num_seqs
    tokens = max_num_batched_tokens or engine.max_num_batched_tokens or gpu.default_max_num_batched_tokens
    ranks = deployment.ranks
    held = model if ranks == 1 else rank_model(model, ranks, tp)
    sampler = sampler_of(deployment.engine, deployment.engine_version)
    blocks = num_gpu_blocks or _blocks(engine, gpu, held, tp, tokens, seqs, sampler)
    block_size = 16
    if engine.policy == "sglang":
        blocks, block_size = blocks * block_size, 1
    limits = Limits(
        seqs, tokens, min(model.max_position_embeddings, (blocks - 1) * block_size), blocks, block_size
    )
    rules = native_rules(scheduler_of(engine))
    cost = (
        _cost(gpu, model, tp, chosen) if ranks == 1 else RanksCost(gpu, model, ranks, "tabulated", tp, chosen)
    )
    return Server(
        cost, limits, lambda: scheduler_of(engine, max_prefill_tokens), chosen.frontend_s, rules, ranks
    )


def closed_loop_server(row: ClosedLoopRow, overheads: EngineOverheads | None = None) -> Server:
    """Return the server of a closed loop, with what its source set."""
    return server_of(
        row.deployment,
        overheads=overheads,
        max_num_batched_tokens=row.max_num_batched_tokens,
        max_prefill_tokens=row.max_prefill_tokens,
    )


def scheduler_of(engine: Engine, max_prefill_tokens: int | None = None) -> Scheduler:
    """Return a new policy. No two prompts are alike where SGLang was measured, so its radix cache is off."""
    if engine.policy == "orca":
        return Orca()
    if engine.policy == "sglang":
        return Sglang(
            disable_radix_cache=True,
            enable_mixed_chunk=engine.mixed_chunk,
            max_prefill_tokens=max_prefill_tokens or Sglang.max_prefill_tokens,
        )
    return VllmV1(
        engine_version="0.24.0" if engine.asynchronous else "0.11.0",
        enable_prefix_caching=engine.prefix_caching,
    )


def _cost(gpu: Gpu, model: Model, tp: int, overheads: EngineOverheads) -> HardwareCost:
    """Return the price of steps; where the KV cache has 8 bits, half of what a table adds with the context."""
    table = find_table(gpu, model, tp, overheads) if isinstance(model, Fp8KvModel) else None
    if table is None:
        return step_cost(gpu, model, tensor_parallel=tp, overheads=overheads)
    attention = table.attention.copy()  # new tokens, prior tokens, sequences, context, ms
    for seqs in set(attention[attention[:, 0] == 0, 2]):
        rows = (attention[:, 0] == 0) & (attention[:, 2] == seqs)
        least_ms = attention[rows, 4].min()
        attention[rows, 4] = least_ms + (attention[rows, 4] - least_ms) / 2
    halved = dataclasses.replace(table, attention=attention)
    return TabulatedCost(gpu, model, halved, tp, overheads)


def _blocks(engine: Engine, gpu: Gpu, model: Model, tp: int, tokens: int, seqs: int, sampler: Sampler) -> int:
    """Return the KV blocks that the engine would make: a share of all memory, or of what is left."""
    if engine.kv_share_of_free is None:
        sampled = seqs
    else:
        sampled = min(seqs, gpu.default_max_num_seqs)  # does not reserve for all of its many seats at once
    capacity = kv_capacity(
        gpu,
        model,
        max_num_batched_tokens=tokens,
        max_num_seqs=sampled,
        tensor_parallel=tp,
        cuda_graphs_gib=engine.cuda_graphs_gib,
        sampler=sampler,
    )
    if engine.kv_share_of_free is None:
        return capacity.num_blocks
    free = capacity.memory_bytes - capacity.weight_bytes - capacity.reserve_bytes
    return int(engine.kv_share_of_free * free) // (capacity.block_size * capacity.kv_bytes_per_token)


def overheads_of(gpu: Gpu, engine: Engine) -> EngineOverheads:
    """Return an engine's overheads on a GPU, or where none were fitted, those of one that runs alike."""
    if engine.overheads in gpu.engine_overheads:
        return gpu.overheads(engine.overheads)
    return gpu.overheads(asynchronous=engine.asynchronous)
