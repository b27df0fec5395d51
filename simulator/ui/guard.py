"""Who may ask the app: only requests with the token, for a host that cannot be another site's name."""

import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator.errors import InputError

_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:;"
        b" connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
)


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, which no other machine reaches."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_host(host: str, allow_remote: bool) -> None:
    """Raise InputError for an address that other machines reach, unless that is allowed."""
    if not is_loopback(host) and not allow_remote:
        raise InputError(
            f"--host {host}: other machines may reach it; expected 127.0.0.1, localhost or ::1, or --allow-remote"
        )


@dataclass(frozen=True)
class Guard:
    """Passes on what has the token and a good host (ASGI); answers all else with 403 and one sentence.

    A page of another site can make a browser ask under the site's own name (DNS rebinding), so a host has to be a
    loopback name; with ``remote`` also an address or this machine's name.
    """

    app: ASGIApp
    token: str
    remote: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        refused = self._refused(Headers(scope=scope), QueryParams(scope["query_string"]))
        if refused is not None:
            await PlainTextResponse(refused, 403)(scope, receive, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)

    def _refused(self, headers: Headers, query: QueryParams) -> str | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "Host: expected the address that servesim ui printed"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "Origin: expected a page of this app"
        given = headers.get("x-servesim-token") or query.get("token", "")
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.token.encode("ascii")):
            return "token: expected the address that servesim ui printed, with its token"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name):
            return True
        if not self.remote:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == socket.gethostname().lower()
        return True
