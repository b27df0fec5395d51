"""Asking a router, and showing it no more of the replicas than it says that it looks at."""

import numbers
import random
from collections.abc import Sequence
from typing import Any, cast, overload

from simulator.blame import wrong_answer
from simulator.cluster.policy import ReplicaView, Router
from simulator.errors import InputError
from simulator.replica.job import Job
from simulator.replica.offer import Offer
from simulator.replica.replica import Replica


class Hidden:
    """A replica of which only its offer can be seen, for a router that declares so; the same one at every call."""

    __slots__ = ("_router", "offer")

    def __init__(self, router: str, offer: Offer) -> None:
        self._router, self.offer = router, offer

    def __getattr__(self, name: str) -> Any:
        """Refuse to tell; asked only for what is not there, which is everything."""
        raise InputError(
            f"policy.routing: {self._router}.route asks for {name} of a replica but {self._router} declares"
            " looks_at_load = False; expected True, or a choice by the request and the number of replicas alone"
        )


class Unseen(Sequence[Hidden]):
    """How many replicas there are, and which is which."""

    def __init__(self, router: str, replicas: Sequence[Replica], known: dict[int, Hidden]) -> None:
        """``known`` holds what stands for the replicas that the router has met."""
        self._router, self._replicas, self._known = router, replicas, known

    @overload
    def __getitem__(self, place: int) -> Hidden: ...
    @overload
    def __getitem__(self, place: slice) -> list[Hidden]: ...
    def __getitem__(self, place: int | slice) -> Hidden | list[Hidden]:
        found = self._replicas[place]
        return self._hide(found) if isinstance(found, Replica) else list(map(self._hide, found))

    def __len__(self) -> int:
        return len(self._replicas)

    def _hide(self, replica: Replica) -> Hidden:
        if replica.index not in self._known:
            self._known[replica.index] = Hidden(self._router, replica.offer)
        return self._known[replica.index]


class Choice:
    """Which replica a request goes to, by a router's word."""

    def __init__(self, router: Router, draw: random.Random) -> None:
        """A router that declares ``looks_at_load = False`` may be asked before anything was simulated.

        So it is never shown anything that it could not see then.
        """
        self.blind = not getattr(router, "looks_at_load", True)
        # What it answers is looked at before it is a number: compiled code would refuse one of another type
        self._route: Any = router.route
        self._name, self._draw = type(router).__name__, draw
        self._hidden: dict[int, Hidden] = {}
        self._replicas: Sequence[Replica] = ()  # chosen from last
        self._each: list[Replica] = []
        self._seen: Sequence[ReplicaView] = ()

    def __call__(self, job: Job, replicas: Sequence[Replica]) -> Replica:
        """Return the replica that the router chooses; InputError where its answer names none."""
        if replicas is not self._replicas:
            self._replicas = self._seen = replicas
            self._each = list(replicas)
            if self.blind:
                self._seen = cast("Sequence[ReplicaView]", Unseen(self._name, replicas, self._hidden))
        index: Any = self._route(job, self._seen, self._draw)
        each = self._each
        if index.__class__ is not int or not 0 <= index < len(each):
            self._check(index, len(each))
        chosen: Replica = each[index]
        return chosen

    def _check(self, index: object, count: int) -> None:
        """Raise InputError for an answer that is no number of a replica."""
        if not isinstance(index, numbers.Integral) or isinstance(index, bool) or index not in range(count):
            raise wrong_answer("routing", self._route, index, f"a number from 0 to {count - 1}")
