"""By what decode attention is multiplied beside a prefill: measured where the table has both together.

What the decodes add to the prefill's own time, over the time that they take alone, depends on their number, their mean
context, the tokens of the prefill and those before them: on an RTX 4090 128 decodes take 3.0 times as long beside 16 to
64 tokens and 3.9 times beside 256 and more, 32 decodes 1.7 and 2.0 to 3.2 times, and 64 decodes of 256 tokens 2.1 times
beside 256 tokens of a new prompt and 5.0 times after 16,384. So there is a grid for each power of two of both.
"""

from itertools import pairwise

import numpy as np

from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import packing_loss_factor
from hardware_profiles.tables import OperatorTable
from simulator.arrays import Floats

Ratios = dict[tuple[float, float], float]  # by decodes and their context


def grid(points: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the two axes and the values of points (x, y, value); gaps in a row are interpolated along it."""
    xs, ys = distinct(points[:, 0]), distinct(points[:, 1])
    values = np.empty((len(xs), len(ys)))
    for i, x in enumerate(xs):
        row = points[points[:, 0] == x]
        row = row[np.argsort(row[:, 1])]
        values[i] = np.interp(ys, row[:, 1], row[:, 2])
    return xs, ys, values


def distinct(values: Floats) -> Floats:
    """Return the different values, ascending. (``np.unique`` would import all of ``numpy.ma`` at the first call.)"""
    ordered = np.sort(values)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]]


class BesidePrefill:
    """Factors on a grid of decodes and mean contexts, by ranges of a step's prompt tokens and of those before them.

    A table without both together has one range, with the GPU's ``packing_loss_factor`` at every context.
    """

    def __init__(
        self, gpu: Gpu, model: Model, table: OperatorTable, batches: Floats, contexts: Floats
    ) -> None:
        """Find the ratios of a table; the grid is of ``batches`` and ``contexts``."""
        prefill = {(new, prior): ms for new, prior, ms in table.prefill.tolist()}
        alone = {(seqs, context): ms for seqs, context, ms in table.decode.tolist()}
        self._batches, self._contexts = batches, contexts
        self._found: dict[float, dict[float, Ratios]] = {}  # by tokens, then prior ones
        for new, prior, seqs, context, ms in table.mixed.tolist():
            if (new, prior) in prefill and (seqs, context) in alone:
                ratio = max(0.0, ms - prefill[new, prior]) / alone[seqs, context]
                self._found.setdefault(new, {}).setdefault(prior, {})[seqs, context] = ratio
        self._chunks = sorted(self._found)
        self._priors = sorted({prior for each in self._found.values() for prior in each})
        self.token_limits = _between(self._chunks)  # between the ranges, ascending
        self.prior_limits = _between(self._priors)  # of the mean of what is before each chunk
        self._made: dict[tuple[int, int], Floats] = {}
        if not self._found:
            self._made[0, 0] = packing_loss_factor(gpu, model, batches)[:, None]

    def factors(self, tokens: int, priors: int) -> Floats:
        """Return the factors, f64[batches, contexts], of the ranges of these numbers; made when first asked for."""
        made = self._made.get((tokens, priors))
        if made is None:
            prior, of_chunk = self._priors[priors], self._found[self._chunks[tokens]]
            nearest = min(of_chunk, key=lambda own: abs(own - prior))
            made = self._made[tokens, priors] = _on_grid(of_chunk[nearest], self._batches, self._contexts)
        return made


def _between(values: list[float]) -> list[float]:
    """Return the geometric middles of ascending values, counted from 1 as there may be a 0."""
    return [((low + 1) * (high + 1)) ** 0.5 - 1 for low, high in pairwise(values)]


def _on_grid(ratios: Ratios, batches: Floats, contexts: Floats) -> Floats:
    """Return the ratios at (decodes, context), interpolated to a grid and held beyond their own."""
    points = np.array([(*key, ratio) for key, ratio in ratios.items()])
    own_batches, own_contexts, values = grid(points)
    by_context = np.array([np.interp(contexts, own_contexts, row) for row in values])
    return np.array([np.interp(batches, own_batches, column) for column in by_context.T], dtype=np.float64).T
