"""Request traces of ai-dynamo/dynamo: JSON lines of events, of which those of a request's end count.

They are written in the order in which requests end; a request came ``request_received_ms`` after 1970. Requests of a
trajectory, or of a session, are one conversation; blocks have hashes in the order of the prompt.
"""

from collections.abc import Iterator

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import BlockNumbers, get, is_empty, number, time_ns, whole

SORTS = True
_SESSIONS = ("trajectory_id", "session_id", "program_id", "workflow_id")


def recognises(record: TraceRow) -> bool:
    """Tell by the name of its schema."""
    event = _event(record)
    return str(event.get("schema", "")).startswith("dynamo.") and "event_type" in event


def begin() -> RowMaker:
    """Return what yields the request of an event, if it is the end of one."""
    blocks = BlockNumbers()

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        event = _event(record)
        if event.get("event_type") != "request_end":
            return
        received = get(event, "request.request_received_ms")
        if is_empty(received):
            took = get(event, "request.total_time_ms")
            ended = number(event.get("event_time_unix_ms"), "event_time_unix_ms")
            received = ended - (0.0 if is_empty(took) else number(took, "total_time_ms"))
        length = get(event, "request.replay.input_length")
        row: TraceRow = {
            "time_ns": time_ns(received, "request_received_ms", "ms"),
            "prompt_tokens": whole(
                get(event, "request.input_tokens") if length is None else length, "input_length"
            ),
            "output_tokens": whole(get(event, "request.output_tokens"), "output_tokens"),
        }
        hashes = get(event, "request.replay.input_sequence_hashes")
        if hashes:
            row["hash_ids"] = blocks.of(hashes, "input_sequence_hashes")
            row["hash_block_tokens"] = whole(
                get(event, "request.replay.trace_block_size"), "trace_block_size"
            )
        session = next((each for key in _SESSIONS if (each := get(event, f"agent_context.{key}"))), None)
        if session is not None:
            row["session_id"] = str(session)
        yield row

    return rows


def _event(record: TraceRow) -> TraceRow:
    inner = record.get("event")
    return inner if "schema" not in record and isinstance(inner, dict) else record
