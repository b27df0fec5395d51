"""What the analytic and the tabulated cost model have in common: overheads, swapping, domain guard."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.model import Model
from simulator.arrays import Flags, Floats
from simulator.errors import InputError
from simulator.replica.cost import StepShape

TENSOR_PARALLEL = (1, 2, 4, 8)
SATURATING_DECODES = 128  # beyond as many, a prefill in the batch slows decode attention no further


class HardwareCost(ABC):
    """Step times of ``model`` on ``tensor_parallel`` GPUs; a ``simulator.replica.cost.CostModel``.

    A pure function of the step's shape: equal shapes give equal floats, whatever was asked before.
    ``overheads`` are the GPU's for an asynchronous engine unless given; ``block_size`` prices swapping.
    Raises InputError where the GPU or the model cannot be run like that.
    """

    kind: str  # as in a scenario's hardware.cost_model

    def __init__(
        self,
        gpu: Gpu,
        model: Model,
        tensor_parallel: int = 1,
        overheads: EngineOverheads | None = None,
        block_size: int = 16,
    ) -> None:
        if tensor_parallel not in TENSOR_PARALLEL:
            raise InputError(f"tensor_parallel = {tensor_parallel}: expected 1, 2, 4 or 8")
        self.gpu = gpu
        self.model = model
        self.tensor_parallel = tensor_parallel
        self.overheads = gpu.overheads() if overheads is None else overheads
        with_experts = (n for part, n in model.parts.items() if any(each.is_expert for each in part.matrices))
        launch_ms = sum(with_experts) * self.overheads.expert_layer_launch_ms
        self.least_prompt_s = 1e-3 * launch_ms  # of a step with prompts
        # Every GPU moves its share of a block over its own link.
        self.swap_s_per_block = (
            block_size
            * model.kv_bytes_per_token_on(tensor_parallel)
            / (gpu.host_link.bandwidth_gb_per_s * 1e9)
        )

    @abstractmethod
    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one engine step in seconds, overheads included; 0 if empty."""

    def busiest_s(self, shape: StepShape) -> float:
        """Return the seconds after which another step can be done: its own, or those of a pipeline's slowest stage."""
        return self.step_s(shape)

    def swaps_s(self, shape: StepShape) -> tuple[float, float]:
        """Return the seconds of a step in which KV blocks leave over the link to the host, and come over it."""
        return self.swap_s_per_block * shape.swap_out_blocks, self.swap_s_per_block * shape.swap_in_blocks

    @abstractmethod
    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step, engine overheads included."""

    @property
    @abstractmethod
    def measured_range(self) -> MeasuredRange | None:
        """The steps that the model was measured or scored on; None: no step was."""

    def kernel_s(self, shape: StepShape) -> float:
        """Return the sum of the GPU kernels of a step in seconds, without engine overheads or swapping."""
        seqs = shape.prefill_seqs + shape.decode_seqs
        if seqs == 0:
            return 0.0
        engine = self.overheads
        swap_s = self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
        added_s = (engine.step_ms + engine.per_sequence_ms * seqs) * 1e-3 + swap_s
        if shape.prefill_seqs:
            added_s += engine.prefill_step_ms * 1e-3
        return (self.step_s(shape) - added_s) / engine.kernel_factor

    def outside_measured_range(self, columns: Mapping[str, NDArray[Any]]) -> Flags:
        """Return, per step, whether it lies outside ``measured_range``.

        ``columns`` holds equally long arrays ``prefill_tokens``, ``decode_seqs`` and
        ``decode_context_tokens`` (sum over the decoding sequences), one entry a step, and where it is known
        ``prefill_prior_tokens``, the most tokens that a chunk of a prompt had before it. Meant for the table of
        steps after a run: weight by the steps' durations for the share of time spent extrapolating.
        """
        seqs = np.asarray(columns["decode_seqs"])
        prefill = np.asarray(columns["prefill_tokens"])
        context = np.asarray(columns["decode_context_tokens"])
        grid = self.measured_range
        if grid is None:
            return np.asarray(seqs + prefill > 0)
        outside = (
            (prefill > grid.max_prefill_tokens)
            | (seqs > grid.max_decode_seqs)
            | (context < seqs * grid.min_decode_context_tokens)
            | (context > seqs * grid.max_decode_context_tokens)
        )
        if grid.max_prefill_prior_tokens is not None and "prefill_prior_tokens" in columns:
            outside |= np.asarray(columns["prefill_prior_tokens"]) > grid.max_prefill_prior_tokens
        return np.asarray(outside)


def all_reduce_s(gpu: Gpu, size_bytes: NDArray[Any], tensor_parallel: int) -> Floats:
    """Return the seconds of one all-reduce of each size: measured points, linear between and beyond.

    Raises InputError where the GPU's profile has no ``[all_reduce]`` and it takes more than one GPU.
    """
    sizes = np.asarray(size_bytes, dtype=np.float64)
    if tensor_parallel == 1:
        return np.zeros_like(sizes)
    link = gpu.all_reduce
    if link is None:
        raise InputError(f"{gpu.name} has no [all_reduce] in its profile; expected tensor_parallel = 1")
    points_us = {2: link.two_gpus_us, 4: link.four_gpus_us, 8: link.eight_gpus_us}[tensor_parallel]
    known, seconds = np.array(link.size_bytes, dtype=np.float64), np.array(points_us) * 1e-6
    beyond = np.maximum(sizes / known[-1], 1.0)
    return np.asarray(np.interp(sizes, known, seconds) * beyond)


def packing_loss_factor(gpu: Gpu, model: Model, decodes: NDArray[Any]) -> Floats:
    """Return by how much a prefill in the batch slows the attention of so many decodes (1: not at all)."""
    mixed = gpu.mixed_batch
    share = np.minimum(1.0, np.asarray(decodes, dtype=np.float64) / SATURATING_DECODES)
    if mixed is None:
        return np.ones_like(share)
    group = 1.0  # a latent is not packed by heads
    if model.caches and not any(cache.latent for cache in model.caches):
        group = model.num_attention_heads / model.num_key_value_heads
    return np.asarray(1 + (group - 1) * mixed.packing_loss * share**mixed.exponent)
