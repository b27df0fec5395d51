"""What the app computes: tasks in threads, with progress, an end on request, and their results in folders."""

import secrets
import sys
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from threading import Event, Lock
from typing import Any

from simulator.errors import InputError, StallError
from simulator.results.folders import claimed_anew
from simulator.scenario.scenario import Scenario
from simulator.ui.form import check_count

AT_ONCE = 2
MOST_WAITING = 20
_KEPT = 200  # tasks that are remembered; their results are in folders


class CancelledError(Exception):
    """The task was asked to end."""


@dataclass
class Task:
    """A run or a plan that was asked for: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.

    ``done`` of ``total`` counts requests, or simulations of a plan; ``folders`` is where what is finished is kept.
    """

    id: str
    state: str = "waiting"
    done: int = 0
    total: int | None = None
    folders: Sequence[Path] = ()
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


class Tasks:
    """All tasks of one app, at most two at once, a bounded number in the queue."""

    def __init__(self) -> None:
        """Begin without tasks."""
        self._tasks: dict[str, Task] = {}
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="servesim-task")
        self._lock = Lock()

    def start(self, work: Callable[[Task], Sequence[Path]]) -> Task:
        """Queue some work, which returns the folders of its results; InputError where the queue is full."""
        task = Task(secrets.token_hex(8))
        with self._lock:
            if sum(each.state in ("waiting", "running") for each in self._tasks.values()) >= MOST_WAITING:
                raise InputError(f"{MOST_WAITING} tasks are waiting; expected fewer, cancel one or wait")
            self._tasks[task.id] = task
            for old in list(self._tasks.values())[:-_KEPT]:
                del self._tasks[old.id]
        self._pool.submit(_work, task, work)
        return task

    def get(self, name: str) -> Task:
        """Return a task; InputError for an unknown one."""
        task = self._tasks.get(name)
        if task is None:
            raise InputError("no such task; expected one that was started since the app was")
        return task

    def close(self) -> None:
        """End all tasks."""
        for task in self._tasks.values():
            task.asked.set()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _work(task: Task, work: Callable[[Task], Sequence[Path]]) -> None:
    try:
        if task.asked.is_set():
            raise CancelledError
        task.state = "running"
        task.folders = work(task)
        task.state = "done"
    except CancelledError:
        task.state = "cancelled"
    except (InputError, StallError) as error:
        task.error, task.state = " ".join(str(error).split()), "failed"
    except MemoryError:
        task.error, task.state = "not enough memory; expected fewer requests or tokens", "failed"
    except OSError as error:
        task.error, task.state = f"the disk refused: {error.strerror or error}", "failed"
    except Exception as error:  # a fault of the simulator: the app lives on, and the terminal has the trace
        traceback.print_exc(file=sys.stderr)
        task.error, task.state = f"an error in servesim ({type(error).__name__}); see the terminal", "failed"


def simulate(scenario: Scenario, task: Task, files: Path | None = None) -> list[Path]:
    """Simulate and save a run; return its folder. ``files`` is the folder of a trace that was dropped.

    Raises InputError as ``run`` does and for too many requests, CancelledError, after which nothing is kept.
    """
    from simulator.scenario.run import run
    from simulator.workload import build

    with TemporaryDirectory(prefix="servesim-ui-") as nowhere:  # names are no files of the working directory
        base = files or Path(nowhere)
        check_count(len(build(scenario.workload, scenario.seed, base).arrival_s))

        def on_progress(time_s: float, done: int, total: int) -> None:
            task.done, task.total = done, total

        result = run(scenario, base_dir=base, on_progress=on_progress, should_stop=task.asked.is_set)
    if task.asked.is_set():
        raise CancelledError
    with claimed_anew(scenario.name[:80]) as folder:
        result.write(folder)
    task.done = task.total or task.done
    return [folder]


def simulate_all(scenarios: Sequence[Scenario], task: Task) -> list[Path]:
    """Simulate and save runs one after another; return their folders. Raises as ``run`` does, and CancelledError."""
    from simulator.scenario.run import run

    results = []
    task.count(0, len(scenarios))
    for scenario in scenarios:
        results.append(run(scenario, should_stop=task.asked.is_set))
        task.count(len(results), len(scenarios))
    folders = []
    for result, scenario in zip(results, scenarios, strict=True):
        with claimed_anew(scenario.name[:80]) as folder:
            result.write(folder)
        folders.append(folder)
    return folders


def search(
    scenario: Scenario, target: str, gpus: str, replicas: int, seeds: int, checks: bool, task: Task
) -> list[Path]:
    """Search for the cheapest cluster of some GPU types that keeps a target; return the folder of the plan.

    ``gpus`` are names with commas between, ``replicas`` the most of them; the target is kept with every one of the
    ``seeds``, and with ``checks`` the plan is tried with other traffic too. Raises InputError as ``plan`` does, and
    CancelledError, after which nothing is kept.
    """
    from simulator.functions.plan import plan

    space: dict[str, Any] = {"replicas": list(range(1, replicas + 1)), "tensor_parallel": [1]}
    names = [each.strip() for each in gpus.split(",") if each.strip()]
    if names:
        space["gpus"] = names
    with claimed_anew("plan") as folder:
        try:
            found = plan(
                scenario, [target], space=space, replications=seeds, checks=checks, out=folder, jobs=1,
                on_progress=task.count,
            )  # fmt: skip
            found.save(folder)
        except BaseException:
            for each in folder.iterdir():
                if each.is_dir():
                    rmtree(each)
            raise
    return [folder]
