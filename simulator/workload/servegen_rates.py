"""Rates of a client of alibaba/ServeGen (chunk-N-trace.csv): a load over time, no requests.

Lines without names above them: the start of a span (s), requests/s, the CV of gaps, and the distribution of gaps with
two parameters.
"""

import re
from pathlib import Path

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.workload.containers import AnyText, first_line

_LINE = re.compile(
    r"\s*[\d.]+\s*,\s*[\d.eE+-]+\s*,[^,]*,\s*(Gamma|Weibull|Exponential|Pareto|\w*)\s*(,[^,]*)*"
)


def is_one(path: Path) -> bool:
    """Tell such a file by its first line."""
    line = first_line(path).strip()
    return line.count(",") == 5 and _LINE.fullmatch(line) is not None


def read(path: Path) -> tuple[Floats, Floats]:
    """Return the starts of spans (s) and the requests/s in them; raise ``InputError`` naming the line that is wrong."""
    times, rates = [], []
    for number, line in enumerate(AnyText(path).lines(), start=1):
        if not line.strip():
            continue
        cells = line.split(",")
        try:
            times.append(float(cells[0]))
            rates.append(float(cells[1]))
        except (ValueError, IndexError):
            raise InputError(
                f"{path}: line {number}: {line.strip()[:60]!r} found; expected a time in s and requests/s"
            ) from None
    return np.array(times), np.array(rates)
