"""When the readers of decoding requests run out of text, for the policy ``smooth``."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import inf
from typing import ClassVar

from policies.scheduling._smooth_clocks import Clocks
from policies.scheduling._smooth_needs import Keyed, go_on, need_s
from policies.scheduling._smooth_outputs import Outputs
from policies.scheduling._smooth_worth import Worth
from simulator.policy import Job, Ledger, StepShape

MOST_LOOKED_AT = 32  # readers whose waiting so far is looked at, to know what theirs costs


class Readers(Clocks):
    """The decode group, in the order in which its readers will have nothing left to read.

    A reader who has waited goes on from there: what comes in time by that clock adds nothing to the idle
    latency. So the next need is one pace after the later of the last token and the last need. All in
    the group get tokens at the same ticks: kept as ``need - pace * tick``, needs change only when they are
    not met, and ordering the group costs a step nothing. With a curve (``ReadingCurve``) they change at each tick.
    """

    lockstep: ClassVar[bool] = True

    def __init__(self, worth: Worth) -> None:
        super().__init__(worth)
        self.tokens_each = 1.0  # that a reader gets in a round, where all decode
        self._by_pace: dict[float, list[Keyed]] = {}  # sorted
        self.quickest_s = inf  # between the tokens of the reader who reads fastest
        self._size = 0  # readers
        self._shape = StepShape()
        self.outputs = Outputs()

    @property
    def round_s(self) -> float:
        """Seconds between the rounds that keep pace with the reader who reads fastest."""
        return self.quickest_s * self.tokens_each

    def shape(self, step: Ledger, seqs: int, context_tokens: int) -> StepShape:
        """The shape of a step in which so many requests decode, until another one is asked for."""
        shape = self._shape
        shape.decode_seqs, shape.decode_context_tokens = seqs, context_tokens
        shape.prefill_tokens = shape.prefill_seqs = shape.prefill_context_tokens = 0
        shape.prefill_attention_pairs = 0.0
        return shape

    def round_tokens(self, step: Ledger) -> int:
        """Of the step's budget, what a round of all that decode takes."""
        return step.group.size

    def join(self, job: Job, token_s: float, tick: int) -> None:
        """Add a request whose token comes at ``token_s``, when the group has done ``tick`` ticks."""
        self._insert(job, self._first_key(job, token_s, tick))

    def _insert(self, job: Job, key: float) -> None:
        readers = self._by_pace.get(job.pace_s)
        if readers is None:
            readers = self._by_pace[job.pace_s] = []
            self.quickest_s = min(self._by_pace)
        insort(readers, (key, job.id, job))
        self._size += 1

    def _remove(self, reader: Keyed) -> None:
        readers = self._by_pace[reader[2].pace_s]
        readers.remove(reader)
        self._size -= 1
        if not readers:
            del self._by_pace[reader[2].pace_s]
            self.quickest_s = min(self._by_pace, default=inf)

    def tick(self, tokens_s: Sequence[float], first_tick: int) -> None:
        """Give every reader a token at each of these times, ``first_tick`` ticks being done before them.

        A reader who needed one earlier goes on from there.
        """
        for pace_s, readers in self._by_pace.items():
            if readers[0][0] >= tokens_s[-1] - pace_s * first_tick and not self._tokens:
                continue  # each needs a token later than that
            latest = [token_s - pace_s * tick for tick, token_s in enumerate(tokens_s, first_tick)]
            if not self._tokens:
                go_on(readers, max(latest))
                continue
            for tick, token_s in enumerate(tokens_s, first_tick):
                go_on(readers, latest[tick - first_tick])
                readers[:] = sorted(self._read_on(*each, token_s, tick) for each in readers)

    def _read_on(self, key: float, number: int, job: Job, token_s: float, tick: int) -> Keyed:
        """The key of a reader with a curve when its next token is there."""
        if job not in self._tokens:
            return key, number, job
        self._tokens[job] = token = self._tokens[job] + 1
        place = job.place_of(token)
        if self._begins_to_read(job, token):
            key = self._begin(job, token_s) + job.pace_s * (place - tick)
        return key + job.pace_s * (job.place_of(token + 1) - place - 1), number, job

    def drop_leavers(self, step: Ledger) -> None:
        """Forget those who have ended; remember how long their outputs were. Take in who came from elsewhere."""
        group, joined = step.group, step.joined
        if self._size == group.size and not joined:
            return
        for readers in list(self._by_pace.values()):
            gone = [each for each in readers if each[2].group is not group or (joined and each[2] in joined)]
            for each in gone:
                self._remove(each)
                self.outputs.add(each[2].generated_tokens)
                self._forget(each[2])
        for job in step.joined:
            self.join(job, step.now_s, step.group.rounds)

    def need_s(self, place: int, tick: int) -> float:
        """When the reader in that place (0 is the first) needs a token; never, if there are not so many."""
        return need_s(self._by_pace, place, tick)

    def needing(self, until_s: float, tick: int) -> tuple[int, float]:
        """How many readers need a token before then, and what a second of waiting costs each, in the mean, tokens."""
        count, cost = 0, 0.0
        for pace_s, readers in self._by_pace.items():
            here = bisect_left(readers, (until_s - pace_s * tick,))
            if here:
                count += here
                cost += here * self._mean_slope(readers, here, pace_s, tick)
        return count, cost / count if count else self._worth.slope(0.0, self.quickest_s)

    def _mean_slope(self, readers: list[Keyed], count: int, pace_s: float, tick: int) -> float:
        if self._worth.alike:
            return self._worth.slope(0.0, pace_s)
        slopes = []
        for key, _, job in readers[: count : -(-count // MOST_LOOKED_AT)]:
            need_s = key + pace_s * (tick - job.place_of(self.number(job) + 1))
            slopes.append(self._worth.slope(need_s - self._starts_s[job], pace_s))
        return sum(slopes) / len(slopes)

    def most_ahead(self, tick: int) -> tuple[Job, float]:
        """The request whose reader can wait longest, and when that one needs a token."""
        pace_s = self.quickest_s
        if len(self._by_pace) > 1:
            pace_s = max(self._by_pace, key=lambda each: self._by_pace[each][-1][0] + each * tick)
        need_s, _, job = self._by_pace[pace_s][-1]
        return job, need_s + pace_s * tick

    def take_most_ahead(self, tick: int) -> Job:
        """Remove and return that request."""
        job, need_s = self.most_ahead(tick)
        self._owed_s[job] = need_s
        self._remove(self._by_pace[job.pace_s][-1])
        return job
