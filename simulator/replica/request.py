"""A request as the engine sees it: its progress, and the states it can end in."""

from enum import IntEnum
from typing import Any, Protocol


class RequestState(IntEnum):
    """The state a request ends in; every request ends in exactly one. Saved by lower-case name."""

    COMPLETED = 0  # all tokens delivered (or stopped at max_model_len)
    ABANDONED_BY_SYSTEM = 1  # dropped to save others
    ABANDONED_BY_USER = 2  # patience ran out
    REJECTED = 3  # refused at admission
    FAILED = 4  # can never fit, or lost to a fault
    UNFINISHED = 5  # still waiting or running at the horizon


class Ticking(Protocol):
    """What decodes a job one token a tick."""

    tick: int  # ticks done


class Job:
    """A request's progress inside one replica.

    There is no prefill or decode phase, only ``computed_tokens`` trying to catch up with
    ``known_tokens`` (the prompt plus what has been generated). What a policy may read is public; the
    true output length is not.
    """

    __slots__ = (
        "_asked_tokens",
        "_computed",
        "_decoding",
        "_generated",
        "_joined_tick",
        "_output_tokens",
        "admission",
        "allowance_s",
        "arrival_s",
        "blocks",
        "id",
        "max_tokens",
        "pace_s",
        "predicted_tokens",
        "preemptions",
        "priority",
        "prompt_tokens",
        "reserved",
        "server",
        "session",
        "tenant",
    )

    def __init__(
        self,
        request_id: int,
        arrival_s: float,
        prompt_tokens: int,
        output_tokens: int,
        max_tokens: int,
        priority: int = 0,
        tenant: int = 0,
        session: int = -1,
        predicted_tokens: int | None = None,
        pace_s: float = 0.05,
        allowance_s: float = 0.0,
    ) -> None:
        """Make a job that has just arrived; all token counts >= 1."""
        self.id = request_id  # row of the request in the workload
        self.arrival_s = arrival_s
        self.prompt_tokens = prompt_tokens
        self.max_tokens = max_tokens  # the bound that the client sent
        self.priority = priority  # the lower, the sooner, where the policy looks at it
        self.tenant = tenant  # who pays for it
        self.session = session  # the conversation it belongs to, -1: none
        # What a predictor says of its output, which may be wrong; without one, the bound
        self.predicted_tokens = max_tokens if predicted_tokens is None else predicted_tokens
        self.pace_s = pace_s  # V: its reader takes a token every so many seconds,
        self.allowance_s = allowance_s  # S: beginning so long after its arrival
        self.admission = -1  # its place in the order of admissions
        self.blocks = 0  # KV blocks held; while decoding, those held when decoding began
        self.reserved = False  # the blocks held are enough to the end, none will be asked for
        self.preemptions = 0
        self.server: Any = None  # where it is served now; None: nowhere yet, or it has ended
        self._asked_tokens = output_tokens  # after which it is complete
        self._output_tokens = output_tokens  # that the replica it is on computes
        self._computed = 0
        self._generated = 0
        self._decoding: Ticking | None = None
        self._joined_tick = 0

    @property
    def computed_tokens(self) -> int:
        """Tokens whose keys and values are in the cache."""
        group = self._decoding
        return self._computed if group is None else self._computed + group.tick - self._joined_tick

    @property
    def generated_tokens(self) -> int:
        """Output tokens so far."""
        group = self._decoding
        return self._generated if group is None else self._generated + group.tick - self._joined_tick

    @property
    def known_tokens(self) -> int:
        """Prompt plus generated tokens: what has to be computed before the next token appears."""
        group = self._decoding
        known = self.prompt_tokens + self._generated
        return known if group is None else known + group.tick - self._joined_tick

    @property
    def remaining_tokens(self) -> int:
        """Known tokens not yet computed; 1 for a job that is decoding."""
        return self.prompt_tokens + self._generated - self._computed

    @property
    def due_s(self) -> float:
        """When its next token is due to its reader: d_i = S + V·i after its arrival (arXiv 2410.14257)."""
        return self.due_s_of(self.generated_tokens + 1)

    def due_s_of(self, token: int) -> float:
        """When the token of that number, from 1, is due to its reader."""
        return self.arrival_s + self.allowance_s + self.pace_s * token

    @property
    def decodes(self) -> bool:
        """Whether its next token is all that it needs of a step."""
        if self._decoding is not None:
            return True
        return self._generated > 0 and self._computed + 1 == self.prompt_tokens + self._generated

    @property
    def completing(self) -> bool:
        """Whether its last token is computed or being computed."""
        return self._decoding is None and self._generated >= self._output_tokens

    def __repr__(self) -> str:
        return (
            f"Job(id={self.id}, prompt={self.prompt_tokens}, generated={self.generated_tokens}, "
            f"computed={self.computed_tokens})"
        )
