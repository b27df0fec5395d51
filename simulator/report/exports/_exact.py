"""Differences of times that give the times back, to the last bit, when they are added up."""

import json
import re
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

from simulator.arrays import Floats

_MARK = "\ue000"  # of a number with more digits than a float has, which json would write as a text


def gaps_s(start_s: float, times_s: Floats) -> list[float | Decimal]:
    """Return the differences between ``start_s``, ``times_s[0]``, ``times_s[1]``, ..., in seconds.

    Added up one after another, each sum rounded to a float, they are ``times_s`` again. Where no float does that (a gap
    longer than all the time before it may need one bit more), the difference is a ``Decimal`` with all its digits.
    """
    all_s = np.concatenate([[start_s], times_s])
    gaps: list[float | Decimal] = np.diff(all_s).tolist()
    with localcontext() as exactly:
        exactly.prec = 1100  # digits, as many as a difference of two floats may have
        for i in np.flatnonzero(all_s[:-1] + np.diff(all_s) != times_s).tolist():
            gaps[i] = Decimal(float(all_s[i + 1])) - Decimal(float(all_s[i]))
    return gaps


def dumps(found: dict[str, Any]) -> str:
    """Return JSON in which a ``Decimal`` is a number with all its digits."""
    text = json.dumps(found, allow_nan=False, default=lambda value: f"{_MARK}{value:f}")
    return re.sub(r'"\\ue000([-0-9.]+)"', r"\1", text)
