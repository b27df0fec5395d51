"""Who got which tokens when: kept as stretches of steps, unfolded into one row a token part by part.

A *point* is a moment at which a replica gives tokens: a tick of its decodes, or the end of a prompt, which
is one token's own. A *segment* is a request's tokens at consecutive points. Some 50 bytes a request and 12 a
step stand for all tokens; only a part of them, whole requests (``segments.cut``), need be there at once.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Flags, Floats, Ints
from simulator.blame import broken, shown, wrong_answer
from simulator.errors import InputError
from simulator.metrics._segments import cut, row_sum
from simulator.metrics._streamed import TokenParts
from simulator.results.delivery import Delivery

_ROUNDING_S = 1e-9  # relative too: by so much a time may seem to be before its token

KEPT_TOKENS = 10_000_000  # up to so many, their delivery times are kept, and what is over all tokens is exact


class TokenSource(TokenParts, Protocol):
    """Tokens, wherever they are."""

    @property
    def delivered_s(self) -> Floats | None:
        """Delivery times of all tokens, f64[tokens]; None where they are too many to be kept."""
        ...

    def pieces(self) -> Iterator[Columns]:
        """Yield all columns of all tokens, some at a time, in order; at least once."""
        ...


def joined(source: TokenSource) -> Columns:
    """Return all columns of all tokens at once."""
    pieces = list(source.pieces())
    if len(pieces) == 1:  # tokens that are all there, which are many to copy
        return dict(pieces[0])
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


class TokenTable:
    """Tokens that are all there, as columns."""

    def __init__(self, columns: Columns, counts: NDArray[Any]) -> None:
        """``counts`` are the tokens of each request."""
        self._columns = columns
        self.offsets: Ints = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        self.bounds: Ints = np.array([0, len(counts)])
        self.delivered_s: Floats | None = columns["delivered_s"]

    def part_delivered_s(self, part: int) -> Floats:
        """Delivery times of all tokens."""
        times_s: Floats = self._columns["delivered_s"]
        return times_s

    def pieces(self) -> Iterator[Columns]:
        """Yield all there is."""
        yield self._columns


class TokenSegments(NamedTuple):
    """Rows of equal length, in order of request and time."""

    request: NDArray[np.int32]
    first: NDArray[np.int32]  # point
    tokens: NDArray[np.int32]  # and points
    replica: NDArray[np.int32]


class Delay(NamedTuple):
    """How tokens come from the replica to their readers."""

    frontend_s: float = 0.0  # constant
    policy: Delivery | None = None
    rng: "np.random.Generator | None" = None  # the policy's


class UnfoldedTokens:
    """The tokens of a run; ``counts`` are i32[requests], ``offsets`` i64[requests + 1], ``bounds`` of the parts."""

    def __init__(
        self,
        segments: TokenSegments,
        points_s: Floats,
        points_step: NDArray[np.int32],
        requests: int,
        delay: Delay,
        until_s: Floats | None = None,
        made: Ints | None = None,
        points_draft: NDArray[np.int8] | None = None,
    ) -> None:
        """``points_s`` and ``points_step`` are time and step number, within its replica, of each point.

        ``points_draft`` says where there is speculation whether a point's token came as a draft, 1 or 0.

        ``made`` are the tokens of each request that were computed, if some are not in the segments. What a
        delivery policy would hand over later than ``until_s`` (f64[requests], None: no limit) is left out.
        """
        self._first, self._count, self._replica = segments.first, segments.tokens, segments.replica
        self._points_s, self._points_step, self._delay = points_s, points_step, delay
        self._points_draft = points_draft
        self._of_request = np.searchsorted(segments.request, np.arange(requests + 1, dtype=np.int32))
        self.offsets = np.concatenate([[0], np.cumsum(segments.tokens, dtype=np.int64)])[self._of_request]
        self.counts = np.diff(self.offsets).astype(np.int32)
        self.bounds = cut(self.offsets)
        self._sent = self.counts  # before those that come too late are left out
        self._rng = [delay.rng]  # the delivery policy's as it was before each part, and after the last so far
        self._delivered_s: Floats | None = None
        self._together_s: list[Floats] | None = (
            None  # of each part, by a policy that needs all tokens at once
        )
        self._first_last_s: tuple[Floats, Floats] | None = None
        if delay.policy is not None and until_s is not None:
            self._leave_out_late(until_s)
        self.cut_short: Flags = self.counts < (self._sent if made is None else made)

    def _leave_out_late(self, until_s: Floats) -> None:
        """Count only the tokens that are delivered in time, the first ones of each request."""
        counts = np.zeros_like(self._sent)
        for part in range(self.parts):
            mine = slice(self.bounds[part], self.bounds[part + 1])
            sent = self._sent[mine]
            in_time = self._delivered(part, self._generated(part)[0]) <= np.repeat(until_s[mine], sent)
            counts[mine] = row_sum(in_time, np.concatenate([[0], np.cumsum(sent, dtype=np.int64)]))
        self.counts = counts
        self.offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __len__(self) -> int:
        """All tokens."""
        return int(self.offsets[-1])

    @property
    def parts(self) -> int:
        """Number of parts."""
        return len(self.bounds) - 1

    @property
    def delivered_s(self) -> Floats | None:
        """Delivery times of all tokens, f64[tokens]; None where they are too many to be kept."""
        if self._delivered_s is None and len(self) <= KEPT_TOKENS:
            kept = np.empty(len(self))
            for part in range(self.parts):
                rows = self._rows(part)
                kept[rows] = self._in_time(part, self._delivered(part, self._generated(part)[0]))
            kept.flags.writeable = False
            self._delivered_s = kept
        return self._delivered_s

    def part_delivered_s(self, part: int) -> Floats:
        """Delivery times of the tokens of requests ``bounds[part] .. bounds[part + 1]``."""
        if self.delivered_s is not None:
            return self.delivered_s[self._rows(part)]
        return self._in_time(part, self._delivered(part, self._generated(part)[0]))

    def columns(self, part: int) -> Columns:
        """Return all columns of a part: request_id, token_index (from 1), the two times, replica, step.

        Where there is speculation also whether the token came as a draft, ``draft``.
        """
        generated_s, point, segments, count = self._generated(part)
        request = np.arange(self.bounds[part], self.bounds[part + 1], dtype=np.int32)
        of_request = self.counts[self.bounds[part] : self.bounds[part + 1]]
        before = (
            self.offsets[self.bounds[part] : self.bounds[part + 1]] - self.offsets[self.bounds[part]]
        ) - 1
        draft = self._points_draft
        index = np.arange(int(of_request.sum()), dtype=np.int32)
        index -= np.repeat(before.astype(np.int32), of_request)
        return {
            "request_id": np.repeat(request, of_request),
            "token_index": index,
            "generated_s": self._in_time(part, generated_s),
            "delivered_s": self._in_time(part, self._delivered(part, generated_s))
            if self._delivered_s is None
            else self._delivered_s[self._rows(part)],
            "replica": self._in_time(part, np.repeat(self._replica[segments], count)),
            "step": self._in_time(part, self._points_step[point]),
            **({} if draft is None else {"draft": self._in_time(part, draft[point])}),
        }

    def pieces(self) -> Iterator[Columns]:
        """Yield all columns of all tokens, some at a time."""
        return map(self.columns, range(self.parts))

    def first_and_last_s(self) -> tuple[Floats, Floats]:
        """Return when each request's first and last token was delivered, f64[requests]; NaN without any."""
        if self._first_last_s is None:
            got = self.counts > 0
            first_s, last_s = np.full(len(got), np.nan), np.full(len(got), np.nan)
            if self._delay.policy is None:
                first, stop = self._of_request[:-1][got], self._of_request[1:][got] - 1
                first_s[got] = self._points_s[self._first[first]]
                last_s[got] = self._points_s[self._first[stop] + self._count[stop] - 1]
                if self._delay.frontend_s:
                    first_s, last_s = first_s + self._delay.frontend_s, last_s + self._delay.frontend_s
            else:
                for part in range(self.parts):
                    mine = slice(self.bounds[part], self.bounds[part + 1])
                    rows = self.offsets[mine][got[mine]] - self.offsets[self.bounds[part]]
                    delivered_s = self.part_delivered_s(part)
                    first_s[mine][got[mine]] = delivered_s[rows]
                    last_s[mine][got[mine]] = delivered_s[rows + self.counts[mine][got[mine]] - 1]
            self._first_last_s = first_s, last_s
        return self._first_last_s

    def _in_time(self, part: int, values: NDArray[Any]) -> NDArray[Any]:
        """Of a value a token sent in a part, those of the tokens that are counted."""
        if self._sent is self.counts:
            return values
        mine = slice(self.bounds[part], self.bounds[part + 1])
        sent = self._sent[mine]
        nth = np.arange(len(values)) - np.repeat(np.cumsum(sent, dtype=np.int64) - sent, sent)
        return values[nth < np.repeat(self.counts[mine], sent)]

    def steps_of(self, request: Ints, nth: Ints) -> tuple[Ints, Ints]:
        """Return where the tokens in those places (0 is the first) were computed: replica, and step's number there."""
        before: Ints = np.concatenate([[0], np.cumsum(self._sent, dtype=np.int64)])
        token, ends = before[request] + nth, np.cumsum(self._count, dtype=np.int64)
        segment = np.searchsorted(ends, token, side="right")
        point = self._first[segment] + token - (ends - self._count)[segment]
        return self._replica[segment].astype(np.int64), self._points_step[point].astype(np.int64)

    def _rows(self, part: int) -> slice:
        return slice(int(self.offsets[self.bounds[part]]), int(self.offsets[self.bounds[part + 1]]))

    def _generated(self, part: int) -> tuple[Floats, NDArray[np.int32], slice, NDArray[np.int32]]:
        """Return time and point of each token of a part, and which segments they are, with how many each."""
        segments = slice(self._of_request[self.bounds[part]], self._of_request[self.bounds[part + 1]])
        first, count = self._first[segments], self._count[segments]
        begins = np.cumsum(count, dtype=np.int32) - count
        point = np.repeat(first - begins, count)
        point += np.arange(len(point), dtype=np.int32)
        return self._points_s[point], point, segments, count

    def _delivered(self, part: int, generated_s: Floats) -> Floats:
        policy = self._delay.policy
        if policy is None:
            return self._left_engine(generated_s)
        mine = slice(self.bounds[part], self.bounds[part + 1])
        if getattr(policy, "across_requests", False):
            if self._together_s is None:
                parts = [self._generated(each)[0] for each in range(self.parts)]
                every_s = self._handed_over(policy, np.concatenate(parts), self._sent, deepcopy(self._rng[0]))
                self._together_s = np.split(every_s, np.cumsum([len(each) for each in parts])[:-1])
            return self._together_s[part]
        # Whenever and wherever a part is unfolded, it gets the random numbers of the first time.
        rng = deepcopy(self._rng[part])
        sent_s = self._handed_over(policy, generated_s, self._sent[mine], rng)
        if len(self._rng) == part + 1:
            self._rng.append(rng)
        return sent_s

    def _left_engine(self, generated_s: Floats) -> Floats:
        frontend_s = self._delay.frontend_s
        return generated_s + frontend_s if frontend_s else generated_s

    def _handed_over(
        self, policy: Delivery, generated_s: Floats, counts: NDArray[Any], rng: "np.random.Generator | None"
    ) -> Floats:
        """Return when a policy delivers the tokens of requests with these counts."""
        sent_s = self._left_engine(generated_s)
        if not len(sent_s):
            return sent_s
        assert rng is not None
        starts = (np.cumsum(counts, dtype=np.int64) - counts)[counts > 0]
        return np.maximum(_times_s(policy, sent_s, starts, rng), sent_s)


def _times_s(policy: Delivery, generated_s: Floats, starts: Ints, rng: "np.random.Generator") -> Floats:
    """Return what a delivery policy returns; InputError unless it is a time for each, in order, none too early."""
    try:
        given: object = policy.deliver(generated_s, starts, rng)
    except InputError:
        raise
    except Exception as error:
        raise broken("delivery", policy.deliver, error) from error
    what, expected = shown(given), f"an array of {len(generated_s)} numbers, the time of each token"
    if isinstance(given, np.ndarray):
        what = f"an array of shape {given.shape}"
        if given.shape == generated_s.shape and given.dtype.kind in "fiu":
            times_s: Floats = given.astype(np.float64, copy=False)
            if not np.isfinite(times_s).all():
                what = "a time that is no finite number"
            elif (times_s < generated_s - _ROUNDING_S * np.maximum(1.0, generated_s)).any():
                what, expected = "a time before a token was generated", "none earlier than that"
            elif (np.delete(np.diff(times_s), starts[1:] - 1) < 0).any():
                what, expected = "times that go back within a request", "its tokens in order"
            else:
                return times_s
    raise wrong_answer("delivery", policy.deliver, given, expected, what)
