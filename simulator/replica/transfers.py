"""Jobs that move between engines with their KV cache: one engine's end of it.

At the source a job is *sending*: it holds its blocks until they have been copied. At the destination it asks for
blocks, which are *reserved* for it when the next step is planned and a seat is free. When its KV has come, a job that
was handed over waits in the queue with it, and the policy says when it decodes; one that migrated takes the next seat.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from simulator.replica.job import Job, JobState
from simulator.replica.kv import PrefixCache
from simulator.replica.request import RequestState
from simulator.replica.shortage import STUCK

if TYPE_CHECKING:
    from simulator.replica.ledger import StepLedger


class BlockRequest(NamedTuple):
    """A job that would come with the KV of so many tokens if there were blocks for it."""

    job: Job
    tokens: int
    preempts: bool  # whether running jobs are preempted for it
    on_granted: Callable[[Job, int], None]  # with how many tokens the prefix cache had already
    on_short: Callable[[], None] | None = None  # asked to give blocks back when there are none for it


class Transfers:
    """What is sent from an engine and comes to it."""

    __slots__ = (
        "_awaited_tokens",
        "_engine",
        "_found_tokens",
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
        self._found_tokens: dict[Job, int] = {}  # of those, what the prefix cache held already, if any
        self.requests: deque[BlockRequest] = deque()  # in the order of the policy's queue
        self.received: deque[Job] = deque()  # jobs that take the next seats
        self._engine = engine
        # Of jobs to come: those that count as outstanding here already
        self._awaited_tokens: dict[Job, int] = {}

    @property
    def any(self) -> bool:
        """Whether blocks are held for jobs on their way."""
        return bool(self.sending or self.reserved)

    # At the destination

    def blocks_to_receive(self, job: Job, tokens: int) -> int:
        """KV blocks that a job takes which brings the KV of so many tokens along."""
        held_for = job.prompt_tokens + job.max_tokens if self.whole else tokens
        return -(-held_for // self._engine.block_size)

    def room_for(self, job: Job, tokens: int) -> bool:
        """Whether there are blocks for the KV of so many tokens beside those that were asked for before."""
        wanted = self.blocks_to_receive(job, tokens) - self.reserved.get(job, 0)
        for each in self.requests:
            wanted += self.blocks_to_receive(each.job, each.tokens) - self.reserved.get(each.job, 0)
        return wanted <= self._engine.kv.free_blocks

    def expect(self, job: Job) -> None:
        """A job has been sent here, though nothing of it is here yet: count its tokens as outstanding."""
        self._await(job, job.known_tokens)

    def reserve(self, job: Job, tokens: int, *, sharing: bool = False) -> bool:
        """Reserve blocks for the KV of so many tokens, or some more if the job has grown; False if there are none.

        With ``sharing`` what the prefix cache holds of the job is not taken anew.
        """
        held = self.reserved.get(job, 0)
        missing = self.blocks_to_receive(job, tokens) - held
        kv, cache = self._engine.kv, self._engine.cache
        if sharing and cache is not None and not held:
            if not self._share(cache, job, missing):
                return False
        elif missing > kv.free_blocks:
            return False
        elif missing > 0:
            elsewhere, job.blocks = job.blocks, held
            kv.take(job, missing)
            self.reserved[job], job.blocks = job.blocks, elsewhere
        else:
            self.reserved[job] = held
        if self._awaited_tokens.get(job) != (tokens := job.known_tokens):
            self._await(job, tokens)
        return True

    def _share(self, cache: PrefixCache, job: Job, blocks: int) -> bool:
        """Hold what the cache has of a job that comes, and take the rest of its blocks; False if they are not there."""
        if cache.blocks_to_admit(job, blocks * cache.block_size) > cache.free_blocks:
            return False
        elsewhere = job.blocks, job.computed
        self._found_tokens[job] = cache.begin(job)
        if blocks > job.blocks:
            cache.take(job, blocks - job.blocks)
        self.reserved[job] = job.blocks
        job.blocks, job.computed = elsewhere
        return True

    def request(self, request: BlockRequest) -> None:
        """Queue for blocks; ``on_granted`` is called, once they are reserved, before a step is planned."""
        key = self._engine.queue_key
        if key is None:
            self.requests.append(request)
        else:
            place = bisect_right(self.requests, key(request.job), key=lambda each: key(each.job))
            self.requests.insert(place, request)
        self._engine.pending = True

    def cancel(self, job: Job) -> None:
        """Give back what is reserved for a job, or its request: it does not come."""
        self._await(job, 0)
        if job in self.reserved:
            self._found_tokens.pop(job, None)
            self._free(job, self.reserved.pop(job))
            self._engine.forget(job)
        self.requests = deque(request for request in self.requests if request.job is not job)

    def receive(self, job: Job, *, takes_seat: bool) -> None:
        """A job's KV has come into the blocks reserved for it: it takes the next seat, or waits in the queue."""
        self._engine.outside_tokens += job.known_tokens - self._awaited_tokens.pop(job, 0)
        job.blocks = self.reserved.pop(job)
        job.reserved = self.whole
        self._go_on(job, takes_seat)

    def restart_last_received(self) -> bool:
        """Where nothing can go on because jobs that do not run hold the blocks: the last of them starts anew.

        False if there is none.
        """
        engine = self._engine
        if self.received:
            job = self.received.pop()
            engine.lose_cache(job, STUCK, 0)
            engine.enqueue(job, at_head=True)
            return True
        if self.reserved:  # which may bring a change
            return False
        for job in reversed(engine.waiting):
            if job.waits_with_kv:
                engine.lose_cache(job, STUCK, 0)
                return True
        return False

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

    def keep(self, job: Job, *, takes_seat: bool) -> None:
        """Let a job that was to go stay, as if its KV had come."""
        job.blocks = self.sending.pop(job)
        self._engine.outside_tokens += job.known_tokens
        self._go_on(job, takes_seat)

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
            # One whose client has left, and which ends with its next token, stays to do so
            there = job.group is not None and job in engine.running and job not in engine.dropped
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
        self._grant()

    def settle_requests(self) -> None:
        """Do what ``settle`` does where there is nothing but requests for blocks, and none preempts."""
        if self.requests and not (self.received or self.detaching or self.requests[0].preempts):
            self._grant()

    def _grant(self) -> None:
        """Give blocks to those who ask for them, in their order, while there is a seat."""
        engine = self._engine
        while self.requests:
            job, tokens, preempts, on_granted, on_short = self.requests[0]
            if preempts:
                self._make_room_for(job, tokens)
            elif engine.seats <= 0:  # vLLM pulls only what it would start, were it there (Scheduler.schedule)
                break
            granted = self.reserve(job, tokens, sharing=True)
            if not granted and on_short is not None:
                on_short()
                granted = self.reserve(job, tokens, sharing=True)
            if not granted:
                break
            self.requests.popleft()
            on_granted(job, self._found_tokens.pop(job, 0))
        engine.pending = bool(self.received or self.requests or self.detaching)

    def _make_room_for(self, job: Job, tokens: int) -> None:
        """Preempt running jobs for one that is to come, the last admitted first.

        Not those whose last token is in flight: they are about to free their blocks anyhow.
        """
        engine = self._engine
        victims = [each for each in engine.running if not each.completing]
        missing = self.blocks_to_receive(job, tokens) - self.reserved.get(job, 0)
        while victims and missing > engine.kv.free_blocks:
            engine.preempt(victims.pop(), for_job=job)

    def _go_on(self, job: Job, takes_seat: bool) -> None:
        """Let a job whose KV is here take the next seat, or wait in the queue."""
        job.brought = True
        if takes_seat:
            job.move(JobState.RECEIVED)
            self.received.append(job)
            self._engine.pending = True
        else:
            self._engine.enqueue_with_kv(job)

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
