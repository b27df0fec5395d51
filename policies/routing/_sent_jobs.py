"""What a router knows of the requests that it sent to one replica, for the router ``aladdin``."""

from collections import deque
from collections.abc import Mapping

from policies._packing import BinContents, ReplicaBin
from simulator.policy import Job, JobState, ReplicaView

LOOKS = 32  # after so many all requests are counted anew: some have outlived their predictions meanwhile


class SentJobs:
    """Those that are on their way or there, and by how much the last that ended outlived their predictions."""

    def __init__(self, replica: ReplicaView, bin_: ReplicaBin, remembered: int) -> None:
        """Have none; errors of so many are ``remembered``."""
        self.bin = bin_
        self._replica = replica
        self._came: dict[Job, bool] = {}  # whether it has come
        self._prompts: dict[Job, None] = {}  # those without a token
        self._errors: deque[int] = deque(maxlen=remembered)  # tokens
        self._counted = BinContents()
        self._looks_left = 0

    @property
    def error_tokens(self) -> float:
        """The mean tokens by which requests outlived their predictions lately; below 0: they did not."""
        return sum(self._errors) / len(self._errors) if self._errors else 0.0

    def send(self, job: Job, came: bool = False) -> None:
        """Note a request that is sent here, or has come from another replica."""
        if job not in self._came:
            self._prompts[job] = None
            self._counted.add(job)
        self._came[job] = came

    def follow(self, others: Mapping[ReplicaView, "SentJobs"]) -> None:
        """See who has ended, with what error, and who has moved."""
        here, gone = self._replica, list[Job]()
        for job, came in self._came.items():
            there = job.replica
            if there is here and job.state is not JobState.ENDED:
                if not came:
                    self._came[job] = True
            elif (
                came
                or there is None
                or there is here
                or there in others
                or job.state is not JobState.UNPLACED
            ):
                gone.append(job)  # the last: it came and went on since the last look
        for job in gone:
            del self._came[job]
            self._prompts.pop(job, None)
            if job.replica is here and job.completing:
                self._errors.append(job.generated_tokens - job.predicted_tokens)
            elif job.replica in others and job.replica is not here:
                others[job.replica].send(job, came=True)
        if gone:
            self._looks_left = 0

    def contents(self, known_tokens: int) -> BinContents:
        """Return what they add up to, longer by the error, and no less than ``known_tokens``, which are there now."""
        if not self._looks_left:
            self._looks_left, self._counted = LOOKS, BinContents()
            for job in self._came:
                self._counted.add(job)
        self._looks_left -= 1
        for job in [job for job in self._prompts if job.generated_tokens]:
            del self._prompts[job]
        seqs = self._counted.seqs
        final_tokens = self._counted.final_tokens + seqs * self.error_tokens
        prompt_tokens = sum(job.remaining_tokens for job in self._prompts)
        return BinContents(seqs, max(final_tokens, known_tokens), prompt_tokens)
