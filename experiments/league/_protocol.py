"""What the league is played with, read from ``league.toml`` and checked."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from experiments.paper._protocol import Section, read
from simulator.errors import InputError
from simulator.scenario.discover import discover
from simulator.scenario.engines import engine_names
from simulator.scenario.run import ready
from simulator.scenario.scenario import Scenario

REFERENCE = "vllm_v1"
FILE = Path(__file__).with_name("league.toml")


class Traffic(Section):
    """What arrives, for how long, at which rate load is 1, and what is promised."""

    workload: dict[str, Any]
    load_1_rps: float = Field(gt=0)
    arrivals_s: float = Field(gt=0)
    slo: dict[str, float]


class Metric(Section):
    """A number by which schedulers are compared, and who measures so."""

    title: str
    unit: str
    better: Literal["higher", "lower"]
    whose: str
    home: tuple[str, ...]  # the schedulers after those who are measured by it


class League(Section):
    """The whole file."""

    seeds: int = Field(ge=2)  # two at least: verdicts are paired differences
    quick_seeds: int = Field(ge=2)
    quick_share: float = Field(gt=0, le=1)
    loads: tuple[float, ...] = Field(min_length=1)
    level: float = Field(ge=0)  # a relative difference of means that counts as none
    confidence: float = Field(gt=0, lt=1)
    left_out: dict[str, str]  # why, by scheduler
    server: dict[str, dict[str, Any]]
    shared: dict[str, Any]
    traffic: dict[str, Traffic] = Field(min_length=1)
    metrics: dict[str, Metric] = Field(min_length=1)

    def schedulers(self) -> list[str]:
        """Return who plays: every file of ``policies/scheduling`` that runs on the engine of ``vllm_v1``."""
        return [name for name in discover("scheduling") if name not in self.not_playing]

    @cached_property
    def not_playing(self) -> dict[str, str]:
        """Who does not play, and why; each scheduler's server is set up to find out."""
        found, engine = {}, engine_names(self._game(REFERENCE))
        for name in discover("scheduling"):
            try:
                ready(self._game(name))
            except InputError as error:
                found[name] = f"cannot be served so: {error}"
                continue
            own = engine_names(self._game(name))
            if own != engine:
                found[name] = f"is served by another engine: {own}"
        return {**found, **self.left_out}

    def _game(self, scheduler: str) -> Scenario:
        return self.scenario(next(iter(self.traffic)), self.loads[0], scheduler, 0, 1.0)

    def scenario(self, traffic: str, load: float, scheduler: str, seed: int, share: float) -> Scenario:
        """Return one game; ``share`` is of the arrivals' time."""
        kind = self.traffic[traffic]
        return Scenario(
            seed=seed,
            **self.server,
            workload={
                **self.shared,
                **kind.workload,
                "rate_rps": load * kind.load_1_rps,
                "duration_s": share * kind.arrivals_s,
            },
            policy={"scheduling": scheduler},
            slo=kind.slo,
            user={"v_s_per_token": 0.05, "first_token_allowance_s": kind.slo["ttft_s"]},
        )


def league() -> League:
    """Return what was asked for (``--league``), else what is shipped; InputError for a file that is wrong."""
    asked = os.environ.get("SERVESIM_LEAGUE")
    return read(Path(asked) if asked else FILE, League)
