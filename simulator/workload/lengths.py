"""How long requests are: pairs of prompt and output tokens, from quantiles, or from a sample."""

import numpy as np

from simulator.arrays import Ints
from simulator.workload.library import QuantileTable

_AT_A_TIME = 2**20  # draws, which take more room than what becomes of them


def from_quantiles(rng: np.random.Generator, table: QuantileTable, n: int) -> tuple[Ints, Ints]:
    """Draw ``n`` pairs by the piecewise-linear inverse CDF through the table, rounded to whole tokens.

    Prompt and output are drawn independently: a table of marginal quantiles knows nothing of how the
    two go together (a sample of rows does).
    """
    prompt, output = np.empty(n, np.int64), np.empty(n, np.int64)
    for first in range(0, n, _AT_A_TIME):
        rows = slice(first, min(first + _AT_A_TIME, n))
        u = rng.random((rows.stop - first, 2))
        prompt[rows] = np.rint(np.interp(u[:, 0], table.levels, table.prompt_tokens))
        output[rows] = np.rint(np.interp(u[:, 1], table.levels, table.output_tokens))
    return prompt, output


def from_rows(
    rng: np.random.Generator, prompt_tokens: Ints, output_tokens: Ints, n: int
) -> tuple[Ints, Ints]:
    """Draw ``n`` rows with replacement; the prompt and the output of a row stay together."""
    rows = rng.integers(0, len(prompt_tokens), n)
    return prompt_tokens[rows], output_tokens[rows]
