"""Numbers as plain text."""

import math


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits and thousands separators; ``-`` for None."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def spreadsheet_cell(value: object) -> object:
    """Return what a cell of a CSV file holds: a text that spreadsheets would take for a formula behind an apostrophe.

    Numbers, also as text, stay as they are.
    """
    if not isinstance(value, str) or value[:1] not in ("=", "+", "-", "@", "\t", "\r") or len(value) < 2:
        return value
    try:
        float(value.replace(",", ""))
    except ValueError:
        return f"'{value}"
    return value


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where that is due."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(share: float | None) -> str:
    """Return a share in percent; ``-`` for None."""
    return "-" if share is None else f"{number(100 * share, 3)} %"
