"""Simulated time: SimPy's environment plus the two things this engine needs beside it.

* Exact times: an arrival at ``t`` happens at ``t``, not at ``now + (t - now)``, which can differ by
  one rounding.
* One rule for ties. An instant has three phases: what *arrives* comes first (ordinary events), then the steps that
  end at it *end*, replica by replica in the order of their numbers (their turns), then come the last events. So
  whatever arrives at ``t`` is seen by whatever is planned at ``t``, and whoever looks at a replica sees the steps
  that end at ``t`` exactly if its turn of that instant is over: ``ended_before`` is that rule.
"""

import math
from collections.abc import Generator
from heapq import heappush
from math import nextafter
from operator import attrgetter
from typing import Any, Protocol

import simpy
from simpy.core import StopSimulation
from simpy.events import Event, EventPriority

Steps = Generator[Event, Any, Any]  # of a process

_TURNS = 2  # after SimPy's URGENT (0) and NORMAL (1); plus the number of the replica whose turn it is
_LAST = EventPriority(1 << 30)
_NORMAL = EventPriority(1)
_FIRST = EventPriority(-1)


class TakesTurns(Protocol):
    """What is idle, has been given something to do at this instant, and plans when its turn comes."""

    index: int

    def take_turn(self) -> None:
        """Plan now."""


class Clock(simpy.Environment):
    """A SimPy environment in seconds with exact absolute times."""

    def __init__(self) -> None:
        super().__init__()
        self.stops_at_s = math.inf
        self._reached = 0  # the highest priority among the events of this instant that have begun
        self._turns: list[TakesTurns] = []  # that are to be taken at this instant

    def at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), before every replica's turn of that instant."""
        return self._schedule_at(time_s, _NORMAL)

    def at_turn(self, time_s: float, index: int) -> Event:
        """Return an event at exactly ``time_s`` (>= now), when the turn of that replica comes."""
        return self._schedule_at(time_s, EventPriority(_TURNS + index))

    def last_at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), after all replicas' turns of that instant."""
        return self._schedule_at(time_s, _LAST)

    def stop_at(self, time_s: float) -> None:
        """End the simulation at ``time_s``, before anything else that happens at that instant."""
        self.stops_at_s = time_s
        self._schedule_at(time_s, _FIRST).callbacks.append(StopSimulation.callback)

    def advance_to(self, time_s: float) -> None:
        """Let it be ``time_s``, where nothing but arrivals is ever scheduled; they come first at an instant."""
        self._now, self._reached = time_s, _NORMAL

    def ended_before(self, index: int) -> float:
        """Return the time before which the steps of replica ``index`` have ended, seen from this moment."""
        now_s = self._now
        return nextafter(now_s, math.inf) if self._reached > _TURNS + index else now_s

    def turn_over(self, index: int) -> bool:
        """Whether a replica's turn of this instant is over; if it is given something to do, it gets another."""
        return self._reached > _TURNS + index

    def take_turn(self, replica: TakesTurns) -> None:
        """Let a replica plan at this instant, when its turn comes."""
        self._turns.append(replica)

    @property
    def stopped(self) -> bool:
        """Whether the stopping time has been reached."""
        return self.now >= self.stops_at_s

    @property
    def anything_scheduled(self) -> bool:
        """Whether any event is to come."""
        return bool(self._queue or self._turns)

    def run_some(self, events: int) -> bool:
        """Process up to ``events`` events; return whether any is left before the stopping time."""
        queue = self._queue
        try:
            for _ in range(events):
                if self._turns and self._a_turn():
                    continue
                if not queue:
                    return False
                now_s, priority, _, _ = queue[0]
                if now_s > self._now or priority > self._reached:
                    self._reached = priority
                self.step()
        except StopSimulation:
            return False
        return True

    def _a_turn(self) -> bool:
        """Let the first replica of those that wait take its turn if it has come; say whether it had."""
        turns, queue = self._turns, self._queue
        turns.sort(key=attrgetter("index"))
        priority = _TURNS + turns[0].index
        if queue and queue[0][:2] < (self._now, priority):
            return False
        self._reached = max(self._reached, priority)
        turns.pop(0).take_turn()
        return True

    def _schedule_at(self, time_s: float, priority: EventPriority) -> Event:
        event = Event(self)
        event._ok = True
        event._value = None
        # SimPy can only schedule relative delays; an exact time has to go on its queue directly.
        heappush(self._queue, (time_s, priority, next(self._eid), event))
        return event
