"""Measured operator tables: the milliseconds of each part of a forward pass, as data.

One file per GPU, model and tensor-parallel size, ``tables/<gpu>/<model>.tp<n>.csv.gz`` (a quantised model:
``<model>-fp8``), with the columns
``part, new_tokens, prior_tokens, sequences, context_tokens, ms``, in tables of models with experts also ``experts``
before ``ms``, which is for all layers of the model on one rank. An engine whose own kernels were measured has a folder
of its own, ``tables/<gpu>-<engine>``, which its overheads name. The parts are

    linear       the layers' matrices, by the step's tokens (``new_tokens``); no experts where they are a part
    experts      mixtures of experts, by the same tokens and the different ``experts`` of a layer that they pick
    elementwise  norms, activations, rotary embedding, by the same tokens
    all_reduce   by the same tokens; absent for one GPU, or where it was not measured
    lm_head      with the sampler where that was measured, by ``sequences``
    attention    one prefill of ``new_tokens`` after ``prior_tokens`` and ``sequences`` decodes of
                 ``context_tokens`` each; either may be 0, and where neither is it was measured together
"""

import csv
import gzip
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hardware_profiles.files import PACKAGE_DIR, read_toml, shipped_path
from hardware_profiles.gpu import EngineOverheads, Gpu
from hardware_profiles.model import Model
from hardware_profiles.model_files import list_models, load_model
from hardware_profiles.quantisation.formats import SIXTEEN_BITS
from simulator.arrays import Floats
from simulator.errors import InputError

COLUMNS = ("part", "new_tokens", "prior_tokens", "sequences", "context_tokens", "ms")
COLUMNS_WITH_EXPERTS = (*COLUMNS[:-1], "experts", "ms")
PARTS = ("linear", "experts", "elementwise", "all_reduce", "lm_head", "attention")
TABLES_KV_BYTES = 2.0  # of a value in the KV cache that attention was measured with


@dataclass(frozen=True)
class OperatorTable:
    """The rows of one file, part by part."""

    source: str  # the file, or what the caller says
    linear: Floats  # rows of tokens, ms; likewise the next two
    elementwise: Floats
    all_reduce: Floats
    lm_head: Floats  # rows of sequences, ms
    attention: Floats  # rows of new_tokens, prior_tokens, sequences, context_tokens, ms
    experts: Floats = field(
        default_factory=lambda: np.empty((0, 3))
    )  # rows of tokens, experts, ms; may be empty

    @property
    def prefill(self) -> Floats:
        """Attention of one prefill alone: rows of new_tokens, prior_tokens, ms."""
        rows = self.attention
        return np.asarray(rows[rows[:, 2] == 0][:, [0, 1, 4]])

    @property
    def decode(self) -> Floats:
        """Attention of decodes alone: rows of sequences, context_tokens, ms."""
        rows = self.attention
        return np.asarray(rows[rows[:, 0] == 0][:, [2, 3, 4]])

    @property
    def mixed(self) -> Floats:
        """Attention of a prefill and decodes together: rows as in ``attention``; may be empty."""
        rows = self.attention
        return np.asarray(rows[(rows[:, 0] > 0) & (rows[:, 2] > 0)])


def list_tables(gpu: Gpu, engine: EngineOverheads | None = None) -> list[tuple[str, int]]:
    """Return (model, tensor_parallel) of every table there is for a GPU, sorted; "-fp8" is part of a name.

    ``engine``: with those of its own kernels.
    """
    found = set()
    for folder in _folders(gpu, engine):
        for path in folder.glob("*.tp*.csv.gz"):
            model, _, size = path.name.removesuffix(".csv.gz").rpartition(".tp")
            if size.isdecimal():
                found.add((model, int(size)))
    return sorted(found)


def find_table(
    gpu: Gpu, model: Model, tensor_parallel: int, engine: EngineOverheads | None = None
) -> OperatorTable | None:
    """Return the table for a GPU, a model and a tensor-parallel size, or None if there is none.

    Where an engine has tables of its own kernels, they come first: its overheads were fitted on top of them.

    A table is of a name and a shape: a checkpoint under another name has the table of a shipped model that it equals
    layer by layer, and one of other layers under a shipped model's name has none.
    """
    measured = {name for name, size in list_tables(gpu, engine) if size == tensor_parallel}
    stem = table_stem(model)
    if stem is None:
        return None
    bits, shipped = stem.removeprefix(model.name), list_models()
    names = [model.name, *(name for name in shipped if name != model.name)]
    measured_names = (name for name in names if f"{name}{bits}" in measured)
    name = next((name for name in measured_names if name not in shipped or _equal(model, name)), None)
    if name is None:
        return None
    for folder in _folders(gpu, engine):
        path = folder / f"{name}{bits}.tp{tensor_parallel}.csv.gz"
        if path.is_file():
            return read_table(path)
    return None


