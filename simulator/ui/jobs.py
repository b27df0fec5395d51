"""What the app computes: jobs in threads, with progress, an end on request, and their results in folders."""

import secrets
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock
from typing import Any

from simulator.errors import InputError, StallError
from simulator.results.folders import claimed_anew
from simulator.scenario.scenario import Scenario
from simulator.ui.form import check_count

AT_ONCE = 2
MOST_WAITING = 20
_KEPT = 200  # jobs that are remembered; their results are in folders


class CancelledError(Exception):
    """The job was asked to end."""


@dataclass
class Job:
    """A run or a plan that was asked for: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.

    ``done`` of ``total`` counts requests, or simulations of a plan; ``folder`` is where a finished one is kept.
    """

    id: str
    state: str = "waiting"
    done: int = 0
    total: int | None = None
    folder: Path | None = None
    error: str | None = None
    asked: Event = field(default_factory=Event)

    def count(self, done: int, total: int) -> None:
        """Take note of progress; raises CancelledError where an end was asked for."""
        self.done, self.total = done, total
        if self.asked.is_set():
            raise CancelledError

    def as_dict(self) -> dict[str, Any]:
        """Return what the page is told."""
        return {
            "id": self.id,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "error": self.error,
        }


class Jobs:
    """All jobs of one app, at most two at once, a bounded number in the queue."""

    def __init__(self) -> None:
        """Begin without jobs."""
        self._jobs: dict[str, Job] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="servesim-job")
        self._lock = Lock()

    def start(self, work: Callable[[Job], Path]) -> Job:
        """Queue some work, which returns the folder of its result; InputError where the queue is full."""
        job = Job(secrets.token_hex(8))
        with self._lock:
            if sum(each.state in ("waiting", "running") for each in self._jobs.values()) >= MOST_WAITING:
                raise InputError(f"{MOST_WAITING} jobs are waiting; expected fewer, cancel one or wait")
            self._jobs[job.id] = job
            for old in list(self._jobs.values())[:-_KEPT]:
                del self._jobs[old.id]
        self._pool.submit(_work, job, work)
        return job

    def get(self, name: str) -> Job:
        """Return a job; InputError for an unknown one."""
        job = self._jobs.get(name)
        if job is None:
            raise InputError("no such job; expected one that was started since the app was")
        return job

    def close(self) -> None:
        """End all jobs."""
        for job in self._jobs.values():
            job.asked.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _work(job: Job, work: Callable[[Job], Path]) -> None:
    try:
        if job.asked.is_set():
            raise CancelledError
        job.state = "running"
        job.folder = work(job)
        job.state = "done"
    except CancelledError:
        job.state = "cancelled"
    except (InputError, StallError) as error:
        job.error, job.state = " ".join(str(error).split()), "failed"
    except MemoryError:
        job.error, job.state = "not enough memory; expected fewer requests or tokens", "failed"
    except OSError as error:
        job.error, job.state = f"the disk refused: {error.strerror or error}", "failed"
    except Exception as error:  # a fault of the simulator: the app lives on, and the terminal has the trace
        traceback.print_exc(file=sys.stderr)
        job.error, job.state = f"an error in servesim ({type(error).__name__}); see the terminal", "failed"


def simulate(scenario: Scenario, job: Job) -> Path:
    """Simulate and save a run; return its folder.

    Raises InputError as ``run`` does and for too many requests, CancelledError, after which nothing is kept.
    """
    from simulator.scenario.run import run
    from simulator.workload import build

    with TemporaryDirectory(prefix="servesim-ui-") as nowhere:  # names are no files of the working directory
        base = Path(nowhere)
        check_count(len(build(scenario.workload, scenario.seed, base).arrival_s))

        def on_progress(time_s: float, done: int, total: int) -> None:
            job.done, job.total = done, total

        result = run(scenario, base_dir=base, on_progress=on_progress, should_stop=job.asked.is_set)
    if job.asked.is_set():
        raise CancelledError
    with claimed_anew(scenario.name[:80]) as folder:
        result.write(folder)
    job.done = job.total or job.done
    return folder


def search(scenario: Scenario, target: str, gpus: str, replicas: int, job: Job) -> Path:
    """Search for the cheapest cluster of some GPU types that keeps a target; return the folder of the plan.

    ``gpus`` are names with commas between, ``replicas`` the most of them. Raises InputError as ``plan`` does, and
    CancelledError, after which the simulations are kept for the next search.
    """
    from simulator.functions.plan import plan

    space: dict[str, Any] = {"replicas": list(range(1, replicas + 1)), "tensor_parallel": [1]}
    names = [each.strip() for each in gpus.split(",") if each.strip()]
    if names:
        space["gpus"] = names
    with claimed_anew("plan") as folder:
        found = plan(
            scenario,
            [target],
            space=space,
            replications=1,
            checks=False,
            out=folder,
            jobs=1,
            on_progress=job.count,
        )
        found.save(folder)
    return folder
