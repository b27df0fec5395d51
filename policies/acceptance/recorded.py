"""Recorded: accepted drafts of real steps, taken one after another from a place that is drawn for each request."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from policies.acceptance._shape import after_each_other, as_deep
from simulator.policy import AnswerDraws, TreeAcceptance


@dataclass
class Recorded(TreeAcceptance):
    """``lengths`` are the drafts accepted in each step, or ``path`` names a file with one number a line.

    Which one a step takes depends on the request and on how many tokens it has, so that it is the same under every
    scheduling policy. Where a step has fewer drafts than were recorded as accepted, all of them are.
    """

    lengths: list[int] = field(default_factory=list)  # accepted drafts, step by step
    path: str = ""  # of a text file with them

    def __post_init__(self) -> None:
        """Read the file; refuse what are no counts."""
        if bool(self.lengths) == bool(self.path):
            raise ValueError("lengths: expected either numbers or a path")
        self._lengths = self.lengths or _read(Path(self.path).expanduser())
        if any(length < 0 for length in self._lengths):
            raise ValueError("lengths: expected whole numbers >= 0")
        deep = range(1, max(self._lengths) + 2)
        shares = [sum(length >= place for length in self._lengths) / len(self._lengths) for place in deep]
        self._chances = after_each_other(shares)

    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return all that are wanted, and how many the recorded step accepted."""
        recorded = self._lengths
        place = int(answer.own * len(recorded)) + generated
        return wanted, min(recorded[place % len(recorded)], wanted)

    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return how often each place was accepted once those before it were: trees replay nothing."""
        return as_deep(self._chances, depth)


def _read(path: Path) -> list[int]:
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"path: {path}: cannot be read: {error}") from error
    if not words:
        raise ValueError(f"path: {path}: has no numbers; expected accepted drafts, one step a line")
    for line, word in enumerate(words, 1):
        if not word.isascii() or not word.isdigit():
            raise ValueError(f"path: {path}: number {line}: expected a whole number >= 0, got {word[:40]!r}")
    return [int(word) for word in words]
