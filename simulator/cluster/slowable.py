"""Steps that take longer for a while: a replica is slow, or copies KV caches beside them, or shares wires with some."""

from collections.abc import Callable, Sequence
from typing import cast

from simulator.cluster.shared_wires import StepsAtPort
from simulator.replica.cost import CostModel, DecodePiece, StagedCost, StepShape
from simulator.replica.replica import Replica


class SlowableCost:
    """A cost model whose steps can be made longer by a factor."""

    def __init__(self, cost: CostModel, copy_share: float = 0.0) -> None:
        """``copy_share`` is by how much steps are longer while KV caches are copied beside them."""
        self.cost = cost
        self.copy_share = copy_share
        self.slowed = 1.0  # by a fault
        self.copies = 0  # that run beside the steps

    @property
    def factor(self) -> float:
        """How many times longer steps are."""
        return self.slowed * (1 + self.copy_share) if self.copies else self.slowed

    @property
    def decode_piece(self) -> Callable[[int, int], DecodePiece] | None:
        """As the cost model has it, while steps are not longer."""
        return getattr(self.cost, "decode_piece", None) if self.factor == 1 else None

    def step_s(self, shape: StepShape) -> float:
        """As the cost model says, times the factor."""
        return self.cost.step_s(shape) * self.factor

    def expected_s(self, shape: StepShape) -> float:
        """As the cost model expects, times the factor."""
        expected: Callable[[StepShape], float] = getattr(self.cost, "expected_s", self.cost.step_s)
        return expected(shape) * self.factor

    @property
    def varies(self) -> bool:
        """Whether the cost model's steps vary around what is expected."""
        return getattr(self.cost, "varies", False)

    def stage_s(self, shape: StepShape) -> Sequence[float]:
        """As the cost model says of each stage of a pipeline, times the factor."""
        return [each * self.factor for each in cast(StagedCost, self.cost).stage_s(shape)]


class WiredCost(SlowableCost):
    """A cost model of one replica's steps, which share the port of its KV transfers once that is known."""

    at_port: StepsAtPort | None = None

    def step_s(self, shape: StepShape) -> float:
        """As the cost model says, and what transfers held up before; to be called once for each step."""
        alone_s = super().step_s(shape)
        return alone_s if self.at_port is None else self.at_port.lasts_s(shape, alone_s)


def reprice(replica: Replica, *, slowed: float | None = None, copies: int = 0) -> None:
    """Make the steps that a replica plans from now on longer or shorter: ``copies`` more run beside them."""
    replica.catch_up()
    cost = replica.cost
    assert isinstance(cost, SlowableCost)
    cost.copies += copies
    cost.slowed = cost.slowed if slowed is None else slowed
    engine = replica.engine
    engine.decode_piece = cost.decode_piece
    replica.wake()
