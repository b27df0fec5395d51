"""Traces are read batch by batch: columns of lists, labels and sessions."""

import json

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.workload.columns import Parts, Pieces
from simulator.workload.reader import Trace
from simulator.workload.segments import Begun
from tests.streamed_traces import KINDS, ROWS, columns, make, small_batches, write  # noqa: F401


@pytest.mark.parametrize("kind", ["t.parquet", "t.jsonl", "t.jsonl.gz"])
def test_lists_are_put_together_over_batches(tmp_path, kind):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    rng = np.random.default_rng(1)
    table["hash_ids"] = [rng.integers(0, 2**40, -(-n // 512)).tolist() for n in table["prompt_tokens"]]
    path = write(tmp_path / kind, table)
    workload = make(path, start_s=50.0)
    first = len(table["hash_ids"]) - len(workload)
    for k, ids in enumerate(table["hash_ids"][first:]):
        assert [stream for stream, _ in workload.segments[k]] == ids
        assert sum(tokens for _, tokens in workload.segments[k]) == table["prompt_tokens"][first + k]
    table["hash_ids"][700] = table["hash_ids"][700][:-1]
    with pytest.raises(InputError, match=r"(row 701|line 701): hash_ids has \d ids; expected \d"):
        make(write(tmp_path / kind, table))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", [False, True])
def test_labels_are_numbers_only_if_all_of_them_are(tmp_path, kind, texts):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    table["tenant"] = [7 * (i % 3) for i in range(ROWS)]
    expected = table["tenant"]
    if texts:
        if kind == "t.parquet":
            table["tenant"] = list(map(str, table["tenant"]))
        table["tenant"][-1] = "x"
        expected = [*((i % 3) for i in range(ROWS - 1)), 3]
    assert make(write(tmp_path / kind, table)).tenant.tolist() == expected
    table["tenant"][500] = "" if texts else -3
    with pytest.raises(InputError) as caught:
        make(write(tmp_path / kind, table))
    if not texts:
        assert "501: tenant is -3" in str(caught.value) or "502: tenant is -3" in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_traces_with_sessions_are_the_same_in_small_batches(tmp_path, kind, monkeypatch):
    rng = np.random.default_rng(2)
    session = rng.integers(0, 40, ROWS)
    so_far = np.zeros(40, int)
    table = {
        "session_id": [f"s{each}" for each in session],
        "think_time_s": [],
        "new_tokens": [],
        "prompt_tokens": [],
    }
    for each in session:
        table["think_time_s"].append(float(rng.integers(0, 50)) if so_far[each] else None)
        table["new_tokens"].append(int(rng.integers(1, 90)))
        so_far[each] += table["new_tokens"][-1]
        table["prompt_tokens"].append(int(so_far[each]))
    table["output_tokens"] = [1] * ROWS
    path = write(tmp_path / kind, table)
    keys = {"rate_rps": 0.5, "limit": 700, "max_prompt_tokens": 1500}
    many = make(path, **keys)
    monkeypatch.undo()
    one = make(path, **keys)
    for name in ("arrival_s", "prompt_tokens", "session", "think_s", "output_stream"):
        assert np.array_equal(getattr(one, name), getattr(many, name), equal_nan=True)
    assert one.segments == many.segments
    assert one.source == many.source


def test_keys_of_json_lines_may_come_up_late(tmp_path):
    table = {key: columns()[key] for key in ("arrival_s", "prompt_tokens", "output_tokens")}
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    path = tmp_path / "t.jsonl"
    rows[800]["priority"] = 2
    rows[900]["comment"] = "of no interest"
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = make(path)
    assert workload.priority.tolist() == [0] * 800 + [2] + [0] * 199
    assert make(path, limit=100).priority is None
    for row in rows[:100]:  # not even what must be there is in the first batch
        row["session_id"] = row.pop("arrival_s")
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(InputError, match=r"line 1: session_id is 0\.68; expected a whole"):
        Trace(path).read()


def test_parts_are_put_together_in_the_widest_type():
    parts = Parts()
    for start in range(0, 100, 7):
        numbers = np.arange(start, min(start + 7, 100))
        parts.add(
            a=numbers.astype(np.int32 if start < 50 else np.int64),
            b=None,
            c=Pieces(numbers, numbers, np.arange(len(numbers) + 1)),
        )
    assert parts.take("b") is None
    whole = parts.take("a")
    assert whole.tolist() == list(range(100))
    assert (whole.dtype, whole.base) == (np.int64, None)
    pieces = parts.take("c")
    assert pieces.offsets.tolist() == list(range(101))
    assert Begun(np.full(100, 1000), pieces.streams, pieces.tokens, pieces.offsets)[:3] == [
        ((-1, 1000),),
        ((1, 1), (-2, 999)),
        ((2, 2), (-3, 998)),
    ]
