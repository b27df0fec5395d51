"""HTTP/1.1 for httpx with little of its own between the socket and what is recorded.

httpx's default transport takes some 3 ms of CPU a request and 0.1 ms a chunk, which would be part of what is measured.
This one speaks what servers of OpenAI's API speak (RFC 9112: chunked, Content-Length, or until the connection closes),
keeps connections, and knows no proxy. Imported where httpx is installed.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from time import perf_counter

import httpx

_MOST_HEAD_BYTES = 1 << 16
_PORTS = {"http": 80, "https": 443}
_NO_BODY = (204, 304)


class DirectTransport(httpx.AsyncBaseTransport):
    """Connections to servers; one that waits longer than ``keep_idle_s`` is not used again."""

    def __init__(self, keep_idle_s: float) -> None:
        self.keep_idle_s = keep_idle_s
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}
        self._context: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises OSError where there is no connection, and RemoteProtocolError for what is no HTTP."""
        url = request.url
        place = url.scheme, url.host, url.port or _PORTS[url.scheme]
        data = _head(request) + await request.aread()
        connection = self._reused(place) or await self._opened(place)
        connection.send(data)
        try:
            status, version, headers = await connection.head()
        except BaseException:
            connection.close()
            raise
        body = _Body(connection, status, version, headers, self._idle.setdefault(place, []))
        return httpx.Response(status, headers=headers, stream=body)

    async def aclose(self) -> None:
        """Close the connections that wait."""
        for waiting in self._idle.values():
            for connection in waiting:
                connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # in which the loop lets go of their sockets

    def _reused(self, place: tuple[str, str, int]) -> "_Connection | None":
        """Return a connection that waits and is still open, the last that was used."""
        waiting = self._idle.get(place, [])
        while waiting:
            connection = waiting.pop()
            if not connection.closed and perf_counter() - connection.used_s < self.keep_idle_s:
                return connection
            connection.close()
        return None

    async def _opened(self, place: tuple[str, str, int]) -> "_Connection":
        scheme, host, port = place
        context = None
        if scheme == "https":
            context = self._context = self._context or httpx.create_ssl_context()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, host, port, ssl=context)
        return connection


class _Connection(asyncio.Protocol):
    """One connection: bytes that came and were not taken yet."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.closed = False
        self.error: Exception | None = None
        self.used_s = perf_counter()
        self._waiting: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed, self.error = True, exc
        self._wake()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.abort()

    async def more(self) -> bool:
        """Wait for bytes; False where none follow. Raises OSError where the connection broke."""
        had = len(self.buffer)
        while len(self.buffer) == had and not self.closed:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if len(self.buffer) > had:
            return True
        if self.error is not None:
            raise self.error
        return False

    async def head(self) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        """Return status, version and headers of an answer, after those that only say that one will come (1xx)."""
        while True:
            while (end := self.buffer.find(b"\r\n\r\n")) < 0:
                if len(self.buffer) > _MOST_HEAD_BYTES:
                    raise httpx.RemoteProtocolError("the head of the answer does not end")
                if not await self.more():
                    raise httpx.RemoteProtocolError("the server closed the connection without an answer")
            first, *lines = bytes(self.buffer[:end]).split(b"\r\n")
            del self.buffer[: end + 4]
            version, _, rest = first.partition(b" ")
            if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
                raise httpx.RemoteProtocolError("the answer is not HTTP/1.1")
            if not rest.startswith(b"1"):
                pairs = (line.partition(b":") for line in lines)
                return int(rest[:3]), version, [(name.strip(), value.strip()) for name, _, value in pairs]

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class _Body(httpx.AsyncByteStream):
    """The bytes of an answer as they come; at its end the connection waits for the next request."""

    def __init__(
        self,
        connection: _Connection,
        status: int,
        version: bytes,
        headers: list[tuple[bytes, bytes]],
        waiting: list[_Connection],
    ) -> None:
        self.connection, self.waiting = connection, waiting
        found = {name.lower(): value.lower() for name, value in headers}
        self.chunked = b"chunked" in found.get(b"transfer-encoding", b"")
        length = found.get(b"content-length", b"")
        self.left = 0 if status in _NO_BODY else int(length) if length.isdigit() else None
        self.keeps = version == b"HTTP/1.1" and b"close" not in found.get(b"connection", b"")
        self.ended = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        connection = self.connection
        if self.chunked:
            async for piece in self._chunks():
                yield piece
        elif self.left is None:
            self.keeps = False
            while connection.buffer or await connection.more():
                yield self._taken(len(connection.buffer))
        else:
            while self.left:
                await self._need(1)
                piece = self._taken(min(len(connection.buffer), self.left))
                self.left -= len(piece)
                yield piece
        self.ended = True

    async def aclose(self) -> None:
        """Keep the connection for the next request if all of this answer was read, else close it."""
        if self.ended and self.keeps and not self.connection.closed:
            self.connection.used_s = perf_counter()
            self.waiting.append(self.connection)
        else:
            self.connection.close()

    async def _chunks(self) -> AsyncIterator[bytes]:
        buffer = self.connection.buffer
        while True:
            pieces: list[bytes] = []
            while (end := buffer.find(b"\r\n")) >= 0:  # all chunks that are there
                digits = bytes(buffer[:end]).partition(b";")[0].strip()
                try:
                    size = int(digits, 16)
                except ValueError:
                    raise httpx.RemoteProtocolError("a chunk of the answer has no length") from None
                if size == 0 or len(buffer) < end + size + 4:
                    break
                pieces.append(bytes(buffer[end + 2 : end + 2 + size]))
                del buffer[: end + size + 4]
            else:
                size = -1
            if pieces:
                yield b"".join(pieces)
            elif size == 0:
                del buffer[: end + 2]
                await self._trailers()
                return
            else:
                await self._need(len(buffer) + 1)

    async def _trailers(self) -> None:
        buffer = self.connection.buffer
        while True:
            while (end := buffer.find(b"\r\n")) < 0:
                await self._need(len(buffer) + 1)
            del buffer[: end + 2]
            if end == 0:
                return

    async def _need(self, count: int) -> None:
        while len(self.connection.buffer) < count:
            if not await self.connection.more():
                raise httpx.RemoteProtocolError(
                    "the server closed the connection before the end of its answer"
                )

    def _taken(self, count: int) -> bytes:
        piece = bytes(self.connection.buffer[:count])
        del self.connection.buffer[:count]
        return piece


def _head(request: httpx.Request) -> bytes:
    target = request.url.raw_path
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), target)]
    lines += [name + b": " + value for name, value in request.headers.raw]
    return b"\r\n".join(lines) + b"\r\n\r\n"
