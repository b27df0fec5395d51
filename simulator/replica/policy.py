"""The seam between an engine and what it plans: a scheduling policy; and what other policies see of a replica."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, ClassVar, Literal, Protocol

from simulator.replica.ledger import Ledger
from simulator.replica.request import Job


class Scheduler(ABC):
    """Decides what one replica computes in its next step: subclass it in a file of its own."""

    default_block_size: ClassVar[int] = 16  # tokens in a KV block, unless the scenario says otherwise
    null_blocks: ClassVar[int] = 0  # KV blocks that the engine keeps for itself
    reserves_whole: ClassVar[bool] = False  # running requests hold the KV blocks for all of their output
    overrun_tokens: ClassVar[int] = 0  # tokens beyond max_model_len that a sequence gets before it stops

    def splits_prompts(self) -> bool:
        """Whether a prompt may be computed over several steps.

        Where it may not, the engine needs a token budget that holds the longest sequence.
        """
        return True

    def pipeline_depth(self) -> int:
        """Steps that are planned before the first of them has ended; 2 is asynchronous scheduling."""
        return 1

    def prefix_cache(self) -> Literal["blocks", "radix"] | None:
        """How requests that begin alike share their KV: not at all, by full blocks, or by a radix tree."""
        return None

    def reuses_partial_blocks_first(self) -> bool:
        """With shared blocks: whether a freed block that can never be hit is the next to be reused."""
        return True

    def coast_spare_blocks(self) -> int | None:
        """Return how many KV blocks a step has to leave free for the engine to run it without asking.

        Asked for only while nobody waits and every running job decodes, where most policies would do
        nothing but ``decode_all()``. None: ``plan`` wants to be asked every time.
        """
        return None

    def queue_key(self) -> Callable[[Job], Any] | None:
        """Return what orders the waiting queue (smallest first); None: first come, first served."""
        return None

    @abstractmethod
    def plan(self, step: Ledger) -> None:
        """Write the plan of the next step with the ledger's verbs."""


class ReplicaView(Protocol):
    """What routing, admission and migration may see of a replica."""

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of its unfinished requests: queued, being computed and in the cache."""
        ...

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests."""
        ...

    @property
    def waiting_requests(self) -> int:
        """Requests that are queued."""
        ...

    @property
    def running(self) -> Collection[Job]:
        """Requests that are running, in order of admission."""
        ...

    @property
    def free_blocks(self) -> int:
        """KV blocks that are free."""
        ...

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        ...

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        ...

    @property
    def last_step_s(self) -> float:
        """Duration of the step planned last: the time between tokens of those who decode; 0 at first."""
        ...

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a request that the replica's prefix cache holds; 0 without one."""
        ...

    def predicted_ttft_s(self, job: Job) -> float:
        """Seconds until a request that came now would have its first token, as far as can be told.

        What is queued and the request's own prompt, at the speed of the steps that compute prompts.
        """
        ...
