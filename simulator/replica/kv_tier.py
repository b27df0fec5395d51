"""Where KV lies beyond the GPU: host memory, a disk, a store that replicas share; and the links to it.

KV is stored and found in chunks of so many tokens, each known by everything from the sequence's first token to the
chunk's end. Of two replicas that share a store each has its own ``TieredCache`` above the same ``Tier``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import Literal, NamedTuple

from simulator.replica.content import Content, StreamPieces
from simulator.replica.outline import Outline

TierKind = Literal["host", "disk", "shared"]
WriteRule = Literal["write_through", "write_back", "on_eviction"]
ChunkName = tuple[int, int]  # the stretch that its last token lies in, and its place in the sequence


class TierPlan(NamedTuple):
    """One tier: its size, and what a replica reads and writes it at."""

    kind: TierKind
    capacity_chunks: int
    read_bytes_per_s: float
    write_bytes_per_s: float
    latency_s: float = 0.0  # of each transfer, before its first byte
    common_link: bool = False  # whether replicas share these rates, not only what is stored


class TiersPlan(NamedTuple):
    """The tiers of each replica, the one next to the GPU first, and the rules for all of them."""

    tiers: Sequence[TierPlan]
    chunk_tokens: int
    bytes_per_token: int  # of a request's KV, on all GPUs of a replica
    write: WriteRule = "write_through"
    replacement: Literal["lru", "oracle"] = "lru"
    fetch: Literal["always", "cheaper"] = "always"
    load: Literal["before_step", "layerwise"] = "before_step"
    prefetch: bool = False  # from lower tiers into the first, while a request waits
    writes_in_step: bool = False  # a step ends when what it computed is in the first tier
    layers: int = 1  # of the model

    @property
    def shared(self) -> bool:
        """Whether replicas see what others have stored."""
        return any(each.kind == "shared" for each in self.tiers)


@dataclass
class TierLink:
    """One direction of a link, on which one transfer follows the other: time = latency + bytes / rate."""

    bytes_per_s: float
    latency_s: float
    free_s: float = 0.0  # when the transfers so far are over
    sent_bytes: float = 0.0

    def carry(self, size_bytes: float, at_s: float) -> float:
        """Send bytes that are there ``at_s``; return when they have arrived."""
        begins_s = max(at_s, self.free_s)
        self.sent_bytes += size_bytes
        self.free_s = begins_s + size_bytes / self.bytes_per_s
        return self.free_s + self.latency_s

    def would_take_s(self, size_bytes: float, at_s: float) -> float:
        """Return how long after ``at_s`` such bytes would have arrived."""
        return max(0.0, self.free_s - at_s) + self.latency_s + size_bytes / self.bytes_per_s


class ChunkNames:
    """Names of chunks, the same for all replicas of a run."""

    def __init__(self, chunk_tokens: int) -> None:
        self.chunk_tokens = chunk_tokens
        self._stretches: dict[tuple[int, int, int | StreamPieces], int] = {}

    def of(self, content: Content, tokens: int) -> list[ChunkName]:
        """Return the names of the whole chunks in a sequence's first ``tokens`` tokens."""
        return self.named(self.stretches(content), tokens)

    def stretches(self, content: Content) -> list[tuple[int, int]]:
        """Return where a sequence's stretches begin, in chunks, and their numbers; the last one has no end."""
        outline, found, before = Outline(content, self.chunk_tokens), [], -1
        for first, holds in zip(outline.firsts, outline.holds, strict=True):
            before = self._stretches.setdefault((before, first, holds), len(self._stretches))
            found.append((first, before))
        return found

    def named(self, stretches: Sequence[tuple[int, int]], tokens: int) -> list[ChunkName]:
        """Return the names of the whole chunks in the first ``tokens`` tokens of what has these stretches."""
        names: list[ChunkName] = []
        count = tokens // self.chunk_tokens
        for place, (first, stretch) in enumerate(stretches):
            end = min(count, stretches[place + 1][0] if place + 1 < len(stretches) else count)
            names.extend((stretch, chunk) for chunk in range(first, end))
        return names


class FutureUses:
    """Which requests to come ask for a chunk, by the order of arrivals: what only an oracle knows."""

    def __init__(self, prompts: Iterable[tuple[int, Sequence[ChunkName]]]) -> None:
        """``prompts`` are rows of the workload and the chunks of their prompts, in order of arrival."""
        self._uses: dict[ChunkName, list[tuple[int, int]]] = {}
        for turn, (row, names) in enumerate(prompts):
            for name in names:
                self._uses.setdefault(name, []).append((turn, row))
        for uses in self._uses.values():
            uses.reverse()
        self._admitted: set[int] = set()

    def admitted(self, row: int) -> None:
        """A request has got what it asked for."""
        self._admitted.add(row)

    def next_use(self, name: ChunkName) -> float:
        """Return the place in the order of arrivals of the next request that asks for a chunk; infinite: none."""
        uses = self._uses.get(name)
        while uses and uses[-1][1] in self._admitted:
            uses.pop()
        return uses[-1][0] if uses else inf


class Stored(NamedTuple):
    """A chunk in a tier."""

    ready_s: float  # when it is written
    arriving: bool  # on its way from a lower tier: whose load waits for it


@dataclass
class Tier:
    """The chunks of one tier; least recently used ones go first, or those with the latest next use (Belady 1966)."""

    kind: TierKind
    capacity_chunks: int
    future: FutureUses | None = None
    evicted_chunks: int = 0
    written_chunks: int = 0
    most_chunks: int = 0  # that were there at once
    _chunks: dict[ChunkName, Stored] = field(default_factory=dict)  # what was used last is last
    _latest: list[tuple[float, ChunkName]] = field(default_factory=list)  # by their next use, with an oracle

    def __contains__(self, name: ChunkName) -> bool:
        return name in self._chunks

    def __len__(self) -> int:
        return len(self._chunks)

    def find(self, name: ChunkName, now_s: float) -> Stored | None:
        """Return a chunk that can be read, or is on its way here from a lower tier."""
        found = self._chunks.get(name)
        return found if found is not None and (found.arriving or found.ready_s <= now_s) else None

    def use(self, name: ChunkName) -> None:
        """Count a chunk as used, if it is there."""
        found = self._chunks.pop(name, None)
        if found is not None:
            self._chunks[name] = found
            self._line_up(name)

    def put(self, name: ChunkName, ready_s: float, arriving: bool = False) -> list[tuple[ChunkName, Stored]]:
        """Store a chunk that is not there; return what goes for it."""
        self._chunks[name] = Stored(ready_s, arriving)
        self.written_chunks += 1
        self._line_up(name)
        gone: list[tuple[ChunkName, Stored]] = []
        while len(self._chunks) > self.capacity_chunks:
            victim = self._victim()
            gone.append((victim, self._chunks.pop(victim)))
        self.evicted_chunks += len(gone)
        self.most_chunks = max(self.most_chunks, len(self._chunks))
        return gone

    def _line_up(self, name: ChunkName) -> None:
        if self.future is not None:
            heappush(self._latest, (-self.future.next_use(name), name))

    def _victim(self) -> ChunkName:
        if self.future is None:
            return next(iter(self._chunks))
        while True:  # each turn takes an entry off, or puts one right
            use, name = heappop(self._latest)
            if name in self._chunks:
                if -use == self.future.next_use(name):
                    return name
                self._line_up(name)


class Attached(NamedTuple):
    """A tier as one replica reaches it."""

    tier: Tier
    read: TierLink
    write: TierLink
