"""Requests in several files: those of a folder, or all that a pattern such as ``logs/2026-*.jsonl`` names."""

from collections.abc import Callable, Iterator
from glob import glob, has_magic
from itertools import islice
from pathlib import Path

from simulator.errors import InputError
from simulator.workload.library import SUFFIXES
from simulator.workload.records import ReadRecord, RecordSource

_SUFFIXES = (*SUFFIXES, ".json", ".json.gz", ".ndjson", ".ndjson.gz", ".tsv")
_FILE_BITS = 40  # of a record's number, below those of its file's


def are_many(path: Path) -> bool:
    """Tell whether a path means several files."""
    return path.is_dir() or (has_magic(str(path)) and not path.exists())


def files_of(path: Path) -> list[Path]:
    """Return the files that a folder (by their endings) or a pattern means, in order of name.

    Raises ``InputError`` if there is none.
    """
    if path.is_dir():
        found = [
            each for each in path.iterdir() if each.name.endswith(_SUFFIXES) and not each.name.startswith(".")
        ]
        expected = f"files ending in {', '.join(_SUFFIXES)} in it"
    else:
        found = [Path(each) for each in glob(str(path), recursive=True)]
        expected = "files that it matches"
    files = sorted(each for each in found if each.is_file())
    if not files:
        raise InputError(f"{path}: no file of requests found; expected {expected}")
    return files


def together(files: list[Path], of: Callable[[Path], RecordSource]) -> RecordSource:
    """Return the records of all files, one file after another; ``of`` opens each when it is its turn."""
    first = of(files[0])

    def numbered(few: bool) -> Iterator[ReadRecord]:
        for i, path in enumerate(files):
            source = first if i == 0 else of(path)
            records = islice((source.few or source.entries)(), 2) if few else source.entries()
            for number, record in records:
                yield (i << _FILE_BITS) + number, record

    def place(number: int) -> str:
        i, inside = divmod(number, 1 << _FILE_BITS)
        return f"{files[i]}: {first.unit if i == 0 else of(files[i]).unit} {inside}"

    return RecordSource(first.unit, lambda: numbered(False), few=lambda: numbered(True), place=place)
