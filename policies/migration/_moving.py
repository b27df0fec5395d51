"""What migration policies share: whom they may move, and where there is room."""

from simulator.policy import Job, ReplicaView


class Resting:
    """Remembers which jobs moved lately: one that is on the move, or has just been, is left alone."""

    def __init__(self, cooldown_s: float) -> None:
        """A request may be moved again after ``cooldown_s``."""
        self.cooldown_s = cooldown_s
        self._until_s: dict[int, float] = {}

    def movable(self, replica: ReplicaView, now_s: float) -> list[Job]:
        """Return the requests of a replica that decode, have more to come, and have not moved lately."""
        self._until_s = {who: until_s for who, until_s in self._until_s.items() if until_s > now_s}
        return [
            job
            for job in replica.running
            if job.decodes and not job.completing and job.id not in self._until_s
        ]

    def begin(self, job: Job, now_s: float) -> None:
        """Note that a request is moved now."""
        self._until_s[job.id] = now_s + self.cooldown_s


def blocks_needed(job: Job, replica: ReplicaView) -> int:
    """Return the KV blocks that a decoding request takes at a replica, its next token included."""
    return job.blocks if job.reserved else -(-job.known_tokens // replica.block_size)
