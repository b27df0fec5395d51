"""The answer of a search for a rate, with all that led to it and all that has to be known to read it."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.results.vocabulary import measure_of
from simulator.stats import Interval, interval
from simulator.studies.capacity.book import Answer, Ask, SearchPlan, Shown
from simulator.studies.capacity.measured import COOL_DOWN, SETTLING, WARM_UP
from simulator.studies.capacity.target import SMOOTH, Target

FoundNumbers = Mapping[Ask, Mapping[str, Any]]


@dataclass(frozen=True)
class OneOfSeveral:
    """What was found of one of several targets, as far up as the others hold."""

    target: Target
    rate: float | None
    low: float | None
    high: float | None
    binds: bool  # the others are kept where this one begins to be missed

    def said(self, unit: str) -> str:
        """Say how far it is kept."""
        if self.rate is not None:
            return f"{self.target.text}: {self.rate:.4g} {unit}"
        if self.low is not None:
            return f"{self.target.text}: kept at {self.low:.4g} {unit}, which is as far as it matters"
        if self.high is not None:
            return f"{self.target.text}: missed even at {self.high:.4g} {unit}"
        return f"{self.target.text}: not shown to be kept or missed"


@dataclass(frozen=True)
class CapacityOutcome:
    """An answer with all numbers of the runs that led to it; of several targets, those for the one that binds."""

    answer: Answer
    found: FoundNumbers
    target: Target
    plan: SearchPlan
    of: str  # requests or sessions
    replayed: bool
    engine: str = "?"
    user_model: str = "?"
    targets: Sequence[OneOfSeveral] = ()  # where there are several

    @property
    def wanted(self) -> str:
        """All that is to be kept."""
        return " and ".join(each.target.text for each in self.targets) or self.target.text

    @property
    def gpus(self) -> float:
        """GPUs that serve at the simulated rate next to the answer: their mean, where their number changes."""
        return self._mean_at_the_answer("cost.gpus")

    @property
    def window_s(self) -> float:
        """The time that rates are over, at the simulated rate next to the answer, s."""
        return self._mean_at_the_answer("window.duration_s")

    def _mean_at_the_answer(self, key: str) -> float:
        answer = self.answer
        rate = answer.rate or answer.low or answer.high or self.plan.start
        nearest = min((ask.rate for ask in answer.runs), key=lambda each: abs(each - rate))
        values = [self.found[ask][key] for ask in self.asks(nearest)]
        return float(sum(values) / len(values))

    def smooth(self, asks: Sequence[Ask]) -> Interval | None:
        """Smooth goodput in tokens/s and GPU over some runs; None where it does not exist."""
        values = [self.found[ask][SMOOTH] for ask in asks]
        return None if None in values or not values else interval(values)

    def asks(self, rate: float) -> list[Ask]:
        """The runs at a rate that are of one length: of that which most have, the longest of those."""
        here = [ask for ask in self.answer.runs if ask.rate == rate]
        count = Counter(ask.requests for ask in here)
        length = max(count, key=lambda requests: (count[requests], requests))
        return [ask for ask in here if ask.requests == length]

    @property
    def saturated_from(self) -> tuple[float, str] | None:
        """The lowest rate at which half of the runs are saturated, and why one of them is."""
        for rate in sorted({ask.rate for ask in self.answer.runs}):
            why = [w for ask in self.asks(rate) if (w := self.answer.runs[ask].saturated) is not None]
            if 2 * len(why) >= len(self.asks(rate)):
                return rate, why[0]
        return None

    def notes(self) -> list[str]:
        """What has to be known to read the answer."""
        answer, notes = self.answer, list(self.answer.notes)
        rate = answer.low if answer.rate is None else answer.rate
        served = [ask.rate for ask in answer.runs if rate is not None and ask.rate <= rate]
        if served:
            asks = self.asks(max(served))
            shares = [self.found[ask]["states.completed.share_of_arrived"] or 0.0 for ask in asks]
            if sum(shares) < 0.99 * len(shares):
                share = sum(shares) / len(shares)
                notes.append(
                    f"at {max(served):.4g} {self.of}/s only {share:.1%} of what arrives is completed"
                )
            if any(self.answer.runs[ask].too_short for ask in asks):
                notes.append(
                    f"runs of {asks[0].requests:,} requests at {max(served):.4g} {self.of}/s are too short to tell"
                    " filling up from overload; a higher --most-requests makes them longer"
                )
        return notes

    def assumed(self) -> list[str]:
        """What the answer rests on."""
        if self.target.bound is None:
            first = "the target rises to one maximum and falls after it, or up to saturation"
        else:
            first = "the target is kept up to some rate and missed beyond it"
        if self.replayed:
            return [first, "the trace at another rate is the same trace, its gaps stretched alike"]
        normal = "means over replications are about normal"
        if self.target.bound is None:
            cut = f"the first {SETTLING:.0%} and the last {COOL_DOWN:.0%} of the arrivals are not measured"
            return [first, normal, f"rates are over one T of about {self.window_s:.4g} s for all; {cut}"]
        settled = [found[WARM_UP] / ask.requests for ask, found in self.found.items()]
        return [
            first,
            normal,
            f"warm-up by MSER-5 ({sum(settled) / len(settled):.0%} of the requests on average) and the last"
            " tenth of the arrivals are not measured",
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything in plain numbers; infinities, as of intervals of one run, as null."""
        answer, saturated = self.answer, self.saturated_from

        def each(value: float | None) -> float | None:
            return None if value is None else value / self.gpus

        return {
            "target": self.wanted,
            "metric": self.target.key,
            "binds": self.target.text if self.targets else None,
            "targets": [_one(each) for each in self.targets],
            "engine": self.engine,
            "user_model": self.user_model,
            "unit": f"{self.of}/s",
            "rate": answer.rate,
            "low": answer.low,
            "high": answer.high,
            "confidence": answer.confidence,
            "most_rate": self.plan.most_rate if math.isfinite(self.plan.most_rate) else None,
            "window_s": self.window_s if self.target.bound is None else None,
            "gpus": self.gpus,
            "per_gpu": {"rate": each(answer.rate), "low": each(answer.low), "high": each(answer.high)},
            "saturated_from": saturated and {"rate": saturated[0], "reason": saturated[1]},
            "simulations": len(answer.runs),
            "requests_a_run": max(ask.requests for ask in answer.runs),
            "shown": [_shown(each, self.target.key) for each in answer.shown],
            "notes": self.notes(),
            "assumed": self.assumed(),
        }


def _shown(each: Shown, key: str) -> dict[str, Any]:
    mean = each.mean and each.mean.within(*measure_of(key).possible)
    return {
        "rate": each.rate,
        "verdict": each.verdict,
        "confidence": each.confidence,
        "replications": len(each.seen),
        "requests_a_run": each.requests,
        "saturated": each.saturated,
        "mean": mean and mean.mean,
        "low_95": mean.low if mean and math.isfinite(mean.low) else None,
        "high_95": mean.high if mean and math.isfinite(mean.high) else None,
    }


def _one(each: OneOfSeveral) -> dict[str, Any]:
    return {
        "target": each.target.text,
        "metric": each.target.key,
        "rate": each.rate,
        "low": each.low,
        "high": each.high,
        "binds": each.binds,
    }
