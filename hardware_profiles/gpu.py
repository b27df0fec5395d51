"""A GPU as the simulator sees it: data sheet, price, engine defaults, fitted coefficients, overheads.

One TOML file a GPU (``gpus/*.toml``); every block states its source, licence and date. A user's own
GPU is a file of the same form, given by path. A file may say ``like`` a shipped GPU and give only what differs.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hardware_profiles.derived import filled_in
from hardware_profiles.files import load, profile_path, shipped_names
from hardware_profiles.mixture_kernels import ExpertKernels, LatentKernels
from hardware_profiles.power import PowerDraw
from hardware_profiles.sourced import Profile, Sourced
from simulator.errors import InputError

GIB = 2**30


class DataSheet(Sourced):
    """Peaks as published (dense, no sparsity) and the memory that CUDA reports on a real card."""

    peak_bf16_tflops: float = Field(gt=0)
    # None: weights of that type are unpacked and multiplied in 16 bits
    peak_fp8_tflops: float | None = Field(None, gt=0)
    peak_fp4_tflops: float | None = Field(None, gt=0)
    peak_int8_tops: float | None = Field(None, gt=0)
    compute_capability: float | None = Field(None, gt=0)  # as CUDA has it, by which engines choose kernels
    memory_bandwidth_tb_per_s: float = Field(gt=0)
    memory_total_gib: float = Field(gt=0)


class Price(Sourced):
    """On-demand list price of one GPU; copy the profile and edit it for your own contract."""

    usd_per_hour: float = Field(ge=0)


class EngineDefaults(Sourced):
    """What the vLLM API server sets on this GPU when the user sets nothing."""

    engine_version: str
    default_max_num_batched_tokens: int = Field(ge=1)
    default_max_num_seqs: int = Field(ge=1)


class FitError(Profile):
    """Mean absolute error of the kernel fit in %, per kind of step, and the worst row over ``grid``."""

    grid: str
    remark: str
    prefill_pct: float = Field(ge=0)
    prefill_after_prior_context_pct: float = Field(ge=0)
    decode_pct: float = Field(ge=0)
    mixed_pct: float = Field(ge=0)
    worst_pct: float = Field(ge=0)


class MeasuredRange(Profile):
    """The grid that a cost model was measured or scored on; a step beyond it is an extrapolation."""

    max_prefill_tokens: int = Field(ge=1)
    max_prefill_prior_tokens: int | None = Field(
        default=None, ge=0
    )  # before a prompt's chunk; None: not said
    max_decode_seqs: int = Field(ge=1)
    min_decode_context_tokens: int = Field(ge=0)
    max_decode_context_tokens: int = Field(ge=1)


class KernelFit(Sourced):
    """Coefficients of the compact cost model (``hardware_profiles.analytic`` quotes the formula).

    Without ``error`` and ``measured_range`` the coefficients are another GPU's: every step extrapolates.
    """

    engine_version: str
    fitted_on: str
    layer_overhead_us: float = Field(ge=0)  # τL: per layer and step
    linear_compute_efficiency: float = Field(gt=0, le=1.2)  # ηc: share of peak FLOP/s
    linear_bandwidth_efficiency: float = Field(gt=0, le=1.2)  # ηm: share of peak bandwidth
    soft_max_exponent: float = Field(ge=1)  # p: how sharply memory-bound turns into compute-bound
    prefill_attention_efficiency: float = Field(gt=0, le=1.2)  # ηa
    kv_read_efficiency: float = Field(gt=0, le=1.2)  # ηkv
    sequence_overhead_us_per_layer: float = Field(ge=0)  # cs
    prefill_overhead_us_per_layer: float = Field(ge=0)  # tA
    fresh_prompt_overhead_us_per_layer: float = Field(ge=0)  # tB: fades where a chunk has a long past
    prefill_context_ns_per_layer: float = Field(ge=0)  # tW: one thread block walks past one cached key
    elementwise_passes: float = Field(ge=0)  # activations read or written, per token and layer
    error: FitError | None = None
    measured_range: MeasuredRange | None = None


class KernelShares(Profile):
    """What matrix kernels of one format reach, as shares of the efficiencies of the 16-bit kernels of the GPU."""

    compute: float = Field(gt=0, le=1.5)  # with many tokens: of linear_compute_efficiency
    bandwidth: float = Field(gt=0, le=1.5)  # with few tokens: of linear_bandwidth_efficiency


class QuantisedKernels(Sourced):
    """Measured matrix kernels of quantised weights; formats that are not here have the shares of the nearest."""

    fp8: KernelShares  # a scale a matrix or a channel
    fp8_block: KernelShares | None = None
    nvfp4: KernelShares | None = None
    weight_only: KernelShares | None = None  # unpacked and multiplied in 16 bits


class OperatorTables(Sourced):
    """Where measured operator tables lie: ``tables/<folder>/<model>.tp<n>.csv.gz`` beside this file."""

    folder: str
    engine_version: str
    remark: str


class MixedBatch(Sourced):
    """What decode attention loses beside a prefill where the kernel then stops packing query heads.

    Its time is multiplied by 1 + (G - 1)·packing_loss·min(1, (decodes/128)^exponent), G query heads a KV
    head (FlashAttention 2: Ampere, Ada and consumer Blackwell).
    """

    packing_loss: float = Field(ge=0, le=1)
    exponent: float = Field(ge=0)


class PartOfSms(Sourced):
    """How SMs can be split; a time of which a share x scales takes (1 - x) + x/p times as long on a part p of them."""

    sms: int = Field(ge=2)
    least_sms: int = Field(ge=1)  # of a part
    sms_step: int = Field(ge=1)  # by which a part grows
    fixed_scaling: float = Field(ge=0, le=1)  # of what a step takes whatever is in it
    kv_scaling: float = Field(ge=0, le=1)  # of what decodes take for their contexts
    prompt_scaling: float = Field(ge=0, le=1)  # of what a prompt takes beyond the fixed part
    contention: float = Field(ge=1)  # by which decodes are slower beside prompts, at most
    layer_overhead: float = Field(ge=0)  # by which a prompt is slower that is launched layer by layer
    remark: str


class AllReduce(Sourced):
    """Measured time of one all-reduce by size, for 2, 4 and 8 GPUs; linear between the sizes."""

    size_bytes: list[int] = Field(min_length=2)
    two_gpus_us: list[float]
    four_gpus_us: list[float]
    eight_gpus_us: list[float]


class HostLink(Sourced):
    """The way between GPU and host memory, that swapped KV blocks take."""

    bandwidth_gb_per_s: float = Field(gt=0)


class FittedOn(Profile):
    """What a block of overheads was fitted on; elsewhere it is carried over."""

    gpu: str  # the first part of a profile's name, in capitals
    model: str = ""  # as its source calls it
    gpus: Annotated[list[int], Field(min_length=2, max_length=2)]  # fewest and most a replica

    def __str__(self) -> str:
        fewest, most = self.gpus
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return f"{f'{self.model} on ' if self.model else ''}{count} {self.gpu}"


class EngineOverheads(Sourced):
    """From kernel sums to a real engine: step = kernel_factor·kernel + step_ms + per_sequence_ms·sequences.

    A step with prompts in it takes ``prefill_step_ms`` more: it is not replayed from a CUDA graph, and new
    requests have to be set up. Where its kernels are launched one by one, the CPU takes ``expert_layer_launch_ms``
    for each layer with experts, and the step at least as long as all of them.

    ``frontend_s`` (API server, tokeniser, network) is added to every delivered token. What asynchronous
    scheduling adds to the time to first token is not here: the engine itself plans one step ahead.
    """

    engine_version: str
    asynchronous: bool  # fitted to an engine that plans a step while the one before still runs
    kernel_factor: float = Field(gt=0)
    step_ms: float = Field(ge=0)
    per_sequence_ms: float = Field(ge=0)
    prefill_step_ms: float = Field(0.0, ge=0)
    expert_layer_launch_ms: float = Field(0.0, ge=0)
    short_prompts_dense: bool = False  # where attention is sparse, prompts without more keys than it picks
    frontend_s: float = Field(ge=0)
    fitted_on: FittedOn | None = None  # None: not said
    operator_tables: str | None = None  # folder of its engine's own, which come before the GPU's
    remark: str

    def carried_to(self, gpu: str, gpus: int) -> str | None:
        """Return what it was fitted on, if that is not so many of this GPU; None where it is, or is not said."""
        on = self.fitted_on
        if on is None or (gpu.upper().startswith(on.gpu) and on.gpus[0] <= gpus <= on.gpus[1]):
            return None
        return str(on)


class MemoryReserve(Sourced):
    """Memory that is neither weights, activations nor KV cache, per GPU."""

    engine_version: str
    context_gib: float = Field(ge=0)
    tensor_parallel_gib: float = Field(ge=0)  # communication buffers, only with more than one GPU
    cuda_graphs_gib: float = Field(ge=0)
    remark: str


class Gpu(Profile):
    """One GPU profile; ``validated`` says how far its predictions were checked against real servers."""

    name: str
    description: str
    validated: str
    like: str | None = None  # the GPU whose values stand for all that its own file does not give
    datasheet: DataSheet
    price: Price
    engine_defaults: EngineDefaults
    kernel_fit: KernelFit
    engine_overheads: dict[str, EngineOverheads] = Field(min_length=1)
    memory_reserve: MemoryReserve
    host_link: HostLink
    all_reduce: AllReduce | None = None
    mixed_batch: MixedBatch | None = None
    sm_split: PartOfSms | None = None
    power: PowerDraw | None = None
    quantised_kernels: QuantisedKernels | None = None
    expert_kernels: ExpertKernels | None = None
    latent_kernels: LatentKernels | None = None
    operator_tables: OperatorTables | None = None
    path: Path = Field(Path(), exclude=True)  # of the file it was read from

    @property
    def memory_bytes(self) -> int:
        """Total device memory in bytes as CUDA reports it (less than the marketed size)."""
        return int(self.datasheet.memory_total_gib * GIB)

    @property
    def peak_flop_per_s(self) -> float:
        """Data-sheet dense bf16 peak in FLOP/s."""
        return self.datasheet.peak_bf16_tflops * 1e12

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Data-sheet memory bandwidth in bytes/s."""
        return self.datasheet.memory_bandwidth_tb_per_s * 1e12

    @property
    def usd_per_hour(self) -> float:
        """Price of one GPU in US$ per hour on ``price.date``."""
        return self.price.usd_per_hour

    @property
    def default_max_num_batched_tokens(self) -> int:
        """The vLLM API server's token budget per step on this GPU."""
        return self.engine_defaults.default_max_num_batched_tokens

    @property
    def default_max_num_seqs(self) -> int:
        """The vLLM API server's limit of running sequences on this GPU."""
        return self.engine_defaults.default_max_num_seqs

    def overheads(self, name: str | None = None, *, asynchronous: bool = True) -> EngineOverheads:
        """Return the named overheads, or the first ones of an engine that schedules like that.

        Raises InputError for an unknown name. Where no block schedules like that, the first is taken.
        """
        blocks = self.engine_overheads
        if name is None:
            alike = [block for block in blocks.values() if block.asynchronous == asynchronous]
            return alike[0] if alike else next(iter(blocks.values()))
        if name not in blocks:
            raise InputError(f"'{name}' is not in {self.name}: expected one of {', '.join(blocks)}")
        return blocks[name]


def list_gpus() -> list[str]:
    """Return the names of the shipped GPU profiles, sorted."""
    return shipped_names("gpus")


def load_gpu(name_or_path: str, base_dir: Path | None = None) -> Gpu:
    """Return a shipped GPU by name, or the profile in a TOML file (relative to ``base_dir``).

    Raises InputError for an unknown name (with the nearest one) and for a malformed file (with the key).
    """
    also = "the path of a GPU profile (.toml)"
    path = profile_path("gpus", "gpu", name_or_path, base_dir, list_gpus(), also)
    return load(Gpu, path, filled_in)
