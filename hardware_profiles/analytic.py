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
    step    = kernel_factor·kernels + step overhead + per-sequence overhead·S + [prefill]·prefill-step overhead,
              with prompts at least what launching their kernels takes,
            + swapped blocks over the host link

N = tokens and S = sequences in the step, P = parameters that work on a token, W = bytes of the weights that
are read, PF and BW = data-sheet peaks; P, W, H, V and KV bytes are one GPU's share. With a mixture of experts
P counts the active ones and W those that N tokens are expected to reach, E·(1 - (1 - k/E)^N), if each picks k
of E evenly; ``expert_kernels`` has what else they take. 8 and 4 bit weights shorten W; PF is the data sheet's peak
for what they are multiplied in, and ηc and ηm are times the shares of 16-bit kernels that theirs reach
(``matrix_rates``), format by format; quantising the activations is added to what grows with N. Layers that differ are
priced one by one (``attention_cost`` has windows, latents and sparse attention); L counts half a layer for each
attention, recurrence and MLP, and the terms of attention count the layers that attend. A recurrent layer reads and
writes its state once a sequence and step. m is 1 for a step of decodes alone, else ``packing_loss_factor``.

The soft maximum (p-norm) of compute and memory time was chosen over the hard maximum (errors of 2 to 6 %)
and the plain sum (3 to 12 %). tB stands for what the tables have on prompts without a past and not on later
chunks. ``passes`` is above the true number of passes: it also takes the part of the matrix time that does
not hide behind the reading of weights.
"""

from math import inf

import numpy as np

from hardware_profiles import latent_kernels
from hardware_profiles.attention_cost import AttentionCost
from hardware_profiles.expert_kernels import (
    compute_s_per_token,
    expert_rate,
    more_for_prompts,
    overhead_s,
    sorting_s_per_token,
)
from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.matrix_rates import matrix_rate, quantising_bytes
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
        layers, hidden = model.sublayers / 2, model.hidden_size
        bandwidth = gpu.bandwidth_bytes_per_s
        head_bytes = hidden * model.vocab_size * model.head_bytes_per_value / tensor_parallel
        head_flop = 2 * hidden * model.vocab_size / tensor_parallel

        self._p = fit.soft_max_exponent
        others = layers - latent_kernels.measured_layers(gpu, model) / 2
        self._constant_s = a * others * fit.layer_overhead_us * 1e-6 + engine.step_ms * 1e-3
        self._constant_s += a * (overhead_s(gpu, model) + latent_kernels.overhead_s(gpu, model))
        self._s_per_weight_byte = a / (fit.linear_bandwidth_efficiency * bandwidth)
        self._linear_s_per_token = sum(
            a * 2 * values
            / (fit.linear_compute_efficiency * rate.shares.compute * rate.peak_flop_per_s)
            for weights, values in model.active_by_format(tensor_parallel, of_experts=0.0).items()
            for rate in [matrix_rate(gpu, weights)]
        )  # fmt: skip
        self._experts_s_per_token = a * compute_s_per_token(gpu, model, tensor_parallel)
        dense = fit.linear_bandwidth_efficiency * bandwidth
        self._more_for_prompts = more_for_prompts(gpu, model)
        self._reads = model.read_plan(
            tensor_parallel,
            lambda matrix, weights: (
                dense / expert_rate(gpu, weights).bytes_per_s
                if matrix.is_expert
                else 1 / matrix_rate(gpu, weights).shares.bandwidth
            ),
        )
        self._elementwise_s_per_token = (
            a
            * _passes(fit.elementwise_passes, tensor_parallel)
            * layers
            * hidden
            * model.bytes_per_value
            / bandwidth
        )
        self._elementwise_s_per_token += a * sorting_s_per_token(gpu, model)
        self._elementwise_s_per_token += (
            a
            * model.state_flop_per_token
            / (tensor_parallel * fit.prefill_attention_efficiency * gpu.peak_flop_per_s)
        )
        if model.quantization is not None:
            self._elementwise_s_per_token += a * quantising_bytes(gpu, model, tensor_parallel) / bandwidth
        self._head_read_s = a * head_bytes / (fit.linear_bandwidth_efficiency * bandwidth)
        self._head_s_per_seq = a * head_flop / (fit.linear_compute_efficiency * gpu.peak_flop_per_s)
        read_s_per_byte = a / (fit.kv_read_efficiency * bandwidth)
        # A sequence's recurrent state is read and written once a step.
        self._s_per_seq = (
            a * others * fit.sequence_overhead_us_per_layer * 1e-6
            + a * latent_kernels.sequence_s(gpu, model)
            + engine.per_sequence_ms * 1e-3
            + 2 * read_s_per_byte * model.state_bytes / tensor_parallel
        )
        peak, latent = gpu.peak_flop_per_s, gpu.latent_kernels
        self._expands_up_to = latent_kernels.expands_up_to(gpu, model, engine)
        sparse = latent_kernels.sparse_s_per_token(gpu, model, tensor_parallel)
        self._attention = AttentionCost(
            model, tensor_parallel, fit, peak, bandwidth, a, latent, sparse, self._expands_up_to
        )
        self._s_per_pair = self._attention.s_per_pair
        self._s_per_context_token = self._attention.s_per_context_token
        self._s_per_key_read = self._attention.read_s_per_context_token
        parts = gpu, model, tensor_parallel
        self._s_per_key_expanded = a * latent_kernels.expanded_s_per_key(*parts)
        self._s_per_prior_key = a * latent_kernels.prior_s_per_key(*parts)
        self._limited = self._attention.limited
        attended = model.attention_layers
        self._walk_s = a * attended * fit.prefill_context_ns_per_layer * 1e-9
        self._prefill_s = (
            a * attended * fit.prefill_overhead_us_per_layer * 1e-6 + engine.prefill_step_ms * 1e-3
        )
        self._fresh_s = a * attended * fit.fresh_prompt_overhead_us_per_layer * 2e-6
        self._mixed = packing_loss_factor(gpu, model, np.arange(SATURATING_DECODES + 1)).tolist()
        self._all_reduce_s(1)  # refuses a GPU without one
        self._token_memo: dict[int, float] = {}
        self._decode_memo: dict[int, float] = {}

    @property
    def measured_range(self) -> MeasuredRange | None:
        """The grid that the coefficients were scored on; None for layers of kinds that nothing was scored on."""
        return None if self.unmeasured else self.gpu.kernel_fit.measured_range

    @property
    def unmeasured(self) -> bool:
        """Whether the model has layers of which no step was ever measured: latent, sparse or recurrent ones."""
        caches = self.model.caches
        return bool(self.model.states) or any(cache.latent or cache.most_keys for cache in caches)

    def decode_piece(self, seqs: int, context_tokens: int) -> DecodePiece:
        """Return the line on which steps of so many decodes lie."""
        if not self._limited:
            return 0.0, inf, self._fixed_s(seqs), self._s_per_context_token
        low, high, offset, slope = self._attention.decode_piece(seqs, context_tokens)
        return low, high, self._fixed_s(seqs) + offset, slope

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
            if self._limited:
                _, _, fixed_s, slope = self.decode_piece(seqs, shape.decode_context_tokens)
                step_s = fixed_s + slope * shape.decode_context_tokens
            else:
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
            read_s = self._s_per_key_read * context
            decode_s = self._s_per_context_token * shape.decode_context_tokens
            if self._limited:
                limited = self._attention.limited_prefill_s(shape)
                attention_s += limited[0]
                read_s += limited[1]
                if seqs:
                    _, _, offset, slope = self._attention.decode_piece(seqs, shape.decode_context_tokens)
                    decode_s = offset + slope * shape.decode_context_tokens
            if read_s > attention_s:
                attention_s = read_s
            if self._walk_s * context > attention_s:
                attention_s = self._walk_s * context
            if self._s_per_key_expanded and context <= self._expands_up_to * entries:
                attention_s += self._s_per_key_expanded * shape.prefill_tokens
                attention_s += self._s_per_prior_key * (context - shape.prefill_tokens)
            if self._more_for_prompts:
                attention_s += self._more_for_prompts * (token_s - self._token_s(max(1, seqs)))
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
                + decode_s * mixed
            )
            if step_s < self.least_prompt_s:
                step_s = self.least_prompt_s
        if swapped:
            step_s += self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
        return step_s

    def busy_s(self, shape: StepShape) -> tuple[float, float]:
        """Return for how many seconds of a step memory is read, and for how many arithmetic units compute.

        What hides behind what is in both, overheads and communication are in neither; each at the rates of the fit.
        """
        seqs = shape.decode_seqs + shape.prefill_seqs
        if not seqs:
            return 0.0, 0.0
        tokens, contexts = shape.decode_seqs + shape.prefill_tokens, shape.decode_context_tokens
        memory_s = self._s_per_weight_byte * self._reads.read(tokens) + self._head_read_s
        memory_s += self._elementwise_s_per_token * tokens
        memory_s += self._s_per_key_read * (contexts + shape.prefill_context_tokens)
        compute_s = (
            self._linear_s_per_token + self._experts_s_per_token
        ) * tokens + self._head_s_per_seq * seqs
        compute_s += self._s_per_pair * shape.prefill_attention_pairs
        if self._limited:
            _, _, offset, slope = self._attention.decode_piece(shape.decode_seqs, contexts)
            memory_s += offset + (slope - self._s_per_context_token) * contexts
            if shape.prefill_seqs:
                arithmetic_s, read_s = self._attention.limited_prefill_s(shape)
                compute_s, memory_s = compute_s + arithmetic_s, memory_s + read_s
        return memory_s, compute_s

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step, engine overheads included."""
        head_s = max(self._head_s_per_seq * seqs, self._head_read_s)
        return self._token_s(tokens) + head_s + self._s_per_seq * seqs

    def _token_s(self, tokens: int) -> float:
        """Return the part that depends only on N, the step's constant overheads included."""
        linear_s = self._roofline_s(self._reads.fixed, self._linear_s_per_token * tokens)
        if self._reads.experts:
            linear_s += self._roofline_s(self._reads.picked(tokens), self._experts_s_per_token * tokens)
        return (
            self._constant_s + linear_s + self._elementwise_s_per_token * tokens + self._all_reduce_s(tokens)
        )

    def _roofline_s(self, size: float, compute_s: float) -> float:
        read_s = self._s_per_weight_byte * size
        lasts_s: float = (read_s**self._p + compute_s**self._p) ** (1 / self._p)
        return lasts_s

    def _all_reduce_s(self, tokens: int) -> float:
        model = self.model
        if self.tensor_parallel == 1:
            return 0.0
        size = np.array([tokens * model.hidden_size * model.bytes_per_value])
        one_s = float(all_reduce_s(self.gpu, size, self.tensor_parallel)[0])
        return self.overheads.kernel_factor * model.sublayers * one_s
