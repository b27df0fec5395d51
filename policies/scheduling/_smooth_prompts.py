"""The prompts that could be computed now, for the policy ``smooth``."""

from bisect import bisect_right
from math import inf

from policies.scheduling._smooth_readers import Readers
from policies.scheduling._smooth_worth import Worth
from simulator.policy import Job, Ledger

# A preempted request is brought back this long before its reader runs out, if blocks are short.
BACK_BEFORE_S = 1.0
MOST_LOOKED_AT = 64  # waiting requests whose waiting so far is looked at, to know what it costs


class Prompts:
    """Begun and waiting prompts, as far as one step's budget goes; first what costs most for its work."""

    def __init__(
        self, step: Ledger, start_s: float, keep_free: float, worth: Worth, readers: Readers
    ) -> None:
        """Line up who is running and waiting for a step at ``start_s``; the queue is in order already.

        Preempted requests whose readers still have text stay away while they would leave less than the
        share ``keep_free`` of the blocks, or of the seats.
        """
        self._step, self._start_s, self._worth, self._readers = step, start_s, worth, readers
        self.line = [(job.remaining_tokens, False, job) for job in step.partial] if step.partial else []
        offered, away, budget = 0, 0, step.token_budget
        for job in step.waiting:
            if offered >= budget:
                break
            tokens = job.remaining_tokens
            can_wait = job.generated_tokens and step.running and readers.owed_s(job) > start_s + BACK_BEFORE_S
            if can_wait:
                room = step.free_blocks - keep_free * step.total_blocks
                seats = step.seats - keep_free * step.limits.max_num_seqs
                if seats <= 0 or step.blocks_to_admit(job, job.known_tokens) > room:
                    away += 1
                    continue
            self.line.append((tokens, True, job))
            offered += tokens
        if step.partial:
            self.line.sort(key=self._place)
        self.count = len(step.waiting) + len(step.partial) - away
        all_tokens, pairs, context = 0, 0.0, 0
        for tokens, _, job in self.line:
            prior = job.computed_tokens
            all_tokens += tokens
            pairs += tokens * (prior + 0.5 * tokens)
            context += prior + tokens
        self._all = len(self.line), pairs, context
        # Tokens, pairs and contexts of those before each in line, once only a part of it is priced
        self._sums: list[tuple[int, float, int]] = []
        self._costs: list[float] = []  # what a second of waiting costs, of the first ones in line
        self.all_tokens, self.offered = all_tokens, all_tokens if all_tokens < budget else budget
        self._most: dict[bool, tuple[int, float]] = {}  # by whether all decode beside them
        self._prices: dict[tuple[int, bool], float] = {}  # by tokens, and whether all decode beside them

    def _slope(self, job: Job) -> float:
        return self._worth.waiting(job, self._start_s)

    def _place(self, each: tuple[int, bool, Job]) -> tuple[bool, float, bool]:
        tokens, waits, job = each
        return not job.generated_tokens, tokens / max(self._slope(job), 1e-9), waits

    def first_waiting(self) -> Job | None:
        """The first one that is not begun."""
        return next((job for _, waits, job in self.line if waits), None)

    def first_cost(self) -> float:
        """What a second of the first one's waiting costs, tokens."""
        return self._first_costs()[0]

    def _first_costs(self) -> list[float]:
        if not self._costs:
            waiting, start_s = self._worth.waiting, self._start_s
            self._costs = [waiting(job, start_s) for _, _, job in self.line[:MOST_LOOKED_AT]]
        return self._costs

    def cost(self) -> float:
        """What a second of all their waiting costs, tokens."""
        jobs, costs = self._step.waiting, self._first_costs()
        if not self._worth.alike and len(jobs) > MOST_LOOKED_AT:
            places = range(MOST_LOOKED_AT, len(jobs), -(-len(jobs) // MOST_LOOKED_AT))
            costs = costs + [self._slope(jobs[place]) for place in places]
        return self.count * sum(costs) / len(costs) if costs else 0.0

    def finished_by(self, tokens: int) -> int:
        """How many prompts so many tokens complete."""
        if tokens == self.all_tokens:
            return len(self.line)
        if not self._sums:
            sums = [(0, 0.0, 0)]
            for each, _, job in self.line:
                before, pairs, context = sums[-1]
                prior = job.computed_tokens
                sums.append((before + each, pairs + each * (prior + 0.5 * each), context + prior + each))
            self._sums = sums
        return bisect_right(self._sums, (tokens, inf)) - 1

    def _part(self, tokens: int) -> tuple[int, float, int]:
        """How many prompts so many tokens are of, and their attention pairs and contexts."""
        done = self.finished_by(tokens)
        before, pairs, context = self._sums[done]
        rest = tokens - before
        if not rest:
            return done, pairs, context
        prior = self.line[done][2].computed_tokens
        return done + 1, pairs + rest * (prior + 0.5 * rest), context + prior + rest

    def price(self, tokens: int, decodes: bool) -> float:
        """Seconds of a step with so many tokens of prompts, with or without all decodes."""
        price_s = self._prices.get((tokens, decodes))
        if price_s is not None:
            return price_s
        prompts, pairs, context = self._all if tokens == self.all_tokens else self._part(tokens)
        step = self._step
        seqs, decode_context = (step.group.size, step.group.context_tokens()) if decodes else (0, 0)
        shape = self._readers.shape(step, seqs, decode_context)
        shape.prefill_tokens, shape.prefill_seqs = tokens, prompts
        shape.prefill_attention_pairs, shape.prefill_context_tokens = pairs, context
        price_s = self._prices[tokens, decodes] = step.price(shape)
        return price_s

    def fit(self, seconds: float, decodes: bool) -> tuple[int, float]:
        """How many tokens a step of at most that length can compute, to within 16, and its seconds; 0, 0.0: none."""
        found = self._most.get(decodes)
        if found is None:
            most = self.offered
            if decodes:
                most = min(most, self._step.token_budget - self._readers.round_tokens(self._step))
            found = self._most[decodes] = (most, self.price(most, decodes)) if most > 0 else (0, 0.0)
        most, most_s = found
        if most_s <= seconds:
            return found
        fits, fits_not = 0, most
        while fits_not - fits > 16:
            middle = (fits + fits_not) // 2
            if self.price(middle, decodes) <= seconds:
                fits = middle
            else:
                fits_not = middle
        return fits, self.price(fits, decodes) if fits else 0.0
