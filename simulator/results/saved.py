"""The folder of a saved result, read back with every damage named."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Floats
from simulator.errors import InputError
from simulator.input_files import parse_json, read_text
from simulator.metrics._segments import cut
from simulator.results.sealed import check, digests_of, opened, unsealed
from simulator.results.step_totals import StepTotals
from simulator.results.trace_level import kept_tables

if TYPE_CHECKING:
    import pyarrow as pa


OPTIONAL = ("transfers", "scaling", "work")  # tables that are only there where something is in them

# What reading a saved result back needs: columns, and keys of the manifest with theirs.
_READ = {
    "requests": ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s", "delivered_tokens"),
    "tokens": ("delivered_s",),
    "transfers": ("kind", "start_s", "end_s", "bytes", "arrived"),
    "scaling": ("replica", "ordered_s", "billed_from_s", "ready_s", "draining_s", "released_s"),
    "work": ("replica", "step", "request_id", "tokens", "computed_before", "kind"),
    "steps": ("replica", "start_s", "end_s", "running", "waiting", "kv_blocks_used", "preemptions"),
}
_MANIFEST: dict[str, set[str]] = {
    "scenario": {"name", "seed", "hardware", "cluster", "policy", "run", "user", "slo", "metrics"},
    "workload": {"source"},
    "hardware": set(),
    "engine": {"max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size", "usable_blocks"},
    "gpus": set(),
    "usd_per_gpu_hour": set(),
    "end_of_run_s": set(),
    "extrapolated_share": set(),
    "partial": set(),
}
# Of what was measured on a real server there is neither hardware nor engine.
_MEASURED_MANIFEST: dict[str, set[str]] = {
    "measured": {"tool", "file", "notes", "token_times", "spread_evenly", "has_prompts"},
    "scenario": {"name", "run", "user", "slo", "metrics"},
    "workload": {"source"},
    "end_of_run_s": set(),
    "partial": set(),
}
_STEPS = {*StepTotals._fields} - {"load", "waiting_s", "running_s"}


def read_folder(folder: Path, most_tokens: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the tables that the run kept, the manifest, and the summary if that is all there is.

    Tables are columns; ``tokens`` are ``SavedTokens`` where they are more than ``most_tokens``. Raises
    InputError naming the file that is missing or damaged.
    """
    manifest = _read_json(folder / "manifest.json") if (folder / "manifest.json").exists() else {}
    manifest = manifest if isinstance(manifest, dict) else {}
    kept = kept_tables(str(manifest.get("trace_level", "tokens")))
    optional = [name for name in OPTIONAL if kept and (folder / f"{name}.parquet").exists()]
    tables: dict[str, Any] = {}
    for name in (*kept, *optional):
        path = folder / f"{name}.parquet"
        large = name == "tokens" and _rows(path) > most_tokens
        table = None if large else _read_parquet(path, _READ.get(name, ()))
        check(path, digests_of(manifest))
        if table is None:
            tables[name] = SavedTokens(path, tables["requests"]["delivered_tokens"])
        else:
            tables[name] = _columns(table)
    manifest = opened(_checked(folder / "manifest.json", kept), folder / "manifest.json")
    summary = {} if kept else _read_json(folder / "summary.json")
    if not kept:
        check(folder / "summary.json", digests_of(manifest))
    if "tokens" in tables:
        delivered = int(tables["requests"]["delivered_tokens"].sum())
        rows = _rows(folder / "tokens.parquet")
        if delivered != rows:
            raise InputError(
                f"{folder}/tokens.parquet: {rows:,} tokens found; expected the {delivered:,} that"
                " requests.parquet has as delivered"
            )
    return tables, unsealed(manifest), summary


