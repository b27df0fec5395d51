"""What the tokens of a request are, as far as it matters to find equal beginnings."""

from bisect import bisect_right
from collections.abc import Sequence

# What a sequence consists of: (stream, tokens) one after another. The token at position j is equal in two
# sequences if it lies in the same stream at the same position.
StreamPieces = tuple[tuple[int, int], ...]


class Content:
    """What a request's tokens are: the prompt's segments, then everything generated in one stream."""

    __slots__ = ("ends", "output_stream", "prompt_tokens", "segments", "streams")

    def __init__(self, segments: Sequence[tuple[int, int]], output_stream: int) -> None:
        """Nothing is worked out until it is asked for: ``read``, or ``go_on_from``."""
        self.segments = segments
        self.output_stream = output_stream
        self.streams: list[int] = []  # no two neighbours are equal
        self.ends: list[int] = []  # where each of them ends; the last one does not
        self.prompt_tokens = 0

    def read(self) -> "Content":
        """Work out what it is, unless that was done; return itself."""
        if not self.streams:
            self._read_from(0, 0)
        return self

    def go_on_from(self, other: "Content") -> bool:
        """Take over what was worked out of another request whose prompt and answer this prompt repeats.

        Returns False, and does nothing, if it does not repeat them, or if where the answer begins cannot be told.
        """
        theirs, stream, segments = other.segments, other.output_stream, self.segments
        shared, tokens = len(theirs), other.prompt_tokens
        if shared and theirs[-1][0] == stream:
            shared -= 1
            tokens -= theirs[-1][1]
        if len(segments) <= shared or segments[shared][0] != stream or segments[shared][1] <= 0:
            return False
        if tokens != (other.ends[-1] if other.ends else 0) or segments[:shared] != theirs[:shared]:
            return False
        end = tokens + segments[shared][1]
        self.streams, self.ends = other.streams.copy(), [*other.ends, end]
        self._read_from(shared + 1, end)
        return True

    def _read_from(self, place: int, end: int) -> None:
        """Read on with the segment in that place, which begins at position ``end``."""
        streams, ends = self.streams, self.ends
        for stream, tokens in self.segments[place:]:
            if tokens:
                end += tokens
                if streams and streams[-1] == stream:
                    ends[-1] = end
                else:
                    streams.append(stream)
                    ends.append(end)
        self.prompt_tokens = end
        if streams and streams[-1] == self.output_stream:
            ends.pop()
        else:
            streams.append(self.output_stream)

    def pieces(self, start: int, end: int) -> StreamPieces:
        """The tokens at positions ``start`` to ``end`` as (stream, tokens)."""
        if not self.streams:
            self._read_from(0, 0)
        streams, ends = self.streams, self.ends
        first = bisect_right(ends, start)
        if first == len(ends) or end <= ends[first]:  # all in one stream, as most blocks are
            return ((streams[first], end - start),)
        found: list[tuple[int, int]] = []
        for place in range(first, len(streams)):
            stop = ends[place] if place < len(ends) else end
            tokens = min(stop, end) - start
            found.append((streams[place], tokens))
            start += tokens
            if start == end:
                break
        return tuple(found)
