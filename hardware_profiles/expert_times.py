"""What a mixture of experts takes, from times measured by tokens and by the different experts that they pick.

A step of N tokens reads each expert that at least one of them picks, and multiplies k experts' matrices a token. Some
sources measured both numbers apart, others only N tokens that spread over as many experts as they can. Where a point
(N, experts) was not measured, it is put together from two that were,

    ms(N, experts) = least(experts) + most(N) - least(experts most(N) was measured with)

``least`` being the fewest tokens measured with so many experts, ``most`` the most experts measured with N tokens: what
reading the experts takes, and what more tokens for each of them add. From the points with the most experts alone this
gives the others that Qwen3-30B-A3B was measured at on an RTX PRO 6000 to a median 0.9 %, at worst 4.6 %, with 64
experts and more; with fewer, which no step of so many tokens picks, to 7 %.
"""

import numpy as np

from hardware_profiles.expert_load import reached
from hardware_profiles.model import Model
from simulator.arrays import Floats, Ints
from simulator.errors import InputError

_KNOTS = 512  # numbers of tokens of which the experts that they pick unevenly are computed


class ExpertTimes:
    """Milliseconds by tokens and experts: bilinear between the points measured, flat beyond them."""

    def __init__(self, rows: Floats) -> None:
        """``rows``: tokens, experts, ms."""
        self._tokens, self._experts = (np.array(sorted(set(rows[:, column]))) for column in (0, 1))
        measured = {(tokens, experts): ms for tokens, experts, ms in rows.tolist()}
        least: dict[float, float] = {}
        most: dict[float, tuple[float, float]] = {}
        for (tokens, experts), ms in sorted(measured.items()):
            least.setdefault(experts, ms)
            most[tokens] = experts, ms
        self._ms = np.array([
            [
                measured.get((tokens, experts), least[experts] + most[tokens][1] - least[most[tokens][0]])
                for experts in self._experts.tolist()
            ]
            for tokens in self._tokens.tolist()
        ])  # fmt: skip

    def ms(self, tokens: Floats, experts: Floats) -> Floats:
        """Return the milliseconds of so many tokens that pick so many different experts of each layer."""
        low, share = _cells(self._tokens, tokens)
        first, part = _cells(self._experts, experts)
        grid = self._ms
        few = grid[low, first] * (1 - part) + grid[low, first + 1] * part
        many = grid[low + 1, first] * (1 - part) + grid[low + 1, first + 1] * part
        return np.asarray(few * (1 - share) + many * share)


def expert_ms(model: Model, rows: Floats, count: int) -> Floats:
    """Return the milliseconds of steps of 0, 1, ... ``count`` - 1 tokens, whose picks are even and independent.

    ``rows``: as of ``ExpertTimes``. Beyond the most tokens measured, time goes on along the last slope. Raises
    InputError unless all mixtures of the model have as many experts and pick as many.
    """
    tokens = np.arange(float(count))
    times = ExpertTimes(rows)
    found = times.ms(tokens, picked(model, tokens))
    low, high = sorted(set(rows[:, 0]))[-2:]
    slope = np.diff(times.ms(np.array([low, high]), picked(model, np.array([low, high]))))[0] / (high - low)
    return np.asarray(found + max(0.0, slope) * np.maximum(0.0, tokens - high))


def picked(model: Model, tokens: Floats, share: float = 1.0) -> Floats:
    """Return how many different experts of a layer so many tokens are expected to pick: E (1 - (1 - k/E)^N) evenly.

    ``share``: of the experts, that one rank holds. Raises InputError unless all mixtures are of one kind.
    """
    mixture = mixture_of(model)
    if mixture is None:
        raise InputError(
            f"{model.name}: a table of experts is of one kind of mixture; expected a model with one"
        )
    count, active = mixture
    if model.expert_chances:
        knots = tokens
        if len(tokens) > _KNOTS:  # between them within a thousandth
            knots = tokens[np.unique(np.geomspace(1, len(tokens), _KNOTS).astype(np.int64) - 1)]
        found = [reached(model.expert_chances, each) for each in knots.tolist()]
        return np.asarray(share * np.interp(tokens, knots, found))
    return np.asarray(share * count * (1 - (1 - active / count) ** tokens))


def mixture_of(model: Model) -> tuple[int, int] | None:
    """Return how many experts a layer has and how many a token picks; None for none, and where layers differ."""
    kinds = {(matrix.count, matrix.active) for matrix, _ in model.matrices if matrix.is_expert}
    return kinds.pop() if len(kinds) == 1 else None


def _cells(knots: Floats, x: Floats) -> tuple[Ints, Floats]:
    """Return the knot before each x and how far x is towards the next; x beyond the knots is at the last."""
    inside = np.clip(x, knots[0], knots[-1])
    low = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    return low, (inside - knots[low]) / (knots[low + 1] - knots[low])
