"""Agentic coding sessions of callanjfox/kv-cache-tester (Weka): one object a session, sub-agents inside it.

The first request of an agent comes at its time, each later one ``think_time`` seconds after the answer before it, or
where that is not known at its time. Block ids count within their session, or in all of the file.
"""

from collections import Counter
from collections.abc import Iterator

from simulator.workload.formats import RowMaker, TraceRow
from simulator.workload.values import BlockNumbers, get, is_empty, number, whole, wrong

SORTS = True


def recognises(record: TraceRow) -> bool:
    """Tell by the block size beside a list of requests."""
    return {"requests", "block_size"} <= record.keys() and isinstance(record["requests"], list)


def begin_apart() -> RowMaker:
    """Return what yields the requests of one of several sessions, whose starts are not known.

    A request without a think time waits as long as it came after the end of the answer before it (``api_time``).
    """
    rows = begin()

    def apart(record: TraceRow) -> Iterator[TraceRow]:
        ends: dict[str, float] = {}
        for row in rows(record):
            agent, at_s = row["agent_id"], row.pop("arrival_s")
            if agent not in ends:
                row["session_offset_s"] = max(0.0, at_s)
            elif "think_time_s" not in row:
                row["think_time_s"] = max(0.0, at_s - ends[agent])
            ends[agent] = at_s + row.pop("took_s")
            yield row

    return apart


def begin() -> RowMaker:
    """Return what yields the requests of a session."""
    blocks = BlockNumbers()
    sessions = Counter[str]()

    def rows(record: TraceRow) -> Iterator[TraceRow]:
        session = str(record.get("id") or "session")
        sessions[session] += 1
        if sessions[session] > 1:
            session += f" {sessions[session]}"  # an object is a session, also where its name stands twice
        scope = None if record.get("hash_id_scope") == "global" else session
        size = whole(record["block_size"], "block_size")
        if size < 1:
            raise wrong(size, "block_size", "a whole number >= 1")
        yield from agent(record["requests"], session, "", scope, size, 0.0)

    def agent(
        requests: list[TraceRow], session: str, name: str, scope: str | None, size: int, start_s: float
    ) -> Iterator[TraceRow]:
        first = True
        for i, each in enumerate(requests):
            if not isinstance(each, dict):
                raise wrong(each, f"requests[{i}]", "an object")
            if isinstance(each.get("requests"), list):
                inner = f"{name}/{each.get('agent_id') or i}"
                yield from agent(each["requests"], session, inner, scope, size, _start_s(each, i))
                continue
            row: TraceRow = {
                "session_id": session,
                "agent_id": name or "main",
                "arrival_s": start_s + number(each.get("t"), f"requests[{i}].t"),
                "prompt_tokens": whole(each.get("in"), f"requests[{i}].in"),
                "output_tokens": whole(each.get("out"), f"requests[{i}].out"),
                "hash_ids": blocks.of(each.get("hash_ids") or [], f"requests[{i}].hash_ids", scope),
                "hash_block_tokens": size,
                "took_s": 0.0 if is_empty(each.get("api_time")) else number(each["api_time"], "api_time"),
            }
            if not first and not is_empty(get(each, "think_time")):
                row["think_time_s"] = max(0.0, number(each["think_time"], f"requests[{i}].think_time"))
            first = False
            yield row

    return rows


def _start_s(agent: TraceRow, i: int) -> float:
    """Return what to add to a sub-agent's times: they count from its own start if they begin before that."""
    start_s = number(agent.get("t") or 0, f"requests[{i}].t")
    first = next((each for each in agent["requests"] if isinstance(each, dict)), {})
    return start_s if number(first.get("t") or 0, f"requests[{i}].requests[0].t") < start_s else 0.0
