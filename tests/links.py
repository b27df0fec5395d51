"""A fabric, its clock, and a log of what was done when."""

from math import inf

from simulator.clock import Clock
from simulator.cluster.link import Fabric


class Net:
    """A fabric of its own clock that notes who finished, in order."""

    def __init__(self, ports=4, bytes_per_s=100.0, latency_s=0.0, start_s=0.0):
        self.clock = Clock()
        self.clock.now = start_s
        self.fabric = Fabric(self.clock, ports, bytes_per_s, latency_s)
        self.finished = []
        self.events = 0

    def send(self, name, source, destination, size_bytes, **cap):
        return self.fabric.send(source, destination, size_bytes, self.note(name), **cap)

    def note(self, name):
        return lambda: self.finished.append((name, self.clock.now))

    def when(self, time_s, action):
        self.clock.at(time_s).callbacks.append(lambda _: action())

    def run(self, check=lambda: None):
        while self.clock.run_some(1):
            calls = self.clock._calls
            if min(self.clock.env.peek(), calls[0][0] if calls else inf) > self.clock.now:
                check()  # everything of this instant has happened
            self.events += 1
            assert self.events < 10_000
        return self.finished
