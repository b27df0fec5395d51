"""Before the run: whether the server is there, which model it serves, how it counts tokens; and its warm-up.

Two short prompts of different lengths tell how many tokens a word has and how many the server adds. A server that
does not know ``continuous_usage_stats`` is asked without it.
"""

import asyncio
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

from simulator.errors import InputError
from simulator.observe.endpoint import Endpoint
from simulator.observe.prompts import Counting, PromptTexts
from simulator.observe.sending import Sent, send
from simulator.replica.request import RequestState

if TYPE_CHECKING:
    import httpx

    from simulator.workload import Workload

_WORDS = (16, 272)  # of the two prompts
_PROBE_S = 120.0  # a server that has just been started may compile something first
_MOST_PER_WORD = 8.0
_AT_ONCE = 16  # requests of the warm-up
_NOT_KNOWN = (400, 422)  # HTTP status of a request with a key that is not known


async def find_model(client: "httpx.AsyncClient", endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with its model; raises InputError where the server is not there or lists several."""
    import httpx

    if endpoint.model is not None:
        return endpoint
    expected = "expected a server of OpenAI's API that lists its models, or --model"
    try:
        async with asyncio.timeout(min(endpoint.timeout_s, _PROBE_S)):
            response = await client.get(endpoint.models_url)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
        raise InputError(f"{endpoint.shown}: {_why(error)}; {expected}") from None
    try:
        found = response.json() if response.status_code == 200 else None
    except ValueError:
        found = None
    listed = found.get("data") if isinstance(found, dict) else None
    names = [
        each["id"] for each in listed or () if isinstance(each, dict) and isinstance(each.get("id"), str)
    ]
    if len(names) == 1:
        return replace(endpoint, model=names[0])
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise InputError(f"--model: missing; {endpoint.shown} serves {some}; expected one of them")
    raise InputError(
        f"{endpoint.shown}: HTTP {response.status_code} for /models, which names none; {expected}"
    )


async def probe(
    client: "httpx.AsyncClient", endpoint: Endpoint, workload: "Workload", seed: int
) -> tuple[Endpoint, Counting]:
    """Return the endpoint as the server understands it, and how it counts; InputError where it does not answer."""
    counts: list[int] = []
    for nth, words in enumerate(_WORDS):
        text = PromptTexts(workload, seed, Counting()).text(_stream(workload, nth), 0, words)
        sent = await _probed(client, endpoint, text)
        if sent.state is not RequestState.COMPLETED and endpoint.count_chunks and _unknown(sent):
            plainer = replace(endpoint, count_chunks=False)
            sent = await _probed(client, plainer, text)
            if sent.state is RequestState.COMPLETED:
                endpoint = plainer
        if sent.state is not RequestState.COMPLETED:
            hint = (
                "; --no-ignore-eos sends no keys but OpenAI's"
                if endpoint.ignore_eos and _unknown(sent)
                else ""
            )
            raise InputError(f"{endpoint.shown}: a first short request did not complete: {sent.why}{hint}")
        if sent.answer.prompt_tokens is not None:
            counts.append(sent.answer.prompt_tokens)
    return endpoint, counting_of(counts)


def counting_of(counts: list[int]) -> Counting:
    """Return how a server counts that has these counts of the two prompts; a token a word where that cannot be."""
    if len(counts) != len(_WORDS):
        return Counting()
    per_word = (counts[1] - counts[0]) / (_WORDS[1] - _WORDS[0])
    if not 1 / _MOST_PER_WORD <= per_word <= _MOST_PER_WORD:
        return Counting()
    return Counting(per_word, round(counts[0] - per_word * _WORDS[0]))


async def warm_up(
    client: "httpx.AsyncClient", endpoint: Endpoint, prompts: PromptTexts, requests: int, at_once: int | None
) -> int:
    """Send so many requests of the lengths of the first ones, with other texts; return how many did not complete."""
    workload = prompts.workload
    gate = asyncio.Semaphore(min(at_once or _AT_ONCE, _AT_ONCE))

    async def one(nth: int) -> bool:
        """Send the nth; return whether it completed."""
        row = nth % len(workload)
        text = prompts.text(_stream(workload, len(_WORDS) + nth), 0, int(workload.prompt_tokens[row]))
        body = endpoint.body([("user", text or " time")], int(workload.output_tokens[row]))
        async with gate:
            sent = Sent(row, perf_counter())
            await send(client, endpoint, body, sent, endpoint.timeout_s)
        return sent.state is RequestState.COMPLETED

    return requests - sum(await asyncio.gather(*(one(nth) for nth in range(requests))))


async def _probed(client: "httpx.AsyncClient", endpoint: Endpoint, text: str) -> Sent:
    sent = Sent(-1, perf_counter())
    await send(client, endpoint, endpoint.body([("user", text)], 1), sent, min(endpoint.timeout_s, _PROBE_S))
    return sent


def _unknown(sent: Sent) -> bool:
    return sent.reason in [f"HTTP {status}" for status in _NOT_KNOWN]


def _stream(workload: "Workload", nth: int) -> int:
    """Return a stream that no prompt of the workload has: its own are at least -len(workload)."""
    return -1 - len(workload) - nth


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split()) or type(error).__name__
