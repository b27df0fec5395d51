"""The folder of a result, written."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from simulator.results.arrow import write, write_pieces
from simulator.results.folders import part_of
from simulator.results.saved import OPTIONAL
from simulator.results.sealed import seal
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
    kept, stop = kept_tables(result.trace_level), Event()
    if kept:
        _ = result.log  # before two threads want its tokens
    parts: list[Path] = []

    def part(name: str) -> Path:
        parts.append(folder / name)
        return part_of(folder / name)

    try:
        with ThreadPoolExecutor(1) as other:
            try:
                if tokens is not None:
                    writing = other.submit(write_pieces, part("tokens.parquet"), tokens.pieces(), stop)
                summary = result.summary()
                if kept:
                    write(part("requests.parquet"), result.requests())
                for name in OPTIONAL if kept else ():
                    table = getattr(result, name)()
                    if table is not None:
                        write(part(f"{name}.parquet"), table)
                if "steps" in kept:
                    write(part("steps.parquet"), result.steps())
                for name in _SAYING:
                    part(f"{name}.json")
                _write_json(part_of(folder / "summary.json"), summary)
                if tokens is not None:
                    writing.result()
                others = {path.name: part_of(path) for path in parts if path.name != "manifest.json"}
                _write_json(part_of(folder / "manifest.json"), seal(result.saved_manifest(), others))
            finally:
                stop.set()
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
