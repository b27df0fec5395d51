"""How hard requests are, and how often a model's answer to one is good: what routers between models are judged by.

A request has a hidden difficulty, standard normal. A model of mean score q answers one of difficulty z well with
probability Phi((Phi^-1(q) - sqrt(r) z) / sqrt(1 - r)): a Gaussian copula, in which r is the share of the variance that
models have in common. r is fitted to one published number of RouterBench (arXiv 2403.12031), that none of its 11 models
answers 3.6 % of the queries well; the shares of queries of which each model is the cheapest good one then follow within
4 percentage points (``tests/unit/test_difficulty.py``). The form of the model is an assumption.
"""

import csv
import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from simulator.arrays import Flags, Floats
from simulator.rng import stream
from simulator.workload.workload import Workload

IN_COMMON = 0.438  # r
_NORMAL = NormalDist()
_LEAST = 1e-12  # of a score, whose quantile is finite


class Published(NamedTuple):
    """A model of RouterBench."""

    score: float  # mean over its tasks, 0-shot, from 0 to 1
    usd_per_request: float
    cheapest_good_pct: float  # of the queries: no cheaper model answers them well


@cache
def routerbench() -> dict[str, Published]:
    """Return RouterBench's published means by model."""
    path = Path(__file__).parent / "data" / "routerbench.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return {row.pop("model"): Published(*map(float, row.values())) for row in csv.DictReader(file)}


def expected_score(score: float, difficulty: float, error: float = 0.0) -> float:
    """Return how likely a model of a mean score answers a request well, whose difficulty is known with an error.

    ``difficulty`` is the estimate, the true one plus normal noise of standard deviation ``error``; NaN: nothing is
    known, and the mean score remains.
    """
    if difficulty != difficulty:
        return score
    known = 1 / (1 + error * error)
    spread = math.sqrt(1 - IN_COMMON * known)
    level = _NORMAL.inv_cdf(min(max(score, _LEAST), 1 - _LEAST))
    return _NORMAL.cdf((level - math.sqrt(IN_COMMON) * difficulty * known) / spread)


def with_difficulty(workload: Workload, seed: int) -> Workload:
    """Return traffic whose requests have a difficulty, drawn where the traffic does not say it."""
    if "difficulty" in workload.optional:
        return workload
    drawn = stream(seed, "difficulty").standard_normal(len(workload))
    return replace(workload, optional={**workload.optional, "difficulty": drawn})


def good_answers(difficulty: Floats, score: float, seed: int, model: str) -> Flags:
    """Return which requests a model answers well, bool[requests]; the same for all pools that serve it."""
    luck = stream(seed, f"answers {model}").standard_normal(len(difficulty))
    level = _NORMAL.inv_cdf(min(max(score, _LEAST), 1 - _LEAST))
    return np.asarray(math.sqrt(IN_COMMON) * difficulty + math.sqrt(1 - IN_COMMON) * luck < level)
