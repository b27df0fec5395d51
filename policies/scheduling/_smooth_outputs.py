"""How long outputs have been, and what the running ones will therefore hold, for the policy ``smooth``."""

from bisect import bisect_right
from collections import deque
from math import sqrt

from simulator.policy import Ledger

REMEMBERED = 512  # outputs
LOOKS = (0.1, 0.3, 0.7)  # when blocks are looked at, in usual outputs from now
EVERY_TOKENS = 32  # of the decode group between two looks


class Outputs:
    """The latest outputs that have ended."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque()
        self._sum = 0
        self._looked_at = (-EVERY_TOKENS, 0)  # tick, running
        self._growth = 0.0

    @property
    def usual_tokens(self) -> float:
        """Their mean; 0 before any."""
        return self._sum / len(self._latest) if self._latest else 0.0

    def add(self, tokens: int) -> None:
        """Remember an output that has ended."""
        self._latest.append(tokens)
        self._sum += tokens
        if len(self._latest) > REMEMBERED:
            self._sum -= self._latest.popleft()

    def growth(self, step: Ledger, caution: float) -> float:
        """Return by how many blocks the running requests may have grown when they hold most.

        Each goes on as those before it did that were as long; one longer than all of them does not end. ``caution``
        is in standard deviations beyond the mean.
        """
        tick, running = step.group.rounds, len(step.running)
        if tick >= self._looked_at[0] + EVERY_TOKENS or running > self._looked_at[1]:
            self._looked_at = tick, running
            ends = sorted(self._latest)
            self._growth = max(self._at(step, ends, look * self.usual_tokens, caution) for look in LOOKS)
        return self._growth

    def _at(self, step: Ledger, ends: list[int], tokens: float, caution: float) -> float:
        """The same when so many tokens are there of each that still runs; ``ends`` are sorted."""
        grown, variance = 0.0, 0.0
        ages = sorted(job.generated_tokens for job in step.running)
        for job in step.running:
            done, known = job.generated_tokens, job.known_tokens
            ended = len(ends) - bisect_right(ends, done)
            longer = (
                len(ends) - bisect_right(ends, done + tokens) + len(ages) - bisect_right(ages, done + tokens)
            )
            shorter = ended - len(ends) + bisect_right(ends, done + tokens)
            lives = longer / (longer + shorter) if longer + shorter else 1.0
            grown += lives * tokens - (1.0 - lives) * known
            variance += lives * (1.0 - lives) * (known + tokens) ** 2
        return (grown + caution * sqrt(variance)) / step.block_size
