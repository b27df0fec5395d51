"""One transfer over a link, and how far it is."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

Done = Callable[[], None]


@dataclass(slots=True, eq=False)
class Flow:
    """One transfer from port to port; times in seconds, ``sent_bytes`` as of the fabric's last update.

    ``finished_s`` stays None while the flow is in flight, and for ever if it is cancelled.
    """

    source: int
    destination: int
    size_bytes: float
    cap_bytes_per_s: float
    started_s: float
    done: Done | None = field(repr=False)  # called when the last byte has arrived; None: open for more
    begins_s: float = field(repr=False)
    sent_bytes: float = field(default=0.0, init=False)
    bytes_per_s: float = field(default=0.0, init=False)
    finished_s: float | None = field(default=None, init=False)
    # When the last byte arrives at the present rate; infinite until a rate is known.
    due_s: float = field(default=math.inf, init=False, repr=False)
    # Where the present rate began. Progress is measured from here and not added up change by change, so
    # a flow that others leave alone gathers no rounding errors.
    _since_s: float = field(default=0.0, init=False, repr=False)
    _since_bytes: float = field(default=0.0, init=False, repr=False)

    def update(self, now_s: float) -> None:
        """Count what was sent by ``now_s``."""
        if self.due_s <= now_s:
            self.sent_bytes = self.size_bytes
            self.bytes_per_s = 0.0
        elif self.bytes_per_s and now_s > self._since_s:
            sent_bytes = self._since_bytes + self.bytes_per_s * (now_s - self._since_s)
            self.sent_bytes = min(sent_bytes, self.size_bytes)

    def run(self, bytes_per_s: float, now_s: float) -> None:
        """Go on at a rate from ``now_s``, up to which the flow is updated."""
        if bytes_per_s != self.bytes_per_s:
            self.bytes_per_s = bytes_per_s
            self._since_s = now_s
            self._since_bytes = self.sent_bytes
            self.due_s = now_s + (self.size_bytes - self.sent_bytes) / bytes_per_s

    def restart(self, now_s: float) -> None:
        """Forget the rate, after a change of size or cap."""
        self.bytes_per_s = 0.0
        self.due_s = math.inf if self.sent_bytes < self.size_bytes else max(now_s, self.begins_s)

    def wakes_s(self, now_s: float) -> float:
        """When the flow next begins, ends or reaches its limit."""
        if now_s < self.begins_s:
            return self.begins_s
        if self.due_s <= now_s and self.done is None:
            return math.inf  # open and idle
        return self.due_s
