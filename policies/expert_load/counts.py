"""Counts: how often each expert was picked, captured from a real engine."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.policy import ExpertLoad, Floats


@dataclass
class Counts(ExpertLoad):
    """A text file with a line for each layer that has experts, or one for all; on it a count for each expert.

    Counts are separated by commas or blanks, and a line that begins with # is skipped. SGLang's expert distribution
    recorder and vLLM's EPLB state have such counts.
    """

    path: str = ""  # of the file

    def __post_init__(self) -> None:
        """Read the file; refuse what are no counts."""
        if not self.path:
            raise ValueError("path: expected the path of a file with counts, got none")
        file = Path(self.path).expanduser()
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"path: {file}: cannot be read: {error}") from error
        self._lines, self._counts = [], []
        for number, line in enumerate(text.splitlines(), 1):
            words = line.replace(",", " ").split()
            if words and not words[0].startswith("#"):
                self._lines.append(number)
                self._counts.append([_count(word, f"path: {file}: line {number}") for word in words])
                if not any(self._counts[-1]):
                    raise ValueError(f"path: {file}: line {number}: expected a count above 0, got none")
        if not self._counts:
            raise ValueError(f"path: {file}: has no counts; expected a line for each layer with experts")

    def shares(self, layers: int, experts: int, rng: np.random.Generator) -> Floats:
        """Return the counts; ValueError where they are of another model."""
        for number, row in zip(self._lines, self._counts, strict=True):
            if len(row) != experts:
                raise ValueError(
                    f"path: {self.path}: line {number}: expected {experts} counts, one an expert, got {len(row)}"
                )
        if len(self._counts) not in (1, layers):
            raise ValueError(
                f"path: {self.path}: expected 1 line or {layers}, one a layer with experts, got {len(self._counts)}"
            )
        return np.array(np.broadcast_to(np.array(self._counts), (layers, experts)))


def _count(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        raise ValueError(f"{where}: expected a count >= 0, got {word[:40]!r}")
    return value
