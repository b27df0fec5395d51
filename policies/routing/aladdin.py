"""Aladdin's placement: the fullest replica that still keeps all its requests' bounds."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from policies._packing import BinContents, PackingBounds, ReplicaBin
from simulator.policy import Job, JobState, ReplicaView


@dataclass
class AladdinPlacement:
    """Best fit: where the request and all who are there keep TTFT, ATGT and KV memory at their predicted ends.

    Where none would, the least full one. What requests of a replica took beyond their predictions lately is added to
    those who are there, so that it is sent less. Source: Nie et al., "Aladdin", arXiv 2405.06856; how full a bin of
    several dimensions is, and how errors count, are not published and ours.
    """

    ttft_s: float = 0.0  # bound, s; 0: the time of a prompt of ``context_tokens``
    atgt_s: float = 0.0  # bound on the mean time of a token after the first, s; 0: by ``atgt_factor``
    context_tokens: int = 4096  # of a full context
    atgt_factor: float = 1.3  # times the decode step of a request alone
    error_requests: int = 100  # whose errors of prediction a replica's are the mean of; 0: none counts
    _bounds: PackingBounds = field(init=False)
    _bins: dict[ReplicaView, ReplicaBin] = field(default_factory=dict, init=False)
    _sent: dict[ReplicaView, dict[Job, bool]] = field(
        default_factory=dict, init=False
    )  # and whether it has come
    _errors: dict[ReplicaView, deque[int]] = field(default_factory=dict, init=False)  # tokens

    def __post_init__(self) -> None:
        """Refuse bounds that no request could keep."""
        self._bounds = PackingBounds(self.ttft_s, self.atgt_s, self.context_tokens, self.atgt_factor)

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the fullest replica that takes the request, else of the least full."""
        known = [each.outstanding_tokens for each in replicas]  # asked first: so all are where the clock is
        self._follow(replicas)
        best = least = -1
        fullest, emptiest = -1.0, 0.0
        for index, replica in enumerate(replicas):
            bin_, held = self._bin(replica), self._held(replica, known[index])
            full = bin_.fullness(held)
            if full > fullest and bin_.fits(held.with_(job)):
                best, fullest = index, full
            if least < 0 or full < emptiest:
                least, emptiest = index, full
        chosen = least if best < 0 else best
        self._sent[replicas[chosen]][job] = False
        return chosen

    def error_tokens(self, replica: ReplicaView) -> float:
        """Return the mean tokens by which requests there outlived their predictions lately; below 0: they did not."""
        errors = self._errors.get(replica)
        return sum(errors) / len(errors) if errors else 0.0

    def _bin(self, replica: ReplicaView) -> ReplicaBin:
        if replica not in self._bins:
            self._bins[replica] = ReplicaBin.of(replica, self._bounds)
            self._sent[replica], self._errors[replica] = {}, deque(maxlen=self.error_requests)
        return self._bins[replica]

    def _held(self, replica: ReplicaView, known_tokens: int) -> BinContents:
        """Return what was sent there and is not done, longer by the error, and no less than it has now."""
        held = BinContents()
        for job in self._sent[replica]:
            held.add(job)
        held.final_tokens += held.seqs * self.error_tokens(replica)
        held.final_tokens = max(held.final_tokens, known_tokens)
        return held

    def _follow(self, replicas: Sequence[ReplicaView]) -> None:
        """See who has ended on these, with what error, and who has moved."""
        for replica in replicas:
            jobs = self._sent.get(replica, {})
            for job, came in list(jobs.items()):
                there = job.replica
                if there is replica and job.state is not JobState.ENDED:
                    jobs[job] = True
                elif there is replica:
                    del jobs[job]
                    if job.completing:
                        self._errors[replica].append(job.generated_tokens - job.predicted_tokens)
                elif there in self._sent:
                    del jobs[job]
                    self._sent[there][job] = True
                elif came or there is None:
                    del jobs[job]
