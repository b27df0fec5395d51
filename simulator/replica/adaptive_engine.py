"""An engine that verifies only the drafts that pay, as vLLM does with ``enable_adaptive_verification``.

All drafts are made, and cost token budget and KV blocks as ever. Once the step is planned those likeliest to survive
are chosen over all requests at once, so many that the step gives the most tokens a second; the others count as rejected
(vllm/v1/worker/gpu/spec_decode/adaptive_verification.py).
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from simulator.replica.draft_trees import DraftTree, likeliest_of
from simulator.replica.job import Job
from simulator.replica.records import TRIMMED_COLUMNS, last_place
from simulator.replica.tree_engine import TreeEngine

# Tokens of steps for which CUDA graphs are captured, by vLLM's default: a step is padded to the next of these, so no
# number of drafts between two of them pays more. Beyond the last nothing is padded: multiples of the next are tried.
CAPTURED = [1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)]
BEYOND = 64


class AdaptiveEngine(TreeEngine):
    """A speculative engine that trims its drafts; nodes of trees, which the policy chose, are verified as chosen."""

    __slots__ = ()

    def only_decodes(self, completing: Sequence[Job]) -> bool:
        """Never: each step is looked at."""
        return False

    def trim_drafts(self) -> None:
        """Choose which drafts of the planned step are verified."""
        if self._chosen:
            self._chosen = False
            return
        decoding, shape = self._decoding, self.shape
        scheduled = sum([drafts for _, drafts, _ in decoding])
        if not scheduled:
            return
        others = shape.draft_tokens - scheduled  # of answers that have ended unseen
        proposed = [self._chain(job, drafts) for job, drafts, _ in decoding]
        chains = [tree.unlikeness for tree, _ in proposed]
        in_order: list[float] = []
        for chain in chains:
            in_order += chain
        in_order.sort()
        verified = self._paying(in_order, others)
        shape.draft_tokens = others + verified
        if verified < len(in_order):
            nodes = likeliest_of(chains, [0] * len(chains), in_order, verified)
        else:
            nodes = [len(chain) for chain in chains]
        self._decoding = [
            (job, drafts, bisect_right(path, most))
            for (job, drafts, _), (_, path), most in zip(decoding, proposed, nodes, strict=True)
        ]
        rows, step = self.records.trimmed, self.step
        for (job, drafts, _), most in zip(decoding, nodes, strict=True):
            if drafts > most:
                rows += (job.id, step, drafts - most)
        self.records.trimmed_steps += 1

    def lose_token(self, job: Job) -> None:
        """Take back the tokens that a job, which has just stopped running, was to get from the step in flight."""
        rows = self.records.trimmed
        place = last_place(rows, job.id, self.step - 1, len(TRIMMED_COLUMNS)) if self.unended else None
        if place is not None:
            del rows[place : place + len(TRIMMED_COLUMNS)]
        super().lose_token(job)

    def _chain(self, job: Job, drafts: int) -> tuple[DraftTree, list[int]]:
        """Return the drafts of a job, as a tree of width 1, and those of them that are right."""
        answer, generated = self.speculation.answer(job), job.generated
        if self._keeps_runs:
            drafter, keys = answer.kept.get((drafts, 1)) or self._keep(answer, generated, drafts, 1)
            return drafter.propose(keys[generated])
        drafter = self._drafter(answer, generated, drafts, 1)
        return drafter.propose(drafter.keys(answer, generated, 1)[0])

    def _paying(self, in_order: Sequence[float], others: int) -> int:
        """Return how many drafts, the likeliest first, bring the most tokens a second; the fewest of equals.

        The step has so many ``others`` that bring nothing.
        """
        shape, most = self.shape, len(in_order)
        less = list(accumulate(in_order, initial=0.0))
        last_chunks = [chunk == job.remaining_tokens for job, chunk in self.chunks.items()]
        sure = shape.decode_seqs + sum(last_chunks)  # tokens that come without a draft
        best, best_rate = 0, -1.0
        for drafts in tried(shape.decode_seqs + shape.prefill_tokens + others, most):
            shape.draft_tokens = others + drafts
            rate = (sure - less[drafts]) / (self.price(shape) or 1e-9)
            if rate > best_rate:
                best, best_rate = drafts, rate
        return best


def tried(others: int, most: int) -> list[int]:
    """Return the numbers of drafts that are compared, rising, for a step with so many other tokens: 0 to ``most``."""
    ends = CAPTURED[bisect_right(CAPTURED, others) :]
    if others + most > CAPTURED[-1]:
        ends += range((max(others, CAPTURED[-1]) // BEYOND + 1) * BEYOND, others + most, BEYOND)
    return [0, *[end - others for end in ends if end < others + most], *([most] if most else [])]
