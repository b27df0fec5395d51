"""How a reader goes through an answer: the reading position g(i) of a token, from which its deadline follows."""

from math import inf
from typing import Any, NamedTuple


class ReadingCurve(NamedTuple):
    """When a reader comes to each token of an answer, in steady reading times of one token.

    Token ``i`` is due ``d_i = clock + S + V·g(i)``. A steady reader has ``g(i) = i`` (Wang et al., arXiv 2410.14257v2,
    Eq. 5), and needs no curve. These are ours, the paper's future work:

    * The first ``h`` tokens may be thinking, which is not read: ``j = max(1, i − h)``. A thinking token binds nothing
      by itself: it is due with the first that is read.
    * A reader of units of ``unit_tokens`` u begins one when it is whole, so all of it is due with its first token:
      ``e = u·floor((j − 1)/u) + 1``; without end (``inf``) the answer is one unit, and ``e = 1``.
    * Beyond ``skim_after_tokens`` n it reads ``skim_speedup`` s times as fast: ``q = e − (1 − 1/s)·max(0, e − n)``.
    * It tires: reading a token takes a share ``fatigue`` k longer each 1,000 tokens: ``g = q + k/1000·q²/2``.
    """

    unit_tokens: float = 1.0
    skim_after_tokens: float = 0.0
    skim_speedup: float = 1.0
    fatigue: float = 0.0

    def position(self, token: Any, thinking_tokens: Any) -> Any:
        """Return g of the token of that number, from 1; what is waited for with a token that never comes, too.

        Numbers, or arrays of the same shape, that are whole.
        """
        read = 1.0 + (token - thinking_tokens - 1.0) * (token > thinking_tokens)
        if self.unit_tokens == inf:
            read = read * 0.0 + 1.0
        elif self.unit_tokens != 1.0:
            read = self.unit_tokens * ((read - 1.0) // self.unit_tokens) + 1.0
        return self.paced(read)

    def paced(self, read: Any) -> Any:
        """Return how long it takes to read so many tokens one by one, in steady reading times of one token."""
        if self.skim_speedup != 1.0:
            more = (read - self.skim_after_tokens) * (read > self.skim_after_tokens)
            read = read - (1.0 - 1.0 / self.skim_speedup) * more
        if self.fatigue:
            read = read + self.fatigue / 2000.0 * read * read
        return read


BY_TOKEN = ReadingCurve()  # of a steady reader, where a request has thinking tokens
