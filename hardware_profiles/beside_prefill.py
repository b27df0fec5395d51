"""By what decode attention is multiplied beside a prefill: measured where the table has both together.

What the decodes add to the prefill's own time, over the time that they take alone, depends on their number, their mean
context and the tokens of the prefill: on an RTX 4090 128 decodes take 3.0 times as long beside 16 to 64 tokens and
3.9 times beside 256 and more, 32 decodes 1.7 and 2.0 to 3.2 times. So there is a grid for each power of two of tokens.
"""

from itertools import pairwise
from math import log2

import numpy as np

from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import packing_loss_factor
from hardware_profiles.tables import OperatorTable
from simulator.arrays import Floats


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


def beside_factors(
    gpu: Gpu, model: Model, table: OperatorTable, batches: Floats, contexts: Floats
) -> tuple[list[float], list[Floats]]:
    """Return factors on a grid of decodes and mean contexts, for ascending ranges of prefill tokens, and their limits.

    The n limits, in tokens of the step's prompts, part n + 1 ranges. A table without both together has one range, with
    the GPU's ``packing_loss_factor`` at every context.
    """
    prefill = {(new, prior): ms for new, prior, ms in table.prefill.tolist()}
    alone = {(seqs, context): ms for seqs, context, ms in table.decode.tolist()}
    found: dict[int, dict[tuple[float, float], list[float]]] = {}
    for new, prior, seqs, context, ms in table.mixed.tolist():
        if (new, prior) in prefill and (seqs, context) in alone:
            added = max(0.0, ms - prefill[new, prior])
            found.setdefault(round(log2(new)), {}).setdefault((seqs, context), []).append(
                added / alone[seqs, context]
            )
    if not found:
        return [], [packing_loss_factor(gpu, model, batches)[:, None]]
    powers = sorted(found)
    limits = [2 ** ((low + high) / 2) for low, high in pairwise(powers)]
    return limits, [_on_grid(found[power], batches, contexts) for power in powers]


def _on_grid(ratios: dict[tuple[float, float], list[float]], batches: Floats, contexts: Floats) -> Floats:
    """Return the medians at (decodes, context), interpolated to a grid and held beyond their own."""
    points = np.array([(*key, float(np.median(values))) for key, values in ratios.items()])
    own_batches, own_contexts, values = grid(points)
    by_context = np.array([np.interp(contexts, own_contexts, row) for row in values])
    return np.array([np.interp(batches, own_batches, column) for column in by_context.T], dtype=np.float64).T
