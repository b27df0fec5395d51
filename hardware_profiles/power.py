"""What a GPU draws: watts of a step from how busy memory and arithmetic units are, and what a power cap does.

    P(step) = min( cap, idle + (memory_bound - idle)·m + (board - idle)·c^0.7 )

m and c are the shares of the step for which the compact cost model has memory read and units compute, at the rates
that it was fitted with (``AnalyticCost.busy_s``). Nothing else of a step draws more than idle. The exponent, by which
units that compute a little already draw much, is that of the function of Özcan et al., arXiv 2507.11417, as simulators
that use it state it: 100 to 400 W on A100 for an MFU of 0 to 0.45, exponent 0.7.

A cap lowers the clock of the arithmetic units to a share f. Their energy goes with the square of the voltage, which
follows the clock; the time of what they bound, x = c·T of a step of T seconds, with 1/f. With M = (memory_bound -
idle)·m·T and D = P·T - idle·T - M, its joules above idle for memory and arithmetic, the mean power is the cap where

    (cap - idle)·(T + x·(1/f - 1)) = M + D·f²

Nothing of this was validated; reading memory at a lower clock is taken to cost as much as at the full one.
"""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from hardware_profiles.sourced import Sourced
from simulator.arrays import Floats
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles.gpu import Gpu

EXPONENT = 0.7
_HALVINGS = 50  # of the interval in which the clock is looked for: beyond the precision of a double


class PowerDraw(Sourced):
    """Watts of one GPU: its limit, idle with a model loaded, and when it does nothing but read its memory."""

    board_w: float = Field(gt=0)
    idle_w: float = Field(gt=0)
    memory_bound_w: float = Field(gt=0)
    remark: str


def draw_of(gpu: "Gpu", key: str) -> PowerDraw:
    """Return what a GPU draws; InputError, naming the key that asks for it, where its profile does not say."""
    if gpu.power is None:
        raise InputError(
            f"{key}: {gpu.name} has no [power] in its profile; expected a GPU that has, or it unset"
        )
    return gpu.power


def check_cap(gpu: "Gpu", cap_w: float) -> None:
    """Raise InputError for a cap that is without effect, or of which the formula says nothing."""
    draw = draw_of(gpu, "hardware.power_cap_w")
    if not draw.memory_bound_w <= cap_w <= draw.board_w:
        raise InputError(
            f"hardware.power_cap_w: expected {draw.memory_bound_w:g} (what {gpu.name} draws when it only reads memory)"
            f" to {draw.board_w:g} W (its limit), got {cap_w:g}"
        )


def watts(
    draw: PowerDraw, memory_s: Floats, compute_s: Floats, lasted_s: Floats, cap_w: float | None = None
) -> Floats:
    """Return what one GPU draws on average in each step: f64[steps], W."""
    most_w = draw.board_w if cap_w is None else cap_w
    lasted_s = np.maximum(lasted_s, 1e-12)
    memory, compute = (np.minimum(1.0, busy_s / lasted_s) for busy_s in (memory_s, compute_s))
    uncapped_w = (
        draw.idle_w
        + (draw.memory_bound_w - draw.idle_w) * memory
        + (draw.board_w - draw.idle_w) * compute**EXPONENT
    )
    return np.asarray(np.minimum(most_w, uncapped_w))


def capped_s(draw: PowerDraw, memory_s: float, compute_s: float, lasted_s: float, cap_w: float) -> float:
    """Return how long a step takes that takes ``lasted_s`` without the cap; never less."""
    power_w = float(watts(draw, np.array(memory_s), np.array(compute_s), np.array(lasted_s)))
    if power_w <= cap_w:
        return lasted_s
    spare_w = cap_w - draw.idle_w
    memory_j = (draw.memory_bound_w - draw.idle_w) * min(memory_s, lasted_s)
    compute_j = (power_w - draw.idle_w) * lasted_s - memory_j
    bound_s = min(compute_s, lasted_s)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        f = 0.5 * (low + high)
        if compute_j * f**3 + (memory_j - spare_w * (lasted_s - bound_s)) * f > spare_w * bound_s:
            high = f
        else:
            low = f
    return lasted_s + bound_s * (1 / high - 1)
