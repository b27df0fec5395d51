"""A request's progress: where it is, what is computed of it, what it holds."""

from collections.abc import Sequence
from enum import IntEnum, auto
from typing import TYPE_CHECKING, Any

from simulator.replica.reading import BY_TOKEN, ReadingCurve
from simulator.replica.request import Request

if TYPE_CHECKING:
    from simulator.replica.decode_group import DecodeGroup


class JobState(IntEnum):
    """Where a job is. Each state but the first and the last stands for a container of one engine."""

    UNPLACED = auto()  # it has arrived, or its replica has crashed; no engine has it
    WAITING = auto()  # in the queue
    RUNNING = auto()  # it has a seat
    SWAPPED = auto()  # its KV blocks are in host memory
    SENDING = auto()  # its part here is done; its KV blocks are held until they have been copied elsewhere
    RECEIVED = auto()  # its KV has come; it takes the next seat, whatever the policy plans
    ENDED = auto()


# By names of their own, because to ask an Enum for one takes longer than most of what is done with it
UNPLACED, WAITING, RUNNING, SWAPPED, SENDING, RECEIVED, ENDED = JobState
NEXT = {
    UNPLACED: {WAITING, ENDED},
    WAITING: {RUNNING, ENDED, UNPLACED},
    RUNNING: {WAITING, SWAPPED, SENDING, ENDED, UNPLACED},
    SWAPPED: {RUNNING, ENDED, UNPLACED},
    SENDING: {RECEIVED, WAITING, ENDED, UNPLACED},
    RECEIVED: {RUNNING, WAITING, ENDED, UNPLACED},
    ENDED: set(),
}


