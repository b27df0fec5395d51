"""The replicas of a run and the traffic that reaches them."""

import math
import random
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from itertools import islice

from simulator.clock import Clock
from simulator.cluster.autoscaler import Autoscalers
from simulator.cluster.courier import Courier
from simulator.cluster.deployment import Deployment
from simulator.cluster.faults import FaultInjector
from simulator.cluster.fleet import Fleet
from simulator.cluster.hand_off import HandOffs
from simulator.cluster.intake import Intake
from simulator.cluster.migrations import Migrations
from simulator.cluster.policy import Router
from simulator.cluster.ticker import Ticker
from simulator.cluster.traffic import Request, Traffic
from simulator.errors import InputError
from simulator.replica.replica import Replica
from simulator.replica.request import Job, RequestState
from simulator.rng import draws
from simulator.workload.workload import Workload

STEPS_BETWEEN_LOOKS = 256  # of a replica, before the rest of the program has a look


class Cluster:
    """Brings each request that arrives to a replica, and on from there to others; watches over it."""

    def __init__(
        self,
        clock: Clock,
        workload: Workload,
        deployment: Deployment,
        replicas: Sequence[Replica],
        rows: "array[int]",
    ) -> None:
        """Start the arrivals; ``replicas`` are those of the deployment's pools, ``rows`` is to be filled."""
        self.clock = clock
        self.workload = workload
        self.deployment = deployment
        self.replicas = replicas
        self.frontend_s = deployment.frontend_s
        self.refused: list[tuple[int, RequestState, float]] = []  # requests that no replica served
        self.courier: Courier | None = None
        self.hand_offs: HandOffs | None = None
        self.migrations: Migrations | None = None
        self._intake = Intake(workload, deployment, replicas)
        self._router = deployment.router
        self._draw = draws(deployment.seed, "routing")
        self._admission_draw = draws(deployment.seed, "admission")
        self._crashes: dict[Job, int] = {}  # that hit a request
        self._stranded: list[Job] = []  # no replica is up that takes requests
        self._ticker = Ticker(clock, self._going_on)
        self._place_roles()
        self.traffic = Traffic(clock, workload, rows, self._deliver)
        self._couple()
        self.mine: Collection[Replica] = (
            self.replicas
        )  # which are simulated; another process may have the others
        self.closed = False  # whether records are settled
        self._arrivals: Iterator[None] = iter(())
        if self.open_loop:
            self._arrivals = self.traffic.walk()
        else:
            self.traffic.start()

    # What others ask

    @property
    def arrived(self) -> int:
        """Requests that have arrived."""
        return self.traffic.arrived

    def requests_done(self) -> int:
        """Requests that have reached a final state."""
        ended = sum(records.ends for each in self.replicas for records in (*each.past, each.records))
        return len(self.refused) + ended

    def over(self) -> bool:
        """Whether there is nothing left to serve."""
        return self.traffic.to_come == 0 and self.requests_done() == self.arrived

    def close(self) -> None:
        """The simulation is over: settle what is recorded."""
        if not self.closed:
            for each in self.replicas:
                each.books.close(len(each.in_flight))
            self.closed = True

    def advance(self, events: int) -> bool:
        """Let up to ``events`` arrivals or other events happen; return whether anything is left to happen."""
        clock = self.clock
        if self.open_loop:
            for _ in islice(self._arrivals, events):
                events -= 1
            if not events:
                return True
        elif clock.run_some(events):
            return True
        # What is left happens within replicas, and reaches nothing outside of them.
        left = [not each.run_until(clock.stops_at_s, STEPS_BETWEEN_LOOKS) for each in self.replicas]
        if any(left):
            return True
        if self.open_loop:
            last_s = max(clock.now, *(each.busy_until_s for each in self.replicas))
            clock.advance_to(clock.stops_at_s if clock.stops_at_s < math.inf else last_s)
            return False
        return not clock.stopped and clock.anything_scheduled

    # Who depends on whom

    def _place_roles(self) -> None:
        """Keep the lists of who takes requests and who takes hand-offs up to date."""
        up = [each for each in self.replicas if each.up and not each.draining]
        self._entrances = Fleet(each for each in up if each.role != "decode")
        self._decoders = Fleet(each for each in up if each.role == "decode")

    def _couple(self) -> None:
        """Set up what connects replicas, and say whose steps may reach others."""
        deployment, seed = self.deployment, self.deployment.seed
        closed = self.traffic.closed
        switching = deployment.roles is not None and deployment.roles.interval_s < math.inf
        watched = closed or deployment.abandonment is not None or self.workload.leave_s is not None
        migration = deployment.migration
        migrating = migration is not None and migration.interval_s < math.inf
        if deployment.disaggregated or migrating:
            self.courier = Courier(self.clock, deployment.link, len(self.replicas))
        if deployment.disaggregated:
            rule = deployment.hand_off
            assert rule is not None
            assert self.courier is not None
            choose = partial(self._choose, rule.router, draws(seed, "hand_off"))
            self.hand_offs = HandOffs(rule, self.courier, lambda: self._decoders, choose)
        for each in self.replicas:
            each.couples = (closed and len(self.replicas) > 1) or switching or each.role == "prefill"
            if watched:
                each.on_end = self._ended
            if self.hand_offs is not None:
                each.on_hand_off = partial(self.hand_offs.offer, source=each)
                if self.hand_offs.rule.layers:
                    each.on_last_chunk = partial(self.hand_offs.look_ahead, each)
            each.listen()
        if migrating:
            assert migration is not None
            assert self.courier is not None
            migrations = self.migrations = Migrations(migration, self.courier, self._movable)
            self._ticker.every(migration.interval_s, lambda: migrations.look(self.clock.now))
        if switching:
            assert deployment.roles is not None
            self._ticker.every(deployment.roles.interval_s, self._switch_roles)
        if deployment.faults.any:
            FaultInjector(
                deployment.faults, self.clock, self.replicas, self.courier, draws(seed, "faults"),
                self._crash, self._reopen, self.over,
            )  # fmt: skip
        self.autoscalers = Autoscalers(
            deployment, self.replicas, self.traffic, self._ticker, self.courier, self.hand_offs, self.migrations,
            lambda: self._stranded, self._reopen, self._going_on, self.requests_done,
        )  # fmt: skip

    def _going_on(self) -> bool:
        """Whether any replica computes, or any KV cache is sent."""
        flows = 0 if self.courier is None else self.courier.fabric.active_flows
        return not self.over() and (flows > 0 or any(each.up and not each.asleep for each in self.replicas))

    def _movable(self) -> Sequence[Replica]:
        """Replicas between which requests may migrate."""
        return self._decoders if self.deployment.disaggregated else self._entrances

    # Arrivals

    @property
    def open_loop(self) -> bool:
        """Whether nothing but arrivals is ever scheduled: no end of a step reaches anything outside its replica."""
        deployment, traffic = self.deployment, self.workload
        watched = deployment.abandonment is not None or traffic.leave_s is not None
        return not (watched or deployment.changing or self.courier is not None or self.traffic.closed)

    @property
    def apart(self) -> bool:
        """Whether replicas need not know of one another: where a request goes depends on the requests alone."""
        looks = getattr(self._router, "looks_at_load", True) and len(self.replicas) > 1
        return self.open_loop and not looks and self.deployment.admission is None

    def _deliver(self, request: Request, number: int, arrival_s: float) -> None:
        """A request arrives now."""
        job = self._intake.job(request, number, arrival_s)
        if self._intake.never_fits(request):
            self._refuse(job, RequestState.FAILED)
        elif self._place(job, newly=True):
            if request.leave_s == request.leave_s:  # not NaN
                # Where a closed loop delays the arrival, the departure comes as much later.
                leave_s = max(request.leave_s + (arrival_s - request.arrival_s), arrival_s)
                leave = partial(self._leave, job, RequestState.ABANDONED_BY_USER)
                self.clock.at(leave_s).callbacks.append(lambda _: leave())
            if self.deployment.abandonment is not None:
                self._watch(job)

    def _place(self, job: Job, newly: bool = False) -> bool:
        """Bring a job to a replica; False if it was not let in."""
        self._ticker.wake()
        if not self._entrances:
            self._stranded.append(job)
            return True
        replica = self._choose(self._router, self._draw, job, self._entrances)
        admission = self.deployment.admission
        if newly and admission is not None:
            let_in = admission.admit(job, replica, self.clock.now, self._admission_draw)
            if not let_in:
                self._refuse(job, RequestState.REJECTED)
                return False
        hands_over = replica.role == "prefill"
        job._output_tokens = min(job._asked_tokens, job._generated + 1) if hands_over else job._asked_tokens
        if replica in self.mine:
            replica.submit(job)
        return True

    def _choose(self, router: Router, draw: random.Random, job: Job, replicas: Sequence[Replica]) -> Replica:
        index = router.route(job, replicas, draw)
        if index not in range(len(replicas)):
            raise InputError(
                f"policy.routing: {type(router).__name__}.route returned {index!r};"
                f" expected a number from 0 to {len(replicas) - 1}"
            )
        return replicas[index]

    # Ends

    def _refuse(self, job: Job, state: RequestState) -> None:
        self.refused.append((job.id, state, self.clock.now))
        self._ended(job, state, self.clock.now)

    def _ended(self, job: Job, state: RequestState, end_s: float) -> None:
        """A request has ended; whoever waited for its answer goes on as soon as he has it."""
        job.server = None
        if self.traffic.closed:
            self.traffic.answered(job.id, state, end_s + self.frontend_s)

    def _delivered(self, job: Job) -> int:
        undelivered = 0 if job.server is None else job.server.undelivered_tokens(job)
        return job.generated_tokens - undelivered

    def _watch(self, job: Job) -> None:
        """Look at a job again when the system would drop it."""
        abandonment = self.deployment.abandonment
        assert abandonment is not None
        tokens = self._delivered(job)
        drop_s = abandonment.drop_s(job, tokens)
        if drop_s < math.inf:

            def look(_: object) -> None:
                if job.server is None and job not in self._stranded:
                    return
                if self._delivered(job) > tokens:
                    self._watch(job)
                else:
                    self._leave(job, RequestState.ABANDONED_BY_SYSTEM)

            # After the step that may end at this very instant
            self.clock.last_at(max(drop_s, self.clock.now)).callbacks.append(look)

    def _leave(self, job: Job, state: RequestState) -> None:
        """Take a job out, wherever it is."""
        if job in self._stranded:
            self._stranded.remove(job)
            self._refuse(job, state)
            return
        server = job.server
        if server is None:
            return
        self._call_off(job)
        if job in server.books.departing:
            server.books.write_off(job, state, self.clock.now)
            server.wake()
        else:
            server.leave(job, state)

    def _call_off(self, job: Job) -> None:
        """A job does not go where it was to go."""
        if self.courier is not None:
            self.courier.cancel(job)
        if self.hand_offs is not None:
            self.hand_offs.forget(job)

    # Roles and faults

    def _switch_roles(self) -> None:
        roles = self.deployment.roles
        assert roles is not None
        if self._entrances and self._decoders:
            replica = roles.switch(self._entrances, self._decoders, self.clock.now)
            if replica is None:
                return
            index = next(each.index for each in self.replicas if each is replica)
            side = self._entrances if self.replicas[index].role == "prefill" else self._decoders
            if len(side) > 1:
                self.replicas[index].role = "decode" if side is self._entrances else "prefill"
                self._place_roles()

    def _crash(self, replica: Replica) -> None:
        replica.up = False
        self._place_roles()
        halted = [] if self.courier is None else self.courier.touching(replica)
        for transfer in halted:
            self._call_off(transfer.job)
        jobs = replica.crash()
        for job in jobs:
            self._call_off(job)
        for transfer in halted:
            job, source = transfer.job, transfer.source
            if source is replica or job not in source.books.departing:
                continue
            if transfer.kind == "migration":
                assert self.courier is not None
                self.courier.stay(job, source)
            elif self._may_retry(job):
                assert self.hand_offs is not None
                self.hand_offs.offer(job, source)
            else:
                self._leave(job, RequestState.FAILED)
        for job in sorted(jobs, key=lambda job: job.id):
            job.server = None
            if self._may_retry(job):
                self._place(job)
            else:
                self._refuse(job, RequestState.FAILED)

    def _may_retry(self, job: Job) -> bool:
        """Count one more crash that hit a request; False if it is one too many."""
        self._crashes[job] = self._crashes.get(job, 0) + 1
        return self._crashes[job] <= self.deployment.faults.retries

    def _reopen(self) -> None:
        """Others take requests than before: find places for those that had none."""
        self._place_roles()
        stranded, self._stranded = self._stranded, []
        for job in stranded:
            self._place(job)
        if self.hand_offs is not None:
            self._ticker.wake()
            self.hand_offs.find_places()
