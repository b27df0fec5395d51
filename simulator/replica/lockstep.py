"""Data-parallel ranks in step: engines of their own whose passes begin and end together.

Each rank has its own scheduler, seats and KV blocks. A pass is what every rank has planned by then; it takes as long as
the cost model says for all of them, and no rank goes on before. A rank with nothing to compute takes part in it with a
dummy batch, of no tokens here (vLLM's ``DPEngineCoreProc``). What vLLM's ranks still run after the last request has
ended, until they next agree that all are idle, is left out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf, nextafter
from typing import Any

from simulator.replica.cost import CostModel, StepShape
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.state import ReplicaState


class Lockstep:
    """The ranks of one replica, and the passes that they have planned."""

    def __init__(self, cost: CostModel) -> None:
        """``cost`` may have ``pass_s(shapes)``, seconds of a pass of ranks; else the slowest rank's step decides."""
        self.ranks: list[Rank] = []
        self.in_flight: deque[tuple[float, Sequence[tuple[Rank, Sequence[Job]]]]] = deque()  # of each pass
        self.busy_until_s = 0.0  # when the last planned pass ends
        self.now_s = 0.0  # when they plan next, or planned last
        self.to_plan = False  # whether they plan at ``now_s``
        self.running = False
        self.index = 0  # of the first rank: all take their turn when it does
        self._cost = cost
        self._pass_s: Callable[[Sequence[StepShape]], float] | None = getattr(cost, "pass_s", None)
        self._late = False  # whether they plan in an extra turn of this instant
        self._due_s = inf  # when their next turn is

    def join(self, rank: "Rank") -> None:
        """Have one more rank, before anything has begun."""
        if not self.ranks:
            self.index = rank.index
        self.ranks.append(rank)

    def catch_up(self) -> None:
        """Be where the clock is."""
        if not self.running:
            self.run_until(self.ranks[0].clock.ended_before(self.index))

    def run_until(self, time_s: float, most_passes: float = inf) -> bool:
        """Decide all that is decided before ``time_s``, as ``StepLoop.run_until`` does for one engine."""
        in_flight = self.in_flight
        if not self.to_plan and (not in_flight or in_flight[0][0] >= time_s):
            return True
        self._run(True)
        while True:
            if self.to_plan:
                if self.now_s >= time_s or (self._late and time_s == nextafter(self.now_s, inf)):
                    break
                if most_passes <= 0:
                    self._run(False)
                    return False
                most_passes -= 1
                self.to_plan = self._late = False
                self._plan()
                if not in_flight:
                    self._run(False)
                    for rank in self.ranks:
                        rank.rest(self.now_s)
                    return True
            if not in_flight or in_flight[0][0] >= time_s:
                break
            self.now_s, parts = in_flight[0]
            for rank, completing in parts:
                rank.retire(completing, self.now_s)
            in_flight.popleft()
            self.to_plan = True
        self._run(False)
        return True

    def _run(self, running: bool) -> None:
        self.running = running
        for rank in self.ranks:
            rank.runs(running)

    def _plan(self) -> None:
        """Plan as many passes as the pipeline holds."""
        in_flight, depth = self.in_flight, self.ranks[0].depth
        while len(in_flight) < depth:
            asked = [rank for rank in self.ranks if rank.has_to_plan()]
            planned = [rank for rank in asked if rank.plans(self.now_s)]
            if not planned:  # nothing can be done before something arrives or ends
                if in_flight or not sum(rank.restarts() for rank in asked):
                    return
                continue
            start_s = end_s = max(self.busy_until_s, self.now_s)
            shapes = [rank.shape for rank in planned if rank.computes]
            if shapes:
                end_s += self._price(shapes)
            in_flight.append((end_s, [(rank, rank.begin(start_s, end_s)) for rank in planned]))
            self.busy_until_s = end_s
            for rank in self.ranks:
                rank.busy_until_s = end_s

    def _price(self, shapes: Sequence[StepShape]) -> float:
        if self._pass_s is not None:
            return self._pass_s(shapes)
        return max(self._cost.step_s(shape) for shape in shapes)

    # When others have to look

    def wake(self) -> None:
        """A rank's state has changed: idle ranks plan, in their turn of this instant."""
        if self.running:
            return
        if not (self.in_flight or self.to_plan):
            if not any(rank.anything_to_do() for rank in self.ranks):
                return
            clock = self.ranks[0].clock
            self.now_s, self.to_plan = clock.now, True
            self._late = clock.turn_over(self.index)
        due_s = self.next_effect_s()
        if self.to_plan and (self._late or due_s < inf):
            due_s = self.now_s
        self.set_timer(due_s)

    def next_effect_s(self) -> float:
        """Return a lower bound of when the end of a pass can reach others; infinite if none can."""
        if not any(rank.coupled for rank in self.ranks):
            return inf
        if self.to_plan:
            return self.now_s
        return self.in_flight[0][0] if self.in_flight else inf

    def set_timer(self, due_s: float) -> None:
        """Have a turn no later than that."""
        if due_s < self._due_s:
            self._due_s = self.ranks[0].clock.turn_at(due_s, self)

    def take_turn(self, time_s: float) -> None:
        """Plan what is planned by now, as ``Replica.take_turn``."""
        if time_s == self._due_s:
            self._due_s, self._late = inf, False
            self.run_until(nextafter(time_s, inf))
            self.set_timer(self.next_effect_s())


