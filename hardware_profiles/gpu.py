"""A GPU as the simulator sees it: data sheet, price, engine defaults, fitted cost coefficients.

One TOML file a GPU (``gpus/*.toml``); every block states its source, licence and date. A user's own
GPU is a file of the same form, given by path.
"""

import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from hardware_profiles.files import read_toml, shipped_names, shipped_path, unknown, validate

GIB = 2**30


class _Block(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Sourced(_Block):
    """What every block carries: where its values come from, under which licence, and when."""

    source: str
    licence: str
    date: datetime.date


class DataSheet(_Sourced):
    """Peaks as published (dense, no sparsity) and the memory that CUDA reports on a real card."""

    peak_bf16_tflops: float = Field(gt=0)
    memory_bandwidth_tb_per_s: float = Field(gt=0)
    memory_total_gib: float = Field(gt=0)


class Price(_Sourced):
    """On-demand list price of one GPU; copy the profile and edit it for your own contract."""

    usd_per_hour: float = Field(ge=0)


class EngineDefaults(_Sourced):
    """What the vLLM API server sets on this GPU when the user sets nothing."""

    engine_version: str
    default_max_num_batched_tokens: int = Field(ge=1)
    default_max_num_seqs: int = Field(ge=1)


class FitError(_Block):
    """Mean absolute error of the kernel fit in %, per kind of step, and the worst row over ``grid``."""

    grid: str
    remark: str
    prefill_pct: float = Field(ge=0)
    prefill_after_prior_context_pct: float = Field(ge=0)
    decode_pct: float = Field(ge=0)
    mixed_pct: float = Field(ge=0)
    worst_pct: float = Field(ge=0)


class MeasuredRange(_Block):
    """The grid that the fit was scored on; a step beyond it is an extrapolation."""

    max_prefill_tokens: int = Field(ge=1)
    max_decode_seqs: int = Field(ge=1)
    min_decode_context_tokens: int = Field(ge=0)
    max_decode_context_tokens: int = Field(ge=1)


class KernelFit(_Sourced):
    """Coefficients of the compact cost model (``hardware_profiles.analytic`` quotes the formula)."""

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
    elementwise_passes: float = Field(ge=0)  # activations read or written, per token and layer
    error: FitError
    measured_range: MeasuredRange


class EngineOverheads(_Sourced):
    """From kernel sums to a real engine: step = kernel_factor·kernel + step_ms + per_sequence_ms·sequences.

    ``frontend_s`` (API server, tokeniser, network) and ``first_token_extra_steps`` (asynchronous
    scheduling has one step already dispatched) belong to the time to first token, not to a step.
    """

    engine_version: str
    kernel_factor: float = Field(gt=0)
    step_ms: float = Field(ge=0)
    per_sequence_ms: float = Field(ge=0)
    frontend_s: float = Field(ge=0)
    first_token_extra_steps: int = Field(ge=0)
    remark: str


class MemoryReserve(_Sourced):
    """Memory that is neither weights, activations nor KV cache, per GPU."""

    engine_version: str
    context_gib: float = Field(ge=0)
    tensor_parallel_gib: float = Field(ge=0)  # communication buffers, only with more than one GPU
    cuda_graphs_gib: float = Field(ge=0)
    remark: str


class Gpu(_Block):
    """One GPU profile; ``validated`` says how far its predictions were checked against real servers."""

    name: str
    description: str
    validated: str
    datasheet: DataSheet
    price: Price
    engine_defaults: EngineDefaults
    kernel_fit: KernelFit
    engine_overheads: EngineOverheads
    memory_reserve: MemoryReserve

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

    @property
    def frontend_s(self) -> float:
        """Constant part of the time to first token outside the engine's steps, in seconds."""
        return self.engine_overheads.frontend_s


def list_gpus() -> list[str]:
    """Return the names of the shipped GPU profiles, sorted."""
    return shipped_names("gpus")


def load_gpu(name_or_path: str, base_dir: Path | None = None) -> Gpu:
    """Return a shipped GPU by name, or the profile in a TOML file (relative to ``base_dir``).

    Raises InputError for an unknown name (with the nearest one) and for a malformed file (with the key).
    """
    path = shipped_path("gpus", name_or_path)
    if name_or_path not in list_gpus():
        path = (base_dir or Path()) / name_or_path
        if not name_or_path.endswith(".toml"):
            raise unknown("gpu", name_or_path, list_gpus(), "the path of a GPU profile (.toml)")
    return validate(Gpu, read_toml(path), str(path))
