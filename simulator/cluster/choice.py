"""Asking a router, and showing it no more of the replicas than it says that it looks at."""

import random
from collections.abc import Sequence
from typing import Any, cast, overload

from simulator.cluster.policy import Router
from simulator.errors import InputError
from simulator.replica.job import Job
from simulator.replica.policy import ReplicaView
from simulator.replica.replica import Replica


class Hidden:
    """A replica of which nothing can be seen, for a router that declares so; it is the same one at every call."""

    __slots__ = ("_router",)

    def __init__(self, router: str) -> None:
        self._router = router

    def __getattr__(self, name: str) -> Any:
        """Refuse to tell; asked only for what is not there, which is everything."""
        raise InputError(
            f"policy.routing: {self._router}.route asks for {name} of a replica but {self._router} declares"
            " looks_at_load = False; expected True, or a choice by the request and the number of replicas alone"
        )


class Unseen(Sequence[Hidden]):
    """How many replicas there are, and which is which."""

    def __init__(
        self, router: str, replicas: Sequence[Replica], known: dict[tuple[str, int], Hidden]
    ) -> None:
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
        key = self._router, replica.index
        if key not in self._known:
            self._known[key] = Hidden(self._router)
        return self._known[key]


class Choice:
    """Which replica a request goes to, by a router's word."""

    def __init__(self) -> None:
        self._hidden: dict[tuple[str, int], Hidden] = {}

    def __call__(self, router: Router, draw: random.Random, job: Job, replicas: Sequence[Replica]) -> Replica:
        """Return the replica that a router chooses; InputError where its answer names none.

        One that declares ``looks_at_load = False`` may be asked before anything was simulated, and is never
        shown anything that it could not see then.
        """
        name = type(router).__name__
        seen: Sequence[ReplicaView] = replicas
        if not getattr(router, "looks_at_load", True):
            seen = cast("Sequence[ReplicaView]", Unseen(name, replicas, self._hidden))
        index = router.route(job, seen, draw)
        if not hasattr(index, "__index__") or index not in range(len(replicas)):
            raise InputError(
                f"policy.routing: {name}.route returned {index!r};"
                f" expected a number from 0 to {len(replicas) - 1}"
            )
        return replicas[index]
