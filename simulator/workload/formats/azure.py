"""The traces of Azure/AzurePublicDataset as published: CSV with dates, which become seconds since the first."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

SUFFIXES = (".csv", ".csv.gz")
_HEADER = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]


def recognises(line: str) -> bool:
    """Tell such a file by its header."""
    return line.strip().split(",") == _HEADER


def parse(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield a row a line after the header; digits below a microsecond are cut off."""
    next(lines)
    start = None
    for line in lines:
        if line.strip():
            cells = line.split(",")
            if len(cells) != len(_HEADER):
                raise ValueError(f"{len(cells)} values found; expected {len(_HEADER)}")
            time, prompt, output = map(_value, _HEADER, cells)
            start = start or time
            yield {
                "arrival_s": (time - start).total_seconds(),
                "prompt_tokens": prompt,
                "output_tokens": output,
            }


def _value(name: str, cell: str) -> Any:
    is_time = name == _HEADER[0]
    try:
        return datetime.fromisoformat(cell.strip()) if is_time else int(cell)
    except ValueError:
        expected = "a time such as 2023-11-16 18:15:46.680590" if is_time else "a whole number"
        raise ValueError(f"{name} is {cell.strip()!r}; expected {expected}") from None
