"""Block ids of a trace as whole numbers that an int64 holds: ids are names, of 64 bits and more, or texts."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Ints

_LARGE = 2**62  # ids from here on, and texts, are numbered from here on in order of appearance


class BlockIds:
    """Numbers for the block ids of one file: small ones are their own, so that equal ids have equal numbers."""

    def __init__(self) -> None:
        self._numbers: dict[int | str, int] = {}

    def of(self, ids: Iterable[Any]) -> list[int] | None:
        """Return the numbers of whole numbers or texts; None if one is neither. Negative ones stay what they are."""
        found = []
        for each in ids:
            if type(each) is int and -_LARGE < each < _LARGE:
                found.append(each)
            elif (type(each) is int and each >= _LARGE) or (type(each) is str and each.strip()):
                found.append(self._numbers.setdefault(each, _LARGE + len(self._numbers)))
            else:
                return None
        return found

    def of_array(self, ids: NDArray[np.uint64]) -> Ints:
        """Return the numbers of ids that come as unsigned integers of 64 bits."""
        large = np.flatnonzero(ids >= _LARGE)
        numbers = ids.astype(np.int64)
        if len(large):
            names, places = np.unique(ids[large], return_inverse=True)
            own = [self._numbers.setdefault(name, _LARGE + len(self._numbers)) for name in names.tolist()]
            numbers[large] = np.array(own, np.int64)[places.reshape(-1)]
        return numbers
