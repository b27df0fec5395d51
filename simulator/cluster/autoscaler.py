"""Orders replicas and gives them back, pool by pool, as its policy says.

A replica is ordered, there after ``provision_s`` (from then on it is paid for), and ready ``load_s`` later:
only then it takes requests, with an empty KV cache. One that is to go drains: routers do not see it any more,
it finishes what it has, and is released. Each replica stands in a place, whose number it has in the records.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from simulator.clock import Clock
from simulator.cluster.answers import replicas_wanted
from simulator.cluster.deployment import Deployment, Scaling
from simulator.cluster.hand_off import HandOffs
from simulator.cluster.kv_transfers import KvTransfers
from simulator.cluster.migrations import Migrations
from simulator.cluster.policy import PoolView
from simulator.cluster.shared_gpus import SharedGpus
from simulator.cluster.ticker import Ticker
from simulator.cluster.traffic import Traffic
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.state import ReplicaState

SCALING_COLUMNS = ("ordered_s", "billed_from_s", "ready_s", "draining_s", "released_s")


@dataclass(eq=False)
class Lifetime:
    """One replica from its order to its release; NaN: has not happened."""

    replica: int  # the number of its place
    ordered_s: float
    billed_from_s: float  # not if it is cancelled before
    ready_s: float = math.nan
    draining_s: float = math.nan  # the last time, if it was taken back meanwhile
    released_s: float = math.nan


class Autoscaler:
    """Keeps one pool at the size that its policy wants."""

    def __init__(
        self,
        scaling: Scaling,
        places: Sequence[Replica],
        clock: Clock,
        *,
        changed: Callable[[], None],
        unplaced: Callable[[], Collection[Job]],
        in_transit: Callable[[Replica], bool],
        evacuate: Callable[[Replica, Sequence[Replica]], None] | None,
        name: str = "",
        shared: SharedGpus | None = None,
    ) -> None:
        """``places`` hold the replicas of the start; a place without a replica is ``released``.

        ``changed`` is called when replicas begin or cease to take requests; ``unplaced`` are requests that wait
        until one does; ``in_transit`` says whether any KV cache is on its way from or to a replica;
        ``evacuate`` moves running requests away from one.
        """
        self.scaling = scaling
        self.places = places
        self.clock = clock
        self.aimed_at = sum(place.state is not ReplicaState.ABSENT for place in places)  # replicas
        self.lifetimes: list[Lifetime] = []  # in the order in which they were ordered
        self._now: dict[Replica, Lifetime] = {}  # of those that are paid for or on order
        self._changed = changed
        self._unplaced = unplaced
        self._in_transit = in_transit
        self._evacuate = evacuate
        self._name = name
        self._shared = shared  # the GPUs that it has with others
        for place in places:
            if place.state is not ReplicaState.ABSENT:
                self._begin(place, Lifetime(place.index, clock.now, clock.now, clock.now))

    def look(self) -> None:
        """Ask the policy, and order, take back, drain or release."""
        self.release_empty()
        view = self.view()
        self.aim(max(self.wanted(view), 1 if view.unplaced else 0))

    def release_empty(self) -> None:
        """Let go of what has drained."""
        for each in self._draining():
            self._release_if_empty(each)

    def view(self) -> PoolView:
        """Return what the policy sees."""
        serving, draining = self._serving(), self._draining()
        waiting = max(0, self.aimed_at - (len(self._now) - len(draining)))  # for GPUs that others hold
        coming = len(self._now) - len(serving) - len(draining) + waiting
        scaling = self.scaling
        return PoolView(
            serving, coming, self._unplaced(), self._name, scaling.gpus, scaling.max_replicas, draining
        )

    def wanted(self, view: PoolView) -> int:
        """Return how many replicas the policy wants, within the bounds."""
        policy = self.scaling.policy
        replicas = replicas_wanted(policy, policy.target(view, self.clock.now))
        return max(self.scaling.min_replicas, min(replicas, self.scaling.max_replicas))

    @property
    def held_gpus(self) -> int:
        """GPUs of all replicas from order to release."""
        return len(self._now) * self.scaling.gpus

    def aim(self, replicas: int) -> None:
        """Have so many that serve or will, and empty those that drain."""
        self.aimed_at = replicas
        have = len(self._now) - len(self._draining())
        for _ in range(have, replicas):
            self._add()
        for _ in range(replicas, have):
            self._take_away()
        if have != replicas:
            self._changed()
        if self._evacuate is not None:
            serving = self._serving()
            for each in self._draining():
                self._evacuate(each, serving)

    def fill(self) -> None:
        """Order what is aimed at and has waited for GPUs."""
        for _ in range(len(self._now) - len(self._draining()), self.aimed_at):
            self._add()

    def _add(self) -> None:
        """Take the most loaded of the draining ones back, or order one for the first free place if there are GPUs."""
        draining = self._draining()
        if draining:
            replica = max(draining, key=lambda each: (each.outstanding_tokens, -each.index))
            replica.move(replica.state.taken_back())
            self._now[replica].draining_s = math.nan
            return
        if self._shared is not None and not self._shared.room_for(self.scaling.gpus):
            return
        place = next(each for each in self.places if each not in self._now)
        now_s = self.clock.now
        there_s = now_s + self.scaling.provision_s
        lifetime = Lifetime(place.index, now_s, there_s)
        self._begin(place, lifetime)
        self.clock.at(there_s + self.scaling.load_s).callbacks.append(lambda _: self._ready(place, lifetime))

    def _take_away(self) -> None:
        """Cancel the last order that is not ready; else let a replica go that is down, else drain the least loaded."""
        starting = [each for each, lifetime in self._now.items() if each.state is ReplicaState.ABSENT]
        down = [each for each in self._now if each.state in (ReplicaState.DOWN, ReplicaState.DOWN_DRAINING)]
        if starting or down:
            self._release((starting or down)[-1])
            return
        serving = [each for each in self._now if not each.state.draining]
        replica = min(serving, key=lambda each: (each.outstanding_tokens, -each.index))
        replica.move(ReplicaState.DRAINING)
        self._now[replica].draining_s = self.clock.now
        self._release_if_empty(replica)

    def _begin(self, place: Replica, lifetime: Lifetime) -> None:
        self._now[place] = lifetime
        self.lifetimes.append(lifetime)

    def _ready(self, place: Replica, lifetime: Lifetime) -> None:
        """It serves, and all that were ordered with it, before what waits is spread over them."""
        cancelled = self._now.get(place) is not lifetime
        if cancelled or not math.isnan(lifetime.ready_s):  # or ready with another
            return
        for each, other in self._now.items():
            if each.state is ReplicaState.ABSENT and other.billed_from_s == lifetime.billed_from_s:
                other.ready_s = self.clock.now
                each.move(ReplicaState.SERVING)
        self._changed()

    def idle(self, replica: Replica, now_s: float) -> None:
        """A replica of this pool has nothing left to do, from ``now_s`` on."""
        if replica.state.draining:
            self.clock.last_at(now_s).callbacks.append(lambda _: self._release_if_empty(replica))

    def _release_if_empty(self, replica: Replica) -> None:
        rests = replica.asleep or not replica.state.up  # those of a crashed one are elsewhere
        empty = rests and not replica.outstanding_requests and not self._in_transit(replica)
        if replica.state.draining and empty:
            self._release(replica)

    def _release(self, replica: Replica) -> None:
        """It is not paid for any more; the next one in its place begins with empty memory."""
        self._now.pop(replica).released_s = self.clock.now
        if replica.state is not ReplicaState.ABSENT:  # it has served
            replica.move(ReplicaState.ABSENT)
            replica.crash()
        if self._shared is not None:
            self._shared.fill()

    def _serving(self) -> list[Replica]:
        return [each for each in self.places if each.state is ReplicaState.SERVING]

    def _draining(self) -> list[Replica]:
        return [each for each in self._now if each.state.draining]


class Autoscalers:
    """Those of all pools of a deployment; there may be none."""

    def __init__(
        self,
        deployment: Deployment,
        replicas: Sequence[Replica],
        traffic: Traffic,
        ticker: Ticker,
        kv_transfers: KvTransfers | None,
        hand_offs: HandOffs | None,
        migrations: Migrations | None,
        stranded: Callable[..., Collection[Job]],
        reopen: Callable[[], None],
        going_on: Callable[[], bool],
        requests_done: Callable[[], int],
    ) -> None:
        """Begin to look; ``stranded`` are requests that no replica has taken (of a pool, if given).

        ``reopen`` finds places for them.
        """

        def awaiting_decode() -> Collection[Job]:
            return () if hand_offs is None else [job for job, _ in hand_offs.stranded]

        def in_transit(replica: Replica) -> bool:
            return kv_transfers is not None and bool(kv_transfers.touching(replica))

        def anything_to_do() -> bool:
            """Whether requests are served, wait for a replica, or come at a time that is known."""
            if going_on() or stranded() or awaiting_decode():
                return True
            return traffic.to_come > 0 and (not traffic.closed or requests_done() == len(traffic.rows))

        self._all: list[Autoscaler] = []
        shared = None if deployment.max_gpus is None else SharedGpus(self._all, deployment.max_gpus)
        places = iter(replicas)
        for pool in deployment.pools:
            mine = list(islice(places, pool.places))
            if pool.scaling is None:
                continue
            scaler = Autoscaler(
                pool.scaling,
                mine,
                traffic.clock,
                changed=reopen,
                unplaced=awaiting_decode if pool.role == "decode" else partial(stranded, pool),
                in_transit=in_transit,
                evacuate=None if migrations is None or pool.role == "prefill" else migrations.evacuate,
                name=pool.offer.pool,
                shared=shared,
            )
            self._all.append(scaler)
        looks = [(each.scaling.policy.interval_s, each.look) for each in self._all]
        if shared is not None and looks:
            looks = [(min(interval_s for interval_s, _ in looks), shared.look)]
        for interval_s, look in looks:
            if interval_s < math.inf:
                ticker.every(interval_s, look, anything_to_do)

    def idle(self, replica: Replica, now_s: float) -> None:
        """A replica has nothing left to do, from ``now_s`` on."""
        for each in self._all:
            if replica in each.places:
                each.idle(replica, now_s)

    @property
    def lifetimes(self) -> list[Lifetime]:
        """Every replica that was there or ordered, pool by pool."""
        return [lifetime for each in self._all for lifetime in each.lifetimes]


def scaling_table(lifetimes: Sequence[Lifetime]) -> dict[str, NDArray[np.generic]]:
    """One row per replica that was ordered or there at the start: its place, and its times in seconds."""
    table: dict[str, NDArray[np.generic]] = {
        "replica": np.array([each.replica for each in lifetimes], np.int32)
    }
    for name in SCALING_COLUMNS:
        table[name] = np.array([getattr(each, name) for each in lifetimes], np.float64)
    return table
