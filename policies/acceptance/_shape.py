"""What rules of acceptance share: the chance that each draft is right after those before it were."""

from collections.abc import Sequence

import numpy as np

from simulator.policy import AnswerDraws, Floats

GRID = 512  # kinds of requests that a spread is made of
HALVINGS = 60
MOST_SCALED = 1e30  # times that guesses are more often wrong than drawn


def run_of(chances: Sequence[float], answer: AnswerDraws, generated: int, drafts: int) -> int:
    """Return how many of the next drafts are right before the first wrong one; the last of ``chances`` goes on.

    For one answer and number of drafts the chances are the same at each call: all of its runs are found at once.
    """
    runs = answer.runs.get(drafts)
    if runs is None:
        runs = answer.runs[drafts] = _runs(chances, answer, drafts)
    return runs[generated]


def _runs(chances: Sequence[float], answer: AnswerDraws, drafts: int) -> list[int]:
    """Return the same by the number of tokens that are there, from 0."""
    draws, known = answer.numbers, len(chances)
    places = len(draws) - drafts + 1
    runs, right = np.zeros(places, np.int64), np.ones(places, np.bool_)
    for place in range(drafts):
        right &= draws[place : place + places] < chances[place if place < known else known - 1]
        runs += right
    found: list[int] = runs.tolist()
    return found


def as_deep(chances: Sequence[float], depth: int) -> list[float]:
    """Return the chances of so many places; the last one goes on."""
    return [*chances[:depth], *[chances[-1]] * (depth - len(chances))]


def check_chance(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is a probability."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a share from 0 to 1, got {value:g}")


def after_each_other(shares: Sequence[float]) -> list[float]:
    """Turn the share of steps in which the draft at each place is accepted into its chance once those before it are."""
    chances, before = [], 1.0
    for share in shares:
        chances.append(share / before if before else 0.0)
        before = share
    return chances


def mean_tokens(chances: Sequence[float]) -> float:
    """Return the tokens of a step whose drafts have these chances: 1 + Σ of the products up to each place."""
    return 1.0 + float(np.cumprod(chances).sum())


def spread(chances: Sequence[float], deviation: float) -> list[list[float]]:
    """Return the chances of ``GRID`` equally frequent kinds of requests, the most easily guessed first.

    A request's chances of a wrong draft are as much above or below the mean as one draw of a Beta distribution with
    this standard deviation is, and all are scaled so that a step gives as many tokens on the average over all steps as
    without a spread. In these, requests that are hard to guess are more frequent: a harmonic mean over requests.
    """
    mean = float(np.mean(chances))
    if deviation <= 0 or not 0 < mean < 1:
        return [list(chances)]
    weight = mean * (1 - mean) / deviation**2 - 1
    if weight <= 0:
        raise ValueError(f"spread: expected less than {np.sqrt(mean * (1 - mean)):.3g}, got {deviation:g}")
    from scipy.special import betaincinv  # takes longer to import than many a run, and few have a spread

    quantiles = (np.arange(GRID) + 0.5) / GRID
    wrong = betaincinv((1 - mean) * weight, mean * weight, quantiles) / (1 - mean)
    wrong_mean = 1 - np.asarray(chances)

    def scaled(factor: float) -> Floats:
        found: Floats = 1 - np.minimum(1.0, wrong_mean * (wrong * factor)[:, None])
        return found

    def tokens(factor: float) -> float:
        return float(1 / (1 / (1 + np.cumprod(scaled(factor), axis=1).sum(axis=1))).mean())

    wanted, low, high = mean_tokens(chances), 0.0, 4.0
    while tokens(high) > wanted:
        low, high = high, 4.0 * high
        if high > MOST_SCALED:
            raise ValueError(
                f"spread: expected less than {deviation:g}, with which so many requests are always right that a step"
                f" gives more than the mean of {wanted:.3g} tokens however wrong the others are"
            )
    for _ in range(HALVINGS):
        factor = 0.5 * (low + high)
        if tokens(factor) > wanted:
            low = factor
        else:
            high = factor
    rows = scaled(factor)
    found: list[list[float]] = rows.tolist()
    return found
