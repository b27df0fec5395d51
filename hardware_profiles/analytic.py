"""The compact cost model: how long a step takes, from a data sheet, a model shape and a dozen coefficients.

    kernels = L·τL + [ (W/(ηm·BW))^p + (F/(ηc·PF))^p ]^(1/p)        linear layers, F = 2·P·N FLOP
            + max( 2hV/(ηm·BW), 2hV·S/(ηc·PF) )                     lm_head on the S sequences that sample
            + passes·N·L·h·2 bytes/BW                               whatever else grows with N: norms, rotary
            + 2·L·(all-reduce of N·h values)                        only with tensor parallelism
            + max( 4·H·d·L·Σ(n·prior + n²/2)/(ηa·PF),               prefill attention: arithmetic,
                   KV bytes per token·Σ(n + prior)/(ηkv·BW),        reading its past once,
                   L·tW·Σ(n + prior) )                              or one block walking along its past
            + KV bytes per token·Σcontext/(ηkv·BW)·m                decode attention
            + L·(cs·S + [the step has prefill]·(tA + tB·2·entries·Σ(n·prior + n²/2)/(Σ(n + prior))²))
    step    = kernel_factor·kernels + step overhead + per-sequence overhead·S + [prefill]·prefill-step overhead
            + swapped blocks over the host link

N = tokens and S = sequences in the step, P = parameters that work on a token, W = bytes of the weights that
are read, PF and BW = data-sheet peaks; P, W, H, V and KV bytes are one GPU's share. With a mixture of experts
P counts the active ones and W those that N tokens are expected to reach, E·(1 - (1 - k/E)^N), if each picks k
of E evenly. 8 and 4 bit weights shorten W, and use the data sheet's peak for them where there is one, at the
efficiencies of 16 bits (not fitted). m is 1 for a step of decodes alone, else ``packing_loss_factor``.

The soft maximum (p-norm) of compute and memory time was chosen over the hard maximum (errors of 2 to 6 %)
and the plain sum (3 to 12 %). tB stands for what the tables have on prompts without a past and not on later
chunks. ``passes`` is above the true number of passes: it also takes the part of the matrix time that does
not hide behind the reading of weights.
"""

from math import inf

import numpy as np

from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.model import Model
from hardware_profiles.step_cost import SATURATING_DECODES, HardwareCost, all_reduce_s, packing_loss_factor
from simulator.replica.cost import DecodePiece, StepShape

# Passes over whole activations that every GPU makes: norms and residuals. The rest is divided. Chosen on the
# tables of 2 to 8 GPUs: prefill within 2 to 7 % and decode within 2 to 7 % of them on average.
_UNDIVIDED_PASSES = 15.0
_MEMO = 65_536  # largest key of the two memos, to bound them


def _passes(passes: float, tensor_parallel: int) -> float:
    """Return a GPU's share of the passes over activations."""
    undivided = min(passes, _UNDIVIDED_PASSES)
    return undivided + (passes - undivided) / tensor_parallel


