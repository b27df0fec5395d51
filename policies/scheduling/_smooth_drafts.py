"""When readers run out of text where requests decode with drafts, for the policy ``smooth``."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from simulator.policy import Job, Ledger, StepShape

REMEMBERED = 16  # rounds over which the tokens of a round and its drafts are averaged


class Round(NamedTuple):
    """A step in which all decode."""

    step: int
    end_s: float
    tick: int  # rounds before it


class KnownReader:
    """What is known of a reader from the steps that have ended."""

    __slots__ = ("first", "generated", "key", "number", "seen")

    def __init__(self, key: float, number: int, generated: int, first: int) -> None:
        self.key = key  # its need less its ticks, as in ``Readers``
        self.number = number  # of the token that came last
        self.generated = generated  # how many tokens its request had then,
        self.seen = generated  # and when the last step was planned, that of the step in flight included
        self.first = first  # the first step that may give it another


class DraftReaders(Readers):
    """Readers who get 1 to k + 1 tokens in a round, or none where the token budget ends.

    Of a round that has ended it is known how many each got; of one in flight each counts as having got the usual
    number, the mean of the last rounds. What a round costs is that of its drafts, too.
    """

    lockstep: ClassVar[bool] = False

    def __init__(self, worth: Worth) -> None:
        super().__init__(worth)
        self._kept: dict[Job, KnownReader] = {}
        self._rounds: list[Round] = []  # that may be in flight
        self._ledger: Ledger | None = None
        self._seen_rounds = 0
        self._drafts_each: float | None = None  # of a request in a round; None: as many as it asks for

    def shape(self, step: Ledger, seqs: int, context_tokens: int) -> StepShape:
        """The shape of a step in which so many requests decode, each with its drafts."""
        shape = super().shape(step, seqs, context_tokens)
        shape.draft_passes, shape.draft_tokens = step.shape.draft_passes, self._draft_tokens(step, seqs)
        return shape

    def round_tokens(self, step: Ledger) -> int:
        """Of the step's budget, what a round of all that decode takes, drafts included."""
        return step.group.size + self._draft_tokens(step, step.group.size)

    def _draft_tokens(self, step: Ledger, seqs: int) -> int:
        """How many drafts so many requests have in a round: the usual number, and no more than there are passes."""
        passes = step.shape.draft_passes
        return round(seqs * (passes if self._drafts_each is None else min(self._drafts_each, passes)))

    def join(self, job: Job, token_s: float, tick: int) -> None:
        """Add a request whose token comes at ``token_s``, when the group has done ``tick`` rounds."""
        key = self._first_key(job, token_s, tick)
        self._insert(job, key)
        comes = job.group is None  # with the step that is being planned
        step = 0 if self._ledger is None else self._ledger.step
        generated = job.generated_tokens
        self._kept[job] = KnownReader(key, generated + 1, generated + comes, step + comes)

    def tick(self, tokens_s: Sequence[float], first_tick: int) -> None:
        """Note a round that ends then; whose tokens come with it is known when it has ended."""
        assert self._ledger is not None
        shape, memory = self._ledger.shape, min(self._seen_rounds + 1, REMEMBERED)
        self._rounds.append(Round(self._ledger.step, tokens_s[-1], first_tick))
        drafts = shape.draft_tokens / max(shape.decode_seqs, 1)
        before = drafts if self._drafts_each is None else self._drafts_each
        self._drafts_each = before + (drafts - before) / memory

    def drop_leavers(self, step: Ledger) -> None:
        """Forget those who have ended; see what the others got."""
        self._ledger = step
        super().drop_leavers(step)
        if self._rounds:
            self._catch_up(step)

    def number(self, job: Job) -> int:
        """How many tokens a reader has, or is taken to have."""
        kept = self._kept[job]
        return kept.generated + round(
            self.tokens_each * sum(each.step >= kept.first for each in self._rounds)
        )

    def _catch_up(self, step: Ledger) -> None:
        """Let readers go on with what the rounds that have ended gave them, and with the usual of the one in flight."""
        ended = [each for each in self._rounds if each.step < step.step - step.in_flight]
        self._rounds = self._rounds[len(ended) :]
        got = [
            self._gain(job, ended, step.step - 1)
            for readers in self._by_pace.values()
            for _, _, job in readers
        ]
        if given := [tokens for tokens in got if tokens]:
            self._seen_rounds += 1
            memory = min(self._seen_rounds, REMEMBERED)
            self.tokens_each += (sum(given) / len(given) - self.tokens_each) / memory
        kept, usual = dict[Job, KnownReader](), self.tokens_each
        for pace_s, readers in self._by_pace.items():
            found = []
            for _, number, job in readers:
                mine = kept[job] = self._kept[job]
                key = mine.key
                for each in self._rounds:
                    if each.step >= mine.first:
                        key = self._after(job, key, mine.number, usual, each)
                found.append((key, number, job))
            found.sort()
            self._by_pace[pace_s] = found
        self._kept = kept

    def _gain(self, job: Job, ended: list[Round], last_step: int) -> int:
        """Write down what a reader got in rounds that have ended; return how many tokens."""
        kept, now, got = self._kept[job], job.generated_tokens, 0
        for each in ended:
            if each.step < kept.first:
                continue
            tokens = (now if each.step == last_step else kept.seen) - kept.generated
            kept.key = self._after(job, kept.key, kept.number, tokens, each)
            kept.number += tokens
            kept.generated += tokens
            got += tokens
        kept.seen = now
        return got

    def _after(self, job: Job, key: float, number: int, tokens: float, given: Round) -> float:
        """The key of a reader whose last token was of that number when so many more have come."""
        pace_s = job.pace_s
        if not tokens:
            return key - pace_s
        key = max(key, given.end_s - pace_s * given.tick)
        first = number + 1
        place = job.place_of(first)
        if job.curve is not None and self._begins_to_read(job, first):
            key = self._begin(job, given.end_s) + pace_s * (place - given.tick)
        more = job.place_of(first + round(tokens)) - place if job.curve is not None else tokens
        return key + pace_s * (more - 1) if more != 1 else key
