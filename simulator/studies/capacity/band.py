"""What rates come to if steps are as much shorter or longer as they were off where servers were measured."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from simulator.report.tables import Document, Words
from simulator.report.text import number
from simulator.scenario.scenario import Scenario
from simulator.studies.band import StepError, slowed


class SearchedRate(Protocol):
    """What a search for a rate has: the answer and its interval."""

    @property
    def rate(self) -> float | None:
        """The answer, requests/s; None: none was found."""

    @property
    def low(self) -> float | None:
        """The lower end of its interval, requests/s; None: not shown."""

    @property
    def high(self) -> float | None:
        """The upper end of its interval, requests/s; None: not shown."""


@dataclass(frozen=True)
class RateBand:
    """The rate with the longest and with the shortest steps, and the ends that both searches leave open."""

    error: StepError
    rates: tuple[float | None, float | None]  # lower, upper
    ends: tuple[
        float | None, float | None
    ]  # the lower end of the one's interval, the upper end of the other's

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        error: StepError,
        folder: Path,
        found: SearchedRate,
        search: Callable[[Scenario, Path], SearchedRate],
    ) -> "RateBand":
        """Search again at both ends, in folders beside the search's own points."""
        shorter, longer = (
            search(slowed(scenario, factor), folder / f"steps-x{factor:.3g}") for factor in error.factors
        )
        known = [each for each in (longer.low, longer.rate, found.low) if each is not None]
        above = [each for each in (shorter.high, shorter.rate, found.high) if each is not None]
        low = min(known) if longer.low is not None else None
        high = max(above) if shorter.high is not None else None
        return cls(error, (longer.rate, shorter.rate), (low, high))

    def as_json(self) -> dict[str, Any]:
        """Return it in plain numbers, rates in the answer's unit."""
        (slow, fast), (low, high) = self.rates, self.ends
        return {
            "step_error_pct": self.error.pct, "validated": self.error.validated, "rate_longer_steps": slow,
            "rate_shorter_steps": fast, "low": low, "high": high,
        }  # fmt: skip

    def document(self) -> Document:
        """Return it in words."""
        (slow, fast), (low, high) = self.rates, self.ends
        short, long = self.error.factors
        lines = [
            f"band: {number(slow)} with steps x {long:.3g} to {number(fast)} with steps x {short:.3g};"
            f" with the intervals of the searches {number(low)} to {number(high)}",
            f"steps may be {self.error.pct:.3g} % off: {self.error.said}",
        ]
        if not self.error.validated:
            lines.append("not validated: the band stands for kernels, or is assumed, and may be too narrow")
        return Document([Words(lines)])
