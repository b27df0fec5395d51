"""Speculative decoding as an engine is told of it: how many drafts a request gets, and how many turn out right.

A drafter guesses the next k tokens of an answer, and one step of the target model computes them all. Those up to the
first wrong guess are accepted, and one token more comes with them from the target model itself (Leviathan et al.,
arXiv 2211.17192, algorithm 1), so that a step gives a request 1 to k + 1 tokens.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.replica.job import Job

MOST_DRAFTS = 32  # that vLLM's rejection sampler takes


class AnswerDraws:
    """The random numbers of one answer: whether a draft is right depends on what it is a draft of, not on when."""

    __slots__ = ("_draws", "_hints", "_key", "kept", "numbers", "own", "runs")

    def __init__(self, seed: int, number: int, tokens: int) -> None:
        """Draw for the request that arrived as the ``number``-th, whose answer has so many tokens."""
        self._key = seed, number
        drawn = _uniform(self._key, 1 + tokens + MOST_DRAFTS)
        self.own = float(drawn[0])  # of the request as a whole, in [0, 1)
        self.numbers = drawn[1:]  # of each token of the answer, and some beyond, in [0, 1)
        self._draws: list[float] = []
        self._hints = self.numbers[:0]
        self.kept: dict[tuple[int, int], Any] = {}  # what an engine has found of it
        self.runs: dict[int, list[int]] = {}  # an acceptance may keep here what follows from them

    @property
    def draws(self) -> list[float]:
        """``numbers``, as a list."""
        if not self._draws:
            self._draws = self.numbers.tolist()
        return self._draws

    @property
    def hints(self) -> NDArray[np.float64]:
        """As many numbers more, independent of the others: what a drafter senses of whether it is right."""
        count = len(self.numbers)
        if not len(self._hints):
            self._hints = _uniform(self._key, 1 + 2 * count)[1 + count :]
        return self._hints


class _Streams(threading.local):
    """A generator that goes from stream to stream, a thread: making one a stream takes five times as long."""

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.generator = np.random.Generator(self.philox)
        self.start = self.philox.state  # of which only the key differs
        self.start["state"]["counter"][:] = 0


@cache
def _streams() -> _Streams:
    """Return it, made when the first answer is drafted: numpy's generators take long to import."""
    return _Streams()


def _uniform(key: tuple[int, int], count: int) -> NDArray[np.float64]:
    """Return the first numbers of a stream, in [0, 1), shape (count,); those of ``Philox(key=key)``."""
    streams = _streams()
    streams.start["state"]["key"][:] = key
    streams.philox.state = streams.start
    return streams.generator.random(count)


class Acceptance(ABC):
    """Says how many drafts are right: one file, one method."""

    keeps_runs: ClassVar[bool] = (
        False  # ``answer.runs[wanted]`` has all that it accepts, once asked; chances stay
    )

    @abstractmethod
    def verify(self, answer: AnswerDraws, generated: int, wanted: int) -> tuple[int, int]:
        """Return how many drafts there are, of up to ``wanted``, and how many of these the model accepts.

        Equal arguments give equal numbers. ``answer.draws[generated + j]`` belongs to draft j of those that follow so
        many generated tokens, from 0.
        """


class TreeAcceptance(Acceptance):
    """One that also says how likely each draft is right, which trees are drawn by."""

    @abstractmethod
    def chances(self, answer: AnswerDraws, generated: int, depth: int) -> Sequence[float]:
        """Return the chance, at each of up to ``depth`` places, that the drafter's first guess there is right.

        It is the chance once the guesses before it are right, on the average over what the drafter may sense. The guess
        at place j, from 0, is right where ``answer.draws[generated + j]`` is below it. Empty: there are no drafts.
        """


@dataclass(frozen=True)
class Speculation:
    """What an engine does about drafts; the names are vLLM's."""

    acceptance: Acceptance
    num_speculative_tokens: int  # k, where the next says nothing
    # (decoding requests up to which, k): what is below no bound gets no drafts; empty: k whatever the batch
    by_batch_size: Sequence[tuple[int, int]] = ()
    lookahead: bool = True  # the drafter writes KV of its own: blocks for k tokens more are held
    adaptive: bool = False  # whether only drafts that pay are verified
    seed: int = 0
    confidence: float = 0.5  # how well the drafter knows which of its guesses are right, from 0 to 1
    later_guess: float = 0.4  # share of what it misses at a place that its next guess there hits; for trees
    answers: dict[int, AnswerDraws] = field(default_factory=dict, compare=False, repr=False)

    @property
    def most_tokens(self) -> int:
        """The most tokens that a step gives a request."""
        if self.by_batch_size:
            return 1 + max(drafts for _, drafts in self.by_batch_size)
        return 1 + self.num_speculative_tokens

    def tokens(self, decoding: int) -> int:
        """Return how many drafts each of so many decoding requests gets."""
        if not self.by_batch_size:
            return self.num_speculative_tokens
        for most, drafts in self.by_batch_size:
            if decoding <= most:
                return drafts
        return 0

    def verify(self, job: Job, wanted: int) -> tuple[int, int]:
        """Return how many drafts of a job there are, of up to ``wanted``, and how many of these are accepted.

        Raises InputError for an acceptance that accepts more than there are.
        """
        answer = self.answer(job)
        drafts, accepted = self.acceptance.verify(answer, job.generated, wanted)
        if drafts > wanted:
            drafts = wanted
        if not 0 <= accepted <= drafts:
            raise InputError(
                f"policy.acceptance: {self._rule}.verify() accepted {accepted} of {drafts} drafts"
            )
        return drafts, accepted

    def answer(self, job: Job) -> AnswerDraws:
        """Return the random numbers of a job's answer."""
        answer = self.answers.get(job.id)
        if answer is None:
            answer = self.answers[job.id] = AnswerDraws(self.seed, job.id, job.output_tokens)
        return answer

    @property
    def chances_of(self) -> Callable[[AnswerDraws, int, int], Sequence[float]]:
        """What says the chance of the first guess at each place, as ``TreeAcceptance.chances`` does.

        Raises InputError for an acceptance that says none.
        """
        if not hasattr(self.acceptance, "chances"):
            raise InputError(
                f"policy.acceptance: {self._rule} says nothing of how likely each draft is right, which trees and"
                " adaptive verification go by; expected a method chances(answer, generated, depth) of it"
            )
        found: Callable[[AnswerDraws, int, int], Sequence[float]] = self.acceptance.chances
        return found

    def check_chances(self, chances: Sequence[float], depth: int) -> None:
        """Raise InputError unless an acceptance's chances are as many as there are places, or fewer, from 0 to 1."""
        if len(chances) > depth or not all(0 <= chance <= 1 for chance in chances):
            raise InputError(
                f"policy.acceptance: {self._rule}.chances() returned {len(chances)} numbers, the first"
                f" {list(chances[:4])}; expected up to {depth} from 0 to 1"
            )

    @property
    def _rule(self) -> str:
        return type(self.acceptance).__name__
