"""What the tokens of a request are, as far as it matters to find equal beginnings."""

from bisect import bisect_right
from collections.abc import Sequence

# What a sequence consists of: (stream, tokens) one after another. The token at position j is equal in two
# sequences if it lies in the same stream at the same position.
StreamPieces = tuple[tuple[int, int], ...]


class Content:
    """What a request's tokens are: the prompt's segments, then everything generated in one stream."""

    __slots__ = ("_ends", "_streams")

    def __init__(self, segments: Sequence[tuple[int, int]], output_stream: int) -> None:
        self._streams: list[int] = []  # no two neighbours are equal
        self._ends: list[int] = []  # where each of them ends; the last one does not
        end = 0
        for stream, tokens in segments:
            if tokens:
                end += tokens
                if self._streams and self._streams[-1] == stream:
                    self._ends[-1] = end
                else:
                    self._streams.append(stream)
                    self._ends.append(end)
        if self._streams and self._streams[-1] == output_stream:
            self._ends.pop()
        else:
            self._streams.append(output_stream)

    def pieces(self, start: int, end: int) -> StreamPieces:
        """The tokens at positions ``start`` to ``end`` as (stream, tokens)."""
        first = bisect_right(self._ends, start)
        if first == len(self._ends) or end <= self._ends[first]:  # all in one stream, as most blocks are
            return ((self._streams[first], end - start),)
        found: list[tuple[int, int]] = []
        for stream, stop in zip(self._streams[first:], [*self._ends[first:], end], strict=True):
            tokens = min(stop, end) - start
            found.append((stream, tokens))
            start += tokens
            if start == end:
                break
        return tuple(found)

    def stretches(self, block_size: int) -> tuple[list[int], list[int | StreamPieces]]:
        """Cut the sequence into stretches of neighbouring blocks that hold the same; the last one has no end.

        Returns the first block of each, and what its blocks hold: one stream, or the pieces of a single block in
        which streams meet. Two sequences have the same first n blocks if the stretches that begin in them are equal.
        """
        firsts: list[int] = []
        held: list[int | StreamPieces] = []
        block = start = 0  # the next block, and where the stream begins
        for stream, end in zip(self._streams, self._ends, strict=False):
            if block * block_size < start and (block + 1) * block_size <= end:
                firsts.append(block)
                held.append(self.pieces(block * block_size, (block + 1) * block_size))
                block += 1
            if end // block_size > block:
                firsts.append(block)
                held.append(stream)
                block = end // block_size
            start = end
        if block * block_size < start:
            firsts.append(block)
            held.append(self.pieces(block * block_size, (block + 1) * block_size))
            block += 1
        firsts.append(block)
        held.append(self._streams[-1])
        return firsts, held
