"""What replicas have recorded, handed over while they go on, where only the summary of a run is kept."""

from collections.abc import Callable

from simulator.cluster.cluster import Cluster
from simulator.replica.records import ENDED_COLUMNS
from simulator.replica.taking import take
from simulator.results import tokens
from simulator.results.folding import Handed

EVENTS_BETWEEN = 8192  # of an open loop: arrivals


class HandsOver:
    """Hands over what the replicas that this process simulates have recorded since it last did."""

    def __init__(self, cluster: Cluster, take: Callable[[Handed], None]) -> None:
        """``take`` gets it."""
        self._cluster, self._take = cluster, take
        self._refused = 0  # that were handed over
        self._events = 0

    def after(self, events: int) -> None:
        """So many events have happened: hand over, now and then."""
        self._events += events
        if self._events >= EVENTS_BETWEEN:
            self._events = 0
            self._take(self._handed(at_the_end=False))

    def finish(self) -> None:
        """The simulation is over: hand over the rest."""
        self._cluster.close()
        self._cluster.closed = True
        self._take(self._handed(at_the_end=True))

    def _handed(self, at_the_end: bool) -> Handed:
        cluster = self._cluster
        mine = [cluster.replicas[index] for index in cluster.mine]
        rows = {each.index: take(each, at_the_end) for each in mine}
        refused = cluster.refused[self._refused :]
        self._refused += len(refused)
        ended = sum(len(each.rows.get("ended", ())) for each in rows.values())
        cluster.ends_taken += ended // len(ENDED_COLUMNS)
        in_flight = {each.index: each.recorded.in_flight for each in mine} if at_the_end else None
        return Handed(rows, refused, cluster.arrived, in_flight)


def can_fold(cluster: Cluster) -> bool:
    """Whether a cluster's tokens can be measured while it goes on, and may be too many to be kept.

    Requests must be numbered and timed as the workload has them, and end on the replica to which they came.
    """
    deployment, workload = cluster.deployment, cluster.workload
    plain = not (deployment.speculating or deployment.tiers or deployment.grading or deployment.delivery)
    return plain and cluster.open_loop and workload.output_tokens.sum() > tokens.KEPT_TOKENS
