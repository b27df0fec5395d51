"""The traces of kvcache-ai/Mooncake, those with sessions as AIPerf extends them, and with agents as Dynamo does.

JSON lines with times in milliseconds and prefix blocks; a session's later turns have a delay, no timestamp. AIPerf
may give the text of a prompt instead of its length. ``input_length`` of a session's turn is what it adds: the client
sends earlier turns and answers with it (AIPerf, docs/benchmark-modes/trace-replay.md: sessions accumulate).
"""

from collections.abc import Iterator

from simulator.workload.formats import TraceFormat, TraceRow
from simulator.workload.values import ESTIMATED, is_empty, text_tokens, typed

FORMAT = TraceFormat(
    arrival_s="timestamp",
    prompt_tokens="input_length",
    output_tokens="output_length",
    hash_ids="hash_ids",
    any_block_tokens=True,
    ticks_per_s=1000.0,
    session_id="session_id",
    think_s="delay",
    turns_add=True,
)
_TEXTS = ("text_input", "messages", "payload")
_WAITS = ("delay", "tool_wait_ms")  # one after the other


def recognises(record: TraceRow) -> bool:
    """Tell by the names of a length, of the time and of the answer's length."""
    lengths = {"input_length", *_TEXTS} & record.keys()
    times = {"timestamp", "session_id"} & record.keys()
    return bool(lengths and times and "output_length" in record and "chat_id" not in record)


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the record; a prompt given as text is estimated, and what it waits for is added up."""
    if all(isinstance(value, str) for value in record.values()):  # a row of CSV
        record = typed(record)
    if record.get("input_length") is not None and "tool_wait_ms" not in record:
        yield record
        return
    row = dict(record)
    waits = [record[name] for name in _WAITS if not is_empty(record.get(name))]
    if len(waits) > 1 and all(isinstance(each, (int, float)) for each in waits):
        row["delay"] = sum(waits)
    elif waits:
        row["delay"] = waits[0]
    texts = [record[name] for name in _TEXTS if not is_empty(record.get(name))]
    if is_empty(record.get("input_length")) and texts:
        row |= {"input_length": text_tokens(*texts), "note": ESTIMATED}
    yield row
