"""Rounds of coding agents from uw-syfi/TraceLab: JSON lines with the events of each round and what was cached.

A round begins when the last of its inputs (a user's message, results of tools) is there. Between the last event of a
round and that is the think time. ``prefix_tokens`` of a prompt are those of the round before it in its session.
"""

from collections.abc import Iterator
from typing import Any

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import is_empty, time_ns, whole, wrong

SORTS = True
_BLOCK_TOKENS = 64  # of hash_runs
_INPUTS = ("user_message", "tool_result")


def recognises(record: TraceRow) -> bool:
    """Tell by the events beside the prompt's tokens."""
    return {"input_tokens_total", "output_tokens", "timing_events"} <= record.keys()


def begin() -> RowMaker:
    """Return what yields the request of a round."""
    ended_ns: dict[str, int] = {}  # by session
    prompts: dict[str, list[list[int]]] = {}  # runs [id, blocks] of its last prompt
    used: dict[str, int] = {}  # block ids of a session so far

    def runs(session: str, prefix: int, prompt: int) -> list[int]:
        """Return the blocks of a prompt: as many of the prompt before as its prefix has, then new ones."""
        left, kept = min(prefix, prompt) // _BLOCK_TOKENS, []
        for first, blocks in prompts.get(session, []):
            if left > 0:
                kept.append([first, min(blocks, left)])
                left -= blocks
        new = prompt // _BLOCK_TOKENS - sum(blocks for _, blocks in kept)
        if new > 0:
            kept.append([used.get(session, 0), new])
            used[session] = used.get(session, 0) + new
        prompts[session] = kept
        return [number for run in kept for number in run]

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        session = str(record.get("session_id") or record.get("trace_key") or "")
        if not session:
            raise wrong(None, "session_id", "a text")
        start_ns, end_ns = _times(record["timing_events"])
        prompt = whole(record["input_tokens_total"], "input_tokens_total")
        prefix = record.get("prefix_tokens")
        row: TraceRow = {
            "time_ns": start_ns,
            "prompt_tokens": prompt,
            "output_tokens": whole(record["output_tokens"], "output_tokens"),
            "session_id": session,
            "hash_runs": runs(session, 0 if is_empty(prefix) else whole(prefix, "prefix_tokens"), prompt),
        }
        if session in ended_ns:
            row["think_time_s"] = max(0, start_ns - ended_ns[session]) / 1e9
        ended_ns[session] = end_ns
        yield row

    return rows


def _times(events: Any) -> tuple[int, int]:
    """Return when the last input of a round was there, and its last event."""
    if not isinstance(events, list) or not events or not all(isinstance(each, dict) for each in events):
        raise wrong(events, "timing_events", "a list of events")
    times = [
        (time_ns(each.get("timestamp"), "timestamp"), each.get("event_type") in _INPUTS) for each in events
    ]
    all_ns = [time for time, _ in times]
    return max((time for time, is_input in times if is_input), default=min(all_ns)), max(all_ns)
