"""What prompts consist of, as (stream, tokens) one after another.

Two tokens are equal if they lie in the same stream at the same position. -1 - i is the own stream of request
i: what no earlier prompt has, and its answer.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, overload

from numpy.typing import NDArray

Segments = tuple[tuple[int, int], ...]
_Ints = NDArray[Any]


class _Prompts(Sequence[Segments]):
    """The segments of each prompt; equal to any sequence of the same ones."""

    def __init__(self, prompt_tokens: _Ints) -> None:
        self.prompt_tokens = prompt_tokens

    def __len__(self) -> int:
        return len(self.prompt_tokens)

    @overload
    def __getitem__(self, row: int) -> Segments: ...
    @overload
    def __getitem__(self, row: slice) -> list[Segments]: ...
    def __getitem__(self, row: int | slice) -> Segments | list[Segments]:
        if isinstance(row, slice):
            return [self._of(i) for i in range(*row.indices(len(self)))]
        return self._of(range(len(self))[row])

    def __iter__(self) -> Iterator[Segments]:
        return map(self._of, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _of(self, i: int) -> Segments:
        raise NotImplementedError


class Begun(_Prompts):
    """Prompts that begin with given pieces and go on in their own streams, put together when asked for."""

    def __init__(self, prompt_tokens: _Ints, streams: _Ints, tokens: _Ints, bounds: _Ints) -> None:
        """The pieces of prompt i are entries ``bounds[i]`` to ``bounds[i + 1]``."""
        super().__init__(prompt_tokens)
        self.streams = streams
        self.tokens = tokens
        self.bounds = bounds

    def _of(self, i: int) -> Segments:
        own = slice(self.bounds[i], self.bounds[i + 1])
        streams, tokens = self.streams[own].tolist(), self.tokens[own].tolist()
        rest = int(self.prompt_tokens[i]) - sum(tokens)
        pieces = (*zip(streams, tokens, strict=True), (-1 - i, rest))
        return tuple(piece for piece in pieces if piece[1])


class Repeating(_Prompts):
    """Prompts that repeat their session: the prompt before, its answer, then what is new.

    What lies between the prompt before and the new tokens is in the stream of the answer before. They grow with
    their sessions, so that all are made when the first is asked for.
    """

    def __init__(
        self,
        session: _Ints,
        prompt_tokens: _Ints,
        new_tokens: _Ints,
        begin: Sequence[Segments] | None = None,
        continued: _Ints | None = None,
    ) -> None:
        """``begin`` are the segments of a session's first prompt; without it that is a stream of its own.

        ``continued`` is the earlier row from whose prompt and answer a session's first one goes on, -1 for none.
        """
        super().__init__(prompt_tokens)
        self.session = session
        self.new_tokens = new_tokens
        self.begin = begin
        self.continued = continued

    def _of(self, i: int) -> Segments:
        return self._all[i]

    @cached_property
    def _all(self) -> list[Segments]:
        prompts, begin = self.prompt_tokens.tolist(), self.begin
        continued = None if self.continued is None else self.continued.tolist()
        found: list[Segments] = []
        before: dict[int, int] = {}  # the last request of each session
        rows = zip(self.session.tolist(), prompts, self.new_tokens.tolist(), strict=True)
        for i, (session, prompt, new) in enumerate(rows):
            j = before.get(session)
            if j is None and continued is not None and continued[i] >= 0:
                j = continued[i]
            if j is None:
                found.append(begin[i] if begin is not None else ((-1 - i, prompt),))
            else:
                parts, answer = found[j], prompt - new - prompts[j]
                own = 0
                if parts[-1][0] == -1 - j:
                    parts, own = parts[:-1], parts[-1][1]
                found.append(
                    (*parts, (-1 - j, own + answer), (-1 - i, new))
                    if own + answer
                    else (*parts, (-1 - i, new))
                )
            if session >= 0:
                before[session] = i
        return found


class Mixed(_Prompts):
    """The prompts of several kinds of traffic in one order; those of different kinds have nothing in common."""

    def __init__(
        self,
        prompt_tokens: _Ints,
        parts: Sequence[Sequence[Segments] | None],
        lengths: Sequence[int],
        order: _Ints,
    ) -> None:
        """``order`` names each row's place in the parts one after another, which have these ``lengths``.

        A part without segments has prompts of which each is a stream of its own.
        """
        super().__init__(prompt_tokens)
        self.parts = parts
        self.begins = [0, *accumulate(lengths)]
        self.places = order.tolist()
        self.rows = order.argsort().tolist()  # of each place

    def _of(self, i: int) -> Segments:
        place = self.places[i]
        k = bisect_right(self.begins, place) - 1
        part, begin, kinds = self.parts[k], self.begins[k], len(self.parts)
        if part is None:
            return ((-1 - i, int(self.prompt_tokens[i])),)
        return tuple(
            (stream * kinds + k if stream >= 0 else -1 - self.rows[begin - 1 - stream], tokens)
            for stream, tokens in part[place - begin]
        )
