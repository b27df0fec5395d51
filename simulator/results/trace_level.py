"""How much of a run is kept: the levels of ``run.trace_level``, and the tables that each has."""

from typing import Literal, get_args

TraceLevel = Literal["tokens", "steps", "requests", "summary"]
LEVELS: tuple[TraceLevel, ...] = get_args(TraceLevel)

_TABLES = ("requests", "steps", "tokens")


def kept_tables(level: str) -> tuple[str, ...]:
    """Return the tables of a level: each level has those of the level below, and one more."""
    return _TABLES[: len(LEVELS) - 1 - LEVELS.index(level)] if level in LEVELS else _TABLES
