"""The measured cost model: operator tables interpolated, everything that can be precomputed precomputed.

    step = kernel_factor·( linear(N) + experts(N) + elementwise(N) + all-reduce(N) + lm_head(S)
                           + prefill attention + decode attention ) + step overhead
           + per-sequence overhead·S + [prefill]·prefill-step overhead + swapped blocks

for N tokens and S sequences in the step. All of it meets the table at the table's points.

* linear, elementwise, all-reduce, lm_head: linear between points; beyond the last, along the last slope.
* experts: as many different ones as N tokens are expected to pick evenly (``expert_times``).
* Decode attention of B decodes: bilinear in B and their mean context, that is, for each B a broken line in
  the sum of contexts. Below the least context measured it stays at that; beyond the last point it goes on
  along the last slope. Unequal contexts cost a median 4 % more than their mean says (not modelled).
* Prefill attention: a smooth form, c0 + c1·Σ(n·prior + n²/2) + c2·Σ(n + prior), fitted to the table with
  non-negative coefficients, times the ratio of table to form, which is bilinear in n and prior. With one
  prefill in the step that is the table; with several the sums are exact in the form and the ratio is that of
  their mean, an approximation: the step's aggregates say no more.
* Decode attention beside a prefill: alone times a factor by B, mean context, the step's prompt tokens and what is
  before them  (``hardware_profiles.beside_prefill``).
"""

from bisect import bisect_right
from math import inf

import numpy as np

from hardware_profiles.beside_prefill import BesidePrefill, distinct, grid
from hardware_profiles.expert_times import expert_ms
from hardware_profiles.gpu import EngineOverheads, Gpu, MeasuredRange
from hardware_profiles.least_squares import non_negative_fit
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost, all_reduce_s
from hardware_profiles.tables import TABLES_KV_BYTES, OperatorTable
from simulator.arrays import Floats
from simulator.replica.cost import DecodePiece, StepShape

_MEMO = 65_536  # largest key of the memos, to bound them

PiecewiseLine = tuple[list[float], list[tuple[float, float]]]  # knots, and offset and slope of each piece


