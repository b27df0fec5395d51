"""Which replicas a request may go to where they are unlike: those that serve its model, and that it fits."""

from collections.abc import Collection, Sequence

from simulator.cluster.deployment import Deployment, Pool
from simulator.replica.job import Job
from simulator.replica.replica import Replica
from simulator.replica.request import Request
from simulator.workload.workload import Workload


class MixedPools:
    """The pools of a deployment, as requests see them."""

    def __init__(self, workload: Workload, deployment: Deployment, replicas: Sequence[Replica]) -> None:
        """Look up what each pool takes; ``replicas`` are those of all pools, one after another."""
        self._pools = list(deployment.pools)
        self._pool_of = [place for place, pool in enumerate(self._pools) for _ in range(pool.places)]
        self._asked = [
            frozenset(place for place, pool in enumerate(self._pools) if pool.offer.model == name)
            for name in workload.model_names
        ]
        self._all = frozenset(range(len(self._pools)))
        # Known tokens that a pool's replicas take at most, and its longest sequence
        self._longest = [pool.limits.max_model_len + pool.rules.overrun_tokens for pool in self._pools]
        self._most = [
            min(longest - 1, (pool.limits.num_gpu_blocks - pool.rules.null_blocks) * pool.limits.block_size)
            for pool, longest in zip(self._pools, self._longest, strict=True)
        ]
        self._models_asked: dict[int, list[str]] = {}  # by row, in a cascade
        self._bound: dict[int, str] = {}  # the model that has begun to answer each request
        self._serving: Sequence[Replica] = ()
        self._some: dict[frozenset[int], Sequence[Replica]] = {}
        self.max_tokens = workload.max_tokens

    def pools_for(self, request: Request, known_tokens: int) -> frozenset[int]:
        """Return the numbers of the pools that can serve a request of so many known tokens; there may be none."""
        pools = self._all if request.model < 0 else self._asked[request.model]
        return frozenset(place for place in pools if known_tokens <= self._most[place])

    def open_to(self, job: Job, serving: Sequence[Replica]) -> Sequence[Replica]:
        """Return those of the replicas that serve which can serve a job; the same object for the same ones."""
        if serving is not self._serving:
            self._serving, self._some = serving, {}
        pools = self._open(job)
        if pools == self._all:
            return serving
        if pools not in self._some:
            self._some[pools] = [each for each in serving if self._pool_of[each.index] in pools]
        return self._some[pools]

    def begin(self, job: Job, replica: Replica) -> None:
        """A job goes to a replica: its answer may get as long as that allows, and is that model's from now on."""
        pool = self._pool_of[replica.index]
        room = max(1, self._longest[pool] - job.prompt_tokens)
        job.output_tokens = min(job.request.output_tokens, room)
        job.max_tokens = min(job.request.limit_tokens, self.max_tokens, room)
        job.predicted_tokens = min(job.request.predicted_tokens, job.max_tokens)
        self._bound[job.id] = self._pools[pool].offer.model

    def pool_of(self, replica: Replica) -> int:
        """Return the number of a replica's pool."""
        return self._pool_of[replica.index]

    def ask(self, job: Job, replica: Replica) -> Sequence[str]:
        """Note that a request is asked of a replica's model; return all that it was asked of."""
        asked = self._models_asked.setdefault(job.request.row, [])
        asked.append(replica.offer.model)
        return asked

    def others(self, job: Job) -> frozenset[int]:
        """Return the pools that can serve a request and whose models it was not asked of."""
        asked = self._models_asked.get(job.request.row, ())
        pools = self.pools_for(job.request, job.prompt_tokens)
        return frozenset(place for place in pools if self._pools[place].offer.model not in asked)

    def waiting_for(self, pool: Pool, jobs: Collection[Job]) -> Collection[Job]:
        """Return those of the jobs that a pool could serve."""
        number = self._pools.index(pool)
        return [job for job in jobs if number in self._open(job)]

    def _open(self, job: Job) -> frozenset[int]:
        pools, model = self.pools_for(job.request, job.known_tokens), self._bound.get(job.id)
        if model is None:
            return self.others(job) if self._models_asked else pools
        return frozenset(place for place in pools if self._pools[place].offer.model == model)
