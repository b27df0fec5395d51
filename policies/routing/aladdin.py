"""Aladdin's placement: the fullest replica that still keeps all its requests' bounds."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from policies._packing import PackingBounds, ReplicaBin
from policies.routing._sent_jobs import SentJobs
from simulator.policy import Job, ReplicaView


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
    _sent: dict[ReplicaView, SentJobs] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Refuse bounds that no request could keep."""
        self._bounds = PackingBounds(self.ttft_s, self.atgt_s, self.context_tokens, self.atgt_factor)

    def route(self, job: Job, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the fullest replica that takes the request, else of the least full."""
        known = [each.outstanding_tokens for each in replicas]  # asked first: so all are where the clock is
        sent = [self._sent_to(each) for each in replicas]
        for each in sent:
            each.follow(self._sent)
        best = least = -1
        fullest, emptiest = -1.0, 0.0
        for index, each in enumerate(sent):
            held = each.contents(known[index])
            full = each.bin.fullness(held)
            if full > fullest and each.bin.fits(held.with_(job)):
                best, fullest = index, full
            if least < 0 or full < emptiest:
                least, emptiest = index, full
        chosen = least if best < 0 else best
        sent[chosen].send(job)
        return chosen

    def _sent_to(self, replica: ReplicaView) -> SentJobs:
        if replica not in self._sent:
            self._sent[replica] = SentJobs(replica, ReplicaBin.of(replica, self._bounds), self.error_requests)
        return self._sent[replica]
