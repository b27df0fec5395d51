"""Step times put together from measured operator tables, against both cost models without an engine."""

from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq

from experiments.measured.rows import FOLDER
from experiments.measured.scores import Score
from hardware_profiles import Gpu, HardwareCost, load_gpu, load_model, step_cost
from simulator.cost import StepShape
from simulator.errors import InputError

GPUS = ("a100-80gb-sxm", "h100-80gb-sxm")
MODELS = ("llama-3.1-8b", "qwen-2.5-14b")


def step_tables(quick: bool) -> Iterator[Score]:
    """Prefills, decodes and both together, one GPU, 16 bits: kernels only, every row of the tables.

    Rows with both are sums of their parts, not a measurement: the correction for attention kernels that lose
    packing beside a prefill is left out for them.
    """
    table = pq.read_table(FOLDER / "step_tables.parquet")
    for name in GPUS:
        gpu = load_gpu(name).model_copy(update={"mixed_batch": None})
        for model in MODELS:
            rows = table.filter((pc.field("gpu") == name) & (pc.field("model") == model)).to_pylist()
            for kind in ("analytic", "tabulated"):
                yield from _against(rows[:: 10 if quick else 1], gpu, model, kind)


def _against(rows: list[dict[str, float]], gpu: Gpu, model: str, kind: str) -> Iterator[Score]:
    note = ""
    cost: HardwareCost | None = None
    try:
        cost = step_cost(gpu, load_model(model), "analytic" if kind == "analytic" else "tabulated")
    except InputError as error:
        note = str(error)
    for row in rows:
        new, prior, seqs, context = (
            int(row[name]) for name in ("new_tokens", "prior_tokens", "sequences", "context_tokens")
        )
        label = f"{new} after {prior}" if new else ""
        label += " + " if new and seqs else ""
        label += f"{seqs} of {context}" if seqs else ""
        yield Score(
            "step-tables", label, gpu.name, model, "kernels", "light" if seqs < 32 else "heavy",
            f"{row['kind']} step ms, {kind}", float(row["ms"]),
            1e3 * cost.kernel_s(_shape(new, prior, seqs, context)) if cost else None, "scored", note,
        )  # fmt: skip


def _shape(new: int, prior: int, seqs: int, context: int) -> StepShape:
    return StepShape(
        prefill_tokens=new,
        prefill_seqs=1 if new else 0,
        prefill_attention_pairs=new * prior + new * new / 2,
        prefill_context_tokens=new + prior if new else 0,
        decode_seqs=seqs,
        decode_context_tokens=seqs * context,
    )
