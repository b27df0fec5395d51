"""The prompts that could be computed now, for the policy ``smooth``."""

from bisect import bisect_right

from simulator.policy import Job, Ledger, StepShape

# A preempted request is brought back this long before its reader runs out, if blocks are short.
BACK_BEFORE_S = 1.0


class Prompts:
    """Begun and waiting prompts, shortest rest first, as far as one step's budget goes."""

    def __init__(self, step: Ledger, start_s: float, keep_free: float) -> None:
        """Line up who is running and waiting for a step at ``start_s``; the queue is by length already.

        Preempted requests whose readers still have text stay away while they would leave less than the
        share ``keep_free`` of the blocks.
        """
        self._step = step
        self.line = [(job.remaining_tokens, False, job) for job in step.partial]
        room = step.free_blocks - keep_free * step.total_blocks
        offered = away = 0
        for job in step.waiting:
            if offered >= step.token_budget:
                break
            tokens = job.remaining_tokens
            can_wait = job.generated_tokens and job.due_s > start_s + BACK_BEFORE_S
            if can_wait and step.running and step.blocks_to_admit(job, job.known_tokens) > room:
                away += 1
                continue
            self.line.append((tokens, True, job))
            offered += tokens
        self.line.sort(key=lambda each: each[:2])
        self.count = len(step.waiting) + len(step.partial) - away
        self._tokens, self._pairs, self._context = [0], [0.0], [0]
        for tokens, _, job in self.line:
            prior = job.computed_tokens
            self._tokens.append(self._tokens[-1] + tokens)
            self._pairs.append(self._pairs[-1] + tokens * (prior + 0.5 * tokens))
            self._context.append(self._context[-1] + prior + tokens)
        self.offered = min(self._tokens[-1], step.token_budget)

    def finished_by(self, tokens: int) -> int:
        """How many prompts so many tokens complete."""
        return bisect_right(self._tokens, tokens) - 1

    def price(self, tokens: int, decodes: bool) -> float:
        """Seconds of a step with so many tokens of prompts, with or without all decodes."""
        done = self.finished_by(tokens)
        pairs, context = self._pairs[done], self._context[done]
        rest = tokens - self._tokens[done]
        if rest:
            prior = self.line[done][2].computed_tokens
            pairs += rest * (prior + 0.5 * rest)
            context += prior + rest
        group = self._step.group
        return self._step.price(
            StepShape(
                prefill_tokens=tokens,
                prefill_seqs=done + (rest > 0),
                prefill_attention_pairs=pairs,
                prefill_context_tokens=context,
                decode_seqs=group.size if decodes else 0,
                decode_context_tokens=group.context_tokens() if decodes else 0,
            )
        )

    def fit(self, seconds: float, decodes: bool) -> int:
        """How many tokens a step of at most that length can compute, to within 16."""
        most = min(self.offered, self._step.token_budget - self._step.group.size * decodes)
        if most <= 0 or self.price(most, decodes) <= seconds:
            return max(0, most)
        fits, fits_not = 0, most
        while fits_not - fits > 16:
            middle = (fits + fits_not) // 2
            if self.price(middle, decodes) <= seconds:
                fits = middle
            else:
                fits_not = middle
        return fits

    def compute(self, tokens: int, spare_blocks: float) -> list[Job]:
        """Schedule so many tokens; return whose next token that brings.

        A prompt is begun only if all of it fits beside the rest of those begun before, with
        ``spare_blocks`` left for each running request.
        """
        step, brought = self._step, list[Job]()
        seats = min(step.limits.max_num_seqs, step.limits.max_num_batched_tokens)
        owed = sum(_missing(job, step) for _, waits, job in self.line if not waits)
        for rest, waits, job in self.line:
            chunk = min(rest, tokens, step.token_budget)
            if chunk <= 0:
                break
            if waits:
                needed = (
                    step.blocks_to_admit(job, job.known_tokens) + owed + int(spare_blocks * len(step.running))
                )
                begun = len(step.running) < seats and needed <= step.free_blocks and step.admit(job, chunk)
                if not begun:
                    spare_blocks = step.total_blocks  # those behind are longer still
                    continue
                owed += _missing(job, step)
            elif not step.prefill(job, chunk):
                continue
            tokens -= chunk
            if chunk == rest:
                brought.append(job)
        return brought


def _missing(job: Job, step: Ledger) -> int:
    return step.blocks_for(job.known_tokens) - step.blocks_held(job)
