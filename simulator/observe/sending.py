"""One request, sent and answered: whatever happens to it becomes what is recorded of it.

Times are of ``time.perf_counter``, taken when the client hands a request to its connection and when it is handed the
bytes of a chunk.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from simulator.observe.answer import BadAnswerError, StreamedAnswer, said_in
from simulator.observe.event_stream import EventStream
from simulator.replica.request import NEVER, RequestState

if TYPE_CHECKING:
    import httpx

    from simulator.observe.endpoint import Endpoint

_CUT = "the stream was cut before its end"
_FULL = (429, 503, 529)  # HTTP status of a server that takes no more requests for now
_DRAIN_S = 1.0  # that the end of a response is waited for after its last event, to use the connection again
_MOST_ERROR_BYTES = 1 << 16


@dataclass
class Sent:
    """A request that was due, and what became of it; all times in seconds of ``perf_counter``."""

    row: int  # in the workload
    due_s: float  # when the traffic has it sent
    late_s: float = 0.0  # by how much the client itself was late
    held_s: float = 0.0  # for how long a bound on requests in flight held it back
    sent_s: float = NEVER  # NEVER: it was not sent before the end
    end_s: float = NEVER
    state: RequestState = RequestState.UNFINISHED
    reason: str = ""  # why it did not complete, in the same words for all of a kind
    detail: str = ""  # what is known of this one beside that
    answer: StreamedAnswer = field(default_factory=StreamedAnswer)

    @property
    def why(self) -> str:
        """Why it did not complete, with what is known of it."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


async def send(
    client: "httpx.AsyncClient", endpoint: "Endpoint", body: bytes, sent: Sent, patience_s: float
) -> None:
    """Send a request and record what comes back in ``sent``, at most for so many seconds.

    Raises CancelledError where the run ends before the answer does, which is recorded too.
    """
    import httpx

    request = client.build_request(
        "POST", endpoint.url, content=body, headers={"Content-Type": "application/json"}
    )
    sent.sent_s = perf_counter()
    sent.late_s = max(sent.sent_s - sent.due_s - sent.held_s, 0.0)
    try:
        async with asyncio.timeout(patience_s):
            response = await client.send(request, stream=True)
            try:
                await _receive(response, sent)
            finally:
                await response.aclose()
    except asyncio.CancelledError:
        if sent.state is RequestState.UNFINISHED:  # else only the end of its response was still to come
            sent.reason = "the run ended before"
        raise
    except TimeoutError as error:
        if error.errno is not None:  # the system's, of a connection
            _break(sent, error)
        elif sent.state is RequestState.UNFINISHED:
            sent.state, sent.reason = RequestState.ABANDONED_BY_USER, "the client gave up"
            sent.detail = f"after {patience_s:.3g} s"
    except BadAnswerError as error:
        sent.state, sent.reason, sent.detail = RequestState.FAILED, error.reason, error.detail
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        _break(sent, error)
    finally:
        if sent.end_s != sent.end_s:
            sent.end_s = perf_counter()


async def _receive(response: "httpx.Response", sent: Sent) -> None:
    import httpx

    if response.status_code != 200:
        sent.state = RequestState.REJECTED if response.status_code in _FULL else RequestState.FAILED
        sent.reason = f"HTTP {response.status_code}"
        sent.end_s = perf_counter()
        sent.detail = await _error(response)
        return
    answer = sent.answer
    if response.headers.get("content-type", "").startswith("application/json"):  # the server does not stream
        body = await response.aread()
        answer.take(body, perf_counter())
        answer.done = True
    else:
        events = EventStream()
        pieces = response.aiter_raw()
        async for piece in pieces:
            time_s = perf_counter()
            for data in events.feed(piece):
                answer.take(data, time_s)
            if answer.done:
                break
        else:
            for data in events.close():
                answer.take(data, perf_counter())
        sent.end_s = perf_counter()
        _conclude(sent)
        with suppress(TimeoutError, httpx.HTTPError):  # what follows the answer has no say in it
            async with asyncio.timeout(_DRAIN_S):
                async for _ in pieces:
                    pass
        return
    sent.end_s = perf_counter()
    _conclude(sent)


def _break(sent: Sent, error: Exception) -> None:
    """Note that the connection of a request broke."""
    sent.state = RequestState.FAILED
    sent.reason = _CUT if sent.answer.times_s else "the connection failed"
    sent.detail = " ".join(str(error).split()) or type(error).__name__


def _conclude(sent: Sent) -> None:
    """Decide how an answer ended that the server has ended."""
    answer = sent.answer
    if answer.finish_reason == "abort":
        sent.state, sent.reason = RequestState.ABANDONED_BY_SYSTEM, "the server aborted it"
    elif answer.finish_reason is None and not answer.done:
        sent.state, sent.reason = RequestState.FAILED, _CUT
    elif not answer.times_s:
        sent.state, sent.reason = RequestState.FAILED, "an answer without a token"
    else:
        sent.state = RequestState.COMPLETED


async def _error(response: "httpx.Response") -> str:
    body = b""
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > _MOST_ERROR_BYTES:
            break
    try:
        return said_in(json.loads(body))
    except (ValueError, RecursionError):
        return said_in(body.decode("utf-8", "replace"))
