"""The folder of a result, written."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from simulator.results.arrow import write, write_pieces
from simulator.results.folders import part_of
from simulator.results.saved import OPTIONAL
from simulator.results.sealed import digest, seal
from simulator.results.shared_jobs import SharedJobs
from simulator.results.tokens import TokenSource
from simulator.results.trace_level import kept_tables

if TYPE_CHECKING:
    from simulator.results.result import Result

PICTURE = "overview.png"
_SAYING = ("manifest", "summary")  # what the tables are of, and what they say
# What a folder of a result may hold, in the order in which the files of another run go
_FILES = (
    *(f"{name}.json" for name in reversed(_SAYING)),
    PICTURE,
    *(f"{name}.parquet" for name in (*kept_tables("tokens"), *OPTIONAL)),
)


def write_folder(result: "Result", folder: Path, tokens: TokenSource | None) -> None:
    """Write what the result's trace level keeps, tokens if there are any, manifest and summary.

    All files are written under other names first. Only then those of a run that was in the folder before go,
    its summary first, and the new ones get their names, the summary last: at no moment is there a summary beside
    the tables of another run. Raises OSError where the disk refuses; the files before are still there then.
    """
    kept, stop, jobs = kept_tables(result.trace_level), Event(), SharedJobs()
    if kept:
        _ = result.log  # before two threads want its tokens
    parts: list[Path] = []
    digests: dict[str, str] = {}

    def write_part(name: str, write_to: Callable[[Path], None]) -> None:
        path = part_of(folder / name)
        write_to(path)
        digests[name] = digest(path)

    def file(name: str, write_to: Callable[[Path], None]) -> None:
        parts.append(folder / name)
        jobs.add(partial(write_part, name, write_to))

    try:
        try:
            if tokens is not None:
                file("tokens.parquet", lambda path: write_pieces(path, tokens.pieces(), stop))
            if "steps" in kept:
                file("steps.parquet", lambda path: write(path, result.steps()))
            jobs.start()
            summary = result.summary()
            if kept:
                file("requests.parquet", lambda path: write(path, result.requests()))
            for name in OPTIONAL if kept else ():
                table = getattr(result, name)()
                if table is not None:
                    file(f"{name}.parquet", partial(write, contents=table))
            parts += [folder / f"{name}.json" for name in _SAYING]
            write_part("summary.json", partial(_write_json, content=summary))
            jobs.finish()
            _write_json(part_of(folder / "manifest.json"), seal(result.saved_manifest(), digests))
        finally:
            stop.set()
            jobs.give_up()
        for name in _FILES:
            (folder / name).unlink(missing_ok=True)
        for path in parts:
            os.replace(part_of(path), path)
    except BaseException:
        for path in parts:
            part_of(path).unlink(missing_ok=True)
        raise


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
