"""How far predictions were off where servers were measured: errors by GPU, kind of model, precision, size and load.

The errors are in ``validated_errors.json``, which ``python -m experiments.validation.validated_errors`` makes from the
scored rows of ``servesim validate``. The error of a kind of row is an upper bound on the absolute error of the next
row of that kind in ``SHARE`` of cases, as long as rows are exchangeable: the ceil(SHARE (n + 1))-th smallest of n
(split conformal prediction: Lei et al., "Distribution-free predictive inference for regression", JASA 2018, 2.2).
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from hardware_profiles.files import PACKAGE_DIR, validate
from hardware_profiles.model import Model
from hardware_profiles.quantisation.formats import SIXTEEN_BITS
from simulator.errors import InputError
from simulator.input_files import read_text

SHARE = 0.9
LEAST_ROWS = 9  # of which the largest is the bound; fewer say nothing about a tenth
METRICS = ("TTFT", "TPOT", "E2E", "throughput")
FILE = PACKAGE_DIR / "validated_errors.json"


class Corner(NamedTuple):
    """Where a prediction is made, or was scored."""

    gpu: str
    model: str  # dense or MoE
    weights: str  # bf16, fp8, ...
    tensor_parallel: int | None  # None: any
    load: str | None  # light, medium or heavy; None: any

    def wider(self) -> list["Corner"]:
        """Return this corner and those that hold it, the narrowest first: any load, any size, both."""
        return [
            self,
            self._replace(load=None),
            self._replace(tensor_parallel=None),
            self._replace(tensor_parallel=None, load=None),
        ]

    def holds(self, other: "Corner") -> bool:
        """Whether what was measured in another corner counts for this one."""
        return (
            (self.gpu, self.model, self.weights) == (other.gpu, other.model, other.weights)
            and self.tensor_parallel in (None, other.tensor_parallel)
            and self.load in (None, other.load)
        )

    def __str__(self) -> str:
        size = "" if self.tensor_parallel is None else f", TP{self.tensor_parallel}"
        return f"{self.gpu}, {self.model} {self.weights}{size}" + (f", {self.load} load" if self.load else "")


class ValidatedError(NamedTuple):
    """The absolute error of ``SHARE`` of the rows of a corner."""

    corner: Corner  # the narrowest with enough rows
    n: int
    within_pct: float


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    gpu: str
    model: str
    weights: str
    tensor_parallel: int
    load: str
    metric: str
    errors_pct: list[float]  # signed, of the measured value

    @property
    def corner(self) -> Corner:
        return Corner(self.gpu, self.model, self.weights, self.tensor_parallel, self.load)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str
    licence: str
    date: str
    corner: list[_Row]


def kind_of(model: Model) -> str:
    """Return dense or MoE."""
    return "MoE" if any(part.kind == "experts" for part in model.parts) else "dense"


def weights_of(model: Model) -> str:
    """Return the format of most weights of the layers as the rows have it: bf16, fp8, mxfp4, ..."""
    values: Counter[str] = Counter()
    for (matrix, stored), layers in model.matrices.items():
        values[stored.name] += matrix.parameters * layers
    ((most, _),) = values.most_common(1)
    return "bf16" if most == SIXTEEN_BITS.name else most


def corner_of(gpu: str, model: Model, tensor_parallel: int | None = None, load: str | None = None) -> Corner:
    """Return where a model on so many GPUs is."""
    return Corner(gpu, kind_of(model), weights_of(model), tensor_parallel, load)


def within_pct(errors_pct: Sequence[float]) -> float:
    """Return the bound on the absolute error of the next row; infinite for too few rows."""
    place = math.ceil(SHARE * (len(errors_pct) + 1))
    return sorted(map(abs, errors_pct))[place - 1] if place <= len(errors_pct) else math.inf


def narrowest(
    corner: Corner, rows: Sequence[tuple[Corner, Sequence[float]]]
) -> tuple[ValidatedError | None, int]:
    """Return the error of the narrowest corner around one with ``LEAST_ROWS``, and the rows of the widest.

    ``rows``: corners with their errors in %, of one metric.
    """
    errors: list[float] = []
    for wider in corner.wider():
        errors = [each for where, some in rows if wider.holds(where) for each in some]
        if len(errors) >= LEAST_ROWS:
            return ValidatedError(wider, len(errors), within_pct(errors)), len(errors)
    return None, len(errors)


def validated_error(corner: Corner, metric: str, path: Path = FILE) -> tuple[ValidatedError | None, int]:
    """Return the error of a metric of ``METRICS`` where a prediction is made, and how many rows there are at most."""
    return narrowest(corner, [(row.corner, row.errors_pct) for row in _rows(path) if row.metric == metric])


def is_validated(corner: Corner, path: Path = FILE) -> bool:
    """Whether any server was measured with that GPU, kind of model and precision."""
    widest = corner.wider()[-1]
    return any(widest.holds(row.corner) for row in _rows(path))


@lru_cache
def _rows(path: Path) -> list[_Row]:
    """Read a file of errors; InputError naming file and key for what is wrong with it."""
    try:
        return validate(_File, json.loads(read_text(path)), str(path)).corner
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
