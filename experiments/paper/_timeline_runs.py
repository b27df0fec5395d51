"""The runs of figures 1, 2 and 10: the protocol's traffic, until all answers are there."""

from collections.abc import Iterator
from typing import Any

from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._reproduce import Study
from simulator.scenario.scenario import Scenario

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