class TabulatedCost(HardwareCost):
    """Prices steps from one table; ``measured_range`` is the table's grid."""

    kind = "tabulated"

    def __init__(
        self,
        gpu: Gpu,
        model: Model,
        table: OperatorTable,
        tensor_parallel: int = 1,
        overheads: EngineOverheads | None = None,
        block_size: int = 16,
    ) -> None:
        super().__init__(gpu, model, tensor_parallel, overheads, block_size)
        self.table = table
        engine = self.overheads
        self._to_s = engine.kernel_factor * 1e-3
        self._prefill_step_s = engine.prefill_step_ms * 1e-3
        tokens = distinct(np.concatenate([table.linear[:, 0], table.elementwise[:, 0]]))
        by_token_s = self._to_s * (_at(table.linear, tokens) + _at(table.elementwise, tokens))
        if len(table.all_reduce):
            by_token_s += self._to_s * _at(table.all_reduce, tokens)
        else:
            size = tokens * model.hidden_size * model.bytes_per_value
            reduces = model.sublayers * engine.kernel_factor
            by_token_s += reduces * all_reduce_s(gpu, size, tensor_parallel)
        self._token_s = _dense(tokens, by_token_s + engine.step_ms * 1e-3)
        if len(table.experts):
            experts_s = self._to_s * expert_ms(model, table.experts, len(self._token_s))
            self._token_s = (np.array(self._token_s) + experts_s).tolist()
        seqs = table.lm_head[:, 0]
        self._seqs_s = _dense(seqs, self._to_s * table.lm_head[:, 1] + engine.per_sequence_ms * 1e-3 * seqs)

        self._batches, self._contexts, decode_ms = grid(table.decode)
        self._alone_s = self._to_s * decode_ms
        if model.kv_bytes_per_value != TABLES_KV_BYTES:
            # What grows with contexts is the reading of keys and values.
            least_s = self._alone_s[:, :1]
            self._alone_s = least_s + (self._alone_s - least_s) * model.kv_bytes_per_value / TABLES_KV_BYTES
        self._beside = BesidePrefill(gpu, model, table, self._batches, self._contexts)
        self._token_limits, self._prior_limits = self._beside.token_limits, self._beside.prior_limits
        self._chunks, self._priors, prefill_ms = grid(table.prefill)
        self._form, self._ratio = _form_and_ratio(self._chunks, self._priors, self._to_s * prefill_ms)
        self._decode_lines: dict[int, PiecewiseLine] = {}
        self._last_piece: dict[int, DecodePiece] = {}
        self._beside_lines: dict[tuple[int, int, int], PiecewiseLine] = {}
        self._chunk_knots: list[float] = self._chunks.tolist()
        self._prior_knots: list[float] = self._priors.tolist()
        self._ratio_table: list[list[float]] = self._ratio.tolist()
        self._ratio_pieces: dict[tuple[int, int], tuple[float, float]] = {}

    @property
    def measured_range(self) -> MeasuredRange:
        """The grid of the table."""
        last_tokens = min(self._chunks[-1], self.table.linear[-1, 0])
        return MeasuredRange(
            max_prefill_tokens=int(last_tokens),
            max_prefill_prior_tokens=int(self._priors[-1]),
            max_decode_seqs=int(min(self._batches[-1], self.table.lm_head[-1, 0])),
            min_decode_context_tokens=int(self._contexts[0]),
            max_decode_context_tokens=int(self._contexts[-1]),
        )

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one engine step in seconds, overheads included; 0 if empty."""
        seqs = shape.decode_seqs
        if not shape.prefill_seqs:
            if not seqs:
                return self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
            context = shape.decode_context_tokens
            try:
                low, high, offset, slope = self._last_piece[seqs]
            except KeyError:
                low, high, offset, slope = self.decode_piece(seqs, context)
            if not low <= context < high:
                low, high, offset, slope = self.decode_piece(seqs, context)
            step_s = offset + slope * context
        else:
            entries, tokens = shape.prefill_seqs, shape.prefill_tokens
            keys = shape.prefill_context_tokens
            chunk = tokens // entries
            prior = (keys - tokens) / entries
            cell = bisect_right(self._prior_knots, prior)
            try:
                offset, slope = self._ratio_pieces[chunk, cell]
            except KeyError:
                offset, slope = self._ratio_piece(chunk, cell)
            constant, per_pair, per_key = self._form
            step_s = self._prefill_step_s + (
                (constant + per_pair * shape.prefill_attention_pairs + per_key * keys)
                * (offset + slope * prior)
            )
            try:
                step_s += self._token_s[tokens + seqs] + self._seqs_s[entries + seqs]
            except IndexError:
                step_s += self.other_kernels_s(tokens + seqs, entries + seqs)
            if seqs:
                beside = bisect_right(self._token_limits, tokens)
                after = bisect_right(self._prior_limits, prior)
                try:
                    knots, pieces = self._beside_lines[beside, after, seqs]
                except KeyError:
                    knots, pieces = self._beside_line(beside, after, seqs)
                context = shape.decode_context_tokens
                offset, slope = pieces[bisect_right(knots, context)]
                step_s += offset + slope * context
            if step_s < self.least_prompt_s:
                step_s = self.least_prompt_s
        if shape.swap_in_blocks or shape.swap_out_blocks:
            step_s += self.swap_s_per_block * (shape.swap_in_blocks + shape.swap_out_blocks)
        return step_s

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return the seconds of everything but attention in a step, engine overheads included."""
        return _beyond(self._token_s, tokens) + _beyond(self._seqs_s, seqs)

    def decode_piece(self, seqs: int, context: int) -> DecodePiece:
        """Return the piece of ``_decode_line`` that holds a sum of contexts, and keep it for the next step."""
        last = self._last_piece.get(seqs)
        if last is not None and last[0] <= context < last[1]:
            return last
        knots, pieces = self._decode_lines.get(seqs) or self._decode_line(seqs)
        piece = bisect_right(knots, context)
        low = knots[piece - 1] if piece else -inf
        high = knots[piece] if piece < len(knots) else inf
        found = low, high, *pieces[piece]
        if seqs <= _MEMO:
            self._last_piece[seqs] = found
        return found

    def _decode_line(self, seqs: int) -> PiecewiseLine:
        """Return the time of a whole step of ``seqs`` decodes, by the sum of their contexts."""
        fixed_s = self.other_kernels_s(seqs, seqs)
        line = _line(self._contexts * seqs, self._row(self._alone_s, seqs) + fixed_s)
        return _remember(self._decode_lines, seqs, line)

    def _beside_line(self, beside: int, after: int, seqs: int) -> PiecewiseLine:
        """Return the decode attention of ``seqs`` decodes beside prefills of these ranges, by their contexts."""
        beside_s = self._alone_s * self._beside.factors(beside, after)
        line = _line(self._contexts * seqs, self._row(beside_s, seqs))
        if seqs <= _MEMO:
            self._beside_lines[beside, after, seqs] = line
        return line

    def _row(self, grid_s: Floats, seqs: int) -> Floats:
        """Return the seconds at every context measured for ``seqs`` decodes; beyond the last, along its slope."""
        x = self._batches
        if len(x) == 1 or seqs <= x[0]:
            return np.asarray(grid_s[0])
        if seqs > x[-1]:
            slope = np.maximum(0.0, (grid_s[-1] - grid_s[-2]) / (x[-1] - x[-2]))
            return np.asarray(grid_s[-1] + slope * (seqs - x[-1]))
        cell = int(np.searchsorted(x, seqs, side="right")) - 1
        if cell == len(x) - 1:
            return np.asarray(grid_s[-1])
        slope = (grid_s[cell + 1] - grid_s[cell]) / (x[cell + 1] - x[cell])
        return np.asarray(slope * (seqs - x[cell]) + grid_s[cell])

    def _ratio_piece(self, chunk: int, cell: int) -> tuple[float, float]:
        """Return offset and slope, in a chunk's prior tokens, of the ratio of table to form in one cell of these."""
        knots = self._prior_knots
        if 0 < cell < len(knots):
            low, high = self._ratio_at(chunk, cell - 1), self._ratio_at(chunk, cell)
            slope = (high - low) / (knots[cell] - knots[cell - 1])
            piece = low - slope * knots[cell - 1], slope
        else:  # flat before the first knot and after the last
            piece = self._ratio_at(chunk, 0 if cell == 0 else len(knots) - 1), 0.0
        if chunk <= _MEMO:
            self._ratio_pieces[chunk, cell] = piece
        return piece

    def _ratio_at(self, chunk: int, prior: int) -> float:
        """Return the ratio of table to form of a chunk at a prior measured, linear between chunks measured."""
        x, ratio = self._chunk_knots, self._ratio_table
        above = bisect_right(x, chunk)
        if above == 0 or above == len(x):
            return ratio[0 if above == 0 else -1][prior]
        low, high = ratio[above - 1][prior], ratio[above][prior]
        return (high - low) / (x[above] - x[above - 1]) * (chunk - x[above - 1]) + low


