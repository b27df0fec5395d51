"""Aladdin's model of a replica as a bin: KV at the predicted ends, a decode step, and the prompts to compute."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import hypot

from simulator.policy import Job, ReplicaView, StepShape


@dataclass(slots=True)
class BinContents:
    """What the requests of a bin add up to."""

    seqs: int = 0
    final_tokens: float = 0.0  # prompts and predicted outputs, as the KV cache will hold them
    prompt_tokens: int = 0  # of them, those of prompts that are still to be computed

    def add(self, job: Job) -> None:
        """Count a request; one that has outlived its prediction is expected to end with the next token."""
        generated = job.generated_tokens
        self.seqs += 1
        self.final_tokens += job.prompt_tokens + max(job.predicted_tokens, generated + 1)
        self.prompt_tokens += job.remaining_tokens - 1 if generated else job.remaining_tokens

    def with_(self, job: Job) -> "BinContents":
        """Return the same with one request more."""
        more = BinContents(self.seqs, self.final_tokens, self.prompt_tokens)
        more.add(job)
        return more


@dataclass(frozen=True)
class PackingBounds:
    """What all requests are promised; 0 stands for Aladdin's own bounds, by the prices of the replica.

    TTFT: the time of a prompt of a full context. ATGT, the mean time of a token after the first: ``atgt_factor`` times
    that of a request alone. Source: Nie et al., Table 2 of arXiv 2405.06856.
    """

    ttft_s: float = 0.0
    atgt_s: float = 0.0
    context_tokens: int = 4096
    atgt_factor: float = 1.3

    def __post_init__(self) -> None:
        """Refuse bounds that no request could keep."""
        if not (self.ttft_s >= 0 and self.atgt_s >= 0 and self.context_tokens >= 1 and self.atgt_factor > 1):
            raise ValueError(
                "expected ttft_s and atgt_s of 0 or more, context_tokens of 1 or more and atgt_factor above 1; got"
                f" {self.ttft_s:g}, {self.atgt_s:g}, {self.context_tokens} and {self.atgt_factor:g}"
            )


@dataclass
class ReplicaBin:
    """How much one replica takes within the bounds."""

    kv_tokens: int
    price: Callable[[StepShape], float]
    bounds: PackingBounds
    ttft_s: float = field(init=False)
    atgt_s: float = field(init=False)
    _alone_s: float = field(init=False)  # of a decode step of one request
    _prompt_token_s: float = field(init=False)  # in a prompt of a full context

    def __post_init__(self) -> None:
        """Price a request alone."""
        prompt, bounds = StepShape(), self.bounds
        prompt.count(bounds.context_tokens, 0, False, 1)
        prompt_s = self.price(prompt)
        self._prompt_token_s = prompt_s / bounds.context_tokens
        self._alone_s = self.price(StepShape(decode_seqs=1, decode_context_tokens=bounds.context_tokens))
        self.ttft_s = bounds.ttft_s or prompt_s
        self.atgt_s = bounds.atgt_s or bounds.atgt_factor * self._alone_s

    @classmethod
    def of(cls, replica: ReplicaView, bounds: PackingBounds) -> "ReplicaBin":
        """Return the bin that a replica is."""
        return cls(replica.total_blocks * replica.block_size, replica.price, bounds)

    def decode_s(self, held: BinContents) -> float:
        """Return the time of a step in which all decode at their ends, seconds."""
        return self.price(
            StepShape(decode_seqs=held.seqs, decode_context_tokens=max(1, int(held.final_tokens)))
        )

    def fits(self, held: BinContents) -> bool:
        """Whether memory and both bounds are kept."""
        return (
            held.final_tokens <= self.kv_tokens
            and held.prompt_tokens * self._prompt_token_s <= self.ttft_s * (1 + 1e-9)
            and self.decode_s(held) <= self.atgt_s
        )

    def fullness(self, held: BinContents) -> float:
        """Return how full it is, beyond any limit too: the norm of the shares of memory and of the decode step."""
        if not held.seqs:
            return 0.0
        room_s = max(self.atgt_s - self._alone_s, 1e-9)
        return hypot(held.final_tokens / self.kv_tokens, (self.decode_s(held) - self._alone_s) / room_s)


def best_fit(bin_: ReplicaBin, bins: list[BinContents], job: Job) -> int | None:
    """Return the index of the fullest bin that still takes a request, the first of equals; None if none does."""
    best, fullest = None, -1.0
    for index, held in enumerate(bins):
        if bin_.fits(held.with_(job)) and (full := bin_.fullness(held)) > fullest:
            best, fullest = index, full
    return best


def fewest(bin_: ReplicaBin, jobs: Iterable[Job]) -> int:
    """Return how many bins best fit opens for these requests: in order of arrival, or largest first if that is fewer.

    One that no bin takes within the bounds has one to itself.
    """
    in_order = sorted(jobs, key=lambda job: job.id)
    largest_first = sorted(in_order, key=lambda job: -job.prompt_tokens - job.predicted_tokens)
    return min(_opened(bin_, in_order), _opened(bin_, largest_first))


def _opened(bin_: ReplicaBin, jobs: list[Job]) -> int:
    bins: list[BinContents] = []
    for job in jobs:
        index = best_fit(bin_, bins, job)
        if index is None:
            index = len(bins)
            bins.append(BinContents())
        bins[index].add(job)
    return len(bins)
