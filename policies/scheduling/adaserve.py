"""AdaServe: each request gets the drafts that its own target needs, what is left goes where it is likeliest right."""

from bisect import bisect_left
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from policies.scheduling._draft_nodes import Offers, StepTimes, by_likeliness, likeliest, paying
from policies.scheduling._preemption import fill, go_on
from simulator.policy import Job, Ledger, Scheduler, check_share

MOST_BEGUN = 256


@dataclass
class Adaserve(Scheduler):
    """Speculation with trees: first nodes for requests by what they are behind, then the likeliest of all requests.

    A step verifies ``verify_tokens`` at most, a token of each request and nodes of its tree. How deep and wide drafters
    search follows how many decode. Prompts have what is left of a step. Without [speculation] nothing is drafted.
    Source: Li et al., "AdaServe" (arXiv 2501.12162), algorithm 2, equations 8 and 9.
    """

    need: Literal["tpot", "slack"] = "tpot"  # behind by the bound on TPOT, or by when its reader needs tokens
    tpot_s: float = 0.05  # bound of requests that were promised none, s
    verify_tokens: int = 0  # B1, tokens that a step verifies; 0: with which it gives the most tokens a second
    draft_tokens: int = 128  # B2, tokens of all beams in a pass of the drafter
    least_depth: int = 3  # D_min; D_max is speculation.num_speculative_tokens
    most_width: int = 3  # W_max, guesses that the beam search keeps at a depth
    depth_offset: int = 0  # c1, requests that count as decoding beside those that do
    width_offset: int = 0  # c2, added to the width
    most_nodes: int = 0  # n_max, nodes of a request that its need may ask for; 0: 1.2 times its share
    prefill_chunk: int = 1024  # prompt tokens in a step
    watermark: float = 0.01  # share of KV blocks kept free when admitting beside running requests
    # First decode of a request: when it was planned, and tokens until then
    _begun: dict[Job, tuple[float, int]] = field(default_factory=dict, init=False)
    _most: int = field(default=MOST_BEGUN, init=False)  # requests in it before it is looked who left
    _times: StepTimes = field(default_factory=StepTimes, init=False)
    _step: Ledger = field(init=False)  # that is planned,
    _depth: int = field(default=0, init=False)
    _width: int = field(default=1, init=False)
    _until_s: float = field(default=0.0, init=False)  # and when it ends, about
    _verified: float = field(default=inf, init=False)  # tokens for each request in the step before

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def decides_each_step(self) -> bool:
        """Always: how far a request is behind is known when the step before has ended."""
        return True

    def fast_forward_spare_blocks(self) -> int:
        """Without drafts, and with an empty queue, whatever fits goes on."""
        return 0

    def goes_on_decoding(self, step: Ledger) -> bool:
        """Where there are no drafts to choose from."""
        return not step.most_drafts

    def plan(self, step: Ledger) -> None:
        """Decodes with their trees, ongoing prompts, new prompts."""
        self._control(step)
        if not step.decode_trees(self._depth, self._width, self._nodes):
            self._depth = 0  # drafts give way before a request does
            while not step.decode_trees(0, 1, self._nodes):
                step.preempt(step.last_running())
        go_on(step, self._chunk)
        if not step.preempted:
            fill(step, int(self.watermark * step.total_blocks), self._chunk)

    def _chunk(self, step: Ledger, job: Job) -> int:
        """How many tokens of a prompt go into the step."""
        left = self.prefill_chunk - step.shape.prefill_tokens
        return max(min(job.remaining_tokens, step.token_budget, left), 0)

    def _control(self, step: Ledger) -> None:
        """Set depth and width of the search by how many decode (equations 8 and 9).

        Without a fixed B1 it is what the step before verified, and a token for each request more.
        """
        count, self._step, self._depth, self._width = step.group.size, step, 0, 1
        if count and step.most_drafts and (self.verify_tokens or count + 1) > count < step.token_budget:
            each = (
                self.verify_tokens / (count + self.depth_offset) if self.verify_tokens else self._verified + 1
            )
            self._depth = int(min(max(each - 1, self.least_depth), step.most_drafts))
            self._width = min(max(self.draft_tokens // count + self.width_offset, 1), self.most_width)

    def _nodes(self, offers: Offers) -> list[int]:
        """Choose nodes by algorithm 2: first by need, then by likeliness."""
        if not self._depth:
            return [0] * len(offers)
        self._begin(offers)
        step, count, most = self._step, len(offers), by_likeliness(offers)
        prompts = min(self.prefill_chunk, step.uncomputed_tokens)
        times_s = self._times.of(step, self._depth, self._width, prompts)
        left, step_s = paying(most, times_s, count)
        if self.verify_tokens:
            left, step_s = min(self.verify_tokens - count, len(most)), times_s[-1]
        left = min(left, step.token_budget - count)
        self._until_s, self._verified = step.now_s + step_s, 1 + left / count
        if left == len(most):
            return [tree.size for _, tree in offers]
        needs = [self._needed(job) for job, _ in offers]
        behind = [place for place, need in enumerate(needs) if need > 1]  # their own tokens are not enough
        if not behind:
            return likeliest(offers, [0] * count, left, most)
        share = self.most_nodes or int(1.2 * (left + count) / count)
        nodes = [0] * count
        for place in sorted(behind, key=needs.__getitem__, reverse=True):
            tree = offers[place][1]
            wanted = bisect_left(tree.expected, min(needs[place], self._depth + 1.0))
            nodes[place] = min(wanted, tree.size, share, left)
            left -= nodes[place]
        return likeliest(offers, nodes, left)

    def _needed(self, job: Job) -> float:
        """A(r): how many tokens a request has to get with this step not to be behind."""
        if self.need == "slack":
            late_s = self._until_s - job.due_s
            return 1 + late_s / job.pace_s if job.pace_s else inf
        begun_s, tokens = self._begun[job]
        bound_s = job.request.tpot_slo_s
        bound_s = bound_s if bound_s == bound_s else self.tpot_s  # NaN: it was promised none
        if not bound_s:
            return inf
        return (self._until_s - begun_s) / bound_s - (job.generated_tokens - tokens)

    def _begin(self, offers: Offers) -> None:
        """Note who decodes for the first time; forget those who are here no more."""
        begun = self._begun
        for job, _ in offers:
            if job not in begun:
                begun[job] = self._step.now_s, job.generated_tokens
        if len(begun) > self._most:
            here = (*self._step.running, *self._step.waiting)
            self._begun = {job: begun[job] for job in here if job in begun}
            self._most = MOST_BEGUN + 2 * len(self._begun)
