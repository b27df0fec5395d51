"""What the numbers of a summary are called: a ``Measure`` beside each function that makes them.

A number has one name, the keys that lead to it in the summary (``latency.ttft_s.p99``). Reports, comparisons,
sweeps, targets and plans read label, unit and direction here, so a metric's file says all that is to be known of it.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from simulator.errors import InputError

# One run in words; a few runs beside one another; many runs, ranked; a sweep that does not say what it shows
ShownIn = Literal["report", "compare", "ranking", "sweep"]

MOMENTS = ("mean", "p50", "p90", "p95", "p99", "max")
SHARE_OF = "share of "  # how the unit of a share of something begins
INDEX = "0 to 1"  # the unit of an index


class Measure(NamedTuple):
    """A number of a summary: how it is called, which way is better, and where it is shown by default."""

    key: str  # that leads to it, from the name of the metric's file on, with dots
    label: str
    unit: str  # "share of ..." is shown in percent where there is room for it
    higher_is_better: bool = False
    alias: str = ""  # what a target may call it besides
    shown: tuple[ShownIn, ...] = ("report", "compare", "ranking")
    row: str = ""  # of a distribution that has a row in the report's table of latencies: its label there
    least: float = -math.inf  # value that it can have; shares and indices are from 0 to 1

    @property
    def possible(self) -> tuple[float, float]:
        """The least and the largest value that it can have: no interval reaches beyond."""
        share = self.unit.startswith(SHARE_OF) or self.unit == INDEX
        return (0.0, 1.0) if share else (self.least, math.inf)

    @property
    def axis(self) -> str:
        """Label and unit in one, as on the axis of a picture."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def of(self, summary: Mapping[str, Any]) -> float | None:
        """Look the number up; None where a summary has none."""
        value: Any = summary
        for key in self.key.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None or isinstance(value, str | Mapping) else float(value)


def spread(
    key: str,
    label: str,
    unit: str,
    higher_is_better: bool = False,
    *,
    alias: str = "",
    row: str = "",
    least: float = -math.inf,
    **shown: tuple[ShownIn, ...],
) -> tuple[Measure, ...]:
    """Return the measures of a distribution (``_distribution.distribution``), one a moment.

    Where each is shown is given by moment: ``mean=("compare",)``.
    """
    return tuple(
        Measure(
            f"{key}.{moment}",
            f"{label} {moment}",
            unit,
            higher_is_better,
            f"{alias}_{moment}" if alias else "",
            shown.get(moment, ()),
            row,
            least,
        )
        for moment in MOMENTS
    )


def checked(family: str, file: str, given: Any) -> dict[str, Measure]:
    """Return the ``MEASURES`` of a file by key; InputError, naming the file, for what are none of its own."""
    if not isinstance(given, tuple) or isinstance(given, Measure):
        raise InputError(f"{file}: MEASURES: expected a tuple of Measure, got {given!r}")
    for each in given:
        if not isinstance(each, Measure):
            raise InputError(f"{file}: MEASURES: expected a tuple of Measure, got {each!r} in it")
        if not each.key.startswith(f"{family}."):
            raise InputError(f"{file}: MEASURES: {each.key!r} does not begin with the file's name; expected"
                             f" {family}.NAME")  # fmt: skip
    return {each.key: each for each in given}
