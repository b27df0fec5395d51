"""The seams that policies implement: one file, one class, one method each."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from simulator.ledger import Ledger


class Scheduler(ABC):
    """Decides what one replica computes in its next step: subclass it in a file of its own."""

    null_blocks: ClassVar[int] = 0  # KV blocks that the engine keeps for itself

    def splits_prompts(self) -> bool:
        """Whether a prompt may be computed over several steps.

        Where it may not, the engine needs a token budget that holds the longest sequence.
        """
        return True

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
    """Decides which replica serves an arriving request."""

    def route(self, prompt_tokens: int, replicas: Sequence[ReplicaView], draw: random.Random) -> int:
        """Return the index of the chosen replica; ``draw`` is the policy's own random stream."""
        ...
