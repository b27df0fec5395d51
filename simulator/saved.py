"""The folder of a saved result: claiming it, and reading it back with every damage named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from simulator.errors import InputError

Columns = dict[str, NDArray[Any]]

# What reading a saved result back needs: columns, and keys of the manifest with theirs.
_READ = {
    "requests": ("arrival_s", "prompt_tokens", "output_tokens", "state", "end_s", "delivered_tokens"),
    "tokens": ("delivered_s",),
    "steps": ("replica", "start_s", "end_s", "running", "waiting", "kv_blocks_used", "preemptions"),
}
_MANIFEST: dict[str, set[str]] = {
    "scenario": {"name", "seed", "hardware", "cluster", "policy", "run", "user", "slo"},
    "workload": {"source"},
    "hardware": set(),
    "engine": {"max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size", "usable_blocks"},
    "gpus": set(),
    "usd_per_gpu_hour": set(),
    "end_of_run_s": set(),
    "extrapolated_share": set(),
    "partial": set(),
}


def read_folder(folder: Path, tables: Sequence[str]) -> tuple[dict[str, Columns], dict[str, Any]]:
    """Return the tables and the manifest; raises InputError naming the file that is missing or damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Columns] = {}
    moved = ("transfers",) if (folder / "transfers.parquet").exists() else ()
    for name in (*tables, *moved):
        path = folder / f"{name}.parquet"
        try:
            table = pq.read_table(path, page_checksum_verification=True)
        except FileNotFoundError as error:
            raise InputError(f"{path}: not found; expected the folder of a saved result") from error
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path}: not a readable parquet file ({error})") from error
        for column in _READ.get(name, ()):
            if column not in table.column_names:
                raise InputError(f"{path}: no column {column}; expected the folder of a saved result")
        columns[name] = {
            column: table[column].combine_chunks().indices.to_numpy()
            if pa.types.is_dictionary(table[column].type)
            else table[column].to_numpy(zero_copy_only=False)
            for column in table.column_names
        }
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; expected the folder of a saved result") from error
    except ValueError as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    for key, parts in _MANIFEST.items():
        section = manifest.get(key) if isinstance(manifest, dict) else None
        if section is None or (parts and not (isinstance(section, dict) and parts <= section.keys())):
            wanted = f"{key} with {', '.join(sorted(parts))}" if parts else key
            raise InputError(f"{path}: expected the manifest of a saved result, which has {wanted}")
    if "pools" not in manifest:  # saved before there were any
        manifest["pools"] = [_only_pool(manifest)]
    delivered, rows = (
        int(columns["requests"]["delivered_tokens"].sum()),
        len(columns["tokens"]["delivered_s"]),
    )
    if delivered != rows:
        raise InputError(
            f"{folder}/tokens.parquet: {rows:,} tokens found; expected the {delivered:,} that"
            " requests.parquet has as delivered"
        )
    return columns, manifest


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


def claim(folder: Path, overwrite: bool) -> None:
    """Make ``folder`` if need be; raise InputError if it is a file, or in use and not to be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: exists and is not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise InputError(f"{folder}: exists and is not empty; expected a new folder (or --overwrite)")
    folder.mkdir(parents=True, exist_ok=True)
