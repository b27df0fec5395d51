"""The schemas of saved results, made from runs of every kind that has keys or tables of its own.

    python -m tests.result_schemas

writes ``simulator/results/schemas`` anew, which ``servesim schema`` prints; ``tests/cli/test_result_schemas.py`` fails
while it says something else, or where a run has a key that it does not know.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import simulator.results
from servesim import run
from simulator.results.sealed import FORMAT
from simulator.results.vocabulary import vocabulary
from simulator.scenario.scenario import Scenario

FOLDER = Path(simulator.results.__file__).parent / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TRAFFIC = {
    "arrivals": "poisson",
    "rate_rps": 20.0,
    "requests": 30,
    "prompt_tokens": 300,
    "output_tokens": 40,
}
_CLASSES = {
    "chat": {"share": 0.5, "prompt_tokens": 300, "output_tokens": 20},
    "tools": {"share": 0.5, "prompt_tokens": 500, "output_tokens": 10, "slo": {"ttft_s": 0.5}},
}
_SCALING = {"min_replicas": 1, "max_replicas": 3, "provision_s": 0.5, "load_s": 0.1}
_TIERS = [
    {"kind": "host", "capacity_gib": 1.0},
    {"kind": "disk", "capacity_gib": 1.0, "read_gb_s": 2.0},
    {"kind": "shared", "capacity_gib": 1.0, "read_gb_s": 2.0},
]
CASES: dict[str, dict[str, Any]] = {
    "plain": {"workload": _TRAFFIC},
    "api servers": {"workload": _TRAFFIC, "engine": {"frontend_ms_per_request": 5.0}},
    "bounds": {"workload": _TRAFFIC, "slo": {"ttft_s": 0.2, "tpot_s": 0.05, "tail_tbt_s": 0.1, "e2e_s": 9.0}},
    "also": {"workload": _TRAFFIC, "metrics": {"also": ["fluid_rate"]}},
    "classes": {
        "workload": {"arrivals": "poisson", "rate_rps": 20.0, "requests": 30, "classes": _CLASSES},
        "slo": {"ttft_s": 0.2},
    },
    "tight": {"workload": _TRAFFIC, "engine": {"num_gpu_blocks": 60, "max_model_len": 512}},
    "swaps": {
        "workload": _TRAFFIC,
        "engine": {"num_gpu_blocks": 60, "max_model_len": 512},
        "policy": {"scheduling": {"name": "vllm_v0", "preemption_mode": "swap"}},
    },
    "disaggregated": {
        "workload": _TRAFFIC,
        "cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}},
    },
    "drafts": {
        "workload": _TRAFFIC,
        "speculation": {"method": "ngram", "num_speculative_tokens": 2},
        "policy": {"acceptance": {"name": "rate", "rate": 0.7}},
    },
    "scaled": {
        "workload": _TRAFFIC,
        "cluster": {"replicas": 1, "scaling": _SCALING},
        "policy": {"scaling": {"name": "queue_length"}},
    },
    "tiers": {"workload": _TRAFFIC, "engine": {"kv_offloading": {"tiers": _TIERS}}},
    "agents": {"workload": _TRAFFIC, "user": {"preset": "agent"}},
    "sessions": {"workload": {**_TRAFFIC, "session_turns": 3, "think_s": 0.1}},
    "cut": {"workload": _TRAFFIC, "run": {"horizon_s": 0.5}},
    "energy": {"workload": _TRAFFIC, "hardware": {"usd_per_kwh": 0.1, "power_cap_w": 400.0}},
    "nothing": {"workload": {**_TRAFFIC, "requests": 1}, "run": {"horizon_s": 0.04}},
    "requests": {"workload": _TRAFFIC, "run": {"trace_level": "requests"}},
    "summary_only": {"workload": _TRAFFIC, "run": {"trace_level": "summary"}},
}


def saved(case: dict[str, Any], folder: Path) -> Path:
    """Run a case, save it, and return the folder."""
    run(Scenario(**case)).save(folder)
    return folder


def schemas(folders: list[Path]) -> dict[str, dict[str, Any]]:
    """Return the three schemas by their names, as these results have it."""
    read = [
        {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in ("summary", "manifest")}
        for folder in folders
    ]
    made = {
        name: {
            "$schema": DRAFT,
            "title": f"{name}.json of a result, format {FORMAT}",
            **_described(_schema([each[name] for each in read]), ""),
        }
        for name in ("summary", "manifest")
    }
    scenario = {"type": "object", "description": "as servesim schema scenario says"}
    made["manifest"]["properties"]["scenario"] = scenario
    made["tables"] = {"title": f"Parquet files of a result, format {FORMAT}", "files": _tables(folders)}
    return made


def _schema(values: list[Any]) -> dict[str, Any]:
    """Return what takes all of the values: their types, and of objects the keys, required where all have them."""
    types = sorted({_type(value) for value in values})
    if "integer" in types and "number" in types:
        types.remove("integer")
    found: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    objects = [value for value in values if isinstance(value, dict)]
    if objects:
        keys = sorted({key for each in objects for key in each})
        found["properties"] = {key: _schema([each[key] for each in objects if key in each]) for key in keys}
        found["required"] = [key for key in keys if all(key in each for each in objects)]
    items = [item for value in values if isinstance(value, list) for item in value]
    if items:
        found["items"] = _schema(items)
    return found


def _type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return "null" if value is None else names[type(value)]


def _described(schema: dict[str, Any], at: str) -> dict[str, Any]:
    """Add what numbers are called and their units, and let numbers be null, as one that does not exist is."""
    words = vocabulary()
    for key, inner in schema.get("properties", {}).items():
        place = f"{at}.{key}" if at else key
        _described(inner, place)
        if inner["type"] == "number" or place in words:
            inner["type"] = ["null", "number"]
        if place in words:
            inner["title"], inner["description"] = words[place].label, f"unit: {words[place].unit}"
    return schema


def _tables(folders: list[Path]) -> dict[str, Any]:
    """Return the columns of each Parquet file: their types, and whether every result has them."""
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.parquet")):
            columns = found.setdefault(path.name, {})
            for field in pq.read_schema(path):
                columns.setdefault(field.name, {"type": _column_type(field.type), "in": 0})["in"] += 1
    counts = {name: sum((folder / name).exists() for folder in folders) for name in found}
    return {
        name: {
            column: {"type": each["type"], "always": each["in"] == counts[name]}
            for column, each in columns.items()
        }
        for name, columns in sorted(found.items())
    }


def _column_type(kind: pa.DataType) -> str:
    return "string (dictionary)" if pa.types.is_dictionary(kind) else str(kind)


def made() -> dict[str, str]:
    """Return the text of each schema, by the name of its file."""
    with tempfile.TemporaryDirectory() as folder:
        found = schemas([saved(case, Path(folder) / name) for name, case in CASES.items()])
    return {f"{name}.json": json.dumps(each, indent=1) + "\n" for name, each in found.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in made().items():
        (FOLDER / file).write_text(text, encoding="utf-8")