class Job:
    """A request's progress.

    There is no prefill or decode phase, only ``computed_tokens`` trying to catch up with ``known_tokens`` (the
    prompt plus what has been generated). While a job is in the decode group, which computes one token of each of
    its jobs at every tick, ``computed`` and ``generated`` are those of the moment when it joined.
    """

    __slots__ = (
        "admission", "allowance_s", "arrival_s", "blocks", "brought", "computed", "crashes", "curve", "fixed_blocks",
        "generated", "group", "id", "joined_tick", "max_tokens", "output_tokens", "pace_s", "predicted_tokens",
        "preemptions", "prompt_segments", "prompt_tokens", "rank", "recomputes", "replica", "request", "reserved",
        "state", "target_tokens", "thinking_tokens",
    )  # fmt: skip

    def __init__(
        self,
        request: Request,
        number: int,
        arrival_s: float,
        output_tokens: int,
        max_tokens: int,
        pace_s: float = 0.05,
        allowance_s: float = 0.0,
        curve: ReadingCurve | None = None,
        thinking_tokens: int = 0,
    ) -> None:
        """Make the job of a request, the ``number``-th to arrive; all token counts >= 1.

        ``output_tokens`` are what it will get, ``max_tokens`` what it may get, both with ``max_model_len`` in mind.
        """
        self.request = request
        self.id = number
        self.arrival_s = arrival_s  # later than the request's own in a closed loop
        self.prompt_tokens = request.prompt_tokens
        # What its prompt is, for routers that read it: (stream, tokens) one after another. The tokens at a position are
        # equal in two prompts if they lie in the same stream there. Empty: it has nothing in common with another
        self.prompt_segments: Sequence[tuple[int, int]] = ()
        self.max_tokens = max_tokens
        predicted_tokens = request.predicted_tokens
        self.predicted_tokens = predicted_tokens if predicted_tokens < max_tokens else max_tokens
        self.pace_s = pace_s  # V: its reader takes a token every so many seconds,
        self.allowance_s = allowance_s  # S: beginning so long after its arrival
        # The first of its output; policies see that they end when they end
        self.thinking_tokens = thinking_tokens
        # How its reader goes through the answer; None: token by token at a steady speed
        self.curve = BY_TOKEN if curve is None and thinking_tokens else curve
        self.output_tokens = output_tokens  # after which it is complete; policies do not know it
        # After which its part at its replica is done; policies do not know it
        self.target_tokens = output_tokens
        # Progress
        self.state = UNPLACED
        self.replica: Any = None  # where it is served; None: nowhere yet, or it has ended
        self.admission = -1  # its place in the order of admissions
        self.preemptions = 0
        self.crashes = 0  # of replicas, that hit it
        self.computed = 0
        self.generated = 0
        self.group: DecodeGroup | None = None
        self.joined_tick = 0
        self.rank = 0  # in a decode group: of jobs that complete together the smallest goes first
        self.blocks = 0  # KV blocks held; while decoding, those held when decoding began
        self.fixed_blocks = 0  # held beside them while it runs, whatever its length
        self.reserved = False  # the blocks held are enough to the end, none will be asked for
        self.brought = False  # what is computed of it came from elsewhere
        self.recomputes = False  # in an engine for which all that is computed again is a prompt, until it is

    def move(self, state: JobState) -> None:
        """Go over to a state, the one place where that happens."""
        if state not in NEXT[self.state]:
            raise ValueError(f"{self} cannot be {state.name} after {self.state.name}")
        self.state = state

    @property
    def priority(self) -> int:
        """The lower, the sooner, where the policy looks at it."""
        return self.request.priority

    @property
    def tenant(self) -> int:
        """The customer that pays for it."""
        return self.request.tenant

    @property
    def session(self) -> int:
        """The conversation it belongs to, -1: none."""
        return self.request.session

    @property
    def computed_tokens(self) -> int:
        """Tokens whose keys and values are in the cache."""
        group = self.group
        return self.computed if group is None else self.computed + group.tick - self.joined_tick

    @property
    def generated_tokens(self) -> int:
        """Output tokens so far."""
        group = self.group
        return self.generated if group is None else self.generated + group.tick - self.joined_tick

    @property
    def known_tokens(self) -> int:
        """Prompt plus generated tokens: what has to be computed before the next token appears."""
        group = self.group
        known = self.prompt_tokens + self.generated
        return known if group is None else known + group.tick - self.joined_tick

    @property
    def remaining_tokens(self) -> int:
        """Known tokens not yet computed; 1 for a job that is decoding, or whose KV came from elsewhere."""
        return self.prompt_tokens + self.generated - self.computed

    @property
    def due_s(self) -> float:
        """When its next token is due to its reader: d_i = S + V·g(i) after its arrival (arXiv 2410.14257v2, Eq. 5)."""
        return self.due_s_of(self.generated_tokens + 1)

    def due_s_of(self, token: int) -> float:
        """When the token of that number, from 1, is due to its reader; all thinking with the first that is read."""
        place = token if self.curve is None else self.place_of(token)
        return self.arrival_s + self.allowance_s + self.pace_s * place

    def place_of(self, token: int) -> float:
        """The reading position g(i) of the token of that number, in steady reading times of one token."""
        curve = self.curve
        return token if curve is None else float(curve.position(token, self.thinking_tokens))

    @property
    def decodes(self) -> bool:
        """Whether its next token is all that it needs of a step."""
        if self.group is not None:
            return True
        first = self.generated == 0 and not self.brought
        return not first and not self.recomputes and self.computed + 1 == self.prompt_tokens + self.generated

    @property
    def waits_with_kv(self) -> bool:
        """Whether it waits in a queue with KV that came from elsewhere: it holds blocks, and lacks one token."""
        return self.brought and self.state is WAITING

    @property
    def completing(self) -> bool:
        """Whether its last token is computed or being computed."""
        return self.group is None and self.generated >= self.target_tokens

    def lose_cache(self) -> None:
        """Have nothing computed, and hold nothing."""
        self.computed = self.blocks = self.fixed_blocks = 0
        self.reserved = self.brought = False

    def __repr__(self) -> str:
        return (
            f"Job(id={self.id}, prompt={self.prompt_tokens}, generated={self.generated_tokens}, "
            f"computed={self.computed_tokens})"
        )
