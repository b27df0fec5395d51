"""Options of C8, and what they are worth to every user model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np

from experiments.paper._protocol import PROTOCOL
from simulator.arrays import Floats
from simulator.metrics._accrued import idle_by_window_end_s, tokens_by_window_end
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Origin, Penalty, UserModel
from simulator.metrics._reader import penalty
from simulator.stats import interval, paired

Cell = tuple[int, int, int]  # a user model: which V, which alpha, which f
SETTINGS = PROTOCOL.studies["C8"]
V_S, ALPHAS = tuple(SETTINGS["v_s"]), tuple(SETTINGS["alphas"])  # alpha times 1/V
SHAPES: tuple[Penalty, ...] = get_args(Penalty)
POLICIES = ("vllm_v1", "vllm_v0", "sarathi", "orca", "smooth", "sglang", "edf", "andes")
FEW_POLICIES = ("vllm_v1", "orca", "smooth", "edf")
TOLD_V = ("smooth", "edf", "andes")  # these decide by the pace of the reader, and are simulated for each
MARGIN = SETTINGS["margin"]  # of the tokens delivered; less is no difference


@dataclass(frozen=True)
class Choice:
    """Options and what each is worth to every user model, as a share of the tokens delivered."""

    name: str
    options: tuple[str, ...]
    worth: Floats  # f64[option, seed, V, alpha, f]
    default: Cell
    ordered: bool = False  # whether the order of all options is a conclusion too

    def best(self, cell: Cell) -> int:
        """Return the option with the largest mean under a user model."""
        return int(np.argmax(self._at(cell).mean(axis=1)))

    def differ(self, a: int, b: int, cell: Cell) -> bool:
        """Whether option ``a`` is worth more than ``b`` to a user model, beyond margin and interval."""
        at = self._at(cell)
        return a != b and interval((at[a] - at[b] - MARGIN).tolist()).above_zero

    def contradicted(self, cell: Cell) -> bool:
        """Whether a user model contradicts the choice made under the defaults."""
        return self.differ(self.best(cell), self.best(self.default), cell)

    def swapped(self, cell: Cell) -> int:
        """Return how many pairs of options differ under the defaults and the other way round here."""
        pairs = [*combinations(range(len(self.options)), 2)]
        both = [*pairs, *((b, a) for a, b in pairs)]
        return sum(self.differ(a, b, self.default) and self.differ(b, a, cell) for a, b in both)

    def lead(self) -> str:
        """Return the best option under the defaults, and its lead over the second, in words."""
        at = self._at(self.default)
        second, best = np.argsort(at.mean(axis=1))[-2:]
        lead = paired(at[best].tolist(), at[second].tolist())
        return f"{self.name}: {self.options[best]} {lead.text('+.1f', 100)}"

    def cells(self) -> list[Cell]:
        """Return all user models."""
        return [(i, j, k) for i, j, k in np.ndindex(self.worth.shape[2:])]

    def _at(self, cell: Cell) -> Floats:
        values: Floats = self.worth[(slice(None), slice(None), *cell)]
        return values


def score(log: RequestLog, v_s: Sequence[float], alphas: Sequence[float], origin: Origin) -> Floats:
    """Return smooth goodput in tokens/s for every user model, f64[V, alpha, f]; idle latency once per V.

    The log's window begins with the first arrival.
    """
    found = np.empty((len(v_s), len(alphas), len(SHAPES)))
    for i, v in enumerate(v_s):
        idle_s = idle_by_window_end_s(log.all, UserModel(v_s_per_token=v, origin=origin))
        tokens = tokens_by_window_end(log.all).sum()
        for k, f in enumerate(SHAPES):
            for j, alpha in enumerate(alphas):
                user = UserModel(v_s_per_token=v, origin=origin, alpha=alpha / v, f=f)
                found[i, j, k] = tokens - penalty(idle_s, user).sum()
    return found / log.window_s