class AnalyticCost(HardwareCost):
    """The formula above, with every constant precomputed in seconds and engine overheads multiplied in."""

    kind = "analytic"

    def __init__(
        self,
        gpu: Gpu,
        model: Model,
        tensor_parallel: int = 1,
        overheads: EngineOverheads | None = None,
        block_size: int = 16,
    ) -> None:
        super().__init__(gpu, model, tensor_parallel, overheads, block_size)
        fit, engine = gpu.kernel_fit, self.overheads
        a = engine.kernel_factor
        layers, hidden = model.num_hidden_layers, model.hidden_size
        bandwidth = gpu.bandwidth_bytes_per_s
        peak = {None: None, "fp8": gpu.datasheet.peak_fp8_tflops, "nvfp4": gpu.datasheet.peak_fp4_tflops}
        matrix_peak = (peak[model.quantization] or gpu.datasheet.peak_bf16_tflops) * 1e12
        head_bytes = hidden * model.vocab_size * model.bytes_per_value / tensor_parallel
        head_flop = 2 * hidden * model.vocab_size / tensor_parallel

        self._p = fit.soft_max_exponent
        self._constant_s = a * layers * fit.layer_overhead_us * 1e-6 + engine.step_ms * 1e-3
        self._s_per_weight_byte = a / (tensor_parallel * fit.linear_bandwidth_efficiency * bandwidth)
        self._linear_s_per_token = (
            a * 2 * model.active_linear_parameters
            / (tensor_parallel * fit.linear_compute_efficiency * matrix_peak)
        )  # fmt: skip
        self._elementwise_s_per_token = (
            a
            * _passes(fit.elementwise_passes, tensor_parallel)
            * layers
            * hidden
            * model.bytes_per_value
            / bandwidth
        )
        self._head_read_s = a * head_bytes / (fit.linear_bandwidth_efficiency * bandwidth)
        self._head_s_per_seq = a * head_flop / (fit.linear_compute_efficiency * gpu.peak_flop_per_s)
        self._s_per_seq = (
            a * layers * fit.sequence_overhead_us_per_layer * 1e-6 + engine.per_sequence_ms * 1e-3
        )
        self._s_per_pair = (
            a * 4 * model.num_attention_heads * model.head_dim * layers
            / (tensor_parallel * fit.prefill_attention_efficiency * gpu.peak_flop_per_s)
        )  # fmt: skip
        self._s_per_context_token = a * (
            model.kv_bytes_per_token / (tensor_parallel * fit.kv_read_efficiency * bandwidth)
        )
        self._walk_s = a * layers * fit.prefill_context_ns_per_layer * 1e-9
        self._prefill_s = (
            a * layers * fit.prefill_overhead_us_per_layer * 1e-6 + engine.prefill_step_ms * 1e-3
        )
        self._fresh_s = a * layers * fit.fresh_prompt_overhead_us_per_layer * 2e-6
        self._mixed = packing_loss_factor(gpu, model, np.arange(SATURATING_DECODES + 1)).tolist()
        self._all_reduce_s(1)  # refuses a GPU without one
        self._token_memo: dict[int, float] = {}
        self._decode_memo: dict[int, float] = {}

    @property
    def measured_range(self) -> MeasuredRange | None:
        """The grid that the coefficients were scored on."""
        return self.gpu.kernel_fit.measured_range

    def decode_piece(self, seqs: int, context_tokens: int) -> DecodePiece:
        """Return the line on which steps of so many decodes lie."""
        return 0.0, inf, self._fixed_s(seqs), self._s_per_context_token

    def _fixed_s(self, seqs: int) -> float:
        """Return what a step of so many decodes takes besides reading their contexts."""
        fixed_s = self._decode_memo.get(seqs)
        if fixed_s is None:
            head_s = max(self._head_s_per_seq * seqs, self._head_read_s)
            fixed_s = self._token_s(seqs) + head_s + self._s_per_seq * seqs
            if seqs <= _MEMO:
                self._decode_memo[seqs] = fixed_s
        return fixed_s

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one engine step in seconds, overheads included; 0 if empty."""
        seqs = shape.decode_seqs
        swapped = shape.swap_in_blocks or shape.swap_out_blocks
        if not shape.prefill_seqs:
            if not seqs:
                return self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
            try:
                fixed_s = self._decode_memo[seqs]
            except KeyError:
                fixed_s = self._fixed_s(seqs)
            step_s = fixed_s + self._s_per_context_token * shape.decode_context_tokens
        else:
            entries, pairs, context = (
                shape.prefill_seqs, shape.prefill_attention_pairs, shape.prefill_context_tokens
            )  # fmt: skip
            tokens = seqs + shape.prefill_tokens
            try:
                token_s = self._token_memo[tokens]
            except KeyError:
                token_s = self._token_s(tokens)
                if tokens <= _MEMO:
                    self._token_memo[tokens] = token_s
            attention_s = self._s_per_pair * pairs
            read_s = self._s_per_context_token * context
            if read_s > attention_s:
                attention_s = read_s
            if self._walk_s * context > attention_s:
                attention_s = self._walk_s * context
            head_s = self._head_s_per_seq * (seqs + entries)
            if head_s < self._head_read_s:
                head_s = self._head_read_s
            mixed = self._mixed[seqs] if seqs < SATURATING_DECODES else self._mixed[-1]
            step_s = (
                token_s
                + head_s
                + self._s_per_seq * (seqs + entries)
                + self._prefill_s
                + self._fresh_s * entries * pairs / (context * context)
                + attention_s
                + self._s_per_context_token * shape.decode_context_tokens * mixed
            )
        if swapped:
            step_s += self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
        return step_s

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step, engine overheads included."""
        head_s = max(self._head_s_per_seq * seqs, self._head_read_s)
        return self._token_s(tokens) + head_s + self._s_per_seq * seqs

    def _token_s(self, tokens: int) -> float:
        """Return the part that depends only on N, the step's constant overheads included."""
        read_s = self._s_per_weight_byte * self.model.weight_bytes_read(tokens)
        compute_s = self._linear_s_per_token * tokens
        linear_s: float = (read_s**self._p + compute_s**self._p) ** (1 / self._p)
        return (
            self._constant_s + linear_s + self._elementwise_s_per_token * tokens + self._all_reduce_s(tokens)
        )

    def _all_reduce_s(self, tokens: int) -> float:
        model = self.model
        if self.tensor_parallel == 1:
            return 0.0
        size = np.array([tokens * model.hidden_size * model.bytes_per_value])
        one_s = float(all_reduce_s(self.gpu, size, self.tensor_parallel)[0])
        return self.overheads.kernel_factor * 2 * model.num_hidden_layers * one_s
