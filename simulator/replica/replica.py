"""One engine instance in its cluster: what others do to it, and when they have to look at it.

Only where the ends of its steps reach others it has a timer, at ``next_effect_s``, a lower bound of the next such
end; otherwise it is computed when it is looked at (``loop.py``).
"""

from collections import deque
from collections.abc import Callable
from math import inf, nextafter
from typing import Literal

from simulator.clock import Clock
from simulator.replica.bounds import effect_bound_s, load_bound_s
from simulator.replica.cost import CostModel
from simulator.replica.effects import NO_EFFECTS, Effects
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.loop import StepLoop
from simulator.replica.offer import NO_OFFER, Offer
from simulator.replica.pipeline_engine import StageTimes
from simulator.replica.policy import Scheduler
from simulator.replica.records import Records
from simulator.replica.request import RequestState
from simulator.replica.rules import DEFAULT_RULES, EngineRules
from simulator.replica.state import DRAINING, NEXT, ReplicaState

Role = Literal["both", "prefill", "decode"]


class Replica(StepLoop):
    """A server with one GPU group, its queue and its KV cache."""

    # Looked up faster than in a dictionary, which thirty attributes do not share
    __slots__ = (
        "_due_s", "_new_engine", "_new_policy", "_role", "_rules", "_runs_on", "_step_by_step", "offer", "past",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        policy: Callable[[], Scheduler],
        cost: CostModel,
        engine: Callable[..., Engine],
        effects: Effects = NO_EFFECTS,
        *,
        rules: EngineRules = DEFAULT_RULES,
        index: int = 0,
        role: Role = "both",
        state: ReplicaState = ReplicaState.SERVING,
        offer: Offer = NO_OFFER,
    ) -> None:
        """Have nothing to do until the first job is submitted; ``index`` is its number in the cluster.

        ``engine`` makes the engine that a policy needs with such rules, as in ``_begin_anew``.
        """
        self.clock = clock
        self.cost = cost
        self.effects = effects
        self.index = index
        self.state = state
        self.offer = offer
        self.past: list[Records] = []  # of the incarnations before each crash
        self._role: Role = role
        self._new_policy, self._new_engine, self._rules = policy, engine, rules
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Have nothing in memory."""
        self.policy = self._new_policy()
        rules = self._rules.serving(self.policy)
        self._depth, self._step_by_step = rules.pipeline_depth, False
        self._stages = StageTimes(rules.stages) if rules.stages > 1 else None
        varies = getattr(self.cost, "varies", False)  # then each step is planned
        self._runs_on = self._spare_blocks = None if varies else self.policy.fast_forward_spare_blocks()
        heard = type(self.policy).goes_on_decoding, type(self.policy).decoded
        self._hears = heard != (Scheduler.goes_on_decoding, Scheduler.decoded)
        self._engine = self._new_engine(
            self.policy,
            rules,
            price=getattr(self.cost, "expected_s", self.cost.step_s),
            decode_piece=getattr(self.cost, "decode_piece", None),
            on_end=self.effects.ended,
            on_prompt_done=self._prompt_done,
            withholds=self.effects.withholds,
        )
        unseen = self._engine.limits.stop_tokens or self._engine.speculates
        ahead = self._depth > 1 and self._stages is None
        self._plans_ends = self.policy.plans_unseen_ends()
        self._ends_unseen = ahead and unseen and not self._plans_ends
        pieces, alone = self._engine.decode_piece is not None, self.effects.ended is None
        plain = pieces and not (unseen or self._plans_ends)
        self._goes_on = alone and self._engine.tiers is None and pieces and (self._plans_ends or not unseen)
        told = self.effects.chunks is not None or self._stages is not None
        self._admits_all = plain and self.policy.admits_all() and not (told or self._hears)
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
        self.catch_up()
        if self._engine.tiers is not None:
            self._engine.tiers.queued(job, self.clock.now)
        self._engine.submit(job)
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
            self._set_timer(self.next_effect_s())
            return
        if not self._to_plan:
            if not self._engine.anything_to_do():
                return
            self._now_s, self._to_plan = self.clock.now, True
            self._late = self.clock.turn_over(self.index)
        # Also where it was woken before at this instant, by what others need not know of
        if self._late or self.next_effect_s() < inf:
            self._set_timer(self.clock.now)

    def catch_up(self) -> None:
        """Be where the clock is."""
        in_flight = self.in_flight
        if (self._to_plan or (in_flight and in_flight[0][0] <= self.clock.now)) and not self._running:
            self.run_until(self.clock.ended_before(self.index))

    @property
    def role(self) -> Role:
        """What it computes of a request."""
        return self._role

    def watch_steps(self, on: bool) -> None:
        """Plan each step, in a turn of its own, as what steps take depends on others meanwhile; or no more."""
        self._step_by_step, self._spare_blocks = on, None if on else self._runs_on
        self._set_timer(self.next_effect_s())

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
        engine, in_flight, effects = self._engine, self.in_flight, self.effects
        watched, transfers = effects.ended is not None, engine.transfers
        coupled = watched or effects.every_step or self._role == "prefill" or self._step_by_step
        if not (coupled or transfers.requests or transfers.detaching or self.state is DRAINING):
            return inf
        if self._to_plan:
            return self._now_s
        if not in_flight:
            return inf
        if self._step_by_step:
            return in_flight[0][0]
        return effect_bound_s(engine, in_flight, watched, effects.chunks is not None)

    def grants_s(self) -> float:
        """Return when it next plans a step, if blocks that are asked for can as well be set aside before; else inf."""
        engine, effects = self._engine, self.effects
        asks = self._hears or self._plans_ends
        plain = self._goes_on and not asks and self._spare_blocks is not None and self._stages is None
        told = effects.idle is not None or effects.every_step or engine.transfers.requests
        if not plain or told or engine.cache is not None or engine.queue_key is not None:
            return inf
        return self.in_flight[0][0] if self.in_flight and not self._to_plan else inf

    def load(self) -> tuple[int, float]:
        """Return outstanding tokens as computed so far, and until when they can only become more."""
        tokens = self._engine.outstanding_tokens
        if self._to_plan:
            return tokens, self._now_s
        return tokens, load_bound_s(self._engine, self.in_flight) if self.in_flight else inf

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

    def _load_fell(self) -> None:
        assert self.effects.load_fell is not None
        self.effects.load_fell(self)

    def _chunks(self, start_s: float, end_s: float) -> None:
        assert self.effects.chunks is not None
        self.effects.chunks(self, self._engine.chunks, start_s, end_s)

    def _rest(self, now_s: float) -> None:
        if self.effects.idle is not None:
            self.effects.idle(self, now_s)
