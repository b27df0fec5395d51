"""The compact cost model: how long a step takes, from a data sheet, a model shape and nine coefficients.

    kernels = L·τL + [ (W/(ηm·BW))^p + (F/(ηc·PF))^p ]^(1/p)        linear layers, W = 2P bytes, F = 2P·N FLOP
            + max( 2hV/(ηm·BW), 2hV·S/(ηc·PF) )                     lm_head on the S sequences that sample
            + passes·N·L·h·2 bytes/BW                               norms, activations, rotary embedding
            + 4·H·d·L·Σ(n·prior + n²/2)/(ηa·PF)                     prefill attention
            + KV bytes per token·Σcontext/(ηkv·BW)                  decode attention
            + L·(cs·S + tA·[the step has prefill])
    step    = kernel_factor·kernels + step overhead + per-sequence overhead·S

N = tokens and S = sequences in the step, P = parameters of the layers' matrices, PF and BW = data-sheet
peaks. The soft maximum (p-norm) of compute and memory time was chosen over the hard maximum (errors of
2 to 6 %) and the plain sum (3 to 12 %). Decode attention beside a prefill is taken as additive, which
under-prices large mixed batches on GPUs whose attention kernel does not pack query groups (A100, L40S).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model
from simulator.cost import StepShape
from simulator.errors import InputError

_MEMO_TOKENS = 65_536  # largest step whose token-dependent part is remembered (bounds the memo)


class AnalyticCost:
    """Step times of ``model`` on one ``gpu``; a ``simulator.cost.CostModel``.

    A pure function of the step's shape: equal shapes give equal floats, whatever was asked before.
    Raises InputError for ``tensor_parallel`` other than 1, whose communication is not modelled.
    """

    def __init__(self, gpu: Gpu, model: Model, tensor_parallel: int = 1) -> None:
        """Precompute every constant of the formula in seconds, with and without the engine's overheads."""
        if tensor_parallel != 1:
            raise InputError(
                f"tensor_parallel = {tensor_parallel} is not supported yet by the analytic cost model;"
                " expected 1"
            )
        self.gpu = gpu
        self.model = model
        fit = gpu.kernel_fit
        layers, hidden = model.num_hidden_layers, model.hidden_size
        width = model.bytes_per_value
        compute = fit.linear_compute_efficiency * gpu.peak_flop_per_s
        bandwidth = fit.linear_bandwidth_efficiency * gpu.bandwidth_bytes_per_s
        head_values = hidden * model.vocab_size

        self._p = fit.soft_max_exponent
        self._step_constant_s = layers * fit.layer_overhead_us * 1e-6
        self._weights_s_to_p = (model.linear_parameters * width / bandwidth) ** self._p
        self._linear_s_per_token = 2 * model.linear_parameters / compute
        self._elementwise_s_per_token = (
            fit.elementwise_passes * layers * hidden * width / gpu.bandwidth_bytes_per_s
        )
        self._lm_head_read_s = head_values * width / bandwidth
        self._lm_head_s_per_seq = 2 * head_values / compute
        self._s_per_pair = (
            4 * model.num_attention_heads * model.head_dim * layers
            / (fit.prefill_attention_efficiency * gpu.peak_flop_per_s)
        )  # fmt: skip
        self._s_per_context_token = model.kv_bytes_per_token / (
            fit.kv_read_efficiency * gpu.bandwidth_bytes_per_s
        )
        self._s_per_seq = layers * fit.sequence_overhead_us_per_layer * 1e-6
        self._prefill_s = layers * fit.prefill_overhead_us_per_layer * 1e-6

        # step_s: the same constants with the engine's overheads multiplied in, so that a step costs one
        # memo look-up and a few multiplications.
        overheads = gpu.engine_overheads
        a = overheads.kernel_factor
        self._kernel_factor = a
        self._engine_step_s = overheads.step_ms * 1e-3
        self._engine_s_per_seq = a * self._s_per_seq + overheads.per_sequence_ms * 1e-3
        self._engine_lm_head_read_s = a * self._lm_head_read_s
        self._engine_lm_head_s_per_seq = a * self._lm_head_s_per_seq
        self._engine_s_per_pair = a * self._s_per_pair
        self._engine_s_per_context_token = a * self._s_per_context_token
        self._engine_prefill_s = a * self._prefill_s
        self._engine_token_s: dict[int, float] = {}

    def kernel_s(self, shape: StepShape) -> float:
        """Return the sum of the GPU kernels of a step in seconds, without engine overheads; 0 if empty."""
        seqs = shape.prefill_seqs + shape.decode_seqs
        if seqs == 0:
            return 0.0
        return (
            self._token_s(shape.prefill_tokens + shape.decode_seqs)
            + max(self._lm_head_read_s, self._lm_head_s_per_seq * seqs)
            + self._s_per_pair * shape.prefill_attention_pairs
            + self._s_per_context_token * shape.decode_context_tokens
            + self._s_per_seq * seqs
            + (self._prefill_s if shape.prefill_seqs else 0.0)
        )

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one engine step in seconds, overheads included; 0 if empty."""
        seqs = shape.decode_seqs
        tokens = seqs
        prefill_s = 0.0
        if shape.prefill_seqs:
            seqs += shape.prefill_seqs
            tokens += shape.prefill_tokens
            prefill_s = self._engine_prefill_s + self._engine_s_per_pair * shape.prefill_attention_pairs
        elif not seqs:
            return 0.0
        try:
            token_s = self._engine_token_s[tokens]
        except KeyError:
            token_s = self._kernel_factor * self._token_s(tokens) + self._engine_step_s
            if tokens <= _MEMO_TOKENS:
                self._engine_token_s[tokens] = token_s
        head_s = self._engine_lm_head_s_per_seq * seqs
        if head_s < self._engine_lm_head_read_s:
            head_s = self._engine_lm_head_read_s
        return (
            token_s
            + head_s
            + self._engine_s_per_seq * seqs
            + self._engine_s_per_context_token * shape.decode_context_tokens
            + prefill_s
        )

    def _token_s(self, tokens: int) -> float:
        """Return the part that depends only on N: layers' constant, linear layers, elementwise kernels."""
        compute_s = self._linear_s_per_token * tokens
        linear_s: float = (self._weights_s_to_p + compute_s**self._p) ** (1 / self._p)
        return self._step_constant_s + linear_s + self._elementwise_s_per_token * tokens

    def outside_measured_range(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return, per step, whether it lies outside the grid that the coefficients were scored on.

        ``columns`` holds equally long arrays ``prefill_tokens``, ``decode_seqs`` and
        ``decode_context_tokens`` (sum over the decoding sequences), one entry a step. Meant for the table of
        steps after a run: weight by the steps' durations for the share of time spent extrapolating.
        """
        grid = self.gpu.kernel_fit.measured_range
        seqs = np.asarray(columns["decode_seqs"])
        context = np.asarray(columns["decode_context_tokens"])
        return np.asarray(
            (np.asarray(columns["prefill_tokens"]) > grid.max_prefill_tokens)
            | (seqs > grid.max_decode_seqs)
            | (context < seqs * grid.min_decode_context_tokens)
            | (context > seqs * grid.max_decode_context_tokens)
        )
