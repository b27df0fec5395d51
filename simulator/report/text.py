"""Numbers and tables as plain text."""

import math
from collections.abc import Sequence


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits and thousands separators; ``-`` for None."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where that is due."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return aligned lines: the first ``left`` columns flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def percent(share: float | None) -> str:
    """Return a share in percent; ``-`` for None."""
    return "-" if share is None else f"{number(100 * share, 3)} %"
