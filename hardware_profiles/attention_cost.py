"""What attention takes in the compact cost model, layer by layer: full, windowed, sparse, latent.

A query attends to all keys before it, or to at most a layer's *reach* of them: its window (GPT-OSS, Gemma, Mistral)
or the best so many (DeepSeek V3.2). With B decodes whose contexts sum to C a layer reads min(C, B·reach) keys, that is,
the mean context stands for each. A prompt's n tokens after p of them meet the keys

    Σ min(p + i, reach), i = 1 ... n     =  n·p + n²/2 where p + n <= reach, n·reach where p >= reach

again with the mean of the step's prompts where there are several. Decodes of latent attention are priced as absorbed:
every head attends to the latent itself, by arithmetic or by reading it, whichever takes longer.
"""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
from math import inf

from hardware_profiles.gpu import KernelFit
from hardware_profiles.layers import Cache
from hardware_profiles.mixture_kernels import LatentKernels
from hardware_profiles.model import Model
from simulator.replica.cost import DecodePiece, StepShape


class AttentionCost:
    """Seconds of all layers' attention on one GPU, with the engine's kernel factor in them.

    ``s_per_pair`` (a query and a key of a prompt) and ``s_per_context_token`` (a key read by a decode, or by a prompt)
    are those of the layers that attend to everything; ``limited`` says whether there are others.
    """

    def __init__(
        self,
        model: Model,
        tensor_parallel: int,
        fit: KernelFit,
        peak_flop_per_s: float,
        bandwidth: float,
        kernel_factor: float,
        latent: LatentKernels | None = None,
        sparse_s_per_token: Mapping[float, float] | None = None,
        expands_up_to: float = inf,
    ) -> None:
        """``sparse_s_per_token`` by reach, of prompts with contexts beyond ``expands_up_to``: ``latent_kernels``."""
        a = kernel_factor
        flop_per_s = fit.prefill_attention_efficiency * peak_flop_per_s

        def measured(cache: Cache) -> LatentKernels | None:
            return latent if cache.latent else None

        def read_s(cache: Cache, n: int) -> float:
            each = int(model.cache_bytes(cache, tensor_parallel) * n)
            own = measured(cache)
            return a * (each / ((own.read_efficiency if own else fit.kv_read_efficiency) * bandwidth))

        def pair_s(cache: Cache, n: int) -> float:
            own = measured(cache)
            rate = own.prompt_efficiency * peak_flop_per_s if own else flop_per_s
            return a * cache.query_heads_on(tensor_parallel) * cache.flop_per_pair * n / rate

        def decode_s(cache: Cache, n: int) -> float:
            flop = a * cache.query_heads_on(tensor_parallel) * cache.decode_flop_per_pair * n
            own = measured(cache)
            rate = own.compute_efficiency * peak_flop_per_s if own else flop_per_s
            return max(read_s(cache, n), flop / rate)

        full = {cache: n for cache, n in model.caches.items() if cache.reach == inf}
        self.s_per_pair = sum(pair_s(cache, n) for cache, n in full.items())
        self.s_per_context_token = sum(decode_s(cache, n) for cache, n in full.items())
        self.read_s_per_context_token = sum(read_s(cache, n) for cache, n in full.items())
        by_reach: dict[float, tuple[float, float, float]] = {}
        for cache, n in model.caches.items():
            if cache.reach < inf:
                pairs, reads, decodes = by_reach.get(cache.reach, (0.0, 0.0, 0.0))
                by_reach[cache.reach] = (
                    pairs + pair_s(cache, n),
                    reads + read_s(cache, n),
                    decodes + decode_s(cache, n),
                )
        self.limited = bool(by_reach)
        self._by_reach = [(int(reach), *found) for reach, found in sorted(by_reach.items())]
        slots = sparse_s_per_token or {}
        self._sparse_s = [a * slots.get(float(reach), 0.0) for reach, *_ in self._by_reach]
        self._expands_up_to = expands_up_to
        # Up to the first reach, from it to the second, ...: what all contexts cost a token, and each sequence.
        slopes = [each[3] for each in self._by_reach]
        rest = [*list(accumulate(reversed(slopes)))[::-1], 0.0]
        self._reaches = [each[0] for each in self._by_reach]
        self._slopes = [self.s_per_context_token + each for each in rest]
        self._per_seq_s = [
            0.0,
            *accumulate(reach * s for reach, s in zip(self._reaches, slopes, strict=True)),
        ]

    def decode_piece(self, seqs: int, context_tokens: int) -> DecodePiece:
        """Return the line on which the attention of so many decodes lies, and its ends in the sum of contexts."""
        knots = [reach * seqs for reach in self._reaches]
        piece = bisect_right(knots, context_tokens)
        low = knots[piece - 1] if piece else 0.0
        high = knots[piece] if piece < len(knots) else inf
        return low, high, self._per_seq_s[piece] * seqs, self._slopes[piece]

    def limited_prefill_s(self, shape: StepShape) -> tuple[float, float]:
        """Return the seconds of a step's prompts in layers with a reach: arithmetic, and reading the keys once."""
        entries, tokens = shape.prefill_seqs, shape.prefill_tokens
        n = tokens / entries
        prior = (shape.prefill_context_tokens - tokens) / entries
        arithmetic_s = read_s = 0.0
        sparse = prior + n > self._expands_up_to
        for (reach, pair_s, key_s, _), slots_s in zip(self._by_reach, self._sparse_s, strict=True):
            if sparse and slots_s:
                arithmetic_s += slots_s * n
            else:
                ramp = min(n, max(0.0, reach - prior))
                arithmetic_s += pair_s * (ramp * (prior + 0.5 * ramp) + (n - ramp) * reach)
            read_s += key_s * (min(prior, reach) + n)
        return arithmetic_s * entries, read_s * entries
