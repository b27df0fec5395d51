"""Conversations of AIPerf with branches (dag_jsonl) or without (multi_turn): one object a session, its turns inside.

Prompts are texts, so that tokens are estimated; answers have ``max_tokens``. A session that a turn of another one
forks or spawns begins, at the earliest, when that turn could end: delays are added up as if answers took no time.
"""

from collections.abc import Iterator
from typing import Any

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import ESTIMATED, is_empty, number, text_tokens, whole, wrong

SORTS = True
_TEXTS = ("messages", "text", "texts", "raw_messages")
_OUTPUTS = ("max_tokens", "max_completion_tokens", "output_length")


def recognises(record: TraceRow) -> bool:
    """Tell by the turns."""
    return isinstance(record.get("turns"), list)


def begin() -> RowMaker:
    """Return what yields the requests of a session."""
    starts: dict[str, tuple[float, int]] = {}  # of branches: when, and the tokens they take over

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        session = str(record.get("session_id") or "")
        if not session:
            raise wrong(None, "session_id", "a text")
        at_s, so_far = starts.get(session, (0.0, 0))
        for child in _children(record.get("pre_session_spawns")):
            starts[child] = (at_s, 0)
        for i, turn in enumerate(record["turns"]):
            if not isinstance(turn, dict):
                raise wrong(turn, f"turns[{i}]", "an object")
            delay = turn.get("delay")
            delay_s = 0.0 if is_empty(delay) else number(delay, f"turns[{i}].delay") / 1e3
            stamp = turn.get("timestamp")
            at_s = at_s + delay_s if is_empty(stamp) else number(stamp, f"turns[{i}].timestamp") / 1e3
            output = _output(turn, i)
            new = text_tokens(*(turn.get(name) for name in _TEXTS))
            yield {
                "session_id": session,
                "arrival_s": at_s,
                "prompt_tokens": so_far + new,
                "new_tokens": so_far + new if i == 0 else new,
                "output_tokens": output,
                "note": ESTIMATED,
            } | ({"think_time_s": delay_s} if i and is_empty(stamp) else {})
            so_far += new + output
            for child in _children(turn.get("forks")):
                starts[child] = (at_s, so_far)
            for child in _children(turn.get("spawns")):
                starts[child] = (at_s, 0)

    return rows


def _output(turn: TraceRow, i: int) -> int:
    places: list[Any] = [turn, turn.get("extra"), turn.get("extra_body")]
    found = [each[name] for each in places if isinstance(each, dict) for name in _OUTPUTS if name in each]
    return whole(found[0] if found else None, f"turns[{i}].max_tokens")


def _children(branches: Any) -> Iterator[str]:
    for each in branches if isinstance(branches, list) else []:
        if isinstance(each, dict):
            inner = each.get("children")
            yield from map(str, inner if isinstance(inner, list) else [each.get("child")])
        else:
            yield str(each)
