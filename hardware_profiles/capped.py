"""The price of a step under a power cap: what another cost model says, stretched where the GPU would draw more."""

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.gpu import MeasuredRange
from hardware_profiles.power import capped_s, check_cap, draw_of
from hardware_profiles.step_cost import HardwareCost
from simulator.replica.cost import StepShape


class CappedCost(HardwareCost):
    """``cost`` with every GPU limited to ``cap_w`` watts; how is in ``hardware_profiles.power``.

    Raises InputError for a cap of which that says nothing.
    """

    def __init__(self, cost: HardwareCost, cap_w: float, block_size: int = 16) -> None:
        super().__init__(cost.gpu, cost.model, cost.tensor_parallel, cost.overheads, block_size)
        check_cap(cost.gpu, cap_w)
        self.kind = cost.kind
        self._cost, self._cap_w = cost, cap_w
        self._draw = draw_of(cost.gpu, "hardware.power_cap_w")
        self._work = AnalyticCost(cost.gpu, cost.model, cost.tensor_parallel, cost.overheads)

    def step_s(self, shape: StepShape) -> float:
        """Return the duration of one step in seconds, never less than without the cap."""
        return capped_s(self._draw, *self._work.busy_s(shape), self._cost.step_s(shape), self._cap_w)

    def other_kernels_s(self, tokens: int, seqs: int) -> float:
        """Return what it is without the cap."""
        return self._cost.other_kernels_s(tokens, seqs)

    @property
    def measured_range(self) -> MeasuredRange | None:
        """None: no step was measured under a cap."""
        return None
