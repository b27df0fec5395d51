"""Block ids of prompts in blocks of any size: told by their numbers, or given, and refused where they do not fit."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build
from simulator.workload.block_size import block_tokens
from simulator.workload.formats.mooncake import FORMAT
from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs

SAMPLES = Path(__file__).parent.parent / "data" / "formats"


def records(prompts, size):
    return [
        {"timestamp": 1000 * i, "input_length": n, "output_length": 5, "hash_ids": list(range(-(-n // size)))}
        for i, n in enumerate(prompts)
    ]


def write(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=30), st.integers(0, 12).map(lambda k: 1 << k))
def test_what_is_told_fits_every_prompt_and_is_the_size_where_prompts_are_long(prompts, size):
    rows = records(prompts, size)
    found = block_tokens(rows, FORMAT)
    assert all(len(row["hash_ids"]) == -(-row["input_length"] // found) for row in rows)
    if max(prompts) > 2 * size:  # then no other power of two fits
        assert found == size


@pytest.mark.parametrize("size", [16, 64, 128, 300, 1024])
def test_prompts_share_blocks_of_that_size(size, tmp_path):
    prompts = [10 * size + 7, 20 * size, 3 * size + 1]
    path = write(tmp_path / "t.jsonl", records(prompts, size) + records([50_000], size)[:1])
    rows = [json.loads(line) | {"timestamp": i} for i, line in enumerate(path.read_text().splitlines())]
    trace = Trace(write(path, rows))
    found, _ = trace.read()
    counts = [-(-n // size) for n in (*prompts, 50_000)]
    assert [len(each) for each in found.segments()] == counts
    assert found.segments()[1][0] == (0, size)
    assert found.segments()[0][-1] == (10, 7)
    assert trace.said == [f"blocks of {size:,} tokens, as prompts and their ids tell"]


def test_512_stays_where_it_fits():
    assert block_tokens(records([100, 400], 4096), FORMAT) == 512


def test_numbers_that_fit_no_size_are_refused_with_their_line(tmp_path):
    rows = records([5120, 5120], 512)
    rows[1]["hash_ids"] = rows[1]["hash_ids"][:4]
    with pytest.raises(
        InputError, match=r"line 2: hash_ids has 4 ids; expected 10, one for each 512 of 5120 prompt"
    ):
        Trace(write(tmp_path / "t.jsonl", rows)).read()
    with pytest.raises(InputError, match=r"expected 10.*\(workload\.block_tokens says another size\)"):
        Trace(write(tmp_path / "t.jsonl", rows)).read()


def test_a_size_that_is_given_goes_before_what_is_told(tmp_path):
    path = write(tmp_path / "t.jsonl", records([5000, 2000], 1000))
    traffic = build(WorkloadSpec(trace=str(path), block_tokens=1000), 0)
    assert traffic.segments[0][0] == (0, 1000)
    assert "blocks of 1,000 tokens" in traffic.source
    with pytest.raises(InputError, match="line 1: hash_ids has 5 ids; expected 79"):
        Trace(path, ReadAs(block_tokens=64)).read()
    with pytest.raises(
        InputError, match=r"workload\.block_tokens: only for a trace whose blocks may have any"
    ):
        Trace(SAMPLES / "bailian.jsonl", ReadAs(block_tokens=64))
    with pytest.raises(ValueError, match=r"workload\.block_tokens: only for a trace"):
        WorkloadSpec(arrivals="poisson", rate_rps=1.0, requests=2, lengths="chat_azure2023", block_tokens=64)