class Rank(Replica):
    """One rank: a replica to routers and to those who hand over, which plans and ends its steps with its group."""

    group: Lockstep
    _lighter: bool  # whether jobs came or left before its last plan

    def enter(self, group: Lockstep) -> "Rank":
        """Be of a group from now on, before anything else is asked of it; return itself."""
        self.group, self._lighter = group, False
        group.join(self)
        return self

    # What the group does

    @property
    def depth(self) -> int:
        """Steps planned before the first of them has ended."""
        return self._depth

    @property
    def shape(self) -> StepShape:
        """The step that it has planned last."""
        return self._engine.shape

    @property
    def computes(self) -> bool:
        """Whether that has anything to compute or to move."""
        shape = self._engine.shape
        return bool(shape.decode_seqs or shape.prefill_seqs or shape.swap_out_blocks)

    @property
    def coupled(self) -> bool:
        """Whether the ends of its steps reach others."""
        effects, transfers = self.effects, self._engine.transfers
        return bool(
            effects.ended is not None
            or self.state is ReplicaState.DRAINING
            or effects.every_step
            or self._role == "prefill"
            or transfers.requests
            or transfers.detaching
        )

    def runs(self, running: bool) -> None:
        """Whether its group is at work."""
        self._running = running

    def anything_to_do(self) -> bool:
        """Whether a step could have anything to plan, or jobs to let in or out."""
        return self._engine.anything_to_do()

    def has_to_plan(self) -> bool:
        """Whether its policy is asked for the next pass."""
        engine, transfers = self._engine, self._engine.transfers
        always = self._spare_blocks is None or self._ends_unseen or self._hears
        return bool(
            (engine.running and (always or engine.anything_to_compute()))
            or engine.waiting or engine.swapped or transfers.received or transfers.requests
        )  # fmt: skip

    def plans(self, now_s: float) -> bool:
        """Ask its policy; return whether it takes part in the next pass."""
        engine = self._engine
        self._lighter = engine.pending
        engine.open(now_s)
        if self._ends_unseen:
            engine.decode_unseen_ends()
        self.policy.plan(engine)
        return self.computes or engine.changed

    def restarts(self) -> bool:
        """Whether a job that it had received begins anew, as nothing else can be done."""
        return self._engine.transfers.restart_last_received()

    def begin(self, start_s: float, end_s: float) -> Sequence[Job]:
        """Make its part of a pass final; return the jobs that are complete when that ends."""
        return self._begin(start_s, end_s, self._lighter)

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """End its part of the first pass in flight."""
        self._engine.retire(completing, end_s)
        self.in_flight.popleft()

    def rest(self, now_s: float) -> None:
        """Nothing is left to do in the group."""
        self._rest(now_s)

    # What others do, of the whole group

    def run_until(self, time_s: float, most_steps: float = inf) -> bool:
        """As ``StepLoop.run_until``, with its group."""
        return self.group.run_until(time_s, most_steps)

    def catch_up(self) -> None:
        """Be where the clock is."""
        self.group.catch_up()

    def wake(self) -> None:
        """The engine's state has changed."""
        self.group.wake()

    @property
    def asleep(self) -> bool:
        """Whether its group has nothing to do until something comes."""
        self.catch_up()
        return not (self.group.in_flight or self.group.to_plan)

    def next_effect_s(self) -> float:
        """As of its group."""
        return self.group.next_effect_s()

    def grants_s(self) -> float:
        """Never: its group plans."""
        return inf

    def load(self) -> tuple[int, float]:
        """Return outstanding tokens as computed so far, and until when they can only become more."""
        group = self.group
        if group.to_plan:
            return self._engine.outstanding_tokens, group.now_s
        return self._engine.outstanding_tokens, group.in_flight[0][0] if group.in_flight else inf

    def _set_timer(self, due_s: float) -> None:
        self.group.set_timer(due_s)


def maker(cost: CostModel, size: int) -> Callable[..., Replica]:
    """Return what makes a replica of its arguments: of each ``size`` in a row the ranks of one group."""
    if size == 1:
        return Replica
    groups = [Lockstep(cost)]

    def make(*parts: Any, **named: Any) -> Replica:
        if len(groups[-1].ranks) == size:
            groups.append(Lockstep(cost))
        # Not by a constructor that passes all this on: mypyc hands starred arguments on as one
        return Rank(*parts, **named).enter(groups[-1])

    return make
