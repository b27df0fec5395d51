"""Conversations as text, such as ShareGPT's JSON: sessions without times, their tokens estimated from characters.

Each answer is a request. Its prompt is the whole conversation before it.
"""

from collections.abc import Iterator
from typing import Any

from simulator.workload.formats import RowMaker, TraceRow, sessions
from simulator.workload.values import ESTIMATED, text_tokens, wrong

FORMAT = sessions.FORMAT
_LISTS = ("conversations", "conversation", "messages")
_ANSWERS = ("gpt", "chatgpt", "bing", "bard", "assistant", "model")


def recognises(record: TraceRow) -> bool:
    """Tell by a list of messages that say whose they are."""
    messages = _messages(record)
    return bool(
        isinstance(messages, list)
        and messages
        and isinstance(messages[0], dict)
        and ({"from", "value"} <= messages[0].keys() or {"role", "content"} <= messages[0].keys())
        and "output_length" not in record
        and "usage" not in record
    )


def begin() -> RowMaker:
    """Return what yields the requests of a conversation."""
    conversations = 0

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        nonlocal conversations
        conversations += 1
        messages = _messages(record)
        if not isinstance(messages, list):
            raise wrong(messages, "conversations", "a list of messages")
        so_far, pending = 0, list[Any]()
        for i, each in enumerate(messages):
            if not isinstance(each, dict):
                raise wrong(each, f"message {i}", "an object")
            text = each.get("value", each.get("content"))
            if each.get("from", each.get("role")) not in _ANSWERS or not (so_far or pending):
                pending.append(text)
                continue
            new, output = text_tokens(pending), text_tokens(text)
            yield {
                "session_id": f"{conversations}",
                "new_tokens": new,
                "prompt_tokens": so_far + new,
                "output_tokens": output,
                "note": ESTIMATED,
            }
            so_far, pending = so_far + new + output, []

    return rows


def _messages(record: TraceRow) -> Any:
    return next((record[name] for name in _LISTS if name in record), None)
