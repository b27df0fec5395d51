"""Token slack: only readers who are far enough ahead not to notice are moved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.migration._moving import Resting, blocks_needed
from simulator.policy import Move, ReplicaView


@dataclass
class TokenSlack:
    """A replica on which a reader is late, or KV memory short, sends the request that is furthest ahead.

    Its next token is due later than the move is expected to take, so its reader does not wait. It goes
    where no request is late and most blocks stay free. Source: the deadlines d_i = S + V·i of Wang et al.,
    arXiv 2410.14257; moving by them is this project's own.
    """

    interval_s: float = 0.2  # seconds between two looks
    stall_s: float = 0.1  # how long a moved request is expected to get no token, s
    short_share: float = 0.05  # KV memory is short with less than this share of its blocks free
    cooldown_s: float = 5.0  # how long a moved request is left alone, s
    _resting: Resting = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 < self.short_share < 1:
            raise ValueError(f"short_share is a share between 0 and 1; got {self.short_share}")
        self._resting = Resting(self.cooldown_s)

    def moves(self, replicas: Sequence[ReplicaView], now_s: float) -> list[Move]:
        """Return at most one move from each replica in need, no two to the same one."""
        calm = [index for index, each in enumerate(replicas) if not self._in_need(each, now_s)]
        calm.sort(key=lambda index: -replicas[index].free_blocks)
        moves = []
        for source, replica in enumerate(replicas):
            if not calm or not self._in_need(replica, now_s):
                continue
            there = replicas[calm[0]]
            room = there.free_blocks - self.short_share * there.total_blocks
            ahead = [
                job
                for job in self._resting.movable(replica, now_s)
                if job.due_s - now_s > self.stall_s and blocks_needed(job, there) <= room
            ]
            if ahead:
                job = max(ahead, key=lambda job: (job.due_s, -job.id))
                self._resting.begin(job, now_s)
                moves.append(Move(job, source, calm.pop(0)))
        return moves

    def _in_need(self, replica: ReplicaView, now_s: float) -> bool:
        short = replica.free_blocks < self.short_share * replica.total_blocks
        return short or any(job.due_s < now_s and not job.completing for job in replica.running)
