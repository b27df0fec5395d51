"""``servesim ui``: the app in a browser of this machine."""

import sys
from contextlib import suppress
from typing import Annotated

import typer

from simulator.errors import not_installed

ORDER = 46
EPILOG = "Example: servesim ui --port 8400"


def ui(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be one that other machines reach.")
    ] = False,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address only, open nothing.")
    ] = False,
) -> None:
    """Open a local app: a form for a scenario, its report, saved runs, plans, traces and the paper's figures."""
    try:
        from simulator.ui.server import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise not_installed(f"ui: {error.name}", "ui") from error
    from secrets import token_urlsafe

    from simulator.cli.report_page import saved_document, saved_rates
    from simulator.cli.saved_runs import saved_runs, saved_studies
    from simulator.ui.app import Saved

    def on_ready(address: str) -> None:
        print(address, flush=True)
        print("servesim ui: Ctrl-C ends it", file=sys.stderr)
        if not no_browser:
            import webbrowser

            webbrowser.open(address)

    saved = Saved(lambda folders: saved_document(folders, (), False), saved_rates, saved_runs, saved_studies)
    with suppress(KeyboardInterrupt):
        serve(saved, host, port, token_urlsafe(24), on_ready, allow_remote=allow_remote)
