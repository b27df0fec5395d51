"""TraceV2 of inference-sim/inference-sim (BLIS): a CSV file beside a YAML header, times in microseconds.

``prefix_length`` tokens that a group has in common stand before the ``input_tokens``; where there is no group, the
server's own count goes before the client's (sim/workload/replay.go there).
"""

from collections.abc import Iterator

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import BlockNumbers, is_empty, number, whole

SORTS = True


def recognises(record: TraceRow) -> bool:
    """Tell by the columns of times and lengths."""
    return {"arrival_time_us", "input_tokens", "output_tokens"} <= record.keys()


def begin() -> RowMaker:
    """Return what yields the request of a row."""
    groups = BlockNumbers()

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        prompt = whole(record["input_tokens"], "input_tokens")
        arrival_s = number(record["arrival_time_us"], "arrival_time_us") / 1e6
        row: TraceRow = {
            "arrival_s": arrival_s,
            "prompt_tokens": prompt,
            "output_tokens": whole(record["output_tokens"], "output_tokens"),
        }
        group, served = record.get("prefix_group"), record.get("server_input_tokens")
        if not is_empty(group):
            prefix = whole(record.get("prefix_length"), "prefix_length")
            row["prompt_tokens"] += prefix
            if prefix:
                (row["prefix_id"],) = groups.of([str(group)], "prefix_group")
                row["prefix_tokens"] = prefix
        elif not is_empty(served) and whole(served, "server_input_tokens") > 0:
            row["prompt_tokens"] = whole(served, "server_input_tokens")
        deadline = record.get("deadline_us")
        if not is_empty(deadline) and number(deadline, "deadline_us") > 0:
            row["patience_s"] = max(0.0, number(deadline, "deadline_us") / 1e6 - arrival_s)
        if not is_empty(record.get("vllm_priority")):
            row["priority"] = whole(record["vllm_priority"], "vllm_priority")
        if not is_empty(record.get("session_id")):
            row["session_id"] = str(record["session_id"])
        yield row

    return rows
