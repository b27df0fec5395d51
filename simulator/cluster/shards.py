"""One simulation on several cores: replicas that need not know of one another, some in each process.

The processes are forks of this one: each plays its replicas to the end and sends back what they recorded, so
the tables are those of a single process, to the last bit.
"""

import gc
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.cluster.cluster import Cluster
from simulator.replica.records import Records
from simulator.replica.request import RequestState
from simulator.replica.taking import pack
from simulator.results.folding import Fold, Handed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# Requests that one process may have met more than another, where it hands over what it records
MOST_AHEAD = 1 << 16
Play = Callable[..., tuple[bool, str | None]]  # what a process does with its replicas: ``engine.play``


class Played(NamedTuple):
    """What a process has made of its replicas."""

    records: dict[int, Records]  # by replica
    refused: list[tuple[int, RequestState, float]]
    arrived: int
    now_s: float
    interrupted: bool
    stalled: str | None


def can_be_split(cluster: Cluster) -> bool:
    """Whether replicas need not know of one another, on a system that can fork."""
    if not cluster.apart or len(cluster.replicas) < 2:
        return False
    from multiprocessing import get_all_start_methods

    return "fork" in get_all_start_methods()


def play_split(
    cluster: Cluster,
    processes: int,
    play: Play,
    on_progress: Callable[[float, int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    fold: Fold | None = None,
) -> tuple[bool, str | None]:
    """Play a cluster that ``can_be_split`` in so many processes; return as ``play`` does.

    Where a process fails all is played here once more, so that the error is raised with where it comes from.
    Raises MemoryError if a process is gone.
    """
    import multiprocessing

    context, n = multiprocessing.get_context("fork"), len(cluster.replicas)
    processes = min(processes, n)
    stop = context.Event()
    workers, pipes = [], []
    gc.freeze()  # what there is by now is not copied for a look at it
    for number in range(processes):
        mine = range(n * number // processes, n * (number + 1) // processes)
        receiver, sender = context.Pipe(duplex=False)
        worker = context.Process(
            target=_work, args=(cluster, mine, play, sender, stop, fold is not None), daemon=True
        )
        with warnings.catch_warnings():
            # Of threads: those of a progress display hold nothing that a fork needs.
            warnings.simplefilter("ignore", DeprecationWarning)
            worker.start()
        sender.close()
        workers.append(worker)
        pipes.append(receiver)
    gc.unfreeze()
    try:
        parts = _collect(pipes, len(cluster.workload), stop, on_progress, should_stop, fold)
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
    if parts is not None:
        return _put_together(cluster, parts)
    if fold is not None:
        fold.begin(cluster.workload, cluster.frontend_s, cluster.deployment.horizon_s)
    return play(cluster, on_progress, should_stop, None if fold is None else fold.take)


def _collect(
    pipes: "Sequence[Connection]",
    total: int,
    stop: Any,
    on_progress: Callable[[float, int, int], None] | None,
    should_stop: Callable[[], bool] | None,
    fold: Fold | None,
) -> list[Played] | None:
    """Wait for all processes; tell how far they are together, and tell them to stop. None: one has failed."""
    from multiprocessing.connection import wait

    parts: dict[Connection, Played] = {}
    progress = dict.fromkeys(pipes, (0.0, 0))
    arrived = dict.fromkeys(pipes, 0)
    while len(parts) < len(pipes):
        at_work = [each for each in pipes if each not in parts]
        # One that is far ahead waits until it is listened to, as what it hands over is held until then
        furthest = min(arrived[each] for each in at_work) + MOST_AHEAD
        ready = wait([each for each in at_work if arrived[each] <= furthest], timeout=0.05)
        for pipe in (each for each in pipes if each in ready):
            try:
                found = pipe.recv()
            except EOFError:
                raise MemoryError("a process of this simulation is gone") from None
            if found is None:
                return None
            if isinstance(found, Played):
                parts[pipe] = found
            elif isinstance(found, Handed):
                assert fold is not None
                arrived[pipe] = found.arrived
                fold.take(found)
            else:
                progress[pipe] = found
        if should_stop is not None and should_stop():
            stop.set()
        if on_progress is not None:
            times_s, done = zip(*progress.values(), strict=True)
            on_progress(min(times_s), sum(done), total)
    return [parts[pipe] for pipe in pipes]


def _work(cluster: Cluster, mine: range, play: Play, pipe: "Connection", stop: Any, hands_over: bool) -> None:
    """Play some of the replicas and send what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears it and says what to do
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # one that is stopped has nothing to tell
    try:
        cluster.mine = mine
        interrupted, stalled = play(
            cluster,
            lambda now_s, done, _: pipe.send((now_s, done)),
            stop.is_set,
            pipe.send if hands_over else None,
        )
        cluster.close()
        for index in mine:
            pack(cluster.replicas[index], at_the_end=True)
        records = {index: cluster.replicas[index].recorded for index in mine}
        pipe.send(Played(records, cluster.refused, cluster.arrived, cluster.clock.now, interrupted, stalled))
    except MemoryError:
        raise SystemExit(1) from None
    except BaseException:  # whatever it is: it can be sent, but not where it was raised
        pipe.send(None)


def _put_together(cluster: Cluster, parts: Sequence[Played]) -> tuple[bool, str | None]:
    """Let the cluster have what the processes have done."""
    for part in parts:
        for index, records in part.records.items():
            cluster.replicas[index].recorded = records
    # Each process has met all requests, and refused the same ones.
    cluster.refused += max(parts, key=lambda part: len(part.refused)).refused
    cluster.closed = True
    cluster.traffic.have_arrived(max(part.arrived for part in parts))
    cluster.clock.advance_to(max(part.now_s for part in parts))
    stalls = [part.stalled for part in parts if part.stalled is not None]
    return any(part.interrupted for part in parts), stalls[0] if stalls else None
