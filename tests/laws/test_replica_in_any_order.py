"""One replica to which anything is done in any order: it balances its KV, and nothing comes late or after an end."""

import copy
import os
from functools import partial

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from simulator.clock import Clock
from simulator.cluster.building import engine_for
from simulator.replica.effects import Effects
from simulator.replica.job import JobState
from simulator.replica.limits import Limits
from simulator.replica.replica import Replica
from simulator.replica.request import RequestState
from simulator.replica.state import ReplicaState
from simulator.scenario.discover import load
from simulator.testing import new_job
from simulator.workload.workload import Workload
from tests.engine_cases import CHOICES, EvenCost, RaggedCost, native
from tests.examples import examples
from tests.laws.test_speculation_laws import speculations

JOBS, LONGEST, MOST_EVENTS = 40, 24, 100_000
GAPS_S = st.sampled_from([0.25, 0.0043, 0.03, 0.1, 0.0, 1.0])
SELDOM = st.sampled_from([False, False, False, True])
RANDOM = os.environ.get("HYPOTHESIS_PROFILE") == "random"


def traffic():
    """Short prompts, half of each the beginning of all others."""
    draw = np.random.default_rng(0)
    prompts, outputs = draw.integers(1, LONGEST + 1, JOBS), draw.integers(1, LONGEST + 1, JOBS)
    segments = [[(0, (prompt + 1) // 2), (i + 1, prompt)] for i, prompt in enumerate(prompts.tolist())]
    arrival_s, streams = np.zeros(JOBS), np.arange(JOBS) + 1
    return Workload(
        "test", arrival_s, prompts, outputs, LONGEST, "a test", segments=segments, output_stream=streams
    )


TRAFFIC = traffic()


class AnyOrder(RuleBasedStateMachine):
    """Jobs come, leave, go elsewhere; the replica crashes, is repaired, drains, changes its role, is looked at."""

    @initialize(
        choice=st.sampled_from(CHOICES),
        seats=st.integers(1, 6),
        budget=st.sampled_from([48, 60, 200]),
        block_size=st.sampled_from([1, 4, 16]),
        room=st.sampled_from([1, 1.5, 5]),
        even=st.booleans(),
        stop_tokens=st.booleans(),
        speculation=st.one_of(st.none(), speculations()),
        watched=st.booleans(),
        role=st.sampled_from(["both", "both", "prefill"]),
    )
    def begin(self, choice, seats, budget, block_size, room, even, stop_tokens, speculation, watched, role):
        def policy():
            return load("scheduling", choice[0])(**choice[1])

        blocks = int((-(-2 * LONGEST // block_size) + 3) * room)
        limits = Limits(
            seats, budget, 2 * LONGEST + 1, blocks, block_size, num_cpu_blocks=9, stop_tokens=stop_tokens
        )
        self.clock, self.watched = Clock(), watched
        if speculation is not None and policy().splits_sms():
            speculation = None  # a scenario refuses it
        self.replica = Replica(
            self.clock, policy, EvenCost() if even else RaggedCost(),
            partial(engine_for, TRAFFIC, limits, speculation=copy.deepcopy(speculation)),
            Effects(ended=self.ended if watched else None, prompt_done=self.prompt_done),
            rules=native(policy), role=role,
        )  # fmt: skip
        self.jobs, self.sending, self.lost, self.ends, self.seen = [], [], [], {}, {}
        self.submit(4, 0)

    def ended(self, job, state, time_s):
        """Who watches for ends hears of each at once: ``next_effect_s`` was no later."""
        assert job not in self.ends
        assert time_s == self.clock.now
        self.ends[job] = state

    def prompt_done(self, job, replica):
        assert job.state is JobState.SENDING
        self.sending.append(job)

    @precondition(lambda self: self.replica.state is ReplicaState.SERVING)
    @rule(count=st.integers(1, 4), priority=st.integers(0, 2))
    def submit(self, count, priority):
        """Jobs come, those first that a crash has lost."""
        for _ in range(count):
            if self.lost:
                job = self.lost.pop(0)
            elif len(self.jobs) < JOBS:
                job = self.new_job(priority)
            else:
                return
            job.target_tokens = job.output_tokens
            if self.replica.role == "prefill":
                job.target_tokens = min(job.output_tokens, job.generated + 1)
            self.replica.submit(job)

    def new_job(self, priority):
        row, prompts, outputs = len(self.jobs), TRAFFIC.prompt_tokens, TRAFFIC.output_tokens
        now_s = self.clock.now
        job = new_job(row, now_s, int(prompts[row]), int(outputs[row]), LONGEST, priority=priority)
        self.jobs.append(job)
        return job

    @rule(gap_s=GAPS_S, last=st.booleans())
    def wait(self, gap_s, last):
        """Be later, before what is due at that instant or after it."""
        until_s = self.clock.now + gap_s
        event = self.clock.last_at(until_s) if last else self.clock.at(until_s)
        for _ in range(MOST_EVENTS):
            if event.processed:
                return
            self.clock.run_some(1)
        raise AssertionError("no end")

    @rule(place=st.integers(0, JOBS))
    def leave(self, place):
        here = (JobState.WAITING, JobState.RUNNING, JobState.SWAPPED, JobState.RECEIVED)
        self.replica.catch_up()
        jobs = [job for job in self.jobs if job.state in here]
        if jobs:
            self.replica.leave(jobs[place % len(jobs)], RequestState.ABANDONED_BY_USER)

    @precondition(lambda self: self.sending)
    @rule(stays=st.booleans(), takes_seat=st.booleans())
    def copied(self, stays, takes_seat):
        """A job is elsewhere, or could not be taken there."""
        job = self.sending.pop(0)
        transfers = self.replica.engine.transfers
        if stays:
            job.target_tokens = job.output_tokens
            transfers.keep(job, takes_seat=takes_seat)
        else:
            transfers.end_in_transit(job, RequestState.FAILED, self.clock.now)
        self.replica.wake()

    @precondition(lambda self: self.replica.state.up)
    @rule(seldom=SELDOM)
    def crash(self, seldom):
        if not seldom:
            return
        lost = self.replica.crash()
        assert all(job.state is JobState.UNPLACED and not job.blocks for job in lost)
        assert set(self.sending) <= set(lost)
        self.lost += lost
        self.sending.clear()
        self.replica.move(self.replica.state.crashed())

    @precondition(lambda self: not self.replica.state.up)
    @rule()
    def repair(self):
        self.replica.move(self.replica.state.repaired())

    @precondition(lambda self: self.replica.state.up)
    @rule(seldom=SELDOM)
    def drain(self, seldom):
        """Begin to drain, or be taken back."""
        serving = self.replica.state is ReplicaState.SERVING
        if serving and not seldom:
            return
        self.replica.move(ReplicaState.DRAINING if serving else ReplicaState.SERVING)

    @rule(role=st.sampled_from(["both", "prefill", "decode"]))
    def take_role(self, role):
        self.replica.take_role(role)

    @rule()
    def look(self):
        """What is seen twice at an instant is the same."""
        one, two = (
            (each.outstanding_tokens, each.outstanding_requests, each.free_blocks, each.next_effect_s())
            for each in (self.replica, self.replica)
        )
        assert one == two
        assert one[3] >= self.clock.now or not self.watched

    @invariant()
    def kv_is_balanced(self):
        engine = self.replica._engine  # as far as it was simulated, without a look
        transfers = engine.transfers
        assert 0 <= engine.free_blocks <= engine.total_blocks
        held = sum(engine.blocks_held(job) + job.fixed_blocks for job in engine.running)
        held += sum(job.blocks for job in (*engine.waiting, *transfers.received))
        held += sum(transfers.sending.values()) + sum(transfers.reserved.values())
        held += sum(blocks for blocks, _, _ in engine.unended)
        used = engine.total_blocks - engine.free_blocks
        assert used == held if engine.cache is None else used <= held + len(engine.running)

    @invariant()
    def outstanding_tokens_are_those_of_its_jobs(self):
        engine = self.replica._engine
        here = (*engine.waiting, *engine.running, *engine.swapped, *engine.transfers.received)
        assert engine.outstanding_tokens == sum(job.known_tokens for job in here if not job.completing)

    @invariant()
    def states_are_places(self):
        engine = self.replica._engine
        transfers = engine.transfers
        places = {
            JobState.WAITING: engine.waiting, JobState.RUNNING: engine.running, JobState.SWAPPED: engine.swapped,
            JobState.SENDING: transfers.sending, JobState.RECEIVED: transfers.received,
        }  # fmt: skip
        for state, place in places.items():
            assert set(place) == {job for job in self.jobs if job.state is state}
        assert {job for job in self.jobs if job.state is JobState.UNPLACED} == set(self.lost)

    @invariant()
    def tokens_are_not_taken_back(self):
        """Nor do any come after the end, or more than there are."""
        for job in self.jobs:
            undelivered = self.replica.undelivered_tokens(
                job
            )  # which looks at the replica, so before the others
            ended = job.state is JobState.ENDED
            tokens = job.generated_tokens - (0 if ended else undelivered)
            before, over = self.seen.get(job, (0, False))
            assert before <= tokens <= job.output_tokens
            assert not over or tokens == before
            self.seen[job] = tokens, ended
            if self.ends.get(job) is RequestState.COMPLETED:
                assert tokens == job.output_tokens

    def teardown(self):
        """All that is here ends, and nothing is left."""
        if not hasattr(self, "replica"):
            return
        if self.replica.state is ReplicaState.DOWN_DRAINING or self.replica.state is ReplicaState.DOWN:
            self.repair()
        for _ in range(3 * JOBS):
            self.wait(100.0, True)
            self.replica.catch_up()  # one that is not watched does nothing before
            if self.sending:
                self.copied(False, False)
            elif not self.replica.outstanding_requests:
                break
        replica = self.replica
        assert replica.free_blocks == replica.total_blocks
        assert replica.outstanding_requests == replica.outstanding_tokens == 0
        assert all(job.state is JobState.ENDED or job in self.lost for job in self.jobs)
        self.tokens_are_not_taken_back()


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=3000 if RANDOM else examples(80), stateful_step_count=40, deadline=None
)
