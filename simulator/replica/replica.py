"""One engine instance: a passive state machine that is never ahead of whoever asks.

Its steps depend only on what was submitted and when, so they are computed as late as anybody looks: ``run_until``.
Nothing is predicted, so nothing is taken back. Only where the ends of its steps reach others it has a timer, at
``next_effect_s``, a lower bound of the next such end.
"""

from collections import deque
from collections.abc import Callable
from itertools import islice
from math import inf, nextafter
from typing import Literal

from simulator.clock import Clock
from simulator.errors import StallError
from simulator.replica.bounds import effect_bound_s, load_bound_s
from simulator.replica.cost import CostModel
from simulator.replica.effects import NO_EFFECTS, Effects
from simulator.replica.engine import NO_JOBS, MakeEngine
from simulator.replica.fast_forward import fast_forward
from simulator.replica.job import Job
from simulator.replica.policy import Scheduler
from simulator.replica.records import Records
from simulator.replica.request import RequestState
from simulator.replica.rules import DEFAULT_RULES, EngineRules
from simulator.replica.state import NEXT, ReplicaState
from simulator.replica.view import View

Role = Literal["both", "prefill", "decode"]

# Steps without a single new token that are always allowed; beyond them as many again as there are
# tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS = 1000
MOST_STEPS = 1 << 20  # that are run at once: enough for any output, and bounded


