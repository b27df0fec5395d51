"""Where the simulations of a study run: in this process, in others of this machine, or on a Ray cluster.

Others are started once a study and kept warm: a simulation costs them what it costs here, without a start.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from simulator.studies.processes import close_pools, pool_of, submit

_Key = TypeVar("_Key")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Workers:
    """How many simulations run at once, and on which machines; what they find is the same for all."""

    jobs: int = 1  # at once; of no meaning on a Ray cluster, which knows its own cores
    ray: str | None = None  # the cluster: ``any``, ``auto``, ``local`` or an address; none: this machine

    @property
    def alone(self) -> bool:
        """Whether all is done in this process."""
        return self.jobs == 1 and self.ray is None

    def done(
        self,
        work: Callable[..., _Found],
        given: Mapping[_Key, tuple[Any, ...]],
        fewest: int = 2,
    ) -> Iterator[tuple[_Key, _Found]]:
        """Do ``work(*arguments)`` for all that is given; yield each as it is done.

        ``work`` is a function of a module. Fewer than ``fewest`` are done in this process. Raises what ``work`` raises,
        and InputError for a Ray cluster that is not there or that fails.
        """
        if self.alone or len(given) < fewest:
            for key, arguments in given.items():
                yield key, work(*arguments)
        elif self.ray is not None:
            from simulator.studies.ray_cluster import cluster_at

            yield from cluster_at(self.ray).done(work, given)
        else:
            yield from self._on_cores(work, given)

    def _on_cores(
        self, work: Callable[..., _Found], given: Mapping[_Key, tuple[Any, ...]]
    ) -> Iterator[tuple[_Key, _Found]]:
        from concurrent.futures import FIRST_COMPLETED, Future, wait

        pool, queue = pool_of(self.jobs), iter(given.items())
        in_flight: dict[Future[_Found], _Key] = {}
        try:
            while True:
                for key, arguments in itertools.islice(queue, 2 * self.jobs - len(in_flight)):
                    in_flight[submit(pool, work, *arguments)] = key
                if not in_flight:
                    return
                for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                    yield in_flight.pop(future), future.result()
        finally:
            for future in in_flight:
                future.cancel()

    def close(self) -> None:
        """Let go of the processes and of the cluster, if any were in use."""
        close_pools()
        if self.ray is not None:
            from simulator.studies.ray_cluster import close_cluster

            close_cluster()


ALONE = Workers()  # in this process, one after the other
