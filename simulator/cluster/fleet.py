"""The replicas that a router chooses from, with the least loaded of them at hand."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import overload

from simulator.replica.replica import Replica

FEW = 8  # replicas, which are looked at faster than a heap is kept


class Fleet(Sequence[Replica]):
    """Replicas in order. ``least_loaded`` looks at few of them however many there are.

    Between the ends of requests a replica's outstanding tokens only become more, so what was seen last is a
    lower bound: a heap of these bounds leads to the least. A replica says when it may have fewer, and until
    when what was seen of it holds without another look.
    """

    def __init__(self, replicas: Iterable[Replica]) -> None:
        """A replica is in one fleet at a time: the last one made of it."""
        self._replicas = list(replicas)
        self._places = {id(replica): place for place, replica in enumerate(self._replicas)}
        # Of their outstanding tokens; a heap entry holds if it is this
        self._bounds = [0] * len(self._replicas)
        self._heap = [(0, place) for place in range(len(self._replicas))]
        heapify(self._heap)
        # A heap: when a bound ends to hold, its place and number
        self._until: list[tuple[float, int, int]] = []
        self._looks = [0] * len(self._replicas)  # of each place, the number of its last bound
        self._few = len(self._replicas) <= FEW
        self._chosen = 0  # last

    def least_loaded(self) -> int:
        """Return the place of the replica with the fewest outstanding tokens, the first of equals."""
        heap, bounds, replicas = self._heap, self._bounds, self._replicas
        if self._few:
            loads = [replica.outstanding_tokens for replica in replicas]
            return loads.index(min(loads))
        self._note(self._chosen)  # it has most likely been given a request
        until, looks, now_s = self._until, self._looks, replicas[0].clock.now
        while until and until[0][0] <= now_s:
            _, place, look = heappop(until)
            if look == looks[place]:
                self._forget(place)
        seen = -1
        while True:  # each turn drops a stale entry or makes a bound exact
            bound, place = heap[0]
            if bound != bounds[place]:
                heappop(heap)
            elif place == seen:
                self._chosen = place
                return place
            else:
                replicas[place].catch_up()
                self._note(place)
                seen = place

    def _note(self, place: int) -> None:
        """Have the load of a replica, as computed so far, as its bound."""
        tokens, until_s = self._replicas[place].load()
        self._looks[place] += 1
        if until_s < inf:
            heappush(self._until, (until_s, place, self._looks[place]))
        if tokens != self._bounds[place]:
            self._bounds[place] = tokens
            heappush(self._heap, (tokens, place))

    def load_fell(self, replica: Replica) -> None:
        """A replica may have fewer tokens than it had."""
        place = self._places.get(id(replica))
        if place is not None:
            self._forget(place)

    def _forget(self, place: int) -> None:
        """Nothing is known of a replica's load any more."""
        if self._bounds[place]:
            self._bounds[place] = 0
            heappush(self._heap, (0, place))

    def place(self, replica: object) -> int | None:
        """Return where a replica is; None if it is not here."""
        return self._places.get(id(replica))

    @overload
    def __getitem__(self, place: int) -> Replica: ...
    @overload
    def __getitem__(self, place: slice) -> list[Replica]: ...
    def __getitem__(self, place: int | slice) -> Replica | list[Replica]:
        return self._replicas[place]

    def __len__(self) -> int:
        return len(self._replicas)

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)
