"""The delivery record: the columns that every metric reads, and the per-request values they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Flags, Floats, Ints
from simulator.metrics._reduce import KeptReadings, per_request, pooled
from simulator.metrics._segments import cut, ordered_rows, row_quantile
from simulator.replica.request import RequestState

# Columns that may be absent
OF_READERS = ("v_s_per_token", "thinking_tokens", "first_token_allowance_s", "ttft_slo_s", "tpot_slo_s")


@dataclass(frozen=True, eq=False)
class RequestLog:
    """``n`` requests in arrival order, and when each of their tokens reached the user (seconds).

    The tokens of request ``r`` are ``delivered_s[token_offsets[r]:token_offsets[r + 1]]``. Columns must not
    be changed afterwards: values derived from them are kept.

    Raises ValueError when the columns do not fit together.
    """

    arrival_s: Floats  # f64[n], ascending
    prompt_tokens: Ints  # i64[n]
    output_tokens: Ints  # i64[n], as requested; delivered are token_counts
    state: NDArray[np.int8]  # i8[n], RequestState codes
    end_s: Floats  # f64[n], when the request left: last token, drop, or the horizon if unfinished
    token_offsets: Ints  # i64[n + 1]
    delivered_s: Floats  # f64[tokens], ascending within a request
    start_s: float  # the measured window T is start_s .. end_of_run_s, see ``_window.measured``
    end_of_run_s: float
    v_s_per_token: Floats | None = (
        None  # f64[n], the V of each one's reader; NaN, and without: the user model's
    )
    thinking_tokens: Ints | None = (
        None  # i64[n], of each answer's beginning; -1, and without: as the user model says
    )
    first_token_allowance_s: Floats | None = None  # f64[n], S of each; NaN, and without: the user model's
    ttft_slo_s: Floats | None = (
        None  # f64[n], bounds that each was promised; NaN, and without: those of ``Slo``
    )
    tpot_slo_s: Floats | None = None
    run: "RequestLog | None" = None  # all requests of the run, over the same window; None: these are all
    trimmed_warmup: int = 0  # requests left out before the first one here
    trimmed_cooldown: int = 0  # requests left out after the last one here

    def __post_init__(self) -> None:
        """Check that the columns fit together; see the class for what is raised."""
        n = len(self.arrival_s)
        for name in ("prompt_tokens", "output_tokens", "state", "end_s"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} has {len(getattr(self, name))} rows, arrival_s has {n}")
        for name in OF_READERS:
            column = getattr(self, name)
            if column is not None and len(column) != n:
                raise ValueError(f"{name} has {len(column)} rows, arrival_s has {n}")
        offsets, tokens = self.token_offsets, self._tokens()
        if len(offsets) != n + 1 or offsets[0] != 0 or offsets[-1] != tokens:
            raise ValueError(f"token_offsets must be {n + 1} numbers from 0 to {tokens}")
        if np.any(offsets[1:] < offsets[:-1]):
            raise ValueError("token_offsets must not descend")

    @classmethod
    def from_lists(
        cls,
        arrival_s: Sequence[float],
        delivered_s: Sequence[Sequence[float]],
        *,
        prompt_tokens: Sequence[int] | None = None,
        output_tokens: Sequence[int] | None = None,
        state: Sequence[RequestState] | None = None,
        end_s: Sequence[float] | None = None,
        v_s_per_token: Sequence[float] | None = None,
        thinking_tokens: Sequence[int] | None = None,
        start_s: float | None = None,
        end_of_run_s: float | None = None,
    ) -> "RequestLog":
        """Build a log from plain lists, one list of absolute delivery times per request.

        Left out: one prompt token each; as many tokens requested as delivered; completed when anything was
        delivered and unfinished otherwise; an end at the last token, or at the end of the run for a request
        that is unfinished or got no token; a window from the first arrival to the last event given.
        """
        counts = [len(times) for times in delivered_s]
        if state is None:
            state = [RequestState.COMPLETED if count else RequestState.UNFINISHED for count in counts]
        if end_of_run_s is None:
            events = [*arrival_s, *(t for times in delivered_s for t in times), *(end_s or ())]
            end_of_run_s = max(events, default=0.0)
        if end_s is None:
            end_s = [
                times[-1] if len(times) and code != RequestState.UNFINISHED else end_of_run_s
                for times, code in zip(delivered_s, state, strict=True)
            ]
        return cls(
            arrival_s=np.array(arrival_s, dtype=np.float64),
            prompt_tokens=np.array(
                [1] * len(counts) if prompt_tokens is None else prompt_tokens, dtype=np.int64
            ),
            output_tokens=np.array(counts if output_tokens is None else output_tokens, dtype=np.int64),
            state=np.array(state, dtype=np.int8),
            end_s=np.array(end_s, dtype=np.float64),
            token_offsets=np.cumsum([0, *counts], dtype=np.int64),
            delivered_s=np.array([t for times in delivered_s for t in times], dtype=np.float64),
            start_s=min(arrival_s, default=0.0) if start_s is None else start_s,
            end_of_run_s=end_of_run_s,
            v_s_per_token=None if v_s_per_token is None else np.array(v_s_per_token, dtype=np.float64),
            thinking_tokens=None if thinking_tokens is None else np.array(thinking_tokens, dtype=np.int64),
        )

    def rows(self, first: int, stop: int) -> "RequestLog":
        """Return the log of the requests ``first .. stop`` alone, over the same window; all else is as in a run."""
        rows, offsets = slice(first, stop), self.token_offsets[first : stop + 1]
        of_readers: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else column[rows] for name in OF_READERS
        }
        return replace(
            self,
            arrival_s=self.arrival_s[rows],
            prompt_tokens=self.prompt_tokens[rows],
            output_tokens=self.output_tokens[rows],
            state=self.state[rows],
            end_s=self.end_s[rows],
            **of_readers,
            run=None,
            token_offsets=offsets - offsets[0],
            **self._tokens_of(first, stop),
        )

    def parts(self) -> "Iterator[RequestLog]":
        """Yield logs of all requests, some at a time, in order: as ``segments.cut`` cuts them."""
        bounds = cut(self.token_offsets).tolist()
        if len(bounds) == 2:
            yield self
        else:
            for first, stop in pairwise(bounds):
                yield self.rows(first, stop)

    @property
    def keeps_tokens(self) -> bool:
        """Whether ``delivered_s`` can be asked for; if not, marked functions still can."""
        return True

    def _tokens(self) -> int:
        return len(self.delivered_s)

    def _tokens_of(self, first: int, stop: int) -> dict[str, Any]:
        """What to replace so that only some requests' tokens are there."""
        return {"delivered_s": self.delivered_s[self.token_offsets[first] : self.token_offsets[stop]]}

    @cached_property
    def kept(self) -> KeptReadings:
        """What marked functions returned for this log."""
        return {}

    @property
    def all(self) -> "RequestLog":
        """All requests of the run, of which these are those that arrived in the measured window."""
        return self if self.run is None else self.run

    @property
    def n(self) -> int:
        """Number of requests that arrived."""
        return len(self.arrival_s)

    @property
    def window_s(self) -> float:
        """T: the length of the measured window in seconds; the denominator of every rate."""
        return self.end_of_run_s - self.start_s

    @cached_property
    def token_counts(self) -> Ints:
        """Tokens delivered to each request, i64[n]."""
        return np.diff(self.token_offsets)

    @cached_property
    def completed(self) -> Flags:
        """Which requests completed, bool[n]."""
        return np.equal(self.state, RequestState.COMPLETED)

    @cached_property
    def first_token_s(self) -> Floats:
        """Absolute time of each request's first token, f64[n]; NaN without one."""
        return self._pick(self.token_counts > 0, self.token_offsets[:-1])

    @cached_property
    def last_token_s(self) -> Floats:
        """Absolute time of each request's last delivered token, f64[n]; NaN without one."""
        return self._pick(self.token_counts > 0, self.token_offsets[1:] - 1)

    @cached_property
    def ttft_s(self) -> Floats:
        """Time to first token ``t_1``, f64[n]; NaN for a request that got no token."""
        return self.first_token_s - self.arrival_s

    @cached_property
    def e2e_s(self) -> Floats:
        """End-to-end latency ``t_n``, f64[n]; NaN for a request that did not complete."""
        return np.where(self.completed, self.last_token_s - self.arrival_s, np.nan)

    @cached_property
    def tpot_s(self) -> Floats:
        """Time per output token ``(t_n − t_1)/(n − 1)`` over delivered tokens, f64[n]; NaN below two."""
        gaps = self.token_counts - 1
        spread_s = self.last_token_s - self.first_token_s
        return np.where(gaps > 0, spread_s / np.maximum(gaps, 1), np.nan)

    @cached_property
    def gap_offsets(self) -> Ints:
        """Where each request's gaps lie in gaps_s, i64[n + 1]."""
        return np.concatenate([[0], np.cumsum(np.maximum(self.token_counts - 1, 0))]).astype(np.int64)

    @cached_property
    def gaps_s(self) -> Floats:
        """Times between consecutive tokens (TBT, also called ITL) of all requests, f64[gap_offsets[-1]]."""
        if len(self.delivered_s) == 0:
            return np.empty(0)
        within = np.ones(len(self.delivered_s), dtype=np.bool_)
        within[self.token_offsets[:-1][self.token_counts > 0]] = False  # a first token ends no gap
        return np.diff(self.delivered_s)[within[1:]]

    @cached_property
    def ordered_gaps_s(self) -> Floats:
        """As ``gaps_s``, but those of each request in ascending order."""
        return ordered_rows(self.gaps_s, self.gap_offsets)

    @property
    def tbt_p99_s(self) -> Floats:
        """The 99th percentile of each request's own gaps, f64[n]; NaN below two tokens."""
        return tbt_p99_s(self)

    @property
    def tbt_max_s(self) -> Floats:
        """The largest of each request's own gaps, f64[n]; NaN below two tokens."""
        return tbt_max_s(self)

    def _pick(self, mask: Flags, index: Ints) -> Floats:
        times = np.full(self.n, np.nan)
        times[mask] = self.delivered_s[index[mask]]
        return times


@per_request
def tbt_p99_s(log: RequestLog) -> Floats:
    """Return the 99th percentile of each request's own gaps, f64[n]; NaN below two tokens."""
    return row_quantile(log.ordered_gaps_s, log.gap_offsets, 0.99)


@per_request
def tbt_max_s(log: RequestLog) -> Floats:
    """Return the largest of each request's own gaps, f64[n]; NaN below two tokens."""
    return row_quantile(log.ordered_gaps_s, log.gap_offsets, 1.0)


@pooled
def tbt_s(log: RequestLog) -> Floats:
    """Return the times between consecutive tokens of all requests."""
    return log.gaps_s
