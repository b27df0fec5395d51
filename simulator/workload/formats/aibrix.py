"""Workload files of vllm-project/aibrix: JSON lines, each a time in milliseconds and the requests sent then."""

from collections.abc import Iterator

from simulator.workload.formats import TraceRow
from simulator.workload.values import ESTIMATED, is_empty, number, text_tokens, whole, wrong

_PROMPT, _OUTPUT = ("prompt_length", "Prompt Length"), ("output_length", "Output Length")


def recognises(record: TraceRow) -> bool:
    """Tell by a time beside a list of requests."""
    return "timestamp" in record and isinstance(record.get("requests"), list)


def rows(record: TraceRow) -> Iterator[TraceRow]:
    """Yield the requests of a line; a prompt without its length is estimated."""
    arrival_s = number(record.get("timestamp"), "timestamp") / 1e3
    if not isinstance(record.get("requests"), list):
        raise wrong(record.get("requests"), "requests", "a list of requests")
    for i, request in enumerate(record["requests"]):
        if not isinstance(request, dict):
            raise wrong(request, f"requests[{i}]", "an object")
        prompt, output = (
            next((request[name] for name in names if not is_empty(request.get(name))), None)
            for names in (_PROMPT, _OUTPUT)
        )
        row: TraceRow = {"arrival_s": arrival_s, "output_tokens": whole(output, _OUTPUT[0])}
        if prompt is None and not is_empty(request.get("prompt")):
            row |= {"prompt_tokens": text_tokens(request["prompt"]), "note": ESTIMATED}
        else:
            row["prompt_tokens"] = whole(prompt, _PROMPT[0])
        if not is_empty(request.get("session_id")):
            row["session_id"] = str(request["session_id"])
        yield row
