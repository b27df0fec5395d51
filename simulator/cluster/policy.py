"""The seams of policies that look at several replicas: one file, one class, one method each."""

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, Protocol

from simulator.replica.cost import StepShape
from simulator.replica.job import Job
from simulator.replica.offer import Offer


class ReplicaView(Protocol):
    """What routing, admission and migration may see of a replica."""

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of its unfinished requests: queued, being computed and in the cache."""
        ...

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests."""
        ...

    @property
    def waiting_requests(self) -> int:
        """Requests that are queued."""
        ...

    @property
    def waiting(self) -> Sequence[Job]:
        """Requests that are queued, in the queue's order."""
        ...

    @property
    def running(self) -> Collection[Job]:
        """Requests that are running, in order of admission."""
        ...

    @property
    def draining(self) -> bool:
        """Whether it is to go: it takes no more requests and finishes those it has."""
        ...

    @property
    def offer(self) -> Offer:
        """Which model it serves, and at what price."""
        ...

    @property
    def free_blocks(self) -> int:
        """KV blocks that are free."""
        ...

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        ...

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        ...

    @property
    def last_step_s(self) -> float:
        """Duration of the step planned last: the time between tokens of jobs that decode; 0 at first."""
        ...

    @property
    def price(self) -> Callable[[StepShape], float]:
        """How long a step of some shape takes there, seconds: what a profile of its engine would say."""
        ...

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a request that the replica's prefix cache holds; 0 without one."""
        ...

    def predicted_ttft_s(self, job: Job) -> float:
        """Seconds until a request that came now would have its first token, as far as can be told.

        What is left of the steps in flight; what is queued and the request's own prompt, at the speed of the steps
        that compute prompts; and the wait for a seat and for KV blocks, if outputs are as long as those of before.
        """
        ...

    def promises(self, job: Job) -> bool:
        """Whether its scheduling policy would promise a request that came now its bounds of TTFT and TPOT.

        A policy that promises nothing declines none: True.
        """
        ...

    def predicted_tbt_s(self, job: Job) -> float:
        """Seconds between its tokens when a request that came now decodes, with all who are here."""
        ...


def least_loaded(replicas: Sequence[ReplicaView]) -> int:
    """Return the index of the replica with the fewest outstanding tokens, the first of equals.

    Cheaper than to look at each where there are many: a cluster's sequence of replicas keeps a heap.
    """
    find: Callable[[], int] | None = getattr(replicas, "least_loaded", None)
    if find is not None:
        return find()
    loads = [replica.outstanding_tokens for replica in replicas]
    return loads.index(min(loads))


def place_of(replica: ReplicaView, replicas: Sequence[ReplicaView]) -> int | None:
    """Return the index of a replica, None if it is not there (any more); as cheap as ``least_loaded``."""
    find: Callable[[object], int | None] | None = getattr(replicas, "place", None)
    if find is not None:
        return find(replica)
    return next((index for index, each in enumerate(replicas) if each is replica), None)


class Router(Protocol):
    """Decides which replica serves an arriving request.

    A router with an attribute ``looks_at_load = False`` may be asked about all of it beforehand: it decides
    from the requests alone, and of the replicas sees how many there are, which is which and what each offers. They then
    need not wait for one another. Only for one with ``reads_prompts = True`` a job says what its prompt consists of,
    ``job.prompt_segments``.
    """

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the chosen replica; ``draw`` is the policy's own random stream."""
        ...


class Admission(Protocol):
    """Decides whether a request is served at all, when it arrives; a refused one ends as rejected."""

    def admit(self, job: Job, replica: ReplicaView, now_s: float, draw: random.Random) -> bool:
        """Whether the replica that the router chose takes the request; ``draw`` is a stream of its own."""
        ...


class Abandonment(Protocol):
    """Decides when the system drops a request that it has begun to serve or has left waiting."""

    def drop_s(self, job: Job, tokens: int) -> float:
        """Return the time at which a request that has got so many tokens is dropped unless it gets another by then.

        ``math.inf`` for never. Asked when it arrives, and again at the time given if it got tokens meanwhile.
        """
        ...


class Move(NamedTuple):
    """A running request that is to go on elsewhere."""

    job: Job
    source: int  # index of the replica that it runs on
    destination: int


class Migration(Protocol):
    """Decides which running requests are moved to other replicas, KV and all, while they decode.

    One with an attribute ``drains = True`` is shown replicas that are to go, too, and empties them; otherwise their
    requests are moved to where most blocks are free. No request is moved to a replica that is to go.
    """

    interval_s: float  # it is asked once in so many seconds

    def moves(self, replicas: Sequence[ReplicaView], now_s: float) -> Iterable[Move]:
        """Return the moves to begin now; requests that are on the move already are not to be moved."""
        ...


class Roles(Protocol):
    """Decides which replicas of a disaggregated cluster change between computing prompts and decoding."""

    interval_s: float  # it is asked once in so many seconds

    def switch(
        self, prefill: Sequence[ReplicaView], decode: Sequence[ReplicaView], now_s: float
    ) -> ReplicaView | None:
        """Return the replica that is to change its role now, or None; neither side may be left empty.

        What it has begun it finishes: prompts are handed off as before, decodes stay to their end.
        """
        ...


class PoolView(NamedTuple):
    """What a scaling policy sees of its pool: all replicas, or those of one role."""

    replicas: Sequence[ReplicaView]  # that take requests now
    coming: int  # replicas that will: on order, loading, or under repair after a crash
    unplaced: Collection[Job]  # requests that wait until any replica takes them
    name: str = ""  # in cluster.pools
    gpus: int = 1  # of each replica
    most: int = 0  # replicas that it may have
    draining: Sequence[ReplicaView] = ()  # replicas that finish what they have and go
    others: "Sequence[PoolView]" = ()  # the pools that share cluster.scaling.max_gpus with it, at the same moment


class Scaler(Protocol):
    """Decides how many replicas a pool is to have; each pool has an instance of its own."""

    interval_s: float  # it is asked once in so many seconds

    def target(self, pool: PoolView, now_s: float) -> int:
        """Return how many replicas the pool is to have, those that are coming included.

        It is kept within the pool's bounds, and at least 1 while requests are unplaced.
        """
        ...
