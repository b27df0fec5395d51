"""The transport under httpx reads what servers may send, however the bytes come, and uses connections again."""

import asyncio
import contextlib

import httpx
import pytest

from simulator.observe.endpoint import Endpoint
from simulator.observe.transport import DirectTransport
from tests.streaming_server import Behaviour, StreamingServer
from tests.unit.test_observe import BURST, observed, states

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = {
    "a length": b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world",
    "chunks": CHUNKED + b"6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
    "chunks with extensions and trailers": CHUNKED
    + b"6;a=b\r\nhello \r\n05\r\nworld\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
    "an answer that is announced": b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "the end of the connection": b"HTTP/1.1 200 OK\r\n\r\nhello world",
    "HTTP 1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
    "a wish to close": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\nhello world",
}
KEEPS = {"a length", "chunks", "chunks with extensions and trailers", "an answer that is announced"}
BROKEN = {
    "nothing": (b"", "without an answer"),
    "half a head": (b"HTTP/1.1 200 O", "without an answer"),
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", "is not HTTP/1.1"),
    "half a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello", "before the end"),
    "half a chunk": (CHUNKED + b"6\r\nhel", "before the end"),
    "no last chunk": (CHUNKED + b"6\r\nhello \r\n", "before the end"),
    "a chunk without a length": (CHUNKED + b"xyz\r\nhello\r\n", "no length"),
}


def asked(answer, *, times=1, piece=1 << 16, closes_after=1 << 30, closes=True):
    """Return the bodies of so many requests, one after another, and how many connections they took."""
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for _ in range(closes_after):
                await reader.readuntil(b"\r\n\r\n")
                for start in range(0, len(answer), piece):
                    writer.write(answer[start : start + piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                if closes:
                    break
        writer.close()

    async def ask():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        bodies = []
        async with server, httpx.AsyncClient(transport=DirectTransport(2.0)) as client:
            for _ in range(times):
                async with client.stream("GET", url) as response:
                    bodies.append(b"".join([each async for each in response.aiter_raw()]))
                await asyncio.sleep(0.02)
            await client.aclose()
            await asyncio.sleep(0.05)  # the server sees that its connections are closed
        return bodies

    return asyncio.run(ask()), connections


@pytest.mark.parametrize("piece", [1 << 16, 7, 1])
@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_is_whole_however_it_comes(name, piece):
    assert asked(WHOLE[name], piece=piece) == ([b"hello world"], 1)


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_broken_is_an_error(name):
    answer, said = BROKEN[name]
    with pytest.raises(httpx.RemoteProtocolError, match=said):
        asked(answer)


@pytest.mark.parametrize("name", KEEPS)
def test_a_connection_is_used_again(name):
    assert asked(WHOLE[name], times=3, closes=False) == (3 * [b"hello world"], 1)


def test_a_connection_that_the_server_closed_is_not():
    assert asked(WHOLE["a length"], times=3) == (3 * [b"hello world"], 3)
    assert asked(WHOLE["a wish to close"], times=2, closes=False) == (2 * [b"hello world"], 2)


def test_there_is_no_connection_where_no_server_is():
    async def ask():
        async with httpx.AsyncClient(transport=DirectTransport(2.0)) as client:
            await client.get("http://127.0.0.1:9/")

    with pytest.raises(OSError, match="127"):
        asyncio.run(ask())


def test_a_proxy_of_the_environment_is_heeded(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert not Endpoint.of("http://far.example").proxied
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    assert Endpoint.of("http://far.example").proxied
    assert not Endpoint.of("http://localhost:8000").proxied
    assert not Endpoint.of("https://far.example").proxied
    monkeypatch.setenv("no_proxy", "far.example")
    assert not Endpoint.of("http://far.example").proxied


def test_behind_a_proxy_the_same_is_recorded(monkeypatch):
    monkeypatch.setattr(Endpoint, "proxied", True)
    faults = [Behaviour(), Behaviour(fault="cut"), Behaviour(status=429), Behaviour(fault="reset")]
    with StreamingServer(choose=lambda n, body: faults[n % 4]) as server:
        result = observed(server, BURST)
    assert states(result) == {"completed": 3, "failed": 6, "rejected": 3}
    assert result.log.token_counts.sum() == 3 * 10 + 3 * 5
