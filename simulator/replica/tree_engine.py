"""An engine whose policy chooses the drafts: nodes of a tree for each job, which one step verifies.

Nodes cost token budget and KV blocks as the drafts of a chain do; the longest path of right ones is accepted, and the
slots of the others are overwritten.
"""

from bisect import bisect_right

from simulator.replica.draft_runs import DraftRunEngine
from simulator.replica.draft_trees import MOST_KEPT, ChooseNodes, DraftTree, TreeDrafter
from simulator.replica.job import Job
from simulator.replica.speculation import AnswerDraws, Speculation
from simulator.replica.speculative_engine import Drafted

# What is proposed for a job: its tree, and the nodes on the right path
Proposed = tuple[Job, DraftTree, list[int]]


class TreeEngine(DraftRunEngine):
    """A speculative engine; its jobs have chains of drafts where the policy asks for no trees."""

    __slots__ = ("_chosen", "_drafters")

    def speculate(self, speculation: Speculation) -> None:
        """Be told what to do about drafts, before anything else is done."""
        super().speculate(speculation)
        self._drafters: dict[tuple[float, ...], TreeDrafter] = {}  # by width and chances
        self._chosen = False  # whether the policy chose the drafts of this step

    @property
    def most_drafts(self) -> int:
        """How deep the drafts of a job may go with as many jobs as decode now."""
        return self.speculation.tokens(self.group.size)

    def decode_trees(self, depth: int, width: int, choose: ChooseNodes) -> bool:
        """Schedule a token for every job in the decode group and the nodes chosen of its tree; or refuse.

        The right path of each tree is known at once, but to nothing but the end of the step. Raises ValueError for
        more nodes than a tree has.
        """
        if self.ticks:
            raise ValueError("decode_trees() was called after decodes were scheduled")
        size = self.group.size
        if size > self.token_budget:
            return False
        depth, width = min(depth, self.most_drafts), max(width, 1)
        proposed = self._propose(depth, width)
        nodes = choose([(job, tree) for job, tree, _ in proposed])
        longest, block_size = self.limits.max_model_len, self.block_size
        lookahead = 1 + (depth * width if self.speculation.lookahead else 0)
        drafted: list[Drafted] = []
        openers: list[tuple[Job, int]] = []
        tokens, blocks = size, 0
        for (job, tree, path), count in zip(proposed, nodes, strict=True):
            if not 0 <= count <= tree.size:
                raise ValueError(f"{count} nodes chosen of the {tree.size} for {job}")
            computed, right = job.computed, 0
            if count:
                if count > longest - 2 - computed:
                    count = longest - 2 - computed
                right = bisect_right(path, count)
            known = computed + count + lookahead
            more = -(-(known if known < longest else longest) // block_size) - job.blocks
            if more > 0 and not job.reserved:
                openers.append((job, more))
                blocks += more
            tokens += count
            drafted.append((job, count, right))
        if tokens > self.token_budget or blocks > self.kv.free_blocks:
            if self.cache is not None:
                self.cache.decode_refused(blocks)
            return False
        shape = self.shape
        shape.decode_seqs += size
        shape.decode_context_tokens += self.group.context_tokens()
        shape.draft_tokens += tokens - size
        shape.draft_passes, shape.draft_width = depth, width
        self.token_budget -= tokens
        for job, more in openers:
            self.kv.take(job, more)
        self._decoding, self._chosen = drafted, True
        if self.cache is not None:
            self.cache.drafting(blocks, size, 0)
        self.ticks = size > 0
        return True

    def _propose(self, depth: int, width: int) -> list[Proposed]:
        """Return what is proposed for each job; nothing beyond the longest sequence that the engine takes."""
        speculation, longest = self.speculation, self.limits.max_model_len - 2
        found: list[Proposed] = []
        answers, keeps_runs = speculation.answers, self._keeps_runs
        # Written out, as a call for each job costs a hundredth of a run
        for job in self.running:
            if job.group is None:
                continue
            answer = answers.get(job.id) or speculation.answer(job)
            room, generated = longest - job.computed, job.generated
            deep = depth if depth < room else max(room, 0)
            if keeps_runs:
                drafter, keys = answer.kept.get((deep, width)) or self._keep(answer, generated, deep, width)
                tree, path = drafter.propose(keys[generated])
            else:
                drafter = self._drafter(answer, generated, deep, width)
                tree, path = drafter.propose(drafter.keys(answer, generated, 1)[0])
            found.append((job, tree, path))
        return found

    def _keep(
        self, answer: AnswerDraws, generated: int, depth: int, width: int
    ) -> tuple[TreeDrafter, list[int]]:
        """Find what is proposed after each token of an answer at once."""
        drafter = self._drafter(answer, generated, depth, width)
        keys = drafter.keys(answer, 0, 1 + len(answer.numbers) - depth)
        kept = answer.kept[depth, width] = drafter, keys
        return kept

    def _drafter(self, answer: AnswerDraws, generated: int, depth: int, width: int) -> TreeDrafter:
        """Return what proposes trees of some depth and width after so many tokens of an answer."""
        speculation, drafters = self.speculation, self._drafters
        chances = speculation.chances_of(answer, generated, depth) if depth else ()
        key = width, *chances
        if key not in drafters:
            speculation.check_chances(chances, depth)
            if len(drafters) >= MOST_KEPT:
                drafters.clear()
            drafters[key] = TreeDrafter(chances, width, speculation.confidence, speculation.later_guess)
        return drafters[key]
