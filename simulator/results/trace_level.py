"""How much of a run is kept: the levels of ``run.trace_level``, and the tables that each has.

What was measured on a real server has levels of its own, as it has no engine steps.
"""

from typing import Literal, get_args

TraceLevel = Literal["tokens", "steps", "requests", "summary"]
LEVELS: tuple[TraceLevel, ...] = get_args(TraceLevel)
MEASURED_TOKENS, MEASURED_REQUESTS = "measured tokens", "measured requests"

_TABLES = ("requests", "steps", "tokens")
_MEASURED = {MEASURED_TOKENS: ("requests", "tokens"), MEASURED_REQUESTS: ("requests",)}


def kept_tables(level: str) -> tuple[str, ...]:
    """Return the tables of a level: each level has those of the level below, and one more."""
    if level in _MEASURED:
        return _MEASURED[level]
    return _TABLES[: len(LEVELS) - 1 - LEVELS.index(level)] if level in LEVELS else _TABLES
