"""Llumnix: from replicas that are running out of KV memory to those that have plenty."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from policies._freeness import freeness
from policies.migration._moving import Resting, blocks_needed
from simulator.policy import Move, ReplicaView


@dataclass
class Llumnix:
    """Freeness is the KV blocks free, less what the first in the queue will take, for each of these requests.

    The replica with the least, if below ``send_below``, sends to the one with the most, if above
    ``receive_above``; the next pair likewise. It sends its least urgent, then shortest, request, unless the receiver
    would be short itself. One that is to go has the least of all. Source: Sun et al., OSDI 2024, arXiv 2406.03243.
    """

    drains: ClassVar[bool] = True

    interval_s: float = 0.05  # seconds between two looks
    send_below: float = 3.0  # freeness, in blocks a request, below which a replica sends
    receive_above: float = 3.0  # freeness above which a replica receives
    cooldown_s: float = 5.0  # how long a moved request is left alone, s
    headroom_blocks: int = 0  # that a replica with urgent requests keeps free of others
    urgent: int = 0  # priority number up to which requests are urgent
    _resting: Resting = field(init=False)

    def __post_init__(self) -> None:
        """Refuse thresholds that would send requests in circles."""
        if self.send_below > self.receive_above:
            raise ValueError("send_below has to be no more than receive_above")
        self._resting = Resting(self.cooldown_s)

    def moves(self, replicas: Sequence[ReplicaView], now_s: float) -> list[Move]:
        """Return at most one move for each pair of a short and a free replica."""
        free = [
            freeness(each, whole_queue=False, headroom_blocks=self.headroom_blocks, urgent=self.urgent)
            for each in replicas
        ]
        order = sorted(range(len(replicas)), key=free.__getitem__)
        short = [index for index in order if free[index] < self.send_below]
        ample = [index for index in reversed(order) if free[index] > self.receive_above]
        moves = []
        for source, destination in zip(short, ample, strict=False):
            there = replicas[destination]
            requests = max(1, len(there.running) + bool(there.waiting))
            room = free[destination] * requests - self.send_below * (len(there.running) + 1)
            fitting = [
                job
                for job in self._resting.movable(replicas[source], now_s)
                if blocks_needed(job, there) <= room
            ]
            if fitting:
                job = min(fitting, key=lambda job: (-job.priority, job.known_tokens, job.id))
                self._resting.begin(job, now_s)
                moves.append(Move(job, source, destination))
        return moves
