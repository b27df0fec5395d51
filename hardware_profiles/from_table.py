"""From rows of a new operator table to a profile that uses it: two files, and the formula fitted to them."""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware_profiles.fit import (
    Error,
    errors_by_kind,
    fit_kernels,
    predict_s,
    steps_of_table,
    with_coefficients,
)
from hardware_profiles.gpu import FitError, Gpu, OperatorTables
from hardware_profiles.gpu_file import write_gpu
from hardware_profiles.model import Model
from hardware_profiles.tables import make_table, table_stem, write_table
from hardware_profiles.tabulated import TabulatedCost
from simulator.errors import InputError


@dataclass(frozen=True)
class TableOrigin:
    """Where a table comes from, as its profile states it."""

    source: str
    licence: str
    engine_version: str
    remark: str
    description: str | None = None  # of the device; None: the base profile's


@dataclass(frozen=True)
class NewProfile:
    """The files written, and the formula's errors in % against the table by kind of step."""

    gpu: Gpu
    table: Path
    errors: dict[str, Error]


def table_name(model: Model, tensor_parallel: int) -> str:
    """Return the file name under which ``find_table`` looks for the table of a model; InputError without one."""
    name = table_stem(model)
    if name is None:
        raise InputError(f"{model.name}: its matrices have several formats; expected one, as a table has")
    return f"{name}.tp{tensor_parallel}.csv.gz"


def write_profile(
    base: Gpu, model: Model, tensor_parallel: int, rows: dict[str, Any], out: Path, origin: TableOrigin
) -> NewProfile:
    """Write ``rows`` as ``tables/<name>/<model>.tp<n>.csv.gz`` beside ``out``, and ``out`` itself.

    Everything that is no kernel (data sheet, price, overheads, memory) is the base's. The compact formula is
    fitted to the table's steps, for models without one. Raises InputError where rows are no table.
    """
    name = out.stem
    cost = TabulatedCost(base, model, make_table(origin.source, rows), tensor_parallel)
    steps = [step for step in steps_of_table(cost) if step.kernel_s > 0]
    coefficients = {key: round(value, 5) for key, value in fit_kernels(base, steps).items()}
    errors = errors_by_kind(predict_s(with_coefficients(base, coefficients), steps), steps)
    table = out.parent / "tables" / name / table_name(model, tensor_parallel)
    write_table(table, rows)
    said: dict[str, Any] = {
        "source": origin.source, "licence": origin.licence, "engine_version": origin.engine_version,
        "date": datetime.date.today(),
    }  # fmt: skip
    fit = base.kernel_fit.model_copy(update={
        **coefficients, **said, "fitted_on": f"{model.name} on {tensor_parallel} GPU(s)",
        "error": _error(errors), "measured_range": cost.measured_range,
    })  # fmt: skip
    new = base.model_copy(update={
        "name": name,
        "description": origin.description or base.description,
        "validated": f"kernels: {origin.source}; no run of a real server was compared; the rest: {base.name}.",
        "kernel_fit": fit,
        "operator_tables": OperatorTables(folder=name, remark=origin.remark, **said),
        "engine_overheads": {  # these kernels are every engine's now
            key: each.model_copy(update={"operator_tables": None}) for key, each in base.engine_overheads.items()
        },
        "path": out,
    })  # fmt: skip
    write_gpu(new, out)
    return NewProfile(new, table, errors)


def _error(errors: dict[str, Error]) -> FitError:
    nothing = Error(0.0, 0.0, 0)
    means = {
        f"{kind}_pct": round(errors.get(kind, nothing).mean_pct, 2)
        for kind in ("prefill", "prefill_after_prior_context", "decode", "mixed")
    }
    absent = [kind for kind in ("prefill_after_prior_context", "mixed") if kind not in errors]
    return FitError(
        grid="the points of the table at which attention was measured",
        remark=f"Not in the table, so without an error: {', '.join(absent)}." if absent else "All kinds measured.",
        worst_pct=round(errors["all"].worst_pct, 2), **means,
    )  # fmt: skip
