"""Session affinity: all requests of a conversation go where its first one went."""

import random
from collections.abc import Sequence

from simulator.policy import Job, ReplicaView, least_loaded, place_of


class SessionAffinity:
    """A session's first request goes to the least loaded replica, and the later ones follow it.

    If that replica is down, the session moves to the least loaded one and stays there. A request of no
    session goes to the least loaded. Known as sticky sessions in HTTP load balancers.
    """

    def __init__(self) -> None:
        """Begin without sessions."""
        self._home: dict[int, ReplicaView] = {}  # replicas, not indices: those shift when one is down

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the session's replica."""
        home = self._home.get(job.session)
        place = None if home is None else place_of(home, replicas)
        if place is not None:
            return place
        chosen = least_loaded(replicas)
        if job.session >= 0:
            self._home[job.session] = replicas[chosen]
        return chosen