def _read_json(path: Path) -> Any:
    try:
        return parse_json(read_text(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected the folder of a saved result") from error
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error


def _checked(path: Path, kept: Sequence[str]) -> dict[str, Any]:
    """Return the manifest, once it is known to be one, with what stands for the tables that were not kept."""
    manifest = _read_json(path)
    measured = isinstance(manifest, dict) and "measured" in manifest
    wanted_of_it = dict(_MEASURED_MANIFEST if measured else _MANIFEST)
    if "steps" not in kept and not measured:
        wanted_of_it["steps"] = _STEPS
    if kept and "tokens" not in kept and not measured:
        wanted_of_it["pooled"] = set()
    for key, parts in wanted_of_it.items():
        section = manifest.get(key) if isinstance(manifest, dict) else None
        if section is None or (parts and not (isinstance(section, dict) and parts <= section.keys())):
            wanted = f"{key} with {', '.join(sorted(parts))}" if parts else key
            raise InputError(f"{path}: expected the manifest of a saved result, which has {wanted}")
    if "pools" not in manifest and not measured:  # saved before there were any
        manifest["pools"] = [_only_pool(manifest)]
    return dict(manifest)


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    with _damage_named(path):
        return int(pq.ParquetFile(path).metadata.num_rows)


def _read_parquet(path: Path, wanted: Sequence[str] = ()) -> "pa.Table":
    import pyarrow.parquet as pq

    with _damage_named(path):
        table = pq.read_table(path, page_checksum_verification=True)
    for column in wanted:
        if column not in table.column_names:
            raise InputError(f"{path}: no column {column}; expected the folder of a saved result")
    return table


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected the folder of a saved result") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: not a readable parquet file ({error})") from error


def _columns(table: "pa.Table") -> Columns:
    """Return columns of the kinds that a run makes: words are words and states their numbers, no objects."""
    return {name: _column(table[name]) for name in table.column_names}


def _column(saved: "pa.ChunkedArray") -> NDArray[Any]:
    import pyarrow as pa

    column: NDArray[Any]
    if pa.types.is_dictionary(saved.type):
        column = saved.combine_chunks().indices.to_numpy()
    else:
        column = saved.to_numpy(zero_copy_only=False)
    return column.astype(np.str_) if pa.types.is_string(saved.type) else column


class SavedTokens:
    """A file of tokens that is read part by part, as ``simulator.results.tokens.UnfoldedTokens`` are unfolded."""

    def __init__(self, path: Path, counts: NDArray[Any]) -> None:
        """``counts`` are the tokens of each request; raises InputError for a file without delivery times."""
        import pyarrow.parquet as pq

        self.path = path
        self.offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.bounds = cut(self.offsets)
        self.delivered_s: Floats | None = None  # they are too many to be kept
        with _damage_named(path):
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        if "delivered_s" not in self._file.schema_arrow.names:
            raise InputError(f"{path}: no column delivered_s; expected the folder of a saved result")
        groups = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._group_begins = np.cumsum([0, *groups])
        self._read: tuple[int, Floats] | None = None  # the last row group and its column

    def part_delivered_s(self, part: int) -> Floats:
        """Delivery times of the tokens of requests ``bounds[part] .. bounds[part + 1]``."""
        start, stop = self.offsets[self.bounds[part : part + 2]].tolist()
        first = int(np.searchsorted(self._group_begins, start, side="right")) - 1
        last = int(np.searchsorted(self._group_begins, stop, side="left"))
        pieces = [self._group(group) for group in range(first, last)]
        begins = int(self._group_begins[first])
        return np.concatenate([np.empty(0), *pieces])[start - begins : stop - begins]

    def pieces(self) -> Iterator[Columns]:
        """Yield all columns of all tokens, some at a time."""
        import pyarrow.parquet as pq

        with _damage_named(self.path):  # a reader of its own: parts may be read meanwhile, by another thread
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
        for group in range(file.num_row_groups):
            with _damage_named(self.path):
                piece = file.read_row_group(group)
            yield _columns(piece)

    def _group(self, group: int) -> Floats:
        if self._read is None or self._read[0] != group:
            with _damage_named(self.path):
                column = self._file.read_row_group(group, columns=["delivered_s"])["delivered_s"]
            self._read = group, column.to_numpy()
        return self._read[1]


def _only_pool(manifest: dict[str, Any]) -> dict[str, Any]:
    engine, scenario = manifest["engine"], manifest["scenario"]
    return {
        "role": "both",
        "replicas": scenario["cluster"]["replicas"],
        "gpu": scenario["hardware"]["gpu"],
        "tensor_parallel_size": engine.get("tensor_parallel_size", 1),
        "scheduling": scenario["policy"]["scheduling"]["name"],
        "usable_blocks": engine["usable_blocks"],
    }
