"""Step times put together from measured operator tables, against both cost models without an engine."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pyarrow.compute as pc
import pyarrow.parquet as pq

from experiments.validation.rows import FOLDER
from experiments.validation.scores import Score
from hardware_profiles import Gpu, HardwareCost, load_gpu, load_model, step_cost
from hardware_profiles.fit import BOUNDS, MeasuredStep, fit_kernels, with_coefficients
from simulator.errors import InputError
from simulator.replica.cost import StepShape

GPUS = ("a100-80gb-sxm", "h100-80gb-sxm")
MODELS = ("llama-3.1-8b", "qwen-2.5-14b")
START_OF_FIT = "l40s"  # whose coefficients no row here has touched

Row = dict[str, Any]
CostKind = Literal["analytic", "tabulated"]


def step_tables(quick: bool) -> Iterator[Score]:
    """Prefills, decodes and both together, one GPU, 16 bits: kernels only, every row of the tables.

    The analytic form prices each half of a GPU's rows with coefficients fitted to the other half, both
    models together. The tabulated model reads these tables and must meet them. Rows with both are sums of
    their parts, not a measurement: the correction for attention kernels that lose packing beside a prefill
    is left out for them.
    """
    table = pq.read_table(FOLDER / "step_tables.parquet")
    for name in GPUS:
        gpu = load_gpu(name).model_copy(update={"mixed_batch": None})
        rows = table.filter(pc.field("gpu") == name).to_pylist()
        halves = rows[::2], rows[1::2]
        fitted = [_fitted_to(half, gpu) for half in halves]
        for half, other in zip(halves, reversed(fitted), strict=True):
            yield from _against(half[:: 10 if quick else 1], other, "analytic")
        yield from _against(rows[:: 10 if quick else 1], gpu, "tabulated")


def _fitted_to(rows: Sequence[Row], gpu: Gpu) -> Gpu:
    """The GPU with the formula's coefficients fitted to these rows, from those of another GPU on."""
    start = load_gpu(START_OF_FIT).kernel_fit
    steps = [
        MeasuredStep(
            load_model(row["model"]),
            1,
            "prefill_after_prior_context"
            if row["kind"] == "prefill" and row["prior_tokens"]
            else row["kind"],
            _shape(row),
            row["ms"] / 1e3,
        )
        for row in rows
    ]
    elsewhere = with_coefficients(gpu, {name: getattr(start, name) for name in BOUNDS})
    return with_coefficients(gpu, fit_kernels(elsewhere, steps))


def _against(rows: Sequence[Row], gpu: Gpu, kind: CostKind) -> Iterator[Score]:
    for model in MODELS:
        note = ""
        cost: HardwareCost | None = None
        try:
            cost = step_cost(gpu, load_model(model), kind)
        except InputError as error:
            note = str(error)
        for row in rows:
            if row["model"] != model:
                continue
            new, prior, seqs = row["new_tokens"], row["prior_tokens"], row["sequences"]
            label = f"{new} after {prior}" if new else ""
            label += " + " if new and seqs else ""
            label += f"{seqs} of {row['context_tokens']}" if seqs else ""
            yield Score(
                "step-tables", label, gpu.name, model, "kernels", "light" if seqs < 32 else "heavy",
                f"{row['kind']} step ms, {kind}", float(row["ms"]),
                1e3 * cost.kernel_s(_shape(row)) if cost else None, "scored", note,
            )  # fmt: skip


def _shape(row: Row) -> StepShape:
    new, prior, seqs, context = (
        int(row[name]) for name in ("new_tokens", "prior_tokens", "sequences", "context_tokens")
    )
    return StepShape(
        prefill_tokens=new,
        prefill_seqs=1 if new else 0,
        prefill_attention_pairs=new * prior + new * new / 2,
        prefill_context_tokens=new + prior if new else 0,
        decode_seqs=seqs,
        decode_context_tokens=seqs * context,
    )
