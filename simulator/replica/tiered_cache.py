"""A prefix cache with tiers beyond the GPU: what is found there counts as cached, once it has been transferred.

It stands before a prefix cache of the GPU and hands everything on to it. A request that is admitted is given what the
GPU has of it, then what tiers have of the rest, chunk by chunk without a gap; the step that it begins in is as much
longer as the loads take. ``docs/kv_tiers.md`` has the rules, with sources.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from simulator.replica.cache_above import CacheAbove
from simulator.replica.content import Content, StreamPieces
from simulator.replica.cost import StepShape
from simulator.replica.job import Job
from simulator.replica.kv import PrefixCache
from simulator.replica.kv_tier import Attached, ChunkName, ChunkNames, FutureUses, TiersPlan


class TierLoad(NamedTuple):
    """Tokens that a request gets from a tier."""

    place: int  # of the tier
    tokens: int
    ready_s: float  # when all of them are there
    names: list[ChunkName]


class TieredCache(CacheAbove):
    """A ``PrefixCache`` above another one."""

    def __init__(
        self,
        gpu: PrefixCache,
        plan: TiersPlan,
        tiers: Sequence[Attached],
        names: ChunkNames,
        content: Callable[[Job], Content],
        price: Callable[[StepShape], float],
        future: FutureUses | None = None,
    ) -> None:
        """``gpu`` is the cache of the GPU, ``price`` how long a step takes, in seconds."""
        super().__init__(gpu)
        self.plan, self.tiers = plan, tiers
        self.now_s = 0.0  # when the step is planned, or ended
        self.hit_tokens: Counter[tuple[int, bool]] = (
            Counter()
        )  # by tier (-1: the GPU), and whether preempted before
        self._names, self._content, self._price, self._future = names, content, price, future
        self._stretches: dict[Job, list[tuple[int, int]]] = {}
        self._named: dict[Job, list[ChunkName]] = {}  # as many as were asked for
        self._offered: dict[Job, int] = {}  # chunks that were written, or are there
        self._computed: dict[Job, int] = {}  # tokens that are computed when the step ends
        self._loads: list[TierLoad] = []  # of the step that is being planned
        self._evicted: list[ChunkName] = []  # from the GPU, and not written as yet
        self._completing: Collection[Job] = ()
        self._busy_s = 0.0  # when the step planned last ends
        self._asked: tuple[Job, int, int, float] | None = None
        self._found: list[TierLoad] = []

    # What the loop tells

    def queued(self, job: Job, now_s: float) -> None:
        """A request has come: what lower tiers have of it is brought to the first one while it waits."""
        if not self.plan.prefetch:
            return
        first, found = self.tiers[0].tier, self._gpu.cached_tokens(job) // self._names.chunk_tokens
        for name in self._names_of(job, job.known_tokens)[found : found + first.capacity_chunks]:
            if name in first:
                continue
            lower = next((each for each in self.tiers[1:] if each.tier.find(name, now_s)), None)
            if lower is None:
                return
            lower.tier.use(name)
            self._put(0, name, lower.read.carry(self._chunk_bytes, now_s), now_s, arriving=True)

    def step_end_s(self, start_s: float, end_s: float) -> float:
        """Return when a step ends that would end at ``end_s`` but for its transfers.

        What the GPU evicted is written before it is overwritten; loads come before the step, or layer by layer beside
        it; what it computed is written when it ends. Nothing is swapped: blocks of a prefix cache stay where they are.
        """
        kernels_s, begins_s = end_s - start_s, start_s
        if self._evicted:
            begins_s = max(begins_s, self._store(self._evicted, start_s))
            self._evicted = []
        loaded_s = start_s
        for load in self._loads:
            loaded_s = max(loaded_s, self._load(load, start_s))
        self._loads.clear()
        if self.plan.load == "layerwise":
            end_s = (
                max(begins_s + kernels_s, loaded_s + kernels_s / self.plan.layers) if kernels_s else begins_s
            )
        else:
            end_s = max(begins_s, loaded_s) + kernels_s
        written_s = end_s
        for job, tokens in self._computed.items():
            written_s = max(written_s, self._offer(job, tokens, end_s))
        self._computed.clear()
        self._busy_s = written_s if self.plan.writes_in_step else end_s
        return self._busy_s

    # What is found

    @property
    def can_fast_forward(self) -> bool:
        """Unless each block that is handed out anew may have to be written."""
        return self.plan.write != "on_eviction" and self._gpu.can_fast_forward

    def cached_tokens(self, job: Job) -> int:
        """Return how many known tokens of a waiting job are found, in the GPU or a tier."""
        gpu_tokens = self._gpu.cached_tokens(job)
        return gpu_tokens + sum(load.tokens for load in self._loads_of(job, gpu_tokens))

    def begin(self, job: Job) -> int:
        """Give a waiting job what is found of it; return how many tokens that is."""
        loads = self._loads_of(job, self._gpu.cached_tokens(job))
        again, names = job.preemptions > 0, self._names_of(job, job.known_tokens)
        if self._future is not None:
            self._future.admitted(job.request.row)
        gpu_tokens = self._gpu.begin(job)
        self.hit_tokens[-1, again] += gpu_tokens
        for name in reversed(
            names[: job.known_tokens // self._names.chunk_tokens]
        ):  # so that of a sequence the end goes first
            for each in self.tiers:
                each.tier.use(name)
        tokens = sum(load.tokens for load in loads)
        if tokens:
            for load in loads:
                self.hit_tokens[load.place, again] += load.tokens
            self._loads += loads
            blocks = -(-(gpu_tokens + tokens) // self.block_size) - job.blocks
            self._gpu.take(job, blocks)
            self._gpu.chunk(job, gpu_tokens, tokens)
            job.computed = gpu_tokens + tokens
        self._asked = None
        return job.computed

    def _loads_of(self, job: Job, gpu_tokens: int) -> list[TierLoad]:
        """Return what tiers have of a waiting job after what the GPU has, as far as it is worth its transfer."""
        asked = job, job.known_tokens, gpu_tokens, self.now_s
        if self._asked == asked:
            return self._found
        size, known = self._names.chunk_tokens, job.known_tokens
        most = (known - 1) // self.block_size * self.block_size  # the last token is computed
        loads: list[TierLoad] = []
        tokens = gpu_tokens
        names = self._names_of(job, known)
        for chunk in range(gpu_tokens // size, known // size):
            name = names[chunk]
            end = min((chunk + 1) * size, most)
            there = ((nth, each.tier.find(name, self.now_s)) for nth, each in enumerate(self.tiers))
            place, stored = next((found for found in there if found[1] is not None), (0, None))
            if stored is None or end <= tokens:
                break
            if loads and loads[-1].place == place:
                last = loads.pop()
                ready_s = max(last.ready_s, stored.ready_s)
                load = TierLoad(place, last.tokens + end - tokens, ready_s, last.names)
                load.names.append(name)
            else:
                load = TierLoad(place, end - tokens, stored.ready_s, [name])
            loads.append(load)
            tokens = end
        if self.plan.fetch == "cheaper":
            loads = self._worth_it(job, gpu_tokens, loads)
        self._asked, self._found = asked, loads
        return loads

    def _worth_it(self, job: Job, gpu_tokens: int, loads: Sequence[TierLoad]) -> list[TierLoad]:
        """Return the loads that take less time than the prompt is shortened by, from the first on without a gap."""
        chosen, done, known = [], gpu_tokens, job.known_tokens
        for load in loads:
            fetch_s = max(
                self.tiers[load.place].read.would_take_s(load.tokens * self.plan.bytes_per_token, self.now_s),
                load.ready_s - self.now_s,
            )
            whole, rest = StepShape(), StepShape()
            whole.count(known - done, done, False, 1)
            rest.count(known - done - load.tokens, done + load.tokens, False, 1)
            if fetch_s >= self._price(whole) - self._price(rest):
                break
            chosen.append(load)
            done += load.tokens
        return chosen

    # Transfers

    @property
    def _chunk_bytes(self) -> int:
        return self._names.chunk_tokens * self.plan.bytes_per_token

    def _load(self, load: TierLoad, start_s: float) -> float:
        """Bring tokens to the GPU; return when they are there. From a lower tier they come by way of the host.

        There they stay, too.
        """
        size_bytes, begins_s = load.tokens * self.plan.bytes_per_token, max(start_s, load.ready_s)
        end_s = self.tiers[load.place].read.carry(size_bytes, begins_s)
        first = self.tiers[0]
        if load.place and first.tier.kind == "host":  # both links at once, piece by piece
            missing = [name for name in reversed(load.names) if name not in first.tier]
            for name in missing:
                self._put(0, name, end_s, start_s)
            end_s = max(end_s, first.read.carry(size_bytes, begins_s))
        return end_s

    def _offer(self, job: Job, tokens: int, at_s: float) -> float:
        """Write the chunks of a job's first tokens that are new; return when the first tier has them."""
        count, before = tokens // self._names.chunk_tokens, self._offered.get(job, 0)
        if count <= before:
            return at_s
        self._offered[job] = count
        return self._store(self._names_of(job, tokens)[before:count], at_s)

    def _store(self, names: Sequence[ChunkName], at_s: float) -> float:
        """Write chunks to the first tier, or to all of them; return when the first one has them."""
        through = self.tiers if self.plan.write == "write_through" else self.tiers[:1]
        first_s = end_s = at_s
        for place, each in enumerate(through):
            missing = list(dict.fromkeys(name for name in names if name not in each.tier))
            if missing:
                end_s = each.write.carry(len(missing) * self._chunk_bytes, end_s)
                for name in reversed(missing):
                    self._put(place, name, end_s, at_s)
            if not place:
                first_s = end_s
        return first_s

    def _put(self, place: int, name: ChunkName, ready_s: float, at_s: float, arriving: bool = False) -> None:
        """Store a chunk in a tier; what goes for it is written to the next one, unless it was when it was computed."""
        gone = self.tiers[place].tier.put(name, ready_s, arriving)
        if self.plan.write == "write_through" or place + 1 == len(self.tiers):
            return
        lower = self.tiers[place + 1]
        for victim, stored in gone:
            if victim not in lower.tier:
                self._put(
                    place + 1, victim, lower.write.carry(self._chunk_bytes, max(at_s, stored.ready_s)), at_s
                )

    def evicted(self, pieces: StreamPieces, first_token: int, end_token: int) -> None:
        """The GPU has lost the tokens from ``first_token`` to ``end_token`` of what consists of ``pieces``."""
        size = self._names.chunk_tokens
        if pieces and first_token // size < end_token // size:
            names = self._names.of(Content(pieces, pieces[-1][0]), end_token)
            self._evicted += names[first_token // size :]

    def _names_of(self, job: Job, tokens: int) -> list[ChunkName]:
        """Return the names of at least the whole chunks in a job's first ``tokens`` tokens, its known ones at most."""
        named = self._named.get(job)
        if named is None or len(named) < tokens // self._names.chunk_tokens:
            if job not in self._stretches:
                self._stretches[job] = self._names.stretches(self._content(job))
            named = self._named[job] = self._names.named(self._stretches[job], job.known_tokens)
        return named

    # The moments of a step

    def chunk(self, job: Job, first_token: int, tokens: int) -> None:
        """What it fills is written when the step ends."""
        self._gpu.chunk(job, first_token, tokens)
        if self.plan.write != "on_eviction":
            self._computed[job] = first_token + tokens

    def step_ended(self, completing: Sequence[Job]) -> None:
        """A step ends; what it completed is written as it leaves."""
        self._completing = completing
        self._gpu.step_ended(completing)

    def release(self, job: Job) -> None:
        """Write what a job has computed before its blocks are given back."""
        if self.plan.write != "on_eviction":
            self._computed.pop(job, None)
            self._offer(
                job, job.computed, self.now_s if job in self._completing else max(self.now_s, self._busy_s)
            )
            self._offered.pop(job, None)
        self._gpu.release(job)

    def forget(self, job: Job) -> None:
        """A job has left."""
        self._stretches.pop(job, None)
        self._named.pop(job, None)
        self._offered.pop(job, None)
        self._gpu.forget(job)
