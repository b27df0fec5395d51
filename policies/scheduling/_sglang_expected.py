"""How many tokens SGLang expects to come while it puts an extend batch together."""

from math import inf

from policies.scheduling._sglang_running import RunningBatch
from simulator.policy import Ledger


class Expected:
    """What is expected to come of the running batch and of those that were added, worked out only if need be.

    A sum over all requests for each batch is what most of planning went to; that it is no more than ``most`` is enough
    to know where memory is not short.
    """

    def __init__(self, step: Ledger, running: RunningBatch) -> None:
        """Look at nothing yet."""
        self._step, self._running = step, running
        self._tokens: float | None = None
        self._added: list[int] = []  # until the sum was worked out
        self.most = running.most_expected()

    @property
    def tokens(self) -> float:
        """Their sum."""
        if self._tokens is None:
            self._tokens = self._running.expected(self._step)
            for tokens in self._added:
                self._tokens += tokens
        return self._tokens

    def add(self, tokens: int) -> None:
        """Expect more, of a request that was added."""
        self.most += tokens
        if self._tokens is None:
            self._added.append(tokens)
        else:
            self._tokens += tokens

    def take_off(self, tokens: float) -> None:
        """Expect less, as a request was retracted."""
        self._tokens, self.most = self.tokens - tokens, inf
