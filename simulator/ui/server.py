"""The app's server: one process, one address, until Ctrl-C."""

import socket
from collections.abc import Callable

import uvicorn

from simulator.errors import InputError
from simulator.ui.app import Saved, make_app
from simulator.ui.guard import check_host


def serve(
    saved: Saved,
    host: str,
    port: int,
    token: str,
    on_ready: Callable[[str], None],
    *,
    allow_remote: bool = False,
) -> None:
    """Serve until Ctrl-C; ``on_ready`` gets the address with the token when it can be asked.

    Raises InputError for a host that other machines reach unless that is allowed, and for one or a port that cannot
    be listened at.
    """
    check_host(host, allow_remote)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    name = host.strip("[]")
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((name, port))
        except OSError as error:
            raise InputError(
                f"ui: {host}:{port}: {error.strerror or error}; expected a free port and an address of this machine"
            ) from error
        listening.listen(64)
        shown = f"[{name}]" if ":" in name else name
        on_ready(f"http://{shown}:{listening.getsockname()[1]}/?token={token}")
        app = make_app(token, saved, remote=allow_remote)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        uvicorn.Server(config).run(sockets=[listening])
