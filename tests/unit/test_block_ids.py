"""Ids of prefix blocks are names: 64 bits and more, or texts."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator import Scenario, run
from simulator.workload import WorkloadSpec, build

CACHING = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}}
# The ids of the first two prompts differ in their second block, those of the third only above the lower 32 bits.
BIG = [[2**64 - 1, 2**63 + 1], [2**64 - 1, 2**63 + 2], [2**32 - 1, 1]]


def write(path, ids):
    rows = [
        {"timestamp": i * 1000, "input_length": 600, "output_length": 5, "hash_ids": each}
        for i, each in enumerate(ids)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def first_streams(path):
    return [each[0][0] for each in build(WorkloadSpec(trace=str(path)), 0).segments]


def test_hits_of_ids_of_64_bits(tmp_path):
    trace = str(write(tmp_path / "t.jsonl", BIG))
    result = run(Scenario(policy=CACHING, workload={"trace": trace}))
    found = result.manifest["prefix_cache"]
    assert (found["hit_tokens"], found["looked_up_tokens"]) == (512, 1800)


@pytest.mark.parametrize(
    "ids",
    [
        BIG,
        [["0xffffffffffffffff", "a"], ["0xffffffffffffffff", "b"], ["0x00000000ffffffff", "a"]],
        [[2**127 - 1, 7], [2**127 - 1, 8], [2**126 - 1, 7]],
        [[2**62, 7], [2**62, 8], [2**62 + 1, 7]],  # the first that is numbered anew
        [[2**62 + 1, 7], [2**62 + 1, 8], [2**62, 7]],
    ],
)
def test_equal_ids_and_only_those_are_one_block(tmp_path, ids):
    one, two, three = first_streams(write(tmp_path / "t.jsonl", ids))
    assert one == two != three
    assert min(one, three) >= 0


@pytest.mark.parametrize("kind", [pa.uint64(), pa.string(), pa.int64()])
def test_parquet_has_them_too(tmp_path, kind):
    ids = [[str(each) for each in row] for row in BIG] if kind == pa.string() else BIG
    if kind == pa.int64():
        ids = [[2**63 - 1, 1], [2**63 - 1, 2], [2**31 - 1, 1]]
    path = tmp_path / "t.parquet"
    columns = {"arrival_s": [0.0, 1.0, 2.0], "prompt_tokens": [600] * 3, "output_tokens": [5] * 3}
    pq.write_table(pa.table(columns | {"hash_ids": pa.array(ids, pa.list_(kind))}), path)
    one, two, three = first_streams(path)
    assert one == two != three


def test_small_ids_stay_what_they_are(tmp_path):
    assert first_streams(write(tmp_path / "t.jsonl", [[4, 9], [4, 8], [0, 1]])) == [4, 4, 0]
