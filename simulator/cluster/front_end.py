"""Requests that no replica has: API servers read them first (parse, apply templates, tokenise).

There is one server for each replica, evenly used, and it works at all its requests at once, as a process of
asynchronous handlers does (processor sharing): of n requests at R servers each advances at min(1, R/n). Of a burst no
request is through much before the last one, however fast the engines are.
"""

from collections import deque
from collections.abc import Callable

from simulator.clock import Clock
from simulator.replica.job import Job


class FrontEnd:
    """Reads requests; as all take equally long, they are through in the order in which they came."""

    def __init__(
        self, clock: Clock, request_s: float, servers: Callable[[], int], deliver: Callable[[Job], bool]
    ) -> None:
        """``request_s``: of one request alone; ``servers()``: replicas that are up, at least one counts.

        ``deliver`` brings a request that has been read to a replica; False if it was not let in.
        """
        self.clock = clock
        self.takes_time = request_s > 0
        self.read: list[tuple[int, float]] = []  # requests that have been read, and when each was
        self.stranded: list[Job] = []  # have been read, and no replica is up that takes them
        self._request_s = request_s
        self._servers = servers
        self._deliver = deliver
        self._reading: deque[tuple[float, Job]] = deque()  # with the work at which each is through
        self._work_s = 0.0  # that each request which is still read would have had, were it the first
        self._rate = 0.0  # at which it grows
        self._since_s = clock.now
        self._call = 0  # number of the call that counts

    def take(self, job: Job) -> bool:
        """A request arrives now; False if it was not let in."""
        if not self.takes_time:
            return self._deliver(job)
        self._catch_up()
        self._reading.append((self._work_s + self._request_s, job))
        self._wait()
        return True

    def forget(self, job: Job) -> None:
        """A request leaves that no replica has."""
        if job in self.stranded:
            self.stranded.remove(job)
            return
        self._catch_up()
        self._reading = deque(pair for pair in self._reading if pair[1] is not job)
        self._wait()

    def no_longer_stranded(self) -> list[Job]:
        """Return the stranded requests, for which there may be replicas now."""
        stranded, self.stranded = self.stranded, []
        return stranded

    def _catch_up(self) -> None:
        now_s = self.clock.now
        self._work_s += self._rate * (now_s - self._since_s)
        self._since_s = now_s

    def _wait(self) -> None:
        self._call += 1
        if not self._reading:
            self._rate = 0.0
            return
        self._rate = min(1.0, max(1, self._servers()) / len(self._reading))
        left_s = max(0.0, self._reading[0][0] - self._work_s)
        self.clock.call_at(self.clock.now + left_s / self._rate, self._through, self._call)

    def _through(self, call: int) -> None:
        """The first request has been read, and with it all that came at the same instant."""
        if call != self._call:
            return  # others have come or left since
        self._work_s, self._since_s = self._reading[0][0], self.clock.now
        while self._reading and self._reading[0][0] <= self._work_s:
            job = self._reading.popleft()[1]
            self.read.append((job.id, self._since_s))
            self._deliver(job)
        self._wait()
