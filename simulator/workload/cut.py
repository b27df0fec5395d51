"""Keeping what a scenario wants of a trace, part by part as it is read."""

from dataclasses import replace

import numpy as np

from simulator.errors import InputError
from simulator.workload import sessions
from simulator.workload.columns import TrafficColumns
from simulator.workload.spec import WorkloadSpec


class Cut:
    """Window, longest prompt and limit of ``spec``, applied in this order to parts in order of arrival.

    A part with sessions must be all there is, as they end at their first prompt that is too long.
    """

    def __init__(self, spec: WorkloadSpec) -> None:
        self.start_s = spec.start_s
        self.end_s = spec.end_s
        self.max_prompt_tokens = spec.max_prompt_tokens
        self.limit = spec.limit
        self.rows = 0  # seen so far
        self.kept = 0
        self.over = False  # nothing of what comes can be kept
        self._in_window = 0
        self._first_s = self._last_s = np.nan
        self._shortest: int | None = None

    def take(self, part: TrafficColumns) -> TrafficColumns:
        """Return what is kept of a part; in a window the clock starts where that does."""
        self.rows += len(part)
        if self.start_s is not None or self.end_s is not None:
            part = self._window(part)
        if self.max_prompt_tokens is not None:
            part = self._short_enough(part, self.max_prompt_tokens)
        if self.limit is not None:
            part = part.pick(slice(self.limit - self.kept))
            self.over |= self.kept + len(part) == self.limit
        self.kept += len(part)
        return part

    def check(self, name: str) -> None:
        """Raise ``InputError`` if nothing was kept of the traffic of this name."""
        start, end = self.start_s or 0.0, self.end_s
        if (self.start_s is not None or end is not None) and not self._in_window:
            raise InputError(
                f"workload.start_s, end_s: no request of {name} arrives from {start:g} s on"
                + (f" and before {end:g} s;" if end is not None else ";")
                + f" expected a window inside {self._first_s:g} to {self._last_s:g} s"
            )
        if not self.kept and self._shortest is not None:
            what = "session's first prompt" if self._sessions else "prompt"
            raise InputError(
                f"workload.max_prompt_tokens: every {what} of {name} is longer than {self.max_prompt_tokens:,};"
                f" the shortest has {self._shortest:,} tokens"
            )

    def described(self) -> list[str]:
        """Say in a few words what is kept, but for the limit."""
        said = []
        if self.end_s is not None:
            said.append(f"window {self.start_s or 0.0:g} to {self.end_s:g} s")
        elif self.start_s is not None:
            said.append(f"from {self.start_s:g} s on")
        if self.max_prompt_tokens is not None:
            said.append(f"prompts up to {self.max_prompt_tokens:,} tokens")
        return said

    def _window(self, part: TrafficColumns) -> TrafficColumns:
        arrival_s = part.arrival_s
        if self.rows == len(part):
            self._first_s = float(arrival_s[0])
        self._last_s = float(arrival_s[-1])
        start, end = self.start_s or 0.0, np.inf if self.end_s is None else self.end_s
        first, last = np.searchsorted(arrival_s, [start, end])
        self._in_window += int(last - first)
        # without any request in it the rest is read for where it ends, to say so
        self.over |= bool(last < len(part) and self._in_window)
        part = part.pick(slice(first, last))
        return replace(part, arrival_s=part.arrival_s - start)

    def _short_enough(self, part: TrafficColumns, most: int) -> TrafficColumns:
        self._sessions = part.session is not None
        if not self.kept and len(part):
            begins = part.first_of_session() == np.arange(len(part))
            shortest = int(part.prompt_tokens[begins].min())
            self._shortest = shortest if self._shortest is None else min(self._shortest, shortest)
        return part.pick(sessions.cut(part, part.prompt_tokens <= most))
