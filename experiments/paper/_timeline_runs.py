"""The runs of figures 1, 2 and 10: the protocol's traffic, until all answers are there."""

from collections.abc import Iterator, Sequence
from typing import Any

from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._reproduce import Outcome, Study
from simulator.scenario.scenario import Scenario
from simulator.stats import signs

SETTINGS = PROTOCOL.timelines
ENGINE = SETTINGS.engines[0][0]  # of figures 1 and 2
QUICK_SHARE = 0.25  # of the arrivals' time


def seeds(study: Study) -> range:
    """Return the protocol's seeds."""
    return range(PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds)


def timeline_run(
    study: Study, traffic: str, load: float, seed: int, engine: str = ENGINE, **policy: Any
) -> Scenario:
    """Return one run; ``policy`` has further policies, by kind."""
    share = QUICK_SHARE if study.quick else 1.0
    more = {"run": {"horizon_s": None}, "policy": policy}
    return swept(SETTINGS.model, traffic, engine, load, seed, share=share, **more)


def cells() -> Iterator[tuple[str, float]]:
    """Go over traffic and load."""
    return ((traffic, load) for traffic in SETTINGS.traffic for load in SETTINGS.loads)


def above_zero(shares: Sequence[Sequence[float]]) -> Outcome:
    """Return "reproduced" if all shares are above 0 (Holm, 95 %), each given one a seed; partly, if some are."""
    hits = signs(shares).count(1)
    if hits == 0:
        return "not reproduced"
    return "reproduced" if hits == len(shares) else "partly reproduced"
