"""Jobs that two threads share: one of its own that begins with them, and the one that waits for them at the end.

Of use where jobs let the interpreter go for long: compressing, hashing, arithmetic on long columns. (An executor of the
standard library would not let the waiting thread help, and takes longer to import than a small run to write.)
"""

from collections import deque
from collections.abc import Callable
from threading import Thread


class SharedJobs:
    """Jobs in order, each done once, by whichever thread is free first."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._error: BaseException | None = None
        self._thread = Thread(target=self._help, daemon=True)

    def add(self, job: Callable[[], None]) -> None:
        """Put a job behind the others. One that is added after ``start`` may be left to ``finish``."""
        self._jobs.append(job)

    def start(self) -> None:
        """Begin with the jobs, in the other thread."""
        self._thread.start()

    def finish(self) -> None:
        """Do what has not begun and wait for the rest; raises what a job raised, after which none is begun."""
        self._work()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        """Begin no more jobs, and wait for the one that the other thread is at, if any."""
        self._jobs.clear()
        if self._thread.is_alive():
            self._thread.join()

    def _help(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error  # raised where it is waited for
            self._jobs.clear()

    def _work(self) -> None:
        while self._jobs:
            try:
                job = self._jobs.popleft()
            except IndexError:  # the other thread was faster
                return
            job()
