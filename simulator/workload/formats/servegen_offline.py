"""Offline requests of alibaba/ServeGen: JSON lines of lengths, without times."""

from collections.abc import Iterator

from simulator.workload.formats import TraceFormat, TraceRow
from simulator.workload.values import whole

FORMAT = TraceFormat(
    arrival_s=None,
    prompt_tokens="prompt_tokens",
    output_tokens="output_tokens",
    hash_ids="hash_ids",
    hash_block_tokens=16,
    some_blocks=True,
)


def recognises(record: TraceRow) -> bool:
    """Tell by the request's number beside its kind and length."""
    return {"request_id", "type", "input_length"} <= record.keys() and "timestamp" not in record


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the request of a line; those of which the blocks were published go without their answers."""
    row: TraceRow = {"prompt_tokens": whole(record.get("input_length"), "input_length")}
    if "output_length" in record or "hash_ids" not in record:
        row["output_tokens"] = whole(record.get("output_length"), "output_length")
    else:
        row |= {"output_tokens": 1, "note": "answers that are not in the file taken as 1 token"}
    if record.get("hash_ids"):
        row["hash_ids"] = record["hash_ids"]
    yield row
