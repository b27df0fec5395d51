"""Simulated time: SimPy's environment plus the two things this engine needs beside it.

* Exact times: an arrival at ``t`` happens at ``t``, not at ``now + (t - now)``, which can differ by
  one rounding.
* One rule for ties: whatever *arrives* at ``t`` is seen by whatever is *decided* at ``t``. Arrivals are
  ordinary events; step ends and wake-ups are ``LATE`` events of the same instant, in the order of the
  replicas whenever they were scheduled.
"""

import math
from collections.abc import Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.core import StopSimulation
from simpy.events import Event, EventPriority, Process

Steps = Generator[Event, Any, None]  # of a process

_LATE = 2  # after SimPy's URGENT (0) and NORMAL (1); plus the rank of whose event it is
_LAST = EventPriority(1 << 30)
_NORMAL = EventPriority(1)
_FIRST = EventPriority(-1)


class Clock(simpy.Environment):
    """A SimPy environment in seconds with exact absolute times."""

    def __init__(self) -> None:
        super().__init__()
        self.stops_at_s = math.inf
        self._priority = 0  # of the event that is happening

    def at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), before every late event of that instant."""
        return self._schedule_at(time_s, _NORMAL)

    def late_at(self, time_s: float, rank: int = 0) -> Event:
        """Return an event at exactly ``time_s`` (>= now), after all but those of that instant with higher ranks."""
        return self._schedule_at(time_s, EventPriority(_LATE + rank))

    def last_at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), after the late events of that instant."""
        return self._schedule_at(time_s, _LAST)

    def stop_at(self, time_s: float) -> None:
        """End the simulation at ``time_s``, before anything else that happens at that instant."""
        self.stops_at_s = time_s
        self._schedule_at(time_s, _FIRST).callbacks.append(StopSimulation.callback)

    @staticmethod
    def redirect(process: Process, event: Event) -> None:
        """Have a process that waits for an event wait for another one instead."""
        assert process._target is not None
        assert process._target.callbacks is not None
        process._target.callbacks.remove(process._resume)
        assert event.callbacks is not None
        event.callbacks.append(process._resume)
        process._target = event

    def advance_to(self, time_s: float) -> None:
        """Let it be ``time_s``: what happens until then happens elsewhere."""
        self._now = time_s

    @property
    def stopped(self) -> bool:
        """Whether the stopping time has been reached."""
        return self.now >= self.stops_at_s

    def past(self, rank: int) -> bool:
        """Whether the late events of that rank at this instant have happened."""
        return self._priority > _LATE + rank

    def run_some(self, events: int) -> bool:
        """Process up to ``events`` events; return whether any is left before the stopping time."""
        queue = self._queue
        try:
            for _ in range(events):
                if not queue:
                    return False
                self._now, self._priority, _, event = heappop(queue)
                callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
                for callback in callbacks:
                    callback(event)
                if not event._ok:  # only a process can fail here
                    raise event._value
        except StopSimulation:
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
    """What lets replicas run on without a trip through the event queue: nothing reaches them before ``until_s``.

    Whatever could reach a replica from outside (an arrival, a departure, a transfer's end, the end of the
    simulation) is scheduled here. Replicas whose own steps reach others schedule those here as well.
    """

    __slots__ = ("_arrival_s", "_clock", "_holds", "_times", "until_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: list[float] = []  # of the events to come, a heap
        self._arrival_s = math.inf
        self._holds = 0
        self.until_s = clock.stops_at_s

    def arrival_at(self, time_s: float) -> Event:
        """Return an event as ``at`` does, for whoever makes the next one as soon as this one is over.

        There may be one such process for each ``Quiet``; after its last event it calls ``arrivals_are_over``.
        """
        self._arrival_s = time_s
        self._look()
        return self._clock.at(time_s)

    def arrivals_are_over(self) -> None:
        """No more arrivals come by ``arrival_at``."""
        self._arrival_s = math.inf
        self._look()

    def at(self, time_s: float) -> Event:
        """Return an event as ``Clock.at`` does, which no replica will run past."""
        return self._expect(self._clock.at(time_s), time_s)

    def late_at(self, time_s: float, rank: int = 0) -> Event:
        """Return an event as ``Clock.late_at`` does, which no replica will run past."""
        return self._expect(self._clock.late_at(time_s, rank), time_s)

    def last_at(self, time_s: float) -> Event:
        """Return an event as ``Clock.last_at`` does, which no replica will run past."""
        return self._expect(self._clock.last_at(time_s), time_s)

    def hold(self) -> None:
        """Let nobody run ahead until as many calls of ``release``: any step may reach somebody now."""
        self._holds += 1
        self._look()

    def release(self) -> None:
        """Take one ``hold`` back."""
        self._holds -= 1
        self._look()

    def _expect(self, event: Event, time_s: float) -> Event:
        heappush(self._times, time_s)
        event.callbacks.append(self._over)
        self._look()
        return event

    def _over(self, _: Event) -> None:
        heappop(self._times)  # events happen in order, so this one is the earliest
        self._look()

    def _look(self) -> None:
        if self._holds:
            self.until_s = 0.0
        else:
            until_s = self._clock.stops_at_s
            if self._arrival_s < until_s:
                until_s = self._arrival_s
            if self._times and self._times[0] < until_s:
                until_s = self._times[0]
            self.until_s = until_s


class WakeUp(Event):
    """What an idle process waits for; ``ring`` wakes it after all arrivals of that instant."""

    def ring(self, rank: int = 0) -> None:
        """Wake the waiting process, as an event of ``Clock.late_at``; call once."""
        self._ok = True
        self._value = None
        self.env.schedule(self, EventPriority(_LATE + rank))
