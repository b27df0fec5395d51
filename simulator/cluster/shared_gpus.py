"""Pools that share GPUs: all are looked at together, and hold no more GPUs than there are at any time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.cluster.policy import PoolView

if TYPE_CHECKING:
    from simulator.cluster.autoscaler import Autoscaler


class SharedGpus:
    """Divides ``max_gpus`` among pools; what one gives back goes to those that wait for it at once."""

    def __init__(self, pools: Sequence["Autoscaler"], max_gpus: int) -> None:
        """``pools``, which may come later, are served in this order where there is not enough for all."""
        self._pools, self._max_gpus = pools, max_gpus

    def look(self) -> None:
        """Ask all policies about the same moment, and let each pool aim at its part of what they want."""
        for each in self._pools:
            each.release_empty()
        views = [each.view() for each in self._pools]
        wanted = [
            each.wanted(view._replace(others=[other for other in views if other is not view]))
            for each, view in zip(self._pools, views, strict=True)
        ]
        for each, replicas in zip(self._pools, self._divided(views, wanted), strict=True):
            each.aim(replicas)

    def room_for(self, gpus: int) -> bool:
        """Whether so many GPUs are held by no replica, from its order to its release."""
        return sum(each.held_gpus for each in self._pools) + gpus <= self._max_gpus

    def fill(self) -> None:
        """GPUs were given back: order what has waited for them."""
        for each in self._pools:
            each.fill()

    def _divided(self, views: Sequence[PoolView], wanted: Sequence[int]) -> list[int]:
        """Return each pool's part; one that alone could serve requests that wait gets at least a replica."""
        gpus = [view.gpus for view in views]
        least = [each.scaling.min_replicas for each in self._pools]
        found = divided(wanted, least, gpus, self._max_gpus)
        for place, view in enumerate(views):
            jobs = {job.id for job in view.unplaced}
            for other, replicas in zip(views, found, strict=True):
                if jobs and replicas:
                    jobs -= {job.id for job in other.unplaced}
            if jobs:
                least[place] = max(least[place], 1)  # one pool at a time, so that it fits
                return divided(wanted, least, gpus, self._max_gpus)
        return found


def divided(wanted: Sequence[int], least: Sequence[int], gpus: Sequence[int], max_gpus: int) -> list[int]:
    """Return the replicas of each pool: the least of all, then what is wanted in order while GPUs are left."""
    left = max_gpus - sum(few * size for few, size in zip(least, gpus, strict=True))
    found = []
    for replicas, few, size in zip(wanted, least, gpus, strict=True):
        more = max(0, min(replicas - few, left // size))
        left -= more * size
        found.append(few + more)
    return found
