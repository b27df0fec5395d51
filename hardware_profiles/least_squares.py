"""Least squares of relative errors with bounds, and what the data do not determine: refused, or left as it was."""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError

# Columns of the Jacobian, each scaled to length one: where its least singular value is below this share of
# the largest, errors of 1 % in the data would move some combination of the parameters by 100 % or more.
NEAR_SINGULAR = 0.01
WIDE = 1.96  # standard errors to either side: an interval of 95 %
SOFT_PCT = 5.0  # relative errors beyond count linearly, so that a few odd rows do not decide


class Parameter(NamedTuple):
    """One unknown: its bounds, the size of a typical change, and what data tell it from the others."""

    name: str
    low: float
    high: float
    scale: float
    needs: str


class Solution(NamedTuple):
    """Values and standard errors by name, the residuals left, and which values ended at a bound above 0.

    ``kept`` are the parameters that were left where they started, as the data do not determine them.
    """

    values: dict[str, float]
    standard_errors: dict[str, float]
    residuals: Floats
    at_bounds: list[str]
    kept: tuple[Parameter, ...] = ()


class UnderdeterminedError(InputError):
    """The data do not tell parameters apart; ``weakest`` is the one of them that they say least of."""

    def __init__(self, sentence: str, weakest: Parameter) -> None:
        super().__init__(sentence)
        self.weakest = weakest


def solve(
    residuals: Callable[[dict[str, float]], Floats],
    parameters: Sequence[Parameter],
    start: dict[str, float],
    *,
    difference: float = 1e-4,
    most_steps: int = 60,
    check: bool = True,
    most: int | None = None,
) -> Solution:
    """Return the values with the least soft-L1 sum of ``residuals`` (predicted / measured - 1).

    ``difference`` is the step of the numerical derivatives in units of each parameter's scale: larger where
    the prediction is not smooth. With ``check``, raises UnderdeterminedError where the Jacobian at the solution is
    singular, or nearly so, and for more than ``most`` parameters.
    """
    from scipy.optimize import least_squares

    low, high, scale = (
        np.array([getattr(parameter, key) for parameter in parameters]) for key in ("low", "high", "scale")
    )
    names = [parameter.name for parameter in parameters]

    def at(x: Floats) -> Floats:
        return residuals(dict(zip(names, (x * scale).tolist(), strict=True)))

    def slopes(x: Floats) -> Floats:
        here = at(x)
        columns = []
        for i in range(len(x)):
            step = difference if (x[i] + difference) * scale[i] <= high[i] else -difference
            moved = x.copy()
            moved[i] += step
            columns.append((at(moved) - here) / step)
        return np.array(columns).T

    first = np.clip(np.array([start[name] for name in names]), low + 1e-3 * scale, high - 1e-3 * scale)
    found = least_squares(
        at, first / scale, jac=slopes, bounds=(low / scale, high / scale), loss="soft_l1",
        f_scale=SOFT_PCT / 100, max_nfev=most_steps, xtol=1e-6, ftol=1e-7,
    )  # fmt: skip
    jacobian, left = slopes(found.x), at(found.x)
    if check:
        refuse_singular(jacobian, parameters, most)
    free = max(1, len(left) - len(names))
    spread = np.linalg.pinv(jacobian.T @ jacobian) * float(left @ left) / free
    errors = np.sqrt(np.maximum(np.diag(spread), 0)) * scale
    values = dict(zip(names, (found.x * scale).tolist(), strict=True))
    stuck = [
        each.name
        for each, x in zip(parameters, found.x, strict=True)
        if any(edge and abs(x * each.scale - edge) < 0.02 * edge for edge in (each.low, each.high))
    ]
    return Solution(values, dict(zip(names, errors.tolist(), strict=True)), left, stuck)


