"""The replicas of a run and the traffic that reaches them."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice

from simulator.clock import Clock
from simulator.cluster.answers import let_in
from simulator.cluster.autoscaler import Autoscalers
from simulator.cluster.building import replicas_of, submit_placed
from simulator.cluster.cascades import Cascades
from simulator.cluster.choice import Choice
from simulator.cluster.departures import Departures
from simulator.cluster.deployment import Deployment, Pool
from simulator.cluster.faults import FaultInjector
from simulator.cluster.fleet import FEW
from simulator.cluster.fleets import Fleets
from simulator.cluster.front_end import FrontEnd
from simulator.cluster.hand_off import HandOffs
from simulator.cluster.intake import Intake
from simulator.cluster.kv_transfers import KvTransfers
from simulator.cluster.migrations import Migrations
from simulator.cluster.mixed import MixedPools
from simulator.cluster.recovery import Recovery
from simulator.cluster.ticker import Ticker
from simulator.cluster.traffic import Traffic
from simulator.replica.effects import Effects
from simulator.replica.engine import Engine
from simulator.replica.job import Job, JobState
from simulator.replica.replica import Replica
from simulator.replica.request import Request, RequestState
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
        engine: Callable[..., Engine],
    ) -> None:
        """Build the replicas of the deployment's pools and start the arrivals.

        ``engine(limits, policy, rules, **parts)`` makes a replica's engine.
        """
        self.clock = clock
        self.workload = workload
        self.deployment = deployment
        self.frontend_s = deployment.frontend_s
        self.refused: list[tuple[int, RequestState, float]] = []  # requests that no replica served
        self.kv_transfers: KvTransfers | None = None
        self.hand_offs: HandOffs | None = None
        self.migrations: Migrations | None = None
        self._choose = Choice(deployment.router, draws(deployment.seed, "routing"))
        self._admission_draw = draws(deployment.seed, "admission")
        self.front_end = FrontEnd(
            clock, deployment.frontend_request_s, lambda: len(self.fleets.entrances), partial(self._place, newly=True)
        )  # fmt: skip
        self._ticker = Ticker(clock, self._going_on)
        self.traffic = Traffic(clock, workload, self._deliver, deployment.promised)
        if deployment.moving:
            self.kv_transfers = KvTransfers(
                clock, deployment.link, deployment.ranks, deployment.later, shared=deployment.shares_wires
            )
        if deployment.disaggregated:
            rule = deployment.hand_off
            assert rule is not None
            assert self.kv_transfers is not None
            choose = Choice(rule.router, draws(deployment.seed, "hand_off"))
            self.hand_offs = HandOffs(rule, self.kv_transfers, lambda: self.fleets.decoders, choose)
        self.replicas = self._build(engine)
        if self.kv_transfers is not None and deployment.shares_wires:
            self.kv_transfers.share_wires(self.replicas, deployment.on_wires_s)
        self._mixed = MixedPools(workload, deployment, self.replicas) if deployment.mixed else None
        self._intake = Intake(workload, deployment, self.replicas, self._mixed)
        self.cascades: Cascades | None = None
        if deployment.cascading and self._mixed is not None:
            self.cascades = Cascades(clock, deployment, self._mixed, self._intake, self._ask_next)
        self.fleets = Fleets(self.replicas, deployment.disaggregated)
        self._connect()
        self.mine = range(len(self.replicas))  # those that are simulated; other processes may have the others
        self.ends_taken = 0  # requests whose ends are no longer in the records
        self.closed = False  # whether other processes have settled what they recorded
        self._arrivals: Iterator[None] = iter(())
        # Jobs of the last arrivals, by replica, where replicas need not know of one another
        self._placed: list[list[Job]] | None = [[] for _ in self.replicas] if self.apart else None
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
        lives = (records for each in self.replicas for records in (*each.past, each.records))
        ended = sum(records.count("ended") for records in lives)
        turned_down = 0 if self.cascades is None else self.cascades.turned_down
        return len(self.refused) + self.ends_taken + ended - turned_down

    def over(self) -> bool:
        """Whether there is nothing left to serve."""
        return self.traffic.to_come == 0 and self.requests_done() == self.arrived

    def close(self) -> None:
        """The simulation is over: settle what is recorded."""
        if not self.closed:
            for each in self.replicas:
                each.engine.close(len(each.in_flight))

    def advance(self, events: int) -> bool:
        """Let up to ``events`` arrivals or other events happen; return whether anything is left to happen."""
        clock = self.clock
        if self.open_loop:
            for _ in islice(self._arrivals, events):
                events -= 1
            if self._placed is not None:
                submit_placed(self.clock, self.replicas, self._placed)
            if not events:
                return True
        elif not clock.stopped and clock.run_some(events):
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

    # How it is put together

    def _build(self, engine: Callable[..., Engine]) -> list[Replica]:
        """Make the replicas, and say what others hear of them."""
        deployment, hand_offs = self.deployment, self.hand_offs
        self._leaving = deployment.abandonment is not None or self.workload.leave_s is not None
        watched = self.traffic.closed or self._leaving or deployment.cascading
        together = self.traffic.closed or deployment.stores_together or deployment.cascading
        effects = Effects(
            ended=self._ended if watched else None,
            prompt_done=None if hand_offs is None else hand_offs.offer,
            chunks=hand_offs.computed if hand_offs is not None and hand_offs.rule.early else None,
            withholds=hand_offs is not None and hand_offs.rule.first_token == "decode",
            idle=(lambda *idle: self.autoscalers.idle(*idle))
            if any(pool.scaling is not None for pool in deployment.pools)
            else None,
            load_fell=(lambda replica: self.fleets.load_fell(replica)) if deployment.replicas > FEW else None,
            every_step=(together and deployment.replicas > 1) or deployment.switching,
        )
        return replicas_of(deployment, self.clock, engine, effects)

    def _connect(self) -> None:
        """Set up what connects replicas."""
        deployment, seed, migration = self.deployment, self.deployment.seed, self.deployment.migration
        self._departures = Departures(
            self.clock, deployment.abandonment, self.front_end.forget, self._refuse, self.kv_transfers, self.hand_offs
        )  # fmt: skip
        self._recovery = Recovery(
            deployment.faults.retries,
            self._departures,
            self.kv_transfers,
            self.hand_offs,
            self._place,
            self._refuse,
        )
        if deployment.migrating:
            assert migration is not None
            assert self.kv_transfers is not None
            migrations = self.migrations = Migrations(
                migration, deployment.moves, self.kv_transfers, lambda: self.fleets.shown_to(migration)
            )
            self._ticker.every(migration.interval_s, lambda: migrations.look(self.clock.now))
        if deployment.switching:
            roles = deployment.roles
            assert roles is not None
            self._ticker.every(roles.interval_s, lambda: self.fleets.switch(roles, self.clock.now))
        if deployment.faults.any:
            FaultInjector(
                deployment.faults, self.clock, self.replicas, self.kv_transfers, draws(seed, "faults"),
                self._crash, self._reopen, self.over,
            )  # fmt: skip
        self.autoscalers = Autoscalers(
            deployment, self.replicas, self.traffic, self._ticker, self.kv_transfers, self.hand_offs, self.migrations,
            self._unplaced, self._reopen, self._going_on, self.requests_done,
        )  # fmt: skip

    def _unplaced(self, pool: Pool | None = None) -> Collection[Job]:
        """Return the requests that no replica has taken; those that wait for one of a pool."""
        waiting = self.front_end.stranded
        return waiting if self._mixed is None or pool is None else self._mixed.waiting_for(pool, waiting)

    def _going_on(self) -> bool:
        """Whether any replica computes, or any KV cache is sent."""
        moving = self.kv_transfers is not None and bool(self.kv_transfers.in_flight)
        return not self.over() and (moving or not all(each.asleep for each in self.replicas))

    # Arrivals

    @property
    def open_loop(self) -> bool:
        """Whether nothing but arrivals is ever scheduled: no end of a step reaches anything outside its replica."""
        deployment = self.deployment
        moving = deployment.moving or deployment.stores_together or deployment.cascading
        reading = self.front_end.takes_time
        return not (self._leaving or moving or reading or deployment.changing or self.traffic.closed)

    @property
    def apart(self) -> bool:
        """Whether replicas need not know of one another: where a request goes depends on the requests alone."""
        return self.open_loop and self._choose.blind and self.deployment.apart

    def _deliver(self, request: Request, number: int, arrival_s: float) -> None:
        """A request arrives now."""
        job = self._intake.job(request, number, arrival_s)
        if self._intake.never_fits(request):
            self._refuse(job, RequestState.FAILED)
        elif self.front_end.take(job) and self._leaving:
            self._departures.watch(job)

    def _place(self, job: Job, newly: bool = False) -> bool:
        """Bring a job to a replica; False if it was not let in."""
        if self._ticker.resting:
            self._ticker.wake()
        entrances: Sequence[Replica] = self.fleets.entrances
        if self._mixed is not None:
            entrances = self._mixed.open_to(job, entrances)
        if not entrances:
            self.front_end.stranded.append(job)
            return True
        replica = self._choose(job, entrances)
        admission = self.deployment.admission
        if (newly and admission is not None) and not let_in(
            admission, job, replica, self.clock.now, self._admission_draw
        ):
            self._refuse(job, RequestState.REJECTED)
            return False
        if self._mixed is not None:
            if self.cascades is not None:
                self.cascades.begin(job, replica, self.clock.now)
            self._mixed.begin(job, replica)
        job.target_tokens = job.output_tokens
        if replica.role == "prefill":
            job.target_tokens = min(job.target_tokens, job.generated + 1)
        if replica.index in self.mine:
            if self._placed is None:
                replica.submit(job)
            else:
                self._placed[replica.index].append(job)
        return True

    # Ends

    def _refuse(self, job: Job, state: RequestState) -> None:
        job.move(JobState.ENDED)
        self.refused.append((job.id, state, self.clock.now))
        self._ended(job, state, self.clock.now)

    def _ended(self, job: Job, state: RequestState, end_s: float) -> None:
        """A request has ended; the client that waited for its answer goes on once it has arrived."""
        job.replica = None
        if self.cascades is not None and self.cascades.goes_on(job, state, end_s):
            return
        if self.traffic.closed:
            number = job.id if self.cascades is None else self.cascades.number(job)
            self.traffic.answered(number, state, end_s + self.frontend_s)

    def _ask_next(self, job: Job) -> None:
        """The answer before was turned down: ask another model."""
        if self._place(job) and self._leaving:
            self._departures.watch(job)

    # Faults

    def _crash(self, replica: Replica) -> None:
        replica.move(replica.state.crashed())
        self.fleets.update()
        self._recovery.crash(replica)

    def _reopen(self) -> None:
        """Others take requests than before: find places for those that had none."""
        self.fleets.update()
        for job in self.front_end.no_longer_stranded():
            self._place(job)
        if self.hand_offs is not None:
            self._ticker.wake()
            self.hand_offs.find_places()
