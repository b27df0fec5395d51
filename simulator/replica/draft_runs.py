"""Steps in which all jobs decode with chains of drafts need no plan: they are computed one after the other."""

from collections.abc import Sequence
from math import inf

from simulator.replica.job import Job
from simulator.replica.speculative_engine import SpeculativeEngine


class DraftRunEngine(SpeculativeEngine):
    """A speculative engine that may be asked for many steps at once."""

    __slots__ = ()

    def only_decodes(self, completing: Sequence[Job]) -> bool:
        """As without drafts, where the budget holds all of them, and no step in flight completes a job."""
        size = self._drafting.size
        drafts = size * self.speculation.tokens(size)
        return (
            not completing
            and size == len(self.running)
            and size + drafts <= self.limits.max_num_batched_tokens
            and super().only_decodes(completing)
        )

    def run_drafts(
        self, start_s: float, until_s: float, spare_blocks: int, pipelined: bool
    ) -> tuple[float, float, Sequence[Job]]:
        """Do as ``fast_forward``; it also ends where blocks might lack if all drafts that are in flight are wrong."""
        records, shape, cache, ahead, kv = self.records, self.shape, self.cache, self.plans_ahead, self.kv
        speculation, group, size, longest = (
            self.speculation,
            self._drafting,
            self.block_size,
            self.limits.max_model_len,
        )
        seqs, rows, verify = group.size, records.drafts, speculation.verify
        most = speculation.tokens(seqs)
        beyond = 1 + most if speculation.lookahead else 1
        needed_blocks = spare_blocks + seqs * (2 + (2 * most + beyond) // size)
        begun_s, end_s, planned_s, first_step = start_s, start_s, -inf, self.step
        if kv.free_blocks < needed_blocks:
            return start_s, start_s, ()
        self.open(start_s)
        jobs = [(job, self._runs_of(job, most)) for job in self.running]
        complete: list[Job] = []
        filling: list[tuple[Job, int]] = []
        wrong = [self._rejected.get(job, 0) for job, _ in jobs]  # drafts in flight
        while not complete and planned_s < until_s and kv.free_blocks >= needed_blocks:
            step, before, wrong = self.step, wrong, []
            if cache is not None and step > first_step:
                cache.step_ended(())
                cache.step_opened()
            self._uncertain.clear()
            all_drafts = grown = taken = 0
            filling.clear()
            for (job, runs), wrong_before in zip(jobs, before, strict=True):
                generated, computed = job.generated, job.computed
                room = longest - 2 - computed
                if room >= most and runs is not None:
                    drafts, accepted = most, runs[generated]
                elif room > 0 and most:
                    drafts, accepted = verify(job, most if most < room else room)
                else:
                    drafts = accepted = 0
                held = computed + drafts + beyond + wrong_before
                if held > job.blocks * size and not job.reserved:
                    blocks = -(-(held if held < longest else longest) // size) - job.blocks
                    if blocks > 0:
                        kv.take(job, blocks)
                        taken += blocks
                left = job.target_tokens - generated
                tokens = 1 + accepted if accepted < left else left
                rows += (job.id, step, drafts, accepted, tokens)
                wrong.append(drafts - accepted if ahead else 0)
                if computed % size + tokens >= size:
                    filling.append((job, tokens))  # once all have taken their blocks
                else:
                    job.computed = computed + tokens
                job.generated = generated + tokens
                all_drafts += drafts
                grown += tokens
                if tokens == left:
                    complete.append(job)
                    if ahead and tokens > 1:
                        self._uncertain[job] = drafts
            for job, tokens in filling:
                if cache is not None:
                    cache.grew(job, tokens)
                job.computed += tokens
            shape.decode_seqs, shape.decode_context_tokens, shape.draft_tokens = (
                seqs,
                group.context_base,
                all_drafts,
            )
            begun_s = end_s
            end_s += self.price(shape)
            planned_s = begun_s if pipelined else end_s
            records.steps.extend((
                step, begun_s, end_s, 0, 0, seqs, shape.decode_context_tokens, seqs, 0,
                self.total_blocks - kv.free_blocks, 0, True,
            ))  # fmt: skip
            complete = group.grew(grown, complete)
            if cache is not None:
                cache.drafting(taken, seqs, 0)
                cache.step_planned(())
            self.step += 1
        self._rejected.clear()
        if ahead:
            self._rejected.update(
                (job, count) for (job, _), count in zip(jobs, wrong, strict=True) if count > 0
            )
        self.fruitless_steps = 0
        return begun_s, end_s, complete

    def _runs_of(self, job: Job, drafts: int) -> list[int] | None:
        """Return how many of so many drafts are accepted after each token of a job's answer; None: it is asked."""
        if not self._keeps_runs or not drafts:
            return None
        answer = self.speculation.answer(job)
        if drafts not in answer.runs:
            self.speculation.verify(job, drafts)
        return answer.runs.get(drafts)
