"""TBT chasing: away from replicas whose steps are long, whether or not a reader would notice."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.migration._moving import Resting, blocks_needed
from simulator.policy import Move, ReplicaView


@dataclass
class TbtChasing:
    """A replica whose last step took longer than ``tbt_s`` sends its longest request to the fastest one.

    Every token is held to the bound by itself, so a reader with a page in hand is moved, and stalled,
    like one who waits: what Wang et al., arXiv 2410.14257, show a bound on the time between tokens to ask
    for. For comparison with ``token_slack``.
    """

    interval_s: float = 0.2  # seconds between two looks
    tbt_s: float = 0.05  # longest step that is put up with, s
    cooldown_s: float = 1.0  # how long a moved request is left alone, s
    _resting: Resting = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no request on the move."""
        self._resting = Resting(self.cooldown_s)

    def moves(self, replicas: Sequence[ReplicaView], now_s: float) -> list[Move]:
        """Return at most one move from each replica that is too slow, no two to the same one."""
        step_s = [each.last_step_s if each.running else 0.0 for each in replicas]
        fast = sorted(
            (index for index in range(len(replicas)) if step_s[index] <= self.tbt_s), key=step_s.__getitem__
        )
        moves = []
        for source, replica in enumerate(replicas):
            if not fast or step_s[source] <= self.tbt_s:
                continue
            there = replicas[fast[0]]
            fitting = [
                job
                for job in self._resting.movable(replica, now_s)
                if blocks_needed(job, there) <= there.free_blocks
            ]
            if fitting:
                job = max(fitting, key=lambda job: (job.known_tokens, -job.id))
                self._resting.begin(job, now_s)
                moves.append(Move(job, source, fast.pop(0)))
        return moves
