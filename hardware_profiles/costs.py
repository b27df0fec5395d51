"""Which cost model a scenario gets."""

from typing import Literal

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.gpu import EngineOverheads, Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost
from hardware_profiles.tables import OperatorTable, find_table, list_tables
from hardware_profiles.tabulated import TabulatedCost
from simulator.errors import InputError

CostKind = Literal["auto", "analytic", "tabulated"]


def step_cost(
    gpu: Gpu,
    model: Model,
    kind: CostKind = "auto",
    tensor_parallel: int = 1,
    overheads: EngineOverheads | None = None,
    block_size: int = 16,
) -> HardwareCost:
    """Return the tabulated cost model where a table exists for GPU, model and size, else the analytic one.

    Raises InputError for ``kind`` "tabulated" without a table, and as the models' constructors do.
    """
    table = table_of(gpu, model, kind, tensor_parallel, overheads)
    if table is not None:
        return TabulatedCost(gpu, model, table, tensor_parallel, overheads, block_size)
    return AnalyticCost(gpu, model, tensor_parallel, overheads, block_size)


def table_of(
    gpu: Gpu, model: Model, kind: CostKind, tensor_parallel: int, engine: EngineOverheads | None = None
) -> OperatorTable | None:
    """Return the table that ``kind`` asks for; None for the formula. InputError where it must be and is not."""
    if kind == "analytic":
        return None
    table = find_table(gpu, model, tensor_parallel, engine)
    if table is None and kind == "tabulated":
        there = ", ".join(f"{name} on {size}" for name, size in list_tables(gpu, engine)) or "none"
        raise InputError(
            f"no operator table for {model.name} on {tensor_parallel} x {gpu.name}:"
            f" expected analytic, auto, or a table that there is (on this GPU: {there})"
        )
    return table
