"""The seams that policies implement: one file, one class, one method each."""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol

from simulator.ledger import Ledger
from simulator.request import Job


class Scheduler(ABC):
    """Decides what one replica computes in its next step: subclass it in a file of its own."""

    default_block_size: ClassVar[int] = 16  # tokens in a KV block, unless the scenario says otherwise
    null_blocks: ClassVar[int] = 0  # KV blocks that the engine keeps for itself
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
    """What a router may see of a replica."""

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the replica's unfinished requests."""
        ...

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests."""
        ...


class Router(Protocol):
    """Decides which replica serves an arriving request.

    A router with an attribute ``looks_at_load = False`` decides all of it beforehand, from the requests
    alone; replicas then need not wait for one another.
    """

    def route(self, prompt_tokens: int, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the chosen replica; ``draw`` is the policy's own random stream."""
        ...


def check_share(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is a share: at least 0 and below 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is a share, at least 0 and below 1; got {value}")
