"""Simulated time: SimPy's environment plus the two things this engine needs beside it.

* Exact times: an arrival at ``t`` happens at ``t``, not at ``now + (t - now)``, which can differ by
  one rounding. Step ends are ``now + duration``, as SimPy computes them.
* One rule for ties: whatever *arrives* at ``t`` is seen by whatever is *decided* at ``t``. Arrivals are
  ordinary events; step ends and wake-ups are ``LATE`` events of the same instant.
"""

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
    """A SimPy environment in seconds that can wake a process at an exact absolute time."""

    def at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), before every late event of that instant."""
        return self._schedule_at(time_s, _NORMAL)

    def stop_at(self, time_s: float) -> None:
        """End the simulation at ``time_s``, before anything else that happens at that instant."""
        self._schedule_at(time_s, _FIRST).callbacks.append(StopSimulation.callback)

    def _schedule_at(self, time_s: float, priority: EventPriority) -> Event:
        event = Event(self)
        event._ok = True
        event._value = None
        # SimPy can only schedule relative delays; an exact time has to go on its queue directly.
        heappush(self._queue, (time_s, priority, next(self._eid), event))
        return event

    def run_some(self, events: int) -> bool:
        """Process up to ``events`` events; return whether any is left before the stopping time."""
        step = self.step
        try:
            for _ in range(events):
                step()
        except (EmptySchedule, StopSimulation):
            return False
        return True


class StepEnd(Event):
    """The end of a step ``delay_s`` from now, after everything else that happens at that instant."""

    def __init__(self, clock: Clock, delay_s: float) -> None:
        """Schedule the event; ``delay_s`` >= 0."""
        # Event.__init__ is inlined here: this is the one event made for every step.
        self.env = clock
        self.callbacks = []
        self._value = None
        self._ok = True
        clock.schedule(self, LATE, delay_s)


class WakeUp(Event):
    """What an idle process waits for; ``ring`` wakes it after all arrivals of that instant."""

    def ring(self) -> None:
        """Wake the waiting process; call once."""
        self._ok = True
        self._value = None
        self.env.schedule(self, LATE)
