"""A small server of OpenAI's API, which streams words at set times, and fails where it is told to.

It runs in a thread of the tests' process, so that its times are on the clock of the client (``perf_counter``). It
counts a prompt as so many tokens a word and some around each message.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter


@dataclass(frozen=True)
class Behaviour:
    """What the server does with a request."""

    ttft_s: float = 0.01
    gap_s: float = 0.002
    per_chunk: int = 1  # tokens
    counts: str = "chunk"  # when it says so many tokens: chunk, end, never; or by logprobs
    thinking: int = 0  # tokens of the beginning
    stops_after: int | None = None  # tokens, whatever was asked
    line_end: str = "\n"
    piece: int | None = None  # bytes a write, each on its own
    fault: str | None = None
    status: int = 200
    said: str | None = None  # with a status that is no success, instead of an error in JSON
    details: dict = field(default_factory=dict)  # in the usage, beside the counts


@dataclass
class Seen:
    """A request as the server had it."""

    path: str
    headers: dict
    body: dict
    came_s: float
    token_s: list = field(default_factory=list)  # when each token was written
    ended_s: float = 0.0

    @property
    def prompt(self) -> str:
        return self.body.get("prompt") or "".join(" " + each["content"] for each in self.body["messages"])


class StreamingServer:
    """Serves until its ``with`` block ends; ``requests`` are those of completions, first those of the probe."""

    url: str  # where it listens

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        choose: Callable[[int, dict], Behaviour] | None = None,
        *,
        models: tuple[str, ...] = ("tiny",),
        tokens_per_word: int = 1,
        around: int = 0,
        refuses: tuple[str, ...] = (),
    ) -> None:
        """``choose(n, body)`` says what to do with request n after the two of the probe."""
        self.behaviour = behaviour or Behaviour()
        self.choose = choose or (lambda n, body: self.behaviour)
        self.models, self.tokens_per_word, self.around, self.refuses = (
            models,
            tokens_per_word,
            around,
            refuses,
        )
        self.requests: list[Seen] = []
        self.in_flight = self.most_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task] = set()

    def __enter__(self) -> "StreamingServer":
        ready = threading.Event()

        def work() -> None:
            asyncio.set_event_loop(self._loop)

            async def start() -> None:
                self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
                self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
                ready.set()

            self._loop.run_until_complete(start())
            self._loop.run_forever()

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, *exc: object) -> None:
        async def stop() -> None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def recorded(self) -> list[Seen]:
        """The requests after those of the probe."""
        return [each for each in self.requests if each.body["max_tokens"] > 1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is gone, or the server ends
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        path = head[0].split()[1]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        if path.endswith("/models"):
            _whole(writer, 200, {"data": [{"id": name} for name in self.models]})
            return True
        seen = Seen(path, headers, body, perf_counter())
        self.requests.append(seen)
        options = {*body, *body.get("stream_options", {})}
        if unknown := [name for name in self.refuses if name in options]:
            _whole(writer, 400, {"error": {"message": f"Unknown parameter: {unknown[0]}"}})
            return True
        number = len(self.recorded) - 1
        behaviour = (
            self.choose(number, body) if body["max_tokens"] > 1 else replace(self.behaviour, fault=None)
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._serve(writer, seen, behaviour)
        finally:
            seen.ended_s = perf_counter()
            self.in_flight -= 1

    async def _serve(self, writer: asyncio.StreamWriter, seen: Seen, does: Behaviour) -> bool:
        if does.status != 200:
            _whole(writer, does.status, does.said or {"error": {"message": "no room"}})
            return True
        if does.fault == "reset":
            writer.transport.abort()
            return False
        tokens = seen.body["max_tokens"] if does.stops_after is None else does.stops_after
        chat = seen.path.endswith("chat/completions")
        usage = {"prompt_tokens": self._count(seen), "completion_tokens": tokens, **does.details}
        if does.fault == "whole":
            await asyncio.sleep(does.ttft_s)
            text = " word" * tokens
            choice = {"message": {"content": text}} if chat else {"text": text}
            _whole(writer, 200, {"choices": [{**choice, "finish_reason": "length"}], "usage": usage})
            return True
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        out = _Events(writer, does)
        await out.write(": hello" + does.line_end)
        if chat:
            await out.event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        await asyncio.sleep(does.ttft_s)
        sent = 0
        while sent < tokens:
            if sent:
                await asyncio.sleep(does.gap_s)
            if does.fault in _FAULTS and sent >= tokens // 2:
                return await _FAULTS[does.fault](out, writer)
            n = min(does.per_chunk, tokens - sent)
            sent += n
            await out.event(self._chunk(seen, does, chat, sent, n, usage))
            seen.token_s += [perf_counter()] * n
        if does.fault != "no finish":
            ends = {"finish_reason": "abort" if does.fault == "abort" else "length"}
            await out.event({"choices": [{"delta": {}, **ends} if chat else {"text": "", **ends}]})
        if does.counts in ("chunk", "end"):
            await out.event({"choices": [], "usage": usage})
        await out.write("data: [DONE]" + 2 * does.line_end)
        await out.end()
        return True

    def _chunk(self, seen: Seen, does: Behaviour, chat: bool, sent: int, n: int, usage: dict) -> dict:
        text = " wörd" * n
        name = "reasoning_content" if sent <= does.thinking else "content"
        choice: dict = {"delta": {name: text}} if chat else {"text": text}
        if does.counts == "logprobs":
            choice["logprobs"] = {"content": [{"token": "w"}] * n} if chat else {"tokens": ["w"] * n}
        chunk: dict = {"choices": [{**choice, "finish_reason": None}]}
        if does.counts == "chunk" and seen.body["stream_options"].get("continuous_usage_stats"):
            chunk["usage"] = {**usage, "completion_tokens": sent}
        return chunk

    def _count(self, seen: Seen) -> int:
        messages = len(seen.body.get("messages", [1]))
        return self.tokens_per_word * len(seen.prompt.split()) + self.around * messages


class _Events:
    """Writes events, in pieces where that is wanted."""

    def __init__(self, writer: asyncio.StreamWriter, does: Behaviour) -> None:
        self.writer, self.does = writer, does

    async def event(self, value: dict) -> None:
        await self.write("data: " + json.dumps(value, ensure_ascii=False) + 2 * self.does.line_end)

    async def write(self, text: str) -> None:
        data = text.encode()
        size = self.does.piece or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await self.writer.drain()
            if self.does.piece:
                await asyncio.sleep(0)

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


async def _cut(out: _Events, writer: asyncio.StreamWriter) -> bool:
    writer.transport.abort()
    return False


async def _ended(out: _Events, writer: asyncio.StreamWriter) -> bool:
    await out.end()
    return True


async def _hang(out: _Events, writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(60)
    return False


async def _bad_json(out: _Events, writer: asyncio.StreamWriter) -> bool:
    await out.write("data: {oops\n\n")
    return await _ended(out, writer)


async def _error(out: _Events, writer: asyncio.StreamWriter) -> bool:
    await out.event({"error": {"message": "CUDA out of memory", "code": 500}})
    return await _ended(out, writer)


_FAULTS = {"cut": _cut, "ended": _ended, "hang": _hang, "bad json": _bad_json, "error": _error}


def _whole(writer: asyncio.StreamWriter, status: int, value: dict | str) -> None:
    body = (value if isinstance(value, str) else json.dumps(value)).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
