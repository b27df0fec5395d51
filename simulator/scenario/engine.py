"""One serving engine of a scenario: the hardware it runs on and its limits; and what all sections are."""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from simulator.workload.ranges import Positive, Seconds

Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
# That true is 1 and 2.0 is 2 in Python makes neither a number of GPUs
Gpus = Annotated[
    Literal[1, 2, 4, 8], BeforeValidator(lambda given: given if type(given) is int else repr(given))
]
AtLeastOne = Annotated[int, Field(ge=1, le=10**9)]
Watts = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Gib = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of a scenario: frozen, strictly typed, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


SPELLED_OUT = {"spelled_out": True}  # context of a dump that has every key


def without_unset(written: dict[str, Any], info: SerializationInfo, *names: str) -> dict[str, Any]:
    """Return a section as it was written before it had these keys, where they are unset; unless ``SPELLED_OUT``."""
    if info.context == SPELLED_OUT:
        return written
    return {key: value for key, value in written.items() if value is not None or key not in names}


class Hardware(Section):
    """Which GPU runs which model."""

    gpu: str = Field("h100-80gb-sxm", description="see: servesim list gpus")
    model: str = Field(
        "llama-3.1-8b", description="see: servesim list models; or path to a Hugging Face config.json"
    )
    cost_model: Literal["auto", "analytic", "tabulated"] = Field(
        "auto",
        description="a formula, measured tables, or (auto) tables where there are some for this hardware",
    )
    overheads: str | None = Field(
        None,
        description="what the engine adds to the kernels, as named in the GPU's profile; unset: by engine.profile",
    )
    gpus_per_node: Annotated[int, Field(ge=1, le=1024)] = Field(
        8, description="GPUs that a node has; an engine of more spreads over several"
    )
    node_link: str = Field(
        "infiniband",
        description="what nodes are connected by, a port for each GPU: a shipped link (infiniband, ethernet,"
        " roce-mooncake), or the path of a profile; shared with KV transfers if cluster.link.kind is the same",
    )
    quantization: Literal["fp8", "fp8_block", "int8", "int4", "mxfp4", "nvfp4"] | None = Field(
        None,
        description="of the checkpoint's weights, all matrices of its layers alike; unset: as the model's config"
        " says, module by module",
    )
    power_cap_w: Watts | None = Field(
        None,
        description="most watts that a GPU may draw, on average over a step; unset: the board's own limit",
    )
    usd_per_kwh: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="price of electricity: with it a run says what its GPUs draw; unset: it does not"
    )

    @model_serializer(mode="wrap")
    def _brief(self, whole: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        return without_unset(whole(self), info, "power_cap_w", "usd_per_kwh")


class KvTierSpec(Section):
    """One tier of a replica, or of all."""

    kind: Literal["host", "disk", "shared"]
    capacity_gib: Gib
    read_gb_s: Positive | None = None  # GB/s (10^9 bytes) of a replica; host: the GPUs' links to it
    write_gb_s: Positive | None = None  # as read_gb_s
    latency_s: Seconds = 0.0
    common_link: bool = True  # shared: replicas share the rates, too


class KvOffloadingSpec(Section):
    """Where KV is kept beyond the GPU, and by which rules."""

    tiers: Annotated[list[KvTierSpec], Field(max_length=3)] = Field(
        default_factory=list,
        description='next to the GPU first, such as [{kind = "host", capacity_gib = 64.0}]; kinds host, disk, shared',
    )
    write_policy: Literal["write_through", "write_back", "on_eviction"] = Field(
        "write_through",
        description="all tiers when computed; or the first then, others when the one above evicts; or each only then"
        " (SGLang's write_back)",
    )
    replacement: Literal["lru", "oracle"] = Field(
        "lru", description="what a full tier evicts: least recently used, or (a bound) used again last"
    )
    fetch: Literal["always", "cheaper"] = Field(
        "always", description="what a tier has, or only where that takes less time than to compute it again"
    )
    load: Literal["before_step", "layerwise"] = Field(
        "before_step",
        description="the step that a request begins in waits for its KV, or computes beside, by layer",
    )
    prefetch: bool = Field(
        False, description="bring what lower tiers have to the first one while a request waits"
    )
    writes_in_step: bool = Field(
        False, description="a step ends when the first tier has what it computed, as with LMCache"
    )
    chunk_size: AtLeastOne = Field(
        256, description="tokens stored and found together, whole KV blocks; LMCache's default"
    )


class EngineSpec(Section):
    """Which engine serves, and the KV cache and limits of one of it, under vLLM's names."""

    profile: str = Field(
        "vllm-0.24",
        description="see: servesim list engines; or the path of a profile; native: the one that the policy is"
        " named after",
    )
    dtype: Literal["auto", "half", "float16", "bfloat16"] = Field(
        "auto",
        description="of what is not quantised; each has 16 bits, and a float32 checkpoint is served so",
    )
    quantization: (
        Literal[
            "fp8", "fbgemm_fp8", "compressed-tensors", "modelopt", "modelopt_fp4", "gptq", "gptq_marlin", "awq",
            "awq_marlin", "auto-round", "bitsandbytes", "mxfp4",
        ]
        | None
    ) = Field(
        None,
        description="what the engine is told to load: the checkpoint's own method, or fp8 or bitsandbytes made of"
        " 16-bit weights; unset: as the checkpoint is",
    )  # fmt: skip
    kv_cache_dtype: Literal["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = Field(
        "auto", description="of a value in the KV cache; auto: what the checkpoint asks for, else 16 bits"
    )
    block_size: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        None, description="tokens in a KV block; unset: the engine's default, 16 or SGLang's 1"
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = Field(
        None,
        description="share of the GPU's memory that the engine may use; TensorRT-LLM: of what the weights leave;"
        " SGLang: of weights and KV cache; unset: 0.9, or SGLang's by GPU",
    )
    sampler: Literal["pytorch", "flashinfer"] | None = Field(
        None,
        description="whose working memory is kept free; unset: that of the vLLM that the policy is named after, or"
        " of the engine",
    )
    cuda_graphs_gib: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = Field(
        None, description="GiB kept free for CUDA graphs; unset: the engine's, 0.4 for vLLM from 0.21 on"
    )
    max_num_seqs: AtLeastOne | None = Field(
        None, description="requests running at once; unset: the engine's default, vLLM's for the GPU"
    )
    max_num_batched_tokens: AtLeastOne | None = Field(
        None,
        description="tokens computed in a step; unset: the engine's default, more if prompts must be whole",
    )
    num_gpu_blocks: AtLeastOne | None = Field(None, description="KV blocks; unset: computed from the memory")
    max_model_len: AtLeastOne | None = Field(
        None, description="longest sequence in tokens; unset: the model's own, cut to what the KV cache holds"
    )
    tensor_parallel_size: Gpus = Field(1, description="GPUs that an engine spreads over")
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="stages that an engine's layers are spread over, each on tensor_parallel_size GPUs"
    )
    pp_layer_partition: list[AtLeastOne] | None = Field(
        None, description="layers of each stage (VLLM_PP_LAYER_PARTITION); unset: divided as vLLM does"
    )
    data_parallel_size: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="ranks of a replica, each with its own requests, seats and KV cache: in step with experts, replicas"
        " of their own without",
    )
    enable_expert_parallel: bool = Field(
        False, description="experts whole on one GPU each, spread over tensor- and data-parallel ranks"
    )
    swap_space: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] = Field(
        4.0, description="GiB of host memory a GPU, for policies that swap KV blocks out"
    )
    stop_tokens: bool = Field(
        False,
        description="answers below max_tokens end by a stop token, which an engine that plans ahead sees a step late;"
        " else at a length known beforehand, as in load tests that ignore it",
    )
    step_jitter: Annotated[float, Field(ge=0, le=3, allow_inf_nan=False)] = Field(
        0.0,
        description="how much steps vary: the standard deviation of a log-normal factor with mean 1; 0: not",
    )
    frontend_ms_per_request: Annotated[float, Field(ge=0, le=1e5, allow_inf_nan=False)] = Field(
        0.0,
        description="ms in which an API server reads a request, alone; a replica has one, which all its requests share",
    )
    strict_engine: bool = Field(
        False, description="do what the engine does even where that hangs, for requests that can never fit"
    )
    kv_offloading: KvOffloadingSpec = KvOffloadingSpec.model_construct()
