"""Simulated time: SimPy's environment plus the two things this engine needs beside it.

* Exact times: an arrival at ``t`` happens at ``t``, not at ``now + (t - now)``, which can differ by
  one rounding.
* One rule for ties: whatever *arrives* at ``t`` is seen by whatever is *decided* at ``t``. Arrivals are
  ordinary events; step ends and wake-ups are ``LATE`` events of the same instant.
"""

import math
from collections.abc import Generator
from heapq import heappush
from typing import Any

import simpy
from simpy.core import EmptySchedule, StopSimulation
from simpy.events import Event, EventPriority

Process = Generator[Event, Any, None]

LATE = EventPriority(2)  # after SimPy's URGENT (0) and NORMAL (1)
_NORMAL = EventPriority(1)
_FIRST = EventPriority(-1)


class Clock(simpy.Environment):
    """A SimPy environment in seconds with exact absolute times."""

    def __init__(self) -> None:
        super().__init__()
        self.stops_at_s = math.inf

    def at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), before every late event of that instant."""
        return self._schedule_at(time_s, _NORMAL)

    def late_at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), after everything else of that instant."""
        return self._schedule_at(time_s, LATE)

    def stop_at(self, time_s: float) -> None:
        """End the simulation at ``time_s``, before anything else that happens at that instant."""
        self.stops_at_s = time_s
        self._schedule_at(time_s, _FIRST).callbacks.append(StopSimulation.callback)

    @property
    def stopped(self) -> bool:
        """Whether the stopping time has been reached."""
        return self.now >= self.stops_at_s

    def run_some(self, events: int) -> bool:
        """Process up to ``events`` events; return whether any is left before the stopping time."""
        step = self.step
        try:
            for _ in range(events):
                step()
        except (EmptySchedule, StopSimulation):
            return False
        return True

    def _schedule_at(self, time_s: float, priority: EventPriority) -> Event:
        event = Event(self)
        event._ok = True
        event._value = None
        # SimPy can only schedule relative delays; an exact time has to go on its queue directly.
        heappush(self._queue, (time_s, priority, next(self._eid), event))
        return event


class Quiet:
    """The promise that lets replicas run on without a trip through the event queue.

    Nothing that could reach a replica from outside (an arrival, a departure, the end of the simulation)
    happens before ``until_s``. Whoever causes such things keeps the promise up to date.
    """

    __slots__ = ("_stops_at_s", "until_s")

    def __init__(self, clock: Clock) -> None:
        self.until_s = 0.0
        self._stops_at_s = clock.stops_at_s

    def promise(self, until_s: float) -> None:
        """Nothing happens before ``until_s`` (nor after the end of the simulation)."""
        self.until_s = min(until_s, self._stops_at_s)


class WakeUp(Event):
    """What an idle process waits for; ``ring`` wakes it after all arrivals of that instant."""

    def ring(self) -> None:
        """Wake the waiting process; call once."""
        self._ok = True
        self._value = None
        self.env.schedule(self, LATE)
