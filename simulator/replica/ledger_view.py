"""What a policy sees of its engine while a step is planned, and the verbs that it plans with."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from simulator.replica.cost import StepShape
from simulator.replica.draft_trees import ChooseNodes
from simulator.replica.job import Job
from simulator.replica.kv import PrefixRule
from simulator.replica.lanes import Lanes
from simulator.replica.limits import Limits


class DecodesView(Protocol):
    """The running jobs that decode together."""

    @property
    def size(self) -> int:
        """How many they are."""
        ...

    @property
    def lockstep(self) -> bool:
        """Whether each of them gets one token a round, and no drafts."""
        ...

    @property
    def rounds(self) -> int:
        """In how many steps they have decoded."""
        ...

    def context_tokens(self) -> int:
        """Return the tokens that their next tokens attend to, their own included."""
        ...


class Ledger(Protocol):
    """What a policy sees of its engine while a step is planned, and the verbs that it plans with.

    A verb that cannot be honoured (no token budget, seat or block left) changes nothing and returns False; one that
    makes no sense raises ValueError. ``simulator.testing.FakeLedger`` stands in for it in a policy's own tests.
    """

    @property
    def now_s(self) -> float:
        """The time of the plan."""
        ...

    @property
    def step(self) -> int:
        """The index of the step."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits of the engine."""
        ...

    @property
    def waiting(self) -> Sequence[Job]:
        """Queued jobs, in the queue's order."""
        ...

    @property
    def running(self) -> dict[Job, None]:
        """Running jobs, in order of admission."""
        ...

    @property
    def partial(self) -> dict[Job, None]:
        """Running jobs outside the decode group that have tokens to compute."""
        ...

    @property
    def swapped(self) -> dict[Job, None]:
        """Jobs whose KV blocks are in host memory, in order of leaving."""
        ...

    @property
    def joined(self) -> list[Job]:
        """Jobs that run since the last plan with KV that was computed elsewhere."""
        ...

    @property
    def preempted(self) -> list[Job]:
        """Jobs preempted in this step, in that order."""
        ...

    @property
    def group(self) -> DecodesView:
        """The running jobs that decode together."""
        ...

    @property
    def plans_ahead(self) -> bool:
        """Whether the step before still runs, so that its results are not known yet: its tokens count as there."""
        ...

    @property
    def in_flight(self) -> bool:
        """Whether a step runs right now."""
        ...

    @property
    def shape(self) -> StepShape:
        """What is scheduled so far."""
        ...

    @property
    def ticks(self) -> bool:
        """Whether the decode group is scheduled in this step."""
        ...

    @property
    def token_budget(self) -> int:
        """Tokens that the step may still compute."""
        ...

    @property
    def seats(self) -> int:
        """How many more jobs may run."""
        ...

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        ...

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        ...

    @property
    def free_blocks(self) -> int:
        """KV blocks that are free."""
        ...

    @property
    def blocks_opening(self) -> int:
        """KV blocks that one token for every decoding job needs."""
        ...

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of all unfinished jobs: queued, being computed and in the cache."""
        ...

    @property
    def uncomputed_tokens(self) -> int:
        """Known tokens that are still to be computed before all jobs here decode."""
        ...

    @property
    def price(self) -> Callable[[StepShape], float]:
        """How long a step of some shape would take, seconds."""
        ...

    @property
    def lanes(self) -> Lanes | None:
        """Prompts under way beside the decodes, on SMs of their own; None unless the policy ``splits_sms()``."""
        ...

    def blocks_for(self, tokens: int) -> int:
        """Return the KV blocks that ``tokens`` tokens fill."""
        ...

    def blocks_held(self, job: Job) -> int:
        """Return the KV blocks that a job holds now, those of this step included."""
        ...

    def cached_tokens(self, job: Job) -> int:
        """Return the known tokens that a waiting job would find computed already, or has brought along."""
        ...

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return the free blocks that a waiting job takes for its first ``tokens``: cached ones too, brought not."""
        ...

    def prefix_ranks(self, rule: PrefixRule) -> dict[Job, float]:
        """Return where waiting jobs stand by what a radix tree holds of them, SGLang's two ways; smallest first."""
        ...

    def last_running(self) -> Job:
        """Return the running job that was admitted last."""
        ...

    def decode_all(self, beyond: bool = False) -> bool:
        """Schedule one token for every job in the decode group, or refuse and change nothing.

        With ``beyond`` also one, which no client gets, for all jobs whose last one is in flight.
        """
        ...

    @property
    def most_drafts(self) -> int:
        """How many drafts, one after the other, each decoding request may have in this step; 0: no speculation."""
        ...

    def decode_trees(self, depth: int, width: int, choose: ChooseNodes) -> bool:
        """Schedule one token for every job in the decode group, and nodes of a tree of drafts, or refuse.

        The drafter searches ``depth`` deep, at most ``most_drafts``, and ``width`` wide; ``choose`` says how many of
        each tree's nodes are verified, the likeliest first. Without speculation it is ``decode_all``.
        """
        ...

    def rank_decodes(self, jobs: Sequence[Job]) -> None:
        """Let those of these jobs that complete with the same step do so in this order; others come after them."""
        ...

    def pad(self, padding: StepShape) -> bool:
        """Compute what no client gets beside what is scheduled, such as the padding of a batch, or refuse."""
        ...

    def hold(self, job: Job) -> None:
        """Take a job out of the decode group: it goes on by ``prefill(job, 1)``, or sits this step out."""
        ...

    def prefill(self, job: Job, tokens: int) -> bool:
        """Schedule ``tokens`` more of a running job's known tokens, or refuse and change nothing."""
        ...

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Start a waiting job with ``tokens`` of its known tokens, or refuse and change nothing.

        ``reserve_tokens`` takes the blocks for that many tokens at once; with 0 tokens nothing is computed as yet. Of
        a job that has brought its KV along no more is computed than is missing.
        """
        ...

    def preempt(
        self, job: Job, at_head: bool = True, keeps_token: bool = True, for_job: Job | None = None
    ) -> None:
        """Give all of a running job's blocks back and put it at the head (or the end) of the queue.

        Unless it ``keeps_token``, that of a step in flight is lost, too. ``for_job``: which request is let ahead.
        """
        ...

    def swap_out(self, job: Job, for_job: Job | None = None) -> bool:
        """Move a running job's blocks to host memory, or refuse if that is full or its last token is in flight."""
        ...

    def swap_in(self, job: Job, tokens: int) -> bool:
        """Bring a swapped job back and schedule ``tokens`` of it, or refuse and change nothing."""
        ...

    def fail(self, job: Job) -> None:
        """Refuse a waiting or swapped job for good: it can never be served here."""
        ...

    def move_to_head(self, job: Job) -> None:
        """Put a waiting job at the head of the queue, as far as the queue's order lets it."""
        ...

    def sort_waiting(self, key: Callable[[Job], Any]) -> None:
        """Reorder the waiting queue; equals stay as they are, and jobs that come later join at the end."""
        ...
