"""The folder of a result, written."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from simulator.results.arrow import write, write_pieces
from simulator.results.saved import OPTIONAL
from simulator.results.tokens import TokenSource
from simulator.results.trace_level import kept_tables

if TYPE_CHECKING:
    from simulator.results.result import Result


def write_folder(result: "Result", folder: Path, tokens: TokenSource | None) -> None:
    """Write what the result's trace level keeps, tokens if there are any, manifest and summary.

    Tables of a run that was in the folder before go. Raises OSError where the disk refuses.
    """
    for name in (*kept_tables("tokens"), *OPTIONAL):
        (folder / f"{name}.parquet").unlink(missing_ok=True)
    kept, stop = kept_tables(result.trace_level), Event()
    if kept:
        _ = result.log  # before two threads want its tokens
    with ThreadPoolExecutor(1) as other:
        try:
            if tokens is not None:
                writing = other.submit(write_pieces, folder / "tokens.parquet", tokens.pieces(), stop)
            summary = result.summary()
            if kept:
                write(folder / "requests.parquet", result.requests())
            for name in OPTIONAL if kept else ():
                table = getattr(result, name)()
                if table is not None:
                    write(folder / f"{name}.parquet", table)
            if "steps" in kept:
                write(folder / "steps.parquet", result.steps())
            for name, content in (("manifest", result.saved_manifest()), ("summary", summary)):
                text = json.dumps(content, indent=2) + "\n"
                (folder / f"{name}.json").write_text(text, encoding="utf-8")
            if tokens is not None:
                writing.result()
        finally:
            stop.set()
