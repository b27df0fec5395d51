"""The published schemas of results hold: for the runs they were made from, and for others."""

import json

import jsonschema
import pyarrow.parquet as pq
import pytest

from servesim import run
from simulator.results.sealed import published
from simulator.scenario.scenario import Scenario
from tests import result_schemas
from tests.commands import servesim

OTHERS = {
    "trace": {"workload": {"trace": "azure2023_conv", "limit": 40}, "cluster": {"replicas": 3}},
    "sglang": {"workload": {"trace": "azure2023_code", "limit": 20}, "policy": {"scheduling": "sglang"}},
    "faults": {
        "workload": {"trace": "azure2023_conv", "limit": 40},
        "cluster": {
            "replicas": 2, "faults": {"events": [{"kind": "crash", "replica": 0, "at_s": 1.0, "for_s": 2.0}]},
        },
        "user": {"preset": "paper_v2"},
    },
    "requests": {"workload": {"trace": "azure2023_conv", "limit": 9}, "run": {"trace_level": "requests"}},
    "nothing": {"workload": {"trace": "azure2023_conv", "limit": 1}, "run": {"horizon_s": 0.001}},
}  # fmt: skip


def test_what_is_published_is_what_results_have():
    for file, text in result_schemas.made().items():
        assert (result_schemas.FOLDER / file).read_text("utf-8") == text, "python -m tests.result_schemas"


@pytest.mark.parametrize("name", OTHERS)
def test_other_results_fit(name, tmp_path):
    run(Scenario(**OTHERS[name])).save(tmp_path / "run")
    for part in ("summary", "manifest"):
        schema = json.loads(published(part))
        jsonschema.Draft202012Validator.check_schema(schema)
        found = json.loads((tmp_path / "run" / f"{part}.json").read_text("utf-8"))
        jsonschema.Draft202012Validator(schema).validate(found)
    files = json.loads(published("tables"))["files"]
    for path in (tmp_path / "run").glob("*.parquet"):
        columns = files[path.name]
        names = pq.read_schema(path).names
        assert set(names) <= set(columns)
        assert {column for column, each in columns.items() if each["always"]} <= set(names)


def test_a_summary_of_another_shape_does_not_fit():
    validator = jsonschema.Draft202012Validator(json.loads(published("summary")))
    assert not validator.is_valid({})
    assert not validator.is_valid({"latency": "none"})


def test_the_command_prints_each(capsys):
    for part in ("summary", "manifest", "tables"):
        assert servesim(capsys, "schema", part) == published(part)
