"""Prompts, decodes or both: what a step of the policy ``smooth`` does."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from policies.scheduling._smooth_prompts import Prompts
from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from simulator.policy import Ledger

NEAR_S = 0.5  # a reader who runs out within this counts as one who waits
LEAST_CHUNK = 64  # tokens of prompts in a step of which readers are let wait


@dataclass
class Choosing:
    """The part of ``smooth`` that chooses. A queue is measured in readers whose waiting costs as much."""

    buffer_steps: float = 8.0  # how far steps of decodes alone bring readers ahead, in steps of one decode
    least_prompt_tokens: int = 256  # fewer are not worth a step of prompts alone
    queue_weight: float = 10.0  # how dear the time of a round of decodes is while prompts wait for it
    most_waiting: float = 0.5  # share of the readers that may be let wait for that
    reader_weight: float = 0.05  # of a reader with text in hand when time is saved, against one who waits
    queue_claim: float = 5.0  # of a queue as long as the batch: prompts that readers wait for, by decode time
    convex_claim: float = 10.0  # the same where a second costs more the longer a reader has waited
    queue_over_pace: float = 1.5  # a queue, times this and decode time, for which all let go of the pace
    near_pace: float = 0.8  # decode time, in paces, from which the batch is full
    join_weight: float = 0.5  # a full batch lets a queue in of this, times its readers and seconds of prompt
    _worth: Worth = field(init=False)
    _readers: Readers = field(init=False)
    _decode_step_s: float = field(default=0.0, init=False)  # how long one takes in which all decode
    _lone_s: float = field(default=0.0, init=False)  # how long a step of one decode takes
    _start_s: float = field(default=0.0, init=False)  # when the step being planned will start
    _busy_until_s: float = field(default=0.0, init=False)  # when the step planned last ends
    _credit_s: float = field(default=0.0, init=False)  # of prompts for which readers may be let wait
    _catching_up: bool = field(default=False, init=False)  # whether decodes go on until all are ahead
    _decoded: bool = field(default=False, init=False)  # whether the last step had decodes

    def fast_forward_spare_blocks(self) -> int:
        """Without prompts, all decode."""
        return 0

    def goes_on_decoding(self, step: Ledger) -> bool:
        """Always, once those who have ended are forgotten."""
        self._readers.drop_leavers(step)
        return True

    def decoded(self, begun_s: float, ends_s: Sequence[float], first_tick: int) -> None:
        """Note when whose tokens came."""
        self._start_s, self._busy_until_s = ends_s[-2] if len(ends_s) > 1 else begun_s, ends_s[-1]
        self._credit_s, self._decoded = 0.0, True
        self._readers.tick(ends_s, first_tick)

    def _choose(self, step: Ledger, prompts: Prompts) -> tuple[int, bool]:
        """How many tokens of prompts to compute, and whether all decode."""
        size, readers, tick = step.group.size, self._readers, step.group.rounds
        if not size or not prompts.line:
            self._credit_s = 0.0
            return prompts.offered, size > 0
        self._decode_step_s = decode_s = self._decode_s(step)
        pace_s = readers.round_s
        near, each = readers.needing(self._start_s + NEAR_S, tick)
        queue = prompts.cost() / each if each else inf
        claim = self.queue_claim if self._worth.alike else self.convex_claim
        if self._full(step, prompts, queue, each, decode_s, pace_s):
            return 0, True
        if self.queue_over_pace * queue * decode_s >= size * (pace_s - decode_s):
            return self._let_wait(prompts, queue, near + self.reader_weight * (size - near), near, decode_s)
        if self._decoded:
            self._credit_s += claim * queue / size * decode_s
        buffer_s = self.buffer_steps * self._lone_s
        bulk, bulk_s = prompts.fit(buffer_s, False)  # what prompts cost in steps of their own
        if not bulk:
            bulk, bulk_s = 1, prompts.price(1, False)
        trial, trial_s = prompts.fit(max(pace_s, (1 + claim * queue / size) * decode_s), True)
        if not trial:
            trial = min(prompts.offered, self.least_prompt_tokens)
            trial_s = prompts.price(trial, True)
        mixes = trial_s - decode_s < trial * bulk_s / bulk
        # Rounds of decodes cost less the rarer they are: a long queue is worth some readers' waiting,
        # even all readers' where a round costs hardly more than that of one.
        worth = self.queue_weight * queue * self._lone_s / pace_s
        most = size * (self.most_waiting if decode_s > 2 * self._lone_s else 1)
        place = 0 if mixes else int(min(worth, most))
        slack_s = max(readers.need_s(place, tick) - self._start_s, self._credit_s + decode_s)
        both, both_s = prompts.fit(slack_s, True) if mixes else (0, 0.0)
        if both:
            done = max(1, prompts.finished_by(both))
            saved_s = both * bulk_s / bulk - (both_s - decode_s)
            delay_s = both_s - prompts.price(both, False)
            losing = queue - done + near + self.reader_weight * (size - near)
            if losing * saved_s > done * delay_s:
                return both, True
        alone, _ = prompts.fit(slack_s - decode_s, False)
        if self._catching_up:
            self._catching_up = slack_s - decode_s < buffer_s
        else:
            self._catching_up = alone < min(prompts.offered, self.least_prompt_tokens)
        return (both, True) if self._catching_up else (alone, False)

    def _full(
        self, step: Ledger, prompts: Prompts, queue: float, each: float, decode_s: float, pace_s: float
    ) -> bool:
        """Whether those who decode lose more by another prompt than the queue loses by waiting.

        Each prompt begun delays all who decode by its time, the fewer the better; and where a round takes longer
        than the pace, one reader more makes all others wait longer at every token.
        """
        group, readers = step.group, self._readers
        if decode_s > self.near_pace * pace_s and readers.outputs.usual_tokens:
            least = min(prompts.offered, max(LEAST_CHUNK, prompts.line[0][0]))
            if queue < self.join_weight * group.size * prompts.price(least, False):
                return True
        first = prompts.first_cost()
        if step.partial or first >= each:
            return False
        context = group.context_tokens() + prompts.line[0][0]
        more_s = step.price(readers.shape(step, group.size + 1, context))
        more = (group.size + 1) * max(0.0, 1 - pace_s / more_s)
        return each * (more - group.size * max(0.0, 1 - pace_s / decode_s)) > first

    def _let_wait(
        self, prompts: Prompts, queue: float, served: float, near: int, decode_s: float
    ) -> tuple[int, bool]:
        """The step in which a prompt's token costs least waiting, while all wait.

        One with decodes brings the readers it serves a round, worth its pace, or the round that it saves.
        """
        worth_s = served * max(self._readers.round_s, decode_s)
        least, choice = inf, (0, True)
        for decodes in (False, True):
            tokens, _ = prompts.fit(inf, decodes)
            while tokens > 0:
                cost = ((queue + near) * prompts.price(tokens, decodes) - worth_s * decodes) / tokens
                if cost < least:
                    least, choice = cost, (tokens, decodes)
                tokens = tokens // 2 if tokens >= 2 * LEAST_CHUNK else 0
        return choice

    def _decode_s(self, step: Ledger) -> float:
        """Seconds of a step in which all jobs decode and nothing else happens."""
        group = step.group
        return step.price(self._readers.shape(step, group.size, group.context_tokens()))
