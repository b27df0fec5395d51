"""The lists that ``vllm bench serve`` and SGLang's ``bench_serving`` both write, one entry a request."""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports._served import ServedRequest
from simulator.results.imports._values import numbers, rows, seconds, seconds_after, tokens

_LISTS = (
    "input_lens",
    "output_lens",
    "ttfts",
    "itls",
)  # seconds; an entry of itls is the gaps between chunks


def has_lists(found: dict[str, Any]) -> bool:
    """Whether a result has its requests, not their means alone."""
    return all(isinstance(found.get(name), list) for name in _LISTS)


def served_requests(
    found: dict[str, Any], path: Path, starts: list[Any] | None, *, surplus_first: bool = False
) -> list[ServedRequest]:
    """Return the requests of a result; ``starts`` are when they were sent, without all at 0.

    A request without output tokens has failed; the file does not say when.
    """
    lists = {name: rows(found[name], f"{path}: {name}") for name in _LISTS}
    if starts is not None:
        lists["start_times"] = starts
    n = len(lists["input_lens"])
    for name, column in lists.items():
        if len(column) != n:
            raise InputError(f"{path}: {name} has {len(column)} entries; expected {n}, as input_lens has")
    requests = []
    for i in range(n):

        def place(name: str, i: int = i) -> str:
            return f"{path}: {name}[{i}]"

        arrival_s = 0.0 if starts is None else seconds(starts[i], place("start_times"), least=-1e15)
        prompt = tokens(lists["input_lens"][i], place("input_lens"))
        output = tokens(lists["output_lens"][i], place("output_lens"))
        state, chunks_s = RequestState.FAILED, None
        if output:
            ttft = numbers([lists["ttfts"][i]], place("ttfts"), least=0)
            gaps = numbers(lists["itls"][i] or [], place("itls"), least=0)
            state, chunks_s = RequestState.COMPLETED, seconds_after(arrival_s, [*ttft, *gaps])
        where = f"{path}: request {i}"
        requests.append(
            ServedRequest(
                where, arrival_s, prompt, output, chunks_s, state=state, surplus_first=surplus_first
            )
        )
    return requests


def duration_s(found: dict[str, Any], path: Path) -> float:
    """Return how long the run took; every file has it."""
    taken_s = seconds(found.get("duration"), f"{path}: duration")
    if taken_s <= 0:
        raise InputError(f"{path}: duration is {taken_s:g}; expected a number of seconds above 0")
    return taken_s
