"""How much the tests try."""

import os


def few() -> bool:
    """Whether this is ``make quick`` (the profile ``few``), which tries a part."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "few"


def examples(full: int) -> int:
    """Return how many examples a law tries: ``full``, or where few are wanted a fifth of it, at least two."""
    return max(2, full // 5) if few() else full