def _at(points: Floats, x: Floats) -> Floats:
    return np.asarray(np.interp(x, points[:, 0], points[:, 1]))


def _remember(memo: dict[int, PiecewiseLine], key: int, line: PiecewiseLine) -> PiecewiseLine:
    if key <= _MEMO:
        memo[key] = line
    return line


def _dense(x: Floats, y: Floats) -> list[float]:
    """Return y at 0, 1, 2, ... up to the last x; the last two entries carry on its slope."""
    dense: list[float] = np.interp(np.arange(int(x[-1]) + 1), x, y).tolist()
    dense.append(dense[-1] + max(0.0, float((y[-1] - y[-2]) / (x[-1] - x[-2]))))
    return dense


def _beyond(dense: list[float], index: int) -> float:
    """Return an entry of a dense list, or where its end's slope leads."""
    last = len(dense) - 1
    return dense[index] if index <= last else dense[last] + (dense[last] - dense[last - 1]) * (index - last)


def _line(knots: Floats, y: Floats) -> PiecewiseLine:
    """Return the broken line through points, flat before the first one and never falling after the last."""
    slopes = np.diff(y) / np.diff(knots)
    slopes = np.concatenate([[0.0], slopes, [max(0.0, float(slopes[-1]))]])
    anchors = np.concatenate([[0], np.arange(len(knots))])
    offsets = y[anchors] - slopes * knots[anchors]
    return knots.tolist(), list(zip(offsets.tolist(), slopes.tolist(), strict=True))


def _form_and_ratio(
    chunks: Floats, priors: Floats, prefill_s: Floats
) -> tuple[tuple[float, float, float], Floats]:
    """Return the coefficients of the smooth form of prefill attention, and table / form on the grid."""
    n, prior = np.meshgrid(chunks, priors, indexing="ij")
    terms = np.stack([np.ones_like(n), n * prior + n * n / 2, n + prior], axis=-1)
    relative = terms / prefill_s[..., None]
    coefficients = non_negative_fit(relative.reshape(-1, 3))
    constant, per_pair, per_key = coefficients.tolist()
    return (constant, per_pair, per_key), prefill_s / (terms @ coefficients)
