"""Jobs that cross from one replica to another with their KV cache: the books at either end.

At the source a job that leaves is *departing*: it holds its blocks until they have been copied. At the
destination blocks are set aside for it (*incoming*); if there are none it may *claim* them, first come
first served. When it has come it takes the next free seat, before the policy plans, and decodes.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from simulator.replica.ledger import Ledger
from simulator.replica.limits import Limits
from simulator.replica.request import Job, RequestState


class Claim(NamedTuple):
    """A job that would come if there were blocks for it."""

    job: Job
    by_force: bool  # whether running jobs are preempted for it
    granted: Callable[[Job], None]


class Crossing(Ledger):
    """A ledger with doors: what only hand-offs, migrations and faults may do to it."""

    __slots__ = (
        "_awaited_tokens", "claims", "departing", "detaching", "incoming", "on_hand_off", "seatless", "whole",
    )  # fmt: skip

    def __init__(
        self, limits: Limits, *, null_blocks: int = 0, queue_key: Callable[[Job], Any] | None = None
    ) -> None:
        super().__init__(limits, null_blocks=null_blocks, queue_key=queue_key)
        self.whole = False  # whether jobs hold the blocks for all of their output from the beginning
        self.on_hand_off: Callable[[Job], None] | None = None  # told whose part here is done
        self.departing: dict[Job, int] = {}  # blocks of jobs that go on elsewhere
        self.detaching: list[tuple[Job, Callable[[Job, bool], None]]] = []  # to leave before the next plan
        self.incoming: dict[Job, int] = {}  # blocks set aside for jobs that come from elsewhere
        self._awaited_tokens: dict[Job, int] = {}  # those that count as outstanding here already
        self.claims: deque[Claim] = deque()
        self.seatless: deque[Job] = deque()  # jobs that have come and wait for a seat

    def blocks_to_receive(self, job: Job) -> int:
        """KV blocks that a job which has all known tokens but the last computed brings along."""
        return self.blocks_for(job.prompt_tokens + job.max_tokens if self.whole else job.known_tokens - 1)

    def reserve(self, job: Job) -> bool:
        """Set blocks aside for a job that is to come, or some more if it has grown; False if there are none."""
        held = self.incoming.get(job, 0)
        missing = self.blocks_to_receive(job) - held
        if missing > self.free_blocks:
            return False
        self._await(job, job.known_tokens)
        if missing > 0:
            elsewhere, job.blocks = job.blocks, held
            self._take(job, missing)
            self.incoming[job], job.blocks = job.blocks, elsewhere
        return True

    def claim(self, claim: Claim) -> None:
        """Queue for blocks; ``granted`` is called, once they are set aside, before a step is planned."""
        self.claims.append(claim)
        self.doors = True

    def unreserve(self, job: Job) -> None:
        """Give blocks or the claim to them back: the job does not come."""
        if job in self.incoming:
            self._await(job, 0)
            self._give_back(job, self.incoming.pop(job))
        self.claims = deque(claim for claim in self.claims if claim.job is not job)

    def receive(self, job: Job) -> None:
        """Let a job in whose KV has come into the blocks set aside for it."""
        self._await(job, job.known_tokens)
        del self._awaited_tokens[job]
        job.blocks = self.incoming.pop(job)
        job.reserved = self.whole
        self.seatless.append(job)
        self.doors = True

    def detach(self, job: Job, told: Callable[[Job, bool], None]) -> None:
        """Take a decoding job out before the next step is planned; ``told`` whether it was still there."""
        self.detaching.append((job, told))
        self.doors = True

    def let_go(self, job: Job) -> None:
        """Free the blocks of a departing job, which is elsewhere now."""
        self._give_back(job, self.departing.pop(job))

    def take_back(self, job: Job) -> None:
        """Let a departing job stay: it takes the next seat."""
        job.blocks = self.departing.pop(job)
        self._outside_tokens += job.known_tokens
        self.seatless.append(job)
        self.doors = True

    def turn_away(self) -> bool:
        """Where nobody can go on because jobs without a seat hold the blocks: the last of them starts anew.

        False if there is none.
        """
        if not self.seatless:
            return False
        job = self.seatless.pop()
        self._lose_cache(job)
        self._enqueue(job, at_head=True)
        return True

    def write_off(self, job: Job, state: RequestState, time_s: float) -> None:
        """Free the blocks of a departing job that ends between replicas, and write its end down."""
        self.let_go(job)
        self._outside_tokens += job.known_tokens  # which nobody counts there
        self._end(job, state, time_s)

    def crash(self, now_s: float, ticks_under_way: int, steps_under_way: int) -> list[Job]:
        """Lose everything in memory, and the steps under way; return the jobs that were here.

        They have the tokens of the steps that ended, and nothing computed. The books are closed for good.
        """
        gone = dict(reversed(self._leaving))  # of a job that was dropped twice the first time counts
        for job, state in gone.items():
            if job in self.running or job in self.waiting or job in self.swapped or job in self.seatless:
                self._end(job, state, now_s)
        jobs = [*self.running, *self.waiting, *self.swapped, *self.seatless, *self.departing]
        for job in self.running:
            if job._decoding is not None:
                self.group.leave(job)
        lost = dict.fromkeys((job.id for job in jobs), 0)
        ended_ticks = self.group.tick - ticks_under_way
        spans = self.records.rows("spans").T
        for request, first, count in spans[spans[:, 1] + spans[:, 2] > ended_ticks].tolist():
            if request in lost:
                lost[request] += first + count - max(first, ended_ticks)
        ends = self.records.rows("prompt_ends").T
        for request in ends[ends[:, 1] >= self.step - steps_under_way, 0].tolist():
            if request in lost:
                lost[request] += 1
        for job in jobs:
            job._generated -= lost[job.id]
            job._computed = job.blocks = 0
            job.reserved = False
        self.records.under_way = steps_under_way
        return [job for job in jobs if job not in gone]

    def _let_in_and_out(self) -> None:
        """Before a step is planned: jobs that are awaited elsewhere go, those that have come take seats."""
        detaching, self.detaching = self.detaching, []
        for job, told in detaching:
            there = job._decoding is not None and job in self.running
            if there:
                self._stop_running(job)
                self.changed = False  # no decision of the policy
                self._depart(job)
                self._outside_tokens -= job.known_tokens
            told(job, there)
        most = min(self.limits.max_num_seqs, self.limits.max_num_batched_tokens)  # that decode in one step
        while self.seatless and len(self.running) < most:
            self._seat(self.seatless.popleft())
        while self.claims:
            job, by_force, granted = self.claims[0]
            if by_force:
                self._make_room_for(job)
            if not self.reserve(job):
                break
            self.claims.popleft()
            granted(job)
        self.doors = bool(self.joined or self.seatless or self.claims or self.detaching)

    def _make_room_for(self, job: Job) -> None:
        """Preempt running jobs for one that is to come, the last admitted first.

        Not those whose last token is under way: they are about to free their blocks anyhow.
        """
        victims = [each for each in self.running if not each.completing]
        while victims and self.blocks_to_receive(job) > self.free_blocks:
            self.preempt(victims.pop())

    def _await(self, job: Job, tokens: int) -> None:
        """Count so many tokens of a job that is to come as outstanding here; 0: it does not come."""
        self._outside_tokens += tokens - self._awaited_tokens.pop(job, 0)
        if tokens:
            self._awaited_tokens[job] = tokens

    def _hand_over(self, job: Job, time_s: float) -> None:
        """A job's part here is done; unless it was dropped while its last step here was under way, it goes on."""
        self._depart(job)
        dropped = [state for each, state in self._leaving if each is job]
        if dropped:
            self.write_off(job, dropped[0], time_s)
        else:
            assert self.on_hand_off is not None
            self.on_hand_off(job)

    def _depart(self, job: Job) -> None:
        self.departing[job], job.blocks = job.blocks, 0

    def _seat(self, job: Job) -> None:
        self.running[job] = None
        job.admission = self._admissions
        self._admissions += 1
        self._outside_tokens -= job.known_tokens
        self.group.join(job)
        self.joined.append(job)

    def _give_back(self, job: Job, blocks: int) -> None:
        """Free blocks of a job that may hold others elsewhere."""
        elsewhere, job.blocks = job.blocks, blocks
        self._release(job)
        job.blocks = elsewhere
