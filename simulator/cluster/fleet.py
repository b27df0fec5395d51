"""The replicas that a router chooses from, with the least loaded of them at hand."""

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from typing import overload

import numpy as np

from simulator.replica.replica import Replica

FEW = 4  # replicas, which are looked at faster than bounds are kept


class Fleet(Sequence[Replica]):
    """Replicas in order. ``least_loaded`` looks at few of them however many there are.

    Between the ends of requests a replica's outstanding tokens only become more, so what was seen last is a
    lower bound, and the least of these bounds leads to the least. A replica says when it may have fewer, and until
    when what was seen of it holds without another look.
    """

    def __init__(self, replicas: Iterable[Replica]) -> None:
        """A replica is in one fleet at a time: the last one made of it."""
        self._replicas = list(replicas)
        self._places = {id(replica): place for place, replica in enumerate(self._replicas)}
        self._bounds = np.zeros(len(self._replicas), np.int64)  # of their outstanding tokens
        self._until_s = np.full(len(self._replicas), inf)  # when each bound ends to hold
        self._few = len(self._replicas) <= FEW
        self._chosen = 0  # last

    def least_loaded(self) -> int:
        """Return the place of the replica with the fewest outstanding tokens, the first of equals."""
        bounds, until_s, replicas = self._bounds, self._until_s, self._replicas
        if self._few:
            loads = [replica.outstanding_tokens for replica in replicas]
            return loads.index(min(loads))
        self._note(self._chosen)  # it has most likely been given a request
        now_s, seen = replicas[0].clock.now, -1
        while until_s[over := until_s.argmin()] <= now_s:
            bounds[over], until_s[over] = 0, inf
        while (place := int(bounds.argmin())) != seen:  # each turn makes a bound exact
            if seen >= 0:
                self._note(seen)
            bounds[place] = replicas[place].outstanding_tokens
            seen = place
        self._chosen = place
        return place

    def _note(self, place: int) -> None:
        """Have the load of a replica, as computed so far, as its bound."""
        self._bounds[place], self._until_s[place] = self._replicas[place].load()

    def load_fell(self, replica: Replica) -> None:
        """A replica may have fewer tokens than it had."""
        place = self._places.get(id(replica))
        if place is not None:
            self._bounds[place] = 0

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
