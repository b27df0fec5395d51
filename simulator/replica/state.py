"""The states of a replica, and how they follow one another."""

from enum import Enum, auto


class ReplicaState(Enum):
    """Whether a replica is there, takes requests, and computes."""

    ABSENT = auto()  # not ordered yet, ordered and not ready, or released
    SERVING = auto()
    DRAINING = auto()  # takes no more requests; is released when it has none
    DOWN = auto()  # crashed, under repair
    DOWN_DRAINING = auto()  # crashed while it drained

    @property
    def up(self) -> bool:
        """Whether it computes."""
        return self is ReplicaState.SERVING or self is ReplicaState.DRAINING

    @property
    def draining(self) -> bool:
        """Whether it is to go."""
        return self is ReplicaState.DRAINING or self is ReplicaState.DOWN_DRAINING

    def crashed(self) -> "ReplicaState":
        """Return the state after a crash of a replica that is up."""
        return ReplicaState.DOWN_DRAINING if self.draining else ReplicaState.DOWN

    def repaired(self) -> "ReplicaState":
        """Return the state after the repair of a replica that is down."""
        return ReplicaState.DRAINING if self.draining else ReplicaState.SERVING

    def taken_back(self) -> "ReplicaState":
        """Return the state of a draining replica that is to stay after all."""
        return ReplicaState.DOWN if self is ReplicaState.DOWN_DRAINING else ReplicaState.SERVING


_S = ReplicaState
DRAINING = _S.DRAINING  # as an attribute of an Enum it is looked up slowly
NEXT = {
    _S.ABSENT: {_S.SERVING},
    _S.SERVING: {_S.DRAINING, _S.DOWN, _S.ABSENT},
    _S.DRAINING: {_S.SERVING, _S.DOWN_DRAINING, _S.ABSENT},
    _S.DOWN: {_S.SERVING, _S.ABSENT},
    _S.DOWN_DRAINING: {_S.DRAINING, _S.DOWN, _S.ABSENT},
}
