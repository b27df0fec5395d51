"""Which replicas take requests, and which take what prefill replicas hand over."""

from collections.abc import Sequence

from simulator.cluster.answers import changing
from simulator.cluster.fleet import Fleet
from simulator.cluster.policy import Migration, Roles
from simulator.replica.replica import Replica
from simulator.replica.state import ReplicaState


class Fleets:
    """The replicas that serve, by what they take; made anew when one comes, goes or changes its role."""

    def __init__(self, replicas: Sequence[Replica], disaggregated: bool) -> None:
        """``replicas`` are all of the cluster, whatever their state."""
        self.replicas = replicas
        self.disaggregated = disaggregated
        self.update()

    def update(self) -> None:
        """A replica has changed its state or role."""
        serving = [each for each in self.replicas if each.state is ReplicaState.SERVING]
        self.entrances = Fleet(each for each in serving if each.role != "decode")
        self.decoders = Fleet(each for each in serving if each.role == "decode")

    @property
    def movable(self) -> Fleet:
        """Replicas between which requests may migrate."""
        return self.decoders if self.disaggregated else self.entrances

    def shown_to(self, migration: Migration) -> Sequence[Replica]:
        """Replicas between which requests may migrate, and those that are to go where the policy empties them."""
        if not getattr(migration, "drains", False):
            return self.movable
        going = [each for each in self.replicas if each.state is ReplicaState.DRAINING]
        if self.disaggregated:
            going = [each for each in going if each.role == "decode"]
        return [*self.movable, *going]

    def load_fell(self, replica: Replica) -> None:
        """A replica may have fewer outstanding tokens than it had."""
        (self.decoders if replica.role == "decode" else self.entrances).load_fell(replica)

    def switch(self, roles: Roles, now_s: float) -> None:
        """Let a replica change its role if the rule wants one to, unless it is the last on its side."""
        if self.entrances and self.decoders:
            chosen = roles.switch(self.entrances, self.decoders, now_s)
            if chosen is None:
                return
            replica = changing(roles, chosen, [*self.entrances, *self.decoders])
            side = self.entrances if replica.role == "prefill" else self.decoders
            if len(side) > 1:
                replica.take_role("decode" if side is self.entrances else "prefill")
                self.update()
