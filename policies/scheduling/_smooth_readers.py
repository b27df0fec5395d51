"""When the readers of decoding requests run out of text, for the policy ``smooth``."""

from bisect import bisect_left, insort
from heapq import merge
from itertools import islice
from math import inf
from operator import itemgetter

from simulator.policy import Job, Ledger

_key = itemgetter(0)


class Readers:
    """The decode group, in the order in which its readers will have nothing left to read.

    A reader who has waited goes on from there: what comes in time by that clock adds nothing to the idle
    latency. So the next need is one pace after the later of the last token and the last need. All in
    the group get tokens at the same ticks: kept as ``need - pace * tick``, needs change only when they are
    not met, and ordering the group costs a step nothing.
    """

    def __init__(self, least_pace_s: float) -> None:
        """``least_pace_s``: a reader who is faster than that is kept at that pace."""
        self._least_pace_s = least_pace_s
        self._by_pace: dict[
            float, list[tuple[float, int, Job]]
        ] = {}  # (need less its ticks, id, job), sorted
        self._ended = 0
        self._tokens = 0

    @property
    def quickest_s(self) -> float:
        """Seconds between the tokens of the reader who reads fastest."""
        return min(self._by_pace, default=self._least_pace_s)

    @property
    def usual_tokens(self) -> float:
        """Mean output of the requests that have ended so far."""
        return self._tokens / self._ended if self._ended else 0.0

    def join(self, job: Job, token_s: float, tick: int) -> None:
        """Add a request whose token comes at ``token_s``, when the group has done ``tick`` ticks."""
        pace_s = max(job.pace_s, self._least_pace_s)
        need_s = max(job.due_s, token_s) + pace_s
        insort(self._by_pace.setdefault(pace_s, []), (need_s - pace_s * tick, job.id, job))

    def tick(self, token_s: float, tick: int) -> None:
        """Give every reader a token at ``token_s``, ``tick`` ticks being done before it.

        A reader who needed it earlier goes on from there.
        """
        for pace_s, readers in self._by_pace.items():
            latest = token_s - pace_s * tick
            late = bisect_left(readers, latest, key=_key)
            if late:
                readers[:late] = sorted((latest, number, job) for _, number, job in readers[:late])

    def drop_leavers(self, step: Ledger) -> None:
        """Forget those who have ended; remember how long their outputs were. Take in who came from elsewhere."""
        if not step.joined and sum(map(len, self._by_pace.values())) == step.group.size:
            return
        for pace_s, readers in list(self._by_pace.items()):
            self._by_pace[pace_s] = stay = [each for each in readers if _decodes(each[2], step)]
            self._ended += len(readers) - len(stay)
            self._tokens += sum(job.generated_tokens for _, _, job in readers if not _decodes(job, step))
            if not stay:
                del self._by_pace[pace_s]
        for job in step.joined:
            self.join(job, step.now_s, step.group.tick)

    def need_s(self, place: int, tick: int) -> float:
        """When the reader in that place (0 is the first) needs a token; never, if there are not so many."""
        in_order = (
            [key + pace_s * tick for key, _, _ in islice(readers, place + 1)]
            for pace_s, readers in self._by_pace.items()
        )
        return next(islice(merge(*in_order), place, None), inf)

    def needing(self, until_s: float, tick: int) -> int:
        """How many readers need a token before then."""
        return sum(
            bisect_left(readers, until_s - pace_s * tick, key=_key)
            for pace_s, readers in self._by_pace.items()
        )

    def take_most_ahead(self, tick: int) -> Job:
        """Remove and return the request whose reader can wait longest."""
        last_s = {pace_s: readers[-1][0] + pace_s * tick for pace_s, readers in self._by_pace.items()}
        pace_s = max(last_s, key=last_s.__getitem__)
        job = self._by_pace[pace_s].pop()[2]
        if not self._by_pace[pace_s]:
            del self._by_pace[pace_s]
        return job


def _decodes(job: Job, step: Ledger) -> bool:
    going_on = job in step.running and job not in step.partial and not job.completing
    return going_on and job not in step.joined
