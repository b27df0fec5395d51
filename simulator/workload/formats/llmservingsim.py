"""The request files of casys-kaist/LLMServingSim: times in nanoseconds, some rows whole sessions with tool calls.

Where the token ids of prompts are given, they tell what prompts have in common.
"""

from collections.abc import Iterator

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import BlockNumbers, number, whole, wrong

_BLOCK_TOKENS = 16
_LENGTHS = ("input_toks", "output_toks")


def recognises(record: TraceRow) -> bool:
    """Tell by the names of lengths or of a session's parts."""
    return "arrival_time_ns" in record and ("sub_requests" in record or set(_LENGTHS) <= record.keys())


def begin() -> RowMaker:
    """Return what yields the requests of a record; a later one comes as long after the answer as its tool took."""
    blocks = BlockNumbers()
    singles = 0

    def request(record: TraceRow) -> TraceRow:
        prompt, output = (whole(record.get(name), name) for name in _LENGTHS)
        row: TraceRow = {"prompt_tokens": prompt, "output_tokens": output}
        ids = record.get("input_tok_ids")
        if isinstance(ids, list) and ids:
            row |= {
                "hash_ids": blocks.of_tokens(ids[:prompt], _BLOCK_TOKENS),
                "hash_block_tokens": _BLOCK_TOKENS,
            }
        return row

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        nonlocal singles
        arrival_s = number(record["arrival_time_ns"], "arrival_time_ns") / 1e9
        if "sub_requests" not in record:
            yield request(record) | {"arrival_s": arrival_s}
            return
        parts = record["sub_requests"]
        if not isinstance(parts, list) or not parts or not all(isinstance(each, dict) for each in parts):
            raise wrong(parts, "sub_requests", "a list of requests")
        singles += 1
        session = str(record.get("session_id") or f"line {singles}")
        tool_s = 0.0
        for i, each in enumerate(parts):
            start = {"arrival_s": arrival_s} if i == 0 else {"think_time_s": tool_s}
            yield request(each) | start | {"session_id": session}
            tool_s = number(each.get("tool_duration_ns") or 0, "tool_duration_ns") / 1e9

    return rows
