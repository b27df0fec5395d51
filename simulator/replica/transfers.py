"""Jobs that move between engines with their KV cache: one engine's end of it.

At the source a job is *sending*: it holds its blocks until they have been copied. At the destination blocks are
*reserved* for it; if there are none it may request them, first come first served. Once *received* it takes the next
free seat, before the policy plans, and decodes.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from simulator.replica.job import Job, JobState
from simulator.replica.request import RequestState

if TYPE_CHECKING:
    from simulator.replica.ledger import StepLedger


class BlockRequest(NamedTuple):
    """A job that would come if there were blocks for it."""

    job: Job
    preempts: bool  # whether running jobs are preempted for it
    on_granted: Callable[[Job], None]


class Transfers:
    """What is sent from an engine and comes to it."""

    __slots__ = (
        "_awaited_tokens",
        "_engine",
        "detaching",
        "received",
        "requests",
        "reserved",
        "sending",
        "whole",
    )

    def __init__(self, engine: "StepLedger", *, whole: bool) -> None:
        """``whole``: jobs hold the blocks for all of their output from the beginning."""
        self.whole = whole
        self.sending: dict[Job, int] = {}  # blocks of jobs that go on elsewhere
        self.detaching: list[tuple[Job, Callable[[Job, bool], None]]] = []  # to leave before the next plan
        self.reserved: dict[Job, int] = {}  # blocks of jobs that come from elsewhere
        self.requests: deque[BlockRequest] = deque()
        self.received: deque[Job] = deque()  # jobs that wait for a seat
        self._engine = engine
        self._awaited_tokens: dict[
            Job, int
        ] = {}  # of jobs to come: those that count as outstanding here already

    @property
    def any(self) -> bool:
        """Whether blocks are held for jobs on their way."""
        return bool(self.sending or self.reserved)

    # At the destination

    def blocks_to_receive(self, job: Job) -> int:
        """KV blocks that a job which has all known tokens but the last computed brings along."""
        tokens = job.prompt_tokens + job.max_tokens if self.whole else job.known_tokens - 1
        return self._engine.blocks_for(tokens)

    def reserve(self, job: Job) -> bool:
        """Reserve blocks for a job that is to come, or some more if it has grown; False if there are none."""
        held = self.reserved.get(job, 0)
        missing = self.blocks_to_receive(job) - held
        kv = self._engine.kv
        if missing > kv.free_blocks:
            return False
        self._await(job, job.known_tokens)
        if missing > 0:
            elsewhere, job.blocks = job.blocks, held
            kv.take(job, missing)
            self.reserved[job], job.blocks = job.blocks, elsewhere
        return True

    def request(self, request: BlockRequest) -> None:
        """Queue for blocks; ``on_granted`` is called, once they are reserved, before a step is planned."""
        self.requests.append(request)
        self._engine.pending = True

    def cancel(self, job: Job) -> None:
        """Give back what is reserved for a job, or its request: it does not come."""
        if job in self.reserved:
            self._await(job, 0)
            self._free(job, self.reserved.pop(job))
        self.requests = deque(request for request in self.requests if request.job is not job)

    def receive(self, job: Job) -> None:
        """A job's KV has come into the blocks reserved for it."""
        job.move(JobState.RECEIVED)
        self._await(job, job.known_tokens)
        del self._awaited_tokens[job]
        job.blocks = self.reserved.pop(job)
        job.reserved = self.whole
        self.received.append(job)
        self._engine.pending = True

    def restart_last_received(self) -> bool:
        """Where nothing can go on because jobs without a seat hold the blocks: the last of them starts anew.

        False if there is none.
        """
        if not self.received:
            return False
        job = self.received.pop()
        self._engine.lose_cache(job)
        self._engine.enqueue(job, at_head=True)
        return True

    # At the source

    def detach(self, job: Job, told: Callable[[Job, bool], None]) -> None:
        """Take a decoding job out before the next step is planned; ``told`` whether it was still there."""
        self.detaching.append((job, told))
        self._engine.pending = True

    def send(self, job: Job) -> None:
        """A running job's part here is done: hold its blocks."""
        job.move(JobState.SENDING)
        self.sending[job], job.blocks = job.blocks, 0

    def sent(self, job: Job) -> None:
        """Free the blocks of a job that is elsewhere now."""
        self._free(job, self.sending.pop(job))
        self._engine.forget(job)

    def keep(self, job: Job) -> None:
        """Let a job that was to go stay: it takes the next seat."""
        job.move(JobState.RECEIVED)
        job.blocks = self.sending.pop(job)
        self._engine.outside_tokens += job.known_tokens
        self.received.append(job)
        self._engine.pending = True

    def end_in_transit(self, job: Job, state: RequestState, time_s: float) -> None:
        """Free the blocks of a job that ends between replicas, and record its end."""
        self.sent(job)
        self._engine.outside_tokens += job.known_tokens  # which are counted nowhere
        self._engine.end(job, state, time_s)

    # Before each plan

    def settle(self) -> None:
        """Jobs that are awaited elsewhere leave, those received take seats, requests for blocks are granted."""
        engine = self._engine
        detaching, self.detaching = self.detaching, []
        for job, told in detaching:
            there = job.group is not None and job in engine.running
            if there:
                engine.stop_running(job)
                engine.changed = False  # no decision of the policy
                self.send(job)
                engine.outside_tokens -= job.known_tokens
            told(job, there)
        most = min(
            engine.limits.max_num_seqs, engine.limits.max_num_batched_tokens
        )  # that decode in one step
        while self.received and len(engine.running) < most:
            engine.seat(self.received.popleft())
        while self.requests:
            job, preempts, on_granted = self.requests[0]
            if preempts:
                self._make_room_for(job)
            if not self.reserve(job):
                break
            self.requests.popleft()
            on_granted(job)
        engine.pending = bool(self.received or self.requests or self.detaching)

    def _make_room_for(self, job: Job) -> None:
        """Preempt running jobs for one that is to come, the last admitted first.

        Not those whose last token is in flight: they are about to free their blocks anyhow.
        """
        engine = self._engine
        victims = [each for each in engine.running if not each.completing]
        while victims and self.blocks_to_receive(job) > engine.kv.free_blocks:
            engine.preempt(victims.pop())

    def _await(self, job: Job, tokens: int) -> None:
        """Count so many tokens of a job that is to come as outstanding here; 0: it does not come."""
        self._engine.outside_tokens += tokens - self._awaited_tokens.pop(job, 0)
        if tokens:
            self._awaited_tokens[job] = tokens

    def _free(self, job: Job, blocks: int) -> None:
        """Free blocks of a job that may hold others elsewhere."""
        elsewhere, job.blocks = job.blocks, blocks
        self._engine.kv.release(job)
        job.blocks = elsewhere
