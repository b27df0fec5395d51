"""A run of which only the summary is kept: tokens are measured while it goes on, and what they were made from goes.

Once all requests below one have ended, their tokens are unfolded and measured, part by part as ``tokens.py`` cuts them,
and their rows of the records are forgotten, with the steps before the next request came. Some 100 bytes a request stay.
Where there turn out to be few tokens, they are all kept, and the run is as any other.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Columns
from simulator.metrics import RequestLog
from simulator.metrics._log import OF_READERS
from simulator.metrics._options import Reading
from simulator.metrics._reduce import CompactReduction
from simulator.metrics._streamed import StreamedLog
from simulator.metrics._summary import marked
from simulator.replica.request import FIELDS, RequestState
from simulator.replica.taking import TakenRows
from simulator.results import tokens
from simulator.results.collect import collect, readers_leave_s
from simulator.results.folded_tokens import FoldedTokens
from simulator.results.recorded import ending_rows
from simulator.results.tables import Incarnation, last_event_s, request_table
from simulator.results.taken import TakenRecords
from simulator.results.tokens import Delay, UnfoldedTokens
from simulator.workload.workload import Workload

FOLD_TOKENS = 1 << 21  # that are unfolded at once, at least
_OWN = {  # of a request, as what it is kept
    "state": np.int8,
    "delivered_tokens": np.int32,
    "first_token_s": np.float64,
    "last_token_s": np.float64,
    "end_s": np.float64,
}


class Handed(NamedTuple):
    """What some replicas hand over of what they have recorded since they last did."""

    rows: Mapping[int, TakenRows]  # by replica
    refused: Sequence[tuple[int, RequestState, float]]
    arrived: int  # requests, of all, by now
    in_flight: Mapping[int, int] | None = None  # at the end, by replica: steps that have not ended


class Fold:
    """Takes what replicas record, piece by piece, and makes of it what a summary needs."""

    def __init__(
        self, reading: Reading, ends_with_arrivals: bool, watch: Callable[[], Callable[[int, Columns], None]]
    ) -> None:
        """``watch`` is called at the beginning; what it returns is told of steps of replicas, those of each in order.

        They have all columns of a step, and ``prefill_prior_tokens``. ``ends_with_arrivals``: the measured window ends
        with the last arrival, not with the last event.
        """
        self._reading, self._ends_with_arrivals, self._watch = reading, ends_with_arrivals, watch

    def begin(self, workload: Workload, frontend_s: float, horizon_s: float | None) -> None:
        """Have nothing yet of a run in which requests arrive as the workload says."""
        n, self._tell = len(workload), self._watch()
        self._workload, self._delay, self._horizon_s = workload, Delay(frontend_s), horizon_s
        self._columns: Columns = {name: np.empty(n, kind) for name, kind in _OWN.items()}
        self._ended = np.zeros(n, np.bool_)
        self._folded = 0  # requests
        self._frontier = 0  # the first request that has not ended
        self._arrived = 0
        self._replicas: dict[int, TakenRecords] = {}
        self._refused: list[tuple[int, RequestState, float]] = []
        self._last_s = 0.0  # the last end of a step or of a folded request
        self._reduction = CompactReduction(marked(), self._reading)
        self._tokens = 0
        self._worth = FOLD_TOKENS  # tokens for which it is worth to look
        self._kept: deque[tuple[RequestLog, slice]] = deque()  # all parts, as long as they are few tokens
        self.found_tokens = [0, 0]  # in prefix caches: by admissions, and by those after a preemption

    def take(self, handed: Handed) -> None:
        """Take what is handed over, and measure the requests that have ended, where they are many."""
        self._add(handed)
        self._fold_ended()

    def _add(self, handed: Handed) -> None:
        self._arrived = max(self._arrived, handed.arrived)
        self._refused += handed.refused
        self._ended[[request for request, _, _ in handed.refused]] = True
        for index, taken in handed.rows.items():
            mine = self._replicas.setdefault(index, TakenRecords())
            in_flight = 0 if handed.in_flight is None else handed.in_flight[index]
            steps = mine.add(taken, in_flight)
            if len(steps["end_s"]):
                self._tell(index, steps)
                self._last_s = max(self._last_s, float(steps["end_s"].max()))
            self._ended[mine.newly_ended] = True
            for again in (0, 1):
                self.found_tokens[again] += mine.newly_found[again]

    def _fold_ended(self) -> None:
        there = self._ended[self._frontier : self._arrived]
        self._frontier += len(there) if there.all() else int(np.argmin(there))
        stop = min([self._frontier, *(each.least_request for each in self._replicas.values())])
        asked_for = int(self._workload.output_tokens[self._folded : stop].sum(dtype=np.int64))
        if asked_for >= self._worth:
            # What is said of them must not depend on when the run ends: after the last arrival so far
            last_s = float(self._workload.arrival_s[self._arrived - 1])
            all_came = self._arrived == len(self._workload)
            window_end_s = self._window_end_s(np.inf) if all_came else np.inf
            before = self._folded
            self._fold(stop, np.inf if all_came else last_s, window_end_s)
            self._worth = FOLD_TOKENS if self._folded > before else 2 * asked_for

    def finish(self, now_s: float) -> tuple[Columns, FoldedTokens, float]:
        """Measure all other requests; return all as ``request_table`` does, their tokens, and the last event's time."""
        end_s = self._fold(self._arrived, None, None, now_s)
        n, optional = self._folded, self._workload.optional
        columns: Columns = {
            "arrival_s": self._workload.arrival_s[:n],
            "prompt_tokens": self._workload.prompt_tokens[:n],
            "output_tokens": self._workload.output_tokens[:n],
            **{name: column[:n] for name, column in self._columns.items()},
        }
        for name in OF_READERS:
            if name in optional:
                columns[name] = optional[name][:n].astype(np.float64 if FIELDS[name].is_float else np.int64)
        few = [part.delivered_s for part, _ in self._kept]
        readings = {} if few else self._reduction.found()
        all_s = np.concatenate([np.empty(0), *few]) if self._tokens <= tokens.KEPT_TOKENS else None
        return columns, FoldedTokens(columns["delivered_tokens"], readings, all_s), end_s

    def _window_end_s(self, end_s: float) -> float:
        """Return when the measured window ends if the run does at ``end_s``, and no more requests arrive."""
        arrival_s = self._workload.arrival_s
        last_s = float(arrival_s[self._arrived - 1])
        return last_s if self._ends_with_arrivals and last_s > arrival_s[0] else end_s

    def _fold(
        self, stop: int, until_s: float | None, window_end_s: float | None, now_s: float = 0.0
    ) -> float:
        """Measure requests up to one, but only whole parts of which all tokens came by ``until_s``; None: all.

        ``window_end_s``: as far as is known; None: the run has ended. Returns when the last thing so far happened.
        """
        first, workload = self._folded, self._workload
        requests, every, steps = self._unfolded(first, stop, now_s)
        end_s = max(self._last_s, last_event_s(requests, steps))
        folded = stop - first
        if until_s is not None:
            folded = 0
            for low, high in pairwise(every.bounds.tolist()[:-1]):  # to the last part more may belong
                if np.fmax.reduce(requests["last_token_s"][low:high], initial=-np.inf) > until_s:
                    break
                folded = high
        for name, column in self._columns.items():
            column[first : first + folded] = requests[name][:folded]
        if folded:
            known_s = self._window_end_s(end_s) if window_end_s is None else window_end_s
            self._measure(requests, every, folded, known_s)
            self._last_s = max(self._last_s, float(np.nanmax(requests["end_s"][:folded])))
            self._folded = next_request = first + folded
            came_s = workload.arrival_s[next_request] if next_request < len(workload) else np.inf
            self._refused = [each for each in self._refused if each[0] >= next_request]
            for mine in self._replicas.values():
                mine.forget(next_request, float(came_s))
        return end_s

    def _unfolded(self, first: int, stop: int, now_s: float) -> tuple[Columns, UnfoldedTokens, Columns]:
        """Return the rows of requests ``first .. stop``, their tokens, and the times of the steps that are held."""
        n, workload = stop - first, self._workload
        lives = [Incarnation(index, mine.part(first, stop)) for index, mine in sorted(self._replicas.items())]
        held = [mine for _, mine in sorted(self._replicas.items())]
        steps = {name: np.concatenate([mine.steps[name] for mine in held]) for name in held[0].steps}
        mine = [(request - first, state, at_s) for request, state, at_s in self._refused if request < stop]
        refused = ending_rows(mine)
        records = [life.records for life in lives]
        until_s = readers_leave_s(n, refused, records, None, self._horizon_s)
        every, _ = collect(lives, steps, [each.first_step for each in held], n, until_s, self._delay)
        arrived: Columns = {
            "arrival_s": workload.arrival_s[first:stop],
            "prompt_tokens": workload.prompt_tokens[first:stop],
            "output_tokens": workload.output_tokens[first:stop],
        }
        now_s = max(now_s, self._last_s)
        return (
            request_table(lives, refused, arrived, steps, every, until_s, self._horizon_s, now_s),
            every,
            steps,
        )

    def _measure(self, requests: Columns, every: UnfoldedTokens, folded: int, window_end_s: float) -> None:
        """Measure the first requests of those, and their tokens, in parts."""
        first = self._folded
        optional: dict[str, Any] = {
            name: column[first : first + folded]
            for name, column in self._workload.optional.items()
            if name in OF_READERS
        }
        log = StreamedLog(
            arrival_s=requests["arrival_s"][:folded],
            prompt_tokens=requests["prompt_tokens"][:folded],
            output_tokens=requests["output_tokens"][:folded],
            state=requests["state"][:folded],
            end_s=requests["end_s"][:folded],
            token_offsets=every.offsets[: folded + 1],
            start_s=float(self._workload.arrival_s[0]),
            end_of_run_s=window_end_s,
            first_s=requests["first_token_s"][:folded],
            last_s=requests["last_token_s"][:folded],
            source=every,
            **optional,
        )
        for part in log.parts():
            self._kept.append((part, slice(first, first + part.n)))
            self._tokens += len(part.delivered_s)
            first += part.n
            if self._tokens > tokens.KEPT_TOKENS:
                while self._kept:  # what they derive from their tokens goes with each
                    each, rows = self._kept.popleft()
                    known = [self._columns[name][rows] for name in ("first_token_s", "last_token_s", "end_s")]
                    self._reduction.add_known(each, known)