def _equal(model: Model, shipped: str) -> bool:
    """Return whether a model's steps do what those of a shipped one do, but for the bits of weights and KV cache."""
    config = read_toml(shipped_path("models", shipped))["config"]
    if (config["hidden_size"], config["num_hidden_layers"]) != (model.hidden_size, len(model.layers)):
        return False  # without building it
    other = load_model(shipped)
    return (model.vocab_size, model.parts) == (other.vocab_size, other.parts)


def table_stem(model: Model) -> str | None:
    """Return what the name of a model's tables begins with; None where its layers' matrices differ in format.

    What makes up less than a hundredth of them (routers) may have 16 bits in any model.
    """
    if model.quantization is None:
        return model.name
    values: dict[str, int] = {}
    for (matrix, weights), n in model.matrices.items():
        values[weights.name] = values.get(weights.name, 0) + matrix.parameters * n
    formats = [name for name, count in values.items() if count * 100 >= model.linear_parameters]
    if len(formats) != 1:
        return None
    return model.name if formats == [SIXTEEN_BITS.name] else f"{model.name}-{formats[0]}"


def _folders(gpu: Gpu, engine: EngineOverheads | None) -> list[Path]:
    """Return where a GPU's tables may lie: an engine's own first, beside the GPU's file before the shipped ones."""
    if gpu.operator_tables is None:
        return []
    own = None if engine is None else engine.operator_tables
    named = [name for name in (own, gpu.operator_tables.folder) if name is not None]
    return [home / "tables" / name for name in named for home in (gpu.path.parent, PACKAGE_DIR)]


def read_table(path: Path) -> OperatorTable:
    """Return the table in a file; InputError naming it if it is not one, or misses a part."""
    rows: dict[str, list[list[float]]] = {part: [] for part in PARTS}
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = tuple(next(reader, ()))
            if header not in (COLUMNS, COLUMNS_WITH_EXPERTS):
                raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)}")
            for part, *values in reader:
                new, prior, seqs, context, *experts, ms = (float(value) for value in values)
                if len(values) != len(header) - 1 or (part == "experts" and not experts):
                    raise ValueError(f"a row of part '{part}' has {len(values) + 1} values")
                rows[part].append(
                    [new, *experts, ms] if part == "experts" else [new, prior, seqs, context, ms]
                )
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not an operator table ({error})") from None
    return make_table(str(path), rows)


def make_table(source: str, rows: dict[str, Any]) -> OperatorTable:
    """Return a table from rows (new_tokens, prior_tokens, sequences, context_tokens, ms) by part.

    Rows of the part ``experts`` are (new_tokens, experts, ms). Raises InputError for a part without which no step can
    be priced, and for values that are no times.
    """
    parts = {
        part: np.array(rows.get(part, []), dtype=np.float64).reshape(-1, 3 if part == "experts" else 5)
        for part in PARTS
    }
    for part, values in parts.items():
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise InputError(f"{source}: part '{part}' has values that are negative or not finite")
    table = OperatorTable(
        source,
        linear=_by(parts["linear"], 0),
        elementwise=_by(parts["elementwise"], 0),
        all_reduce=_by(parts["all_reduce"], 0),
        lm_head=_by(parts["lm_head"], 2),
        attention=parts["attention"],
        experts=parts["experts"],
    )
    for part in ("linear", "lm_head", "prefill", "decode"):
        if len(getattr(table, part)) < 2:
            raise InputError(f"{source}: expected at least 2 rows of part '{part}'")
    if len(table.experts) and min(len(set(column)) for column in table.experts[:, :2].T.tolist()) < 2:
        raise InputError(
            f"{source}: part 'experts': expected rows of at least 2 numbers of tokens and of experts"
        )
    return table


def _by(rows: Floats, column: int) -> Floats:
    return rows[np.argsort(rows[:, column], kind="stable")][:, [column, 4]]


def write_table(path: Path, rows: dict[str, Any]) -> None:
    """Write rows by part as a table file; equal rows give equal bytes."""
    make_table(str(path), rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    picked = len(rows.get("experts", []))
    writer.writerow(COLUMNS_WITH_EXPERTS if picked else COLUMNS)
    for part in PARTS:
        for *counts, ms in rows.get(part, []):
            if part == "experts":
                counts[1:] = 0, 0, 0, counts[1]
            elif picked:
                counts = [*counts, 0]
            writer.writerow([part, *map(int, counts), f"{ms:.5g}"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