class Replica(View):
    """A server with one GPU group, its queue and its KV cache."""

    def __init__(
        self,
        clock: Clock,
        policy: Callable[[], Scheduler],
        cost: CostModel,
        engine: MakeEngine,
        effects: Effects = NO_EFFECTS,
        *,
        rules: EngineRules = DEFAULT_RULES,
        index: int = 0,
        role: Role = "both",
        state: ReplicaState = ReplicaState.SERVING,
    ) -> None:
        """Have nothing to do until the first job is submitted; ``index`` is its number in the cluster."""
        self.clock = clock
        self.cost = cost
        self.effects = effects
        self.index = index
        self.state = state
        self.past: list[Records] = []  # of the incarnations before each crash
        self._role: Role = role
        self._alone = effects.alone
        self._new_policy, self._new_engine, self._rules = policy, engine, rules
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Have nothing in memory."""
        self.policy = self._new_policy()
        rules = self._rules.serving(self.policy)
        self._depth, self._spare_blocks = rules.pipeline_depth, self.policy.coast_spare_blocks()
        self._engine = self._new_engine(
            self.policy,
            rules,
            price=self.cost.step_s,
            decode_piece=getattr(self.cost, "decode_piece", None),
            on_end=self.effects.ended,
            on_prompt_done=self._prompt_done,
        )
        self.in_flight = deque()
        self._now_s = 0.0  # when it plans next, or planned last
        self.busy_until_s = 0.0  # when the last planned step ends
        self._to_plan = False  # whether it plans at ``_now_s``
        self._running = False  # whether ``run_until`` is at work
        self._late = False  # whether it plans in an extra turn of this instant
        self._due_s = inf  # when its next turn is

    def _prompt_done(self, job: Job) -> None:
        assert self.effects.prompt_done is not None
        self.effects.prompt_done(job, self)

    # What others do to it

    def submit(self, job: Job) -> None:
        """Queue an arriving job; it is seen by any step planned at this instant or later."""
        job.replica = self
        if not self._running:
            self.run_until(self.clock.ended_before(self.index))
        self._engine.submit(job)
        if not self._alone or not self.in_flight:
            self.wake()

    def leave(self, job: Job, state: RequestState) -> None:
        """Drop a job before the next step is planned; it ends in ``state``."""
        self.engine.leave(job, state)
        self.wake()

    def crash(self) -> list[Job]:
        """Lose everything in memory; return the jobs that were here."""
        engine = self.engine
        ticks = sum(ticked for _, _, ticked in self.in_flight)
        jobs = engine.crash(self.clock.now, ticks, len(self.in_flight))
        self.past.append(engine.records)
        self._begin_anew()
        self._rest(self.clock.now)
        return jobs

    def wake(self) -> None:
        """The engine's state has changed: an idle replica plans, in its turn of this instant."""
        if self._running:
            return
        if self.in_flight:
            if not self._alone:
                self._set_timer(self.next_effect_s())
            return
        if self._to_plan or not self._engine.anything_to_do():
            return
        self._now_s, self._to_plan = self.clock.now, True
        if self.clock.turn_over(self.index):
            self._late = True
        elif self.next_effect_s() == inf:
            return
        self._set_timer(self.clock.now)

    def catch_up(self) -> None:
        """Be where the clock is."""
        if not self._running:
            self.run_until(self.clock.ended_before(self.index))

    @property
    def role(self) -> Role:
        """What it computes of a request."""
        return self._role

    def take_role(self, role: Role) -> None:
        """Compute something else of the requests to come."""
        self._role = role
        self.catch_up()
        self._set_timer(self.next_effect_s())

    def move(self, state: ReplicaState) -> None:
        """Go over to a state, the one place where that happens."""
        assert state in NEXT[self.state], f"replica {self.index} cannot be {state} after {self.state}"
        self.state = state
        if state.up:
            self.catch_up()
            self._set_timer(self.next_effect_s())

    # When others have to look

    def next_effect_s(self) -> float:
        """Return a lower bound of when the end of a step can reach others; infinite if none can."""
        if self._alone:
            return inf
        engine, in_flight, effects = self._engine, self.in_flight, self.effects
        watched, draining = effects.ended is not None, self.state is ReplicaState.DRAINING
        coupled = watched or draining or effects.every_step or self._role == "prefill"
        if not (coupled or engine.transfers.requests or engine.transfers.detaching):
            return inf
        if self._to_plan:
            return self._now_s
        if not in_flight:
            return inf
        return effect_bound_s(engine, in_flight, watched, effects.last_chunk is not None)

    def load(self) -> tuple[int, float]:
        """Return outstanding tokens as computed so far, and until when they can only become more."""
        engine, in_flight, group = self._engine, self.in_flight, self._engine.group
        tokens = engine.outside_tokens + group.context_base + group.size * group.tick
        if self._to_plan:
            return tokens, self._now_s
        return tokens, load_bound_s(engine, in_flight) if in_flight else inf

    def take_turn(self, time_s: float) -> None:
        """Plan what is planned by now, as it is this replica's turn, unless it asked for another time since."""
        if time_s == self._due_s:
            self._due_s, self._late = inf, False
            self.run_until(nextafter(time_s, inf))
            self._set_timer(self.next_effect_s())

    def _set_timer(self, due_s: float) -> None:
        """Have a turn no later than that."""
        if due_s < self._due_s:
            self._due_s = self.clock.turn_at(due_s, self)

    # The loop

    def run_until(self, time_s: float, most_steps: float = inf) -> bool:
        """Decide all that is decided before ``time_s``; steps that end before it have ended.

        Returns whether it came so far; it stops early after ``most_steps`` plans.
        """
        in_flight = self.in_flight
        if not self._to_plan and (not in_flight or in_flight[0][0] >= time_s):
            return True
        engine, forwards, waits_for = self._engine, self._spare_blocks is not None, self._depth - 1
        self._running = True
        while True:
            if self._to_plan:
                if self._now_s >= time_s or (self._late and time_s == nextafter(self._now_s, inf)):
                    break
                if most_steps <= 0:
                    self._running = False
                    return False
                most_steps -= 1
                self._to_plan = self._late = False
                alike = forwards and not engine.waiting and len(in_flight) == waits_for
                if not (alike and self._fast_forward(time_s)):
                    self._plan()
                    if not in_flight:
                        self._running = False
                        self._rest(self._now_s)
                        return True
            if not in_flight or in_flight[0][0] >= time_s:
                break
            self._now_s, completing, _ = in_flight[0]
            engine.retire(completing, self._now_s)
            if self._engine is not engine:
                return True  # that was the end of it
            in_flight.popleft()
            self._to_plan = True
        self._running = False
        return True

    def _plan(self) -> None:
        """Plan as many steps as the pipeline holds."""
        engine, in_flight, now_s, depth, effects = (
            self._engine, self.in_flight, self._now_s, self._depth, self.effects
        )  # fmt: skip
        running, waiting, shape, transfers = engine.running, engine.waiting, engine.shape, engine.transfers
        always = (
            self._spare_blocks is None
        )  # also where all that runs is complete when the steps in flight end
        while len(in_flight) < depth and (
            (running and (always or engine.anything_to_compute()))
            or waiting or engine.swapped or transfers.received or transfers.requests
        ):  # fmt: skip
            lighter = engine.pending
            engine.open(now_s)
            self.policy.plan(engine)
            start_s = end_s = self.busy_until_s if self.busy_until_s > now_s else now_s
            if shape.decode_seqs or shape.prefill_seqs or shape.swap_out_blocks:
                end_s += self.cost.step_s(shape)
            elif not engine.changed:  # nothing can be done before something arrives or ends
                if in_flight or not transfers.restart_last_received():
                    break
                continue
            engine.records.steps.extend((
                engine.step, start_s, end_s, shape.prefill_tokens, shape.prefill_seqs, shape.decode_seqs,
                shape.decode_context_tokens, len(running), len(waiting),
                engine.total_blocks - engine.kv.free_blocks, len(engine.preempted), engine.ticks,
            ))  # fmt: skip
            ticks = engine.ticks
            completing = engine.advance()
            in_flight.append((end_s, completing, ticks))
            self.busy_until_s = end_s
            if effects.load_fell is not None and (completing or lighter or engine.changed):
                effects.load_fell(self)
            if completing and effects.last_chunk is not None:
                effects.last_chunk(self, completing, start_s, end_s)
            if engine.fruitless_steps > FRUITLESS_STEPS:
                self._watch()

    def _fast_forward(self, time_s: float) -> bool:
        """Run steps in which all jobs decode, of which those before ``time_s`` are planned; False if there is none."""
        engine, in_flight, spare_blocks = self._engine, self.in_flight, self._spare_blocks
        assert spare_blocks is not None
        pipelined = bool(in_flight)
        before = in_flight[0][1] if pipelined else NO_JOBS
        if not engine.only_decodes(before):
            return False
        start_s = self.busy_until_s if pipelined else self._now_s
        if before:  # when those complete, their seats and blocks are free
            time_s, most_steps = inf, 1
        else:
            most_steps = MOST_STEPS
        first_step = engine.step
        begun_s, end_s, completing = fast_forward(
            engine, start_s, time_s, spare_blocks, pipelined, most_steps
        )
        steps = engine.step - first_step
        if not steps:
            return False
        if pipelined and steps > 1:
            in_flight[0] = begun_s, NO_JOBS, True
        in_flight.append((end_s, completing, True))
        self.busy_until_s = end_s
        if completing and self.effects.load_fell is not None:
            self.effects.load_fell(self)
        return True

    def _rest(self, now_s: float) -> None:
        if self.effects.idle is not None:
            self.effects.idle(self, now_s)

    def _load_fell(self) -> None:
        assert self.effects.load_fell is not None
        self.effects.load_fell(self)

    def _watch(self) -> None:
        """Turn a livelock into an error: steps that go on without ever producing a token.

        Not while blocks are held for jobs on their way, which will be free some day.
        """
        if (
            not self._engine.transfers.any
            and self._engine.fruitless_steps > FRUITLESS_STEPS + self.outstanding_tokens
        ):
            raise StallError(self.stall("keeps planning steps that produce no token for"))

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        jobs = [*islice(self._engine.running, 3), *islice(self._engine.waiting, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self._engine.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
