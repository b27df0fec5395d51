"""The sweeps of C4, and what they measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.paper._reproduce import ORIGINS, RunSummary, Study
from experiments.paper._scenarios import base_scenario
from simulator.arrays import Floats
from simulator.metrics._options import Origin, Slo
from simulator.scenario.scenario import Scenario
from simulator.stats import interval, signs

POLICIES = ("vllm_v1", "vllm_v0", "sarathi", "orca", "smooth")
GPUS = {"A100": "a100-80gb-sxm", "H100": "h100-80gb-sxm"}
MODELS = {"8B": "llama-3.1-8b", "14B": "qwen-2.5-14b"}
LOAD_1_RPS = {"A100 8B": 20.0, "A100 14B": 11.0, "H100 8B": 68.0, "H100 14B": 40.0}
LOADS = (0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
SPAN_S = 40.0  # of arrivals
HORIZONS_S = (10.0, 20.0, 40.0, 80.0)  # the same, where the horizon is varied
SLO = Slo(ttft_s=1.0, tpot_s=0.05)
HORIZONS_OF = ("A100", "8B", "vllm_v1")
CHOICES = {"attainment": "90 % within SLO", "goodput": "most within SLO", "throughput": "most throughput"}


class SweepSetting(NamedTuple):
    """One sweep: what serves, and for how many seconds requests arrive, which is T at all rates."""

    gpu: str
    model: str
    policy: str
    span_s: float

    @property
    def hardware(self) -> str:
        """GPU and model, in short."""
        return f"{self.gpu} {self.model}"

    def rates(self, quick: bool) -> tuple[float, ...]:
        """Return the rates of the sweep, requests/s."""
        return tuple(round(load * LOAD_1_RPS[self.hardware], 3) for load in (LOADS[1::2] if quick else LOADS))

    def scenario(self, rate_rps: float, seed: int) -> Scenario:
        """Return one simulation of the sweep; of a seed, lower rates have the first of the requests of higher ones."""
        return base_scenario(
            model=MODELS[self.model],
            gpu=GPUS[self.gpu],
            rate_rps=rate_rps,
            requests=round(rate_rps * self.span_s),
            seed=seed,
            overrides={"policy.scheduling": self.policy, "metrics.window": self.span_s},
        )


@dataclass(frozen=True)
class Sweep:
    """What one setting measured at its rates, f64[seed, rate] each."""

    setting: SweepSetting
    rates: Floats
    throughput: Floats  # tokens/s
    smooth: Floats  # tokens/s
    attainment: Floats  # share within the SLO
    goodput: Floats  # requests/s within the SLO

    @property
    def peak(self) -> int:
        """Index of the rate with the largest mean smooth goodput."""
        return int(np.argmax(self.smooth.mean(axis=0)))

    def change_to_last(self, name: str) -> list[float]:
        """Return what ``throughput`` or ``smooth`` is at the last rate less that at the peak, one value a seed."""
        values: Floats = getattr(self, name)
        change: list[float] = (values[:, -1] - values[:, self.peak]).tolist()
        return change

    def width(self) -> tuple[float, float]:
        """Return the rates between which smooth goodput is at least 95 % of its maximum, interpolated."""
        mean = self.smooth.mean(axis=0)
        enough = 0.95 * mean[self.peak]
        fine = np.linspace(self.rates[0], self.rates[-1], 2001)
        low_at = np.interp(fine, self.rates, mean) < enough
        left, right = (fine < self.rates[self.peak]) & low_at, (fine > self.rates[self.peak]) & low_at
        low = fine[left].max() if left.any() else self.rates[0]
        return float(low), float(fine[right].min() if right.any() else self.rates[-1])

    def chosen(self) -> dict[str, int]:
        """Return the index of the rate that each of ``CHOICES`` chooses."""
        below = np.flatnonzero(self.attainment.mean(axis=0) < 0.9)
        return {
            "attainment": max(0, int(below[0]) - 1) if len(below) else len(self.rates) - 1,
            "goodput": int(np.argmax(self.goodput.mean(axis=0))),
            "throughput": int(np.argmax(self.throughput.mean(axis=0))),
        }

    def lost(self, index: int) -> float:
        """Return the share of the largest smooth goodput that is lost at a rate."""
        mean = self.smooth.mean(axis=0)
        return float(1 - mean[index] / mean[self.peak])


def shown(sweeps: Sequence[Sweep]) -> list[bool]:
    """Return which sweeps pass the test: corrected for their number in what is to be shown, and not in what is not."""
    falls = signs([sweep.change_to_last("smooth") for sweep in sweeps])
    return [
        0 < sweep.peak < len(sweep.rates) - 1
        and fall == -1
        and not interval(sweep.change_to_last("throughput")).below_zero
        for sweep, fall in zip(sweeps, falls, strict=True)
    ]


def measure(study: Study, settings: Sequence[SweepSetting]) -> dict[Origin, list[Sweep]]:
    """Return the sweeps of all settings under both origins of the clock."""
    wanted = [(s, rate, seed) for s in settings for seed in study.seeds for rate in s.rates(study.quick)]
    scenarios = [setting.scenario(rate, seed) for setting, rate, seed in wanted]
    found = study.both_origins(scenarios, slo=SLO, label="C4 rate sweeps")
    return {origin: _sweeps(settings, study, found[origin]) for origin in ORIGINS}


def _sweeps(settings: Sequence[SweepSetting], study: Study, found: Sequence[RunSummary]) -> list[Sweep]:
    """Sort summaries, given in order of setting, seed and rate, into sweeps."""
    shape = len(settings), len(study.seeds), -1

    def values(family: str, name: str) -> Floats:
        return np.array([each[family][name] for each in found], np.float64).reshape(shape)

    throughput = values("throughput", "output_tokens_per_s")
    smooth = values("smooth_goodput", "smooth_goodput_tokens_per_s")
    attainment, goodput = values("slo", "attainment_all"), values("slo", "goodput_requests_per_s")
    return [
        Sweep(each, np.array(each.rates(study.quick)), throughput[i], smooth[i], attainment[i], goodput[i])
        for i, each in enumerate(settings)
    ]
