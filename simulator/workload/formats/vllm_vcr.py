"""Recordings of neuralmagic/inference-simulator-rs (vllm-vcr): one line a request, in the order in which they ended.

The first line may tell the tokens of a block; hashes of full blocks tell what prompts have in common.
"""

from collections.abc import Iterator

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import BlockNumbers, is_empty, number, whole

SORTS = True


def recognises(record: TraceRow) -> bool:
    """Tell by the first line about the recording, or by a request's fields."""
    return (
        isinstance(record.get("meta"), dict) or {"prompt_tokens", "output_tokens", "ttft_ms"} <= record.keys()
    )


def begin() -> RowMaker:
    """Return what yields the request of a line."""
    blocks = BlockNumbers()
    block_tokens = 16

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        nonlocal block_tokens
        if "meta" in record:
            meta = record["meta"] if isinstance(record["meta"], dict) else {}
            if not is_empty(meta.get("block_size")):
                block_tokens = whole(meta["block_size"], "block_size")
            return
        row: TraceRow = {
            "prompt_tokens": whole(record.get("prompt_tokens"), "prompt_tokens"),
            "output_tokens": whole(record.get("output_tokens"), "output_tokens"),
        }
        if not is_empty(record.get("arrival_ms")):  # a recording that was converted may have none
            row["arrival_s"] = number(record["arrival_ms"], "arrival_ms") / 1e3
        if record.get("block_hashes"):
            row |= {
                "hash_ids": blocks.of(record["block_hashes"], "block_hashes"),
                "hash_block_tokens": block_tokens,
            }
        yield row

    return rows
