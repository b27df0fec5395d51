"""What is left of the tokens of a run that was measured while it went on (``folding.py``)."""

from collections.abc import Iterator

import numpy as np

from simulator.arrays import Columns, Floats, Ints
from simulator.metrics._reduce import KeptReadings
from simulator.metrics._streamed import NoTokensError


class FoldedTokens:
    """The tokens of a run that was folded: their numbers, and what was measured of them."""

    def __init__(self, counts: Ints, readings: KeptReadings, delivered_s: Floats | None) -> None:
        """``delivered_s`` are those of all tokens where they are few enough to be kept."""
        self.offsets: Ints = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=self.offsets[1:])
        self.bounds: Ints = np.array([0, len(counts)])
        self.readings, self.delivered_s = readings, delivered_s

    def part_delivered_s(self, part: int) -> Floats:
        """Raise NoTokensError, unless they were kept."""
        if self.delivered_s is None:
            raise _missing()
        return self.delivered_s

    def pieces(self) -> Iterator[Columns]:
        """Raise NoTokensError."""
        raise _missing()


def _missing() -> NoTokensError:
    return NoTokensError("only the summary of this run was kept; expected run.trace_level = 'tokens'")
