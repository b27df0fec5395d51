"""What was taken of a replica's records while it went on: the rows of requests that are not measured yet."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.arrays import Columns, Ints
from simulator.replica.records import (
    CHUNK_COLUMNS,
    ENDED_COLUMNS,
    HIT_COLUMNS,
    PROMPT_END_COLUMNS,
    RUN_COLUMNS,
    SPAN_COLUMNS,
    STEP_COLUMNS,
    Records,
)
from simulator.replica.taking import AFTER_ALL, GivenRecords, TakenRows
from simulator.results.tables import TIMING, Incarnation, prior_tokens, step_columns

_NUMBERED = {"steps": 1 + len(STEP_COLUMNS), "runs": len(RUN_COLUMNS), "chunks": len(CHUNK_COLUMNS)}
_OF_STEPS = ("steps", "runs", "run_ends", "run_blocks", "chunks")
_OF_REQUESTS = {"spans": SPAN_COLUMNS, "prompt_ends": PROMPT_END_COLUMNS, "ended": ENDED_COLUMNS}


class TakenRecords:
    """Of one replica: the times of its steps from one on, and rows of its requests from one on."""

    def __init__(self) -> None:
        """Have nothing yet."""
        self.steps: Columns = {
            "start_s": np.empty(0),
            "end_s": np.empty(0),
            "ticks": np.empty(0, np.int32),
        }
        self.least_request = AFTER_ALL  # of those with tokens that are not here yet
        self.newly_ended: Ints = np.empty(0, np.int64)
        self.newly_found = [0, 0]  # tokens in a prefix cache: by admissions, and by those after a preemption
        self.first_step = self._first_tick = 0  # of the steps that are held
        self._stop_step = 0  # after the last one
        self._rows = {
            name: np.empty((0, len(columns)), np.float64 if name == "ended" else np.int32)
            for name, columns in _OF_REQUESTS.items()
        }

    def add(self, taken: TakenRows, in_flight: int) -> Columns:
        """Add rows, the last ``in_flight`` steps of which have not ended; return the steps that are new.

        They have all columns of a step, and ``prefill_prior_tokens``.
        """
        new = {name: taken.rows[name] for name in _OF_STEPS if name in taken.rows}
        for name, width in _NUMBERED.items():
            if name in new:
                new[name][::width] -= self._stop_step
        records = GivenRecords(new)
        records.in_flight = in_flight
        steps = step_columns([Incarnation(0, records)], STEP_COLUMNS)
        n = len(steps["end_s"])
        for name in TIMING:
            self.steps[name] = np.concatenate([self.steps[name], steps[name]])
        self._stop_step += n
        for name, columns in _OF_REQUESTS.items():
            if name in taken.rows:
                rows = taken.rows[name].reshape(-1, len(columns))
                self._rows[name] = np.concatenate([self._rows[name], rows])
        ended = taken.rows.get("ended", np.empty(0)).reshape(-1, len(ENDED_COLUMNS))
        self.newly_ended = ended[:, 0].astype(np.int64)
        hits = taken.rows.get("hits", np.empty(0, np.int32)).reshape(-1, len(HIT_COLUMNS))
        self.newly_found = [int(hits[hits[:, 2] == again, 1].sum()) for again in (0, 1)]
        self.least_request = min(taken.least_request, self._least_beyond_steps())
        return steps | {"prefill_prior_tokens": prior_tokens(records)}

    def _least_beyond_steps(self) -> int:
        """Return the first request with tokens of steps that are not here."""
        spans, prompt_ends = self._rows["spans"], self._rows["prompt_ends"]
        ticks = self._first_tick + int(self.steps["ticks"].sum())
        beyond = [
            spans[spans[:, 1] + spans[:, 2] > ticks, 0],
            prompt_ends[prompt_ends[:, 1] >= self._stop_step, 0],
        ]
        return int(np.concatenate(beyond).astype(np.int64).min(initial=AFTER_ALL))

    def part(self, first: int, stop: int) -> Records:
        """Return records of the requests ``first .. stop`` alone, numbered from 0 as the steps are that are held."""
        found: dict[str, NDArray[Any]] = {"run_ends": self.steps["end_s"]}  # each step has one
        for name, rows in self._rows.items():
            mine = rows[rows[:, 0] < stop]
            mine[:, 0] -= first
            if name == "spans":
                mine[:, 1] -= self._first_tick
            elif name == "prompt_ends":
                mine[:, 1] -= self.first_step
            found[name] = mine.reshape(-1)
        return GivenRecords(found)

    def forget(self, next_request: int, came_s: float) -> None:
        """Forget the rows of requests before one, which came at ``came_s``, and the steps that ended before."""
        for name, rows in self._rows.items():
            self._rows[name] = rows[rows[:, 0] >= next_request]
        steps = int(np.searchsorted(self.steps["end_s"], came_s))
        self.first_step += steps
        self._first_tick += int(self.steps["ticks"][:steps].sum())
        self.steps = {name: column[steps:].copy() for name, column in self.steps.items()}
