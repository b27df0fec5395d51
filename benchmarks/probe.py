"""Writes a replica's steps down as the recordings of vLLM's schedulers have them."""

from collections.abc import Callable, Sequence
from typing import Any

from simulator.cli.version import is_compiled
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState


class Probe:
    """Looks over the shoulder of a replica's engine and writes each step down as the recordings do."""

    def __init__(self, replica: Replica, order: Callable[..., Any], more: Any = None) -> None:
        """``order`` sorts a step's entries; ``more`` adds columns when a step is planned and when it ends."""
        self.engine, self.order, self.more = replica.engine, order, more
        self.policy: Any = replica.policy
        self.rows: list[dict[str, Any]] = []
        self.unfinished_rows: list[dict[str, Any]] = []
        kind = type(self.engine)
        if is_compiled():
            raise RuntimeError(
                "the core is compiled, so it cannot be looked into; expected it interpreted (make pure)"
            )
        probe = self

        class Watched(kind):  # type: ignore[valid-type, misc]
            """The replica's engine, telling the probe before each of the two moments of a step."""

            __slots__ = ()

            def open(self, now_s: float) -> None:
                probe.before = dict.fromkeys(self.running)
                probe.was_swapped = dict(self.swapped)
                probe.ended = self.records.count("ended")
                super().open(now_s)

            def only_decodes(self, completing: object) -> bool:
                return False  # every step is to be seen

            def advance(self) -> Sequence[Job]:
                probe.planned()
                completing: Sequence[Job] = super().advance()
                return completing

            def retire(self, completing: Sequence[Job], end_s: float) -> None:
                ending = [*completing, *self.unended[0][2]]
                super().retire(completing, end_s)
                probe.retired([job for job in ending if job.completing], end_s)

        self.before: dict[Job, None] = {}
        self.was_swapped: dict[Job, None] = {}
        self.ended = 0
        self.engine.__class__ = Watched
        replica._admits_all = False

    def planned(self) -> None:
        engine = self.engine
        entries = [
            (job, 1, job.computed_tokens) for job in engine.running if engine.ticks and job.group is not None
        ]
        entries += [(job, tokens, job.computed) for job, tokens in engine.chunks.items()]
        entries.sort(key=lambda entry: self.order(self, *entry))
        swapped_in = [job.id for job in self.was_swapped if job in engine.running]
        ended = engine.records.rows("ended")[:, self.ended :].T.tolist()
        ignored = [int(job) for job, state, _ in ended if state == RequestState.FAILED]
        row = {
            "t_sched_ns": engine.now_s,
            "sched": [_entry(*entry) for entry in entries],
            "preempted": [job.id for job in engine.preempted if job not in engine.swapped],
            "free_after_sched": engine.free_blocks,
            "swapped_out": [job.id for job in engine.preempted if job in engine.swapped],
            "swapped_in": sorted(swapped_in, key=lambda i: swap_rank(self, i)),
            "swap_out_blocks": engine.shape.swap_out_blocks,
            "swap_in_blocks": engine.shape.swap_in_blocks,
            "ignored": ignored,
        }
        if self.more is not None:
            row |= self.more.planned(self)
        self.rows.append(row)
        self.unfinished_rows.append(row)

    def retired(self, completing: Sequence[Job], end_s: float) -> None:
        engine, row = self.engine, self.unfinished_rows.pop(0)
        row["finished"] = sorted(job.id for job in completing)
        row["free_after_step"] = engine.free_blocks
        row["n_running"] = len(engine.running)
        # The engine takes in what arrived during a step only after the update that is looked at here.
        row["n_waiting"] = sum(job.arrival_s <= engine.now_s for job in engine.waiting)
        row["n_swapped"] = len(engine.swapped)
        row["free_cpu_after_step"] = engine.free_cpu_blocks
        if self.more is not None:
            row |= self.more.retired(self)


class Order:
    """The order in which an engine lists what it scheduled."""

    def __init__(self, engine: str, chunked: bool) -> None:
        self.v0, self.chunked = "v0" in engine, chunked

    def __call__(self, probe: Probe, job: Job, tokens: int, computed: int) -> Any:
        if not self.v0:
            return job.admission  # running ones in their order, then the newly admitted
        decode = _is_decode(job, tokens, computed)
        swapped_in, new = job in probe.was_swapped, job not in probe.before
        if not self.chunked:
            group = 0 if not decode and not swapped_in else 2 if swapped_in else 1
        elif decode:
            group = 4 if swapped_in else 3
        else:
            group = 2 if swapped_in else 0 if new else 1
        listed = probe.policy._order
        rank = listed.index(job) if job in listed else -1
        return (group, rank, rank) if new and not swapped_in else (group, job.arrival_s, rank)


def swap_rank(probe: Probe, request: int) -> Any:
    return next((job.arrival_s, i) for i, job in enumerate(probe.was_swapped) if job.id == request)


def _is_decode(job: Job, tokens: int, computed: int) -> bool:
    last = tokens == 1 and computed == job.known_tokens - 1
    return last and job.generated_tokens > 0 and not job.recomputes


def _entry(job: Job, tokens: int, computed: int) -> Any:
    return job.id if _is_decode(job, tokens, computed) else [job.id, tokens, computed]
