"""What the tokens of a request are, as far as it matters to find equal beginnings."""

from bisect import bisect_right
from collections.abc import Sequence

# What a sequence consists of: (stream, tokens) one after another. The token at position j is equal in two
# sequences if it lies in the same stream at the same position.


class Content:
    """What a request's tokens are: the prompt's segments, then everything generated in one stream."""

    __slots__ = ("_ends", "_streams", "chain")

    def __init__(self, segments: Sequence[tuple[int, int]], output_stream: int) -> None:
        self.chain: list[int] = []  # the names of its full blocks, as far as they were asked for
        self._streams = [stream for stream, _ in segments] + [output_stream]
        self._ends: list[int] = []
        end = 0
        for _, tokens in segments:
            end += tokens
            self._ends.append(end)

    def pieces(self, start: int, end: int) -> tuple[tuple[int, int], ...]:
        """The tokens at positions ``start`` to ``end`` as (stream, tokens)."""
        first = bisect_right(self._ends, start)
        if first == len(self._ends) or end <= self._ends[first]:  # all in one stream, as most blocks are
            return ((self._streams[first], end - start),)
        found: list[tuple[int, int]] = []
        for stream, stop in zip(self._streams[first:], [*self._ends[first:], end], strict=True):
            if start < stop:
                tokens = min(stop, end) - start
                if found and found[-1][0] == stream:
                    found[-1] = stream, found[-1][1] + tokens
                else:
                    found.append((stream, tokens))
                start += tokens
                if start == end:
                    break
        return tuple(found)
