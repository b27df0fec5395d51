"""What was left out of a file with ``workload.skip_bad``: how many rows, and why."""

import re
from collections.abc import Callable

_PLACE = re.compile(r"^.*?: (?:line|entry|row) (?:\d+|\?): ")
_FOUND = re.compile(r" (?:is|has|holds) .*?; ")  # the value at fault, which differs from row to row


class Skipped:
    """Rows that were left out, by reason. A row counts once, however often it is read."""

    def __init__(self) -> None:
        self._reasons: dict[str, set[int]] = {}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        """Return how many rows were left out."""
        return len(self._seen)

    def add(self, number: int, problem: str) -> None:
        """Count a row, by its line or entry, with the sentence about it."""
        if number not in self._seen:
            self._seen.add(number)
            reason = _FOUND.sub(": ", _PLACE.sub("", problem, count=1), count=1)
            self._reasons.setdefault(reason, set()).add(number)

    def reasons(self) -> dict[str, list[int]]:
        """Return the lines or entries of each reason, the most frequent reason first."""
        return {
            reason: sorted(numbers)
            for reason, numbers in sorted(self._reasons.items(), key=lambda each: -len(each[1]))
        }

    def described(self, named: Callable[[int], str]) -> str:
        """Say how many were left out, and the reasons with the first place of each, as ``named`` names it."""
        parts = [
            f"{len(numbers):,} as {reason} (first: {named(numbers[0])})"
            for reason, numbers in self.reasons().items()
        ]
        return f"{len(self):,} bad rows skipped: {'; '.join(parts)}"