def solve_what_can_be(
    residuals: Callable[[dict[str, float]], Floats],
    parameters: Sequence[Parameter],
    start: dict[str, float],
    *,
    most: int,
    difference: float = 1e-4,
    most_steps: int = 60,
) -> Solution:
    """Return what ``solve`` does for those of the parameters, at most ``most``, that the data determine.

    The others are ``kept``.

    Of parameters that are too many, or cannot be told apart, the one goes that a typical change of moves the
    residuals least; then those of whose size the data say nothing (an interval of several values). Raises
    InputError where nothing depends on any.
    """
    left, kept = list(parameters), list[Parameter]()
    while True:
        first = {each.name: start[each.name] for each in left}
        try:
            steps = most_steps if len(left) <= most else 1  # then it raises
            found = solve(residuals, left, first, difference=difference, most_steps=steps, most=most)
            loosest = max(left, key=lambda each: _looseness(found, each))
            if len(left) == 1 or _looseness(found, loosest) <= 1:
                return found._replace(kept=tuple(kept))
        except UnderdeterminedError as error:
            if len(left) == 1:
                raise
            loosest = error.weakest
        left.remove(loosest)
        kept.append(loosest)


def _looseness(found: Solution, parameter: Parameter) -> float:
    """Return half the interval of a value over twice the value or, for a small one, a typical change."""
    size = max(2 * abs(found.values[parameter.name]), parameter.scale)
    return WIDE * found.standard_errors[parameter.name] / size


def refuse_singular(jacobian: Floats, parameters: Sequence[Parameter], most: int | None = None) -> None:
    """Raise UnderdeterminedError, naming parameters that cannot be told apart and what would tell them, if there are.

    So it does where there are more than ``most``.
    """
    lengths = np.linalg.norm(jacobian, axis=0)
    if most is not None and len(parameters) > most:
        sentence = f"under-determined: {most} different data for {len(parameters)} parameters"
        raise UnderdeterminedError(f"{sentence}; {_more(parameters)}", parameters[int(lengths.argmin())])
    unseen = [each for each, length in zip(parameters, lengths, strict=True) if length < 1e-9]
    if unseen:
        sentence = f"under-determined: nothing depends on {unseen[0].name}; {_more(unseen)}"
        raise UnderdeterminedError(sentence, unseen[0])
    _, sizes, directions = np.linalg.svd(jacobian / lengths)
    if len(sizes) == len(parameters) and sizes[-1] >= NEAR_SINGULAR * sizes[0]:
        return
    weight = np.abs(directions[-1])
    mixed = [i for i, size in enumerate(weight) if size > 0.25]
    names = " and ".join(parameters[i].name for i in mixed)
    raise UnderdeterminedError(
        f"under-determined: the data cannot tell {names} apart; {_more([parameters[i] for i in mixed])}",
        parameters[min(mixed, key=lambda i: float(lengths[i]))],
    )


def _more(parameters: Sequence[Parameter]) -> str:
    needs = ", and ".join(dict.fromkeys(each.needs for each in parameters))
    return f"add {needs}, or name with --free fewer of them to fit"


def folds(groups: Sequence[object], count: int) -> list[list[int]]:
    """Return the row numbers of each fold: whole groups stay together; shuffled, but always in the same way."""
    distinct = list(dict.fromkeys(groups))
    order = np.random.default_rng(0).permutation(len(distinct))
    count = min(count, len(distinct))
    fold_of = {distinct[which]: place % count for place, which in enumerate(order)}
    return [[i for i, group in enumerate(groups) if fold_of[group] == fold] for fold in range(count)]


def non_negative_fit(relative: Floats) -> Floats:
    """Return x >= 0 with relative @ x nearest to all ones, by least squares: the best of all subsets."""
    ones, columns = np.ones(len(relative)), range(relative.shape[1])
    best, best_off = np.zeros(len(columns)), np.inf
    for size in range(1, len(columns) + 1):
        for chosen in combinations(columns, size):
            some, *_ = np.linalg.lstsq(relative[:, chosen], ones, rcond=None)
            x = np.zeros(len(columns))
            x[list(chosen)] = some
            off = float(np.square(relative @ x - 1).sum())
            if (some >= 0).all() and off < best_off:
                best, best_off = x, off
    return best
