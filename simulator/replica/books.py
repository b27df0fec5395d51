"""The replica's side of the ledger: arrivals, departures, and what a planned step turns into."""

from collections.abc import Sequence
from math import ceil, inf
from typing import ClassVar

import numpy as np

from simulator.replica.cost import DecodePiece
from simulator.replica.crossing import Crossing
from simulator.replica.request import Job, RequestState

# Runs from so many steps on are computed at once; the longest is shorter than what ``Records`` leaves to be looked
# back at.
LONG_RUN, LONGEST_RUN = 80, 1024

NOBODY: Sequence[Job] = ()


class Books(Crossing):
    """A ledger with everything that only the replica may do.

    A step has two moments. ``advance`` is when its plan is final: from then on its tokens count as
    computed, so that a pipelined engine can plan the next step while this one still runs. ``retire``
    is when it ends: whoever is complete leaves and gives seat and blocks back.
    """

    __slots__ = ()

    numbered: ClassVar[bool] = False  # whether blocks are more than a count

    def submit(self, job: Job) -> None:
        """Queue a job that has just arrived."""
        self._outside_tokens += job.prompt_tokens + job._generated
        if self._queue_key is None:
            self.waiting.append(job)
        else:
            self._enqueue(job)

    def leave(self, job: Job, state: RequestState) -> None:
        """Drop a job before the next step is planned; it ends in ``state``."""
        self._leaving.append((job, state))
        self.doors = True

    def open(self, now_s: float) -> None:
        """Begin the plan of the next step."""
        self.now_s = now_s
        self.token_budget = self.limits.max_num_batched_tokens
        shape = self.shape
        shape.decode_seqs = 0
        shape.decode_context_tokens = 0
        if self._chunks:
            self._chunks.clear()
            shape.prefill_tokens = 0
            shape.prefill_seqs = 0
            shape.prefill_attention_pairs = 0.0
            shape.prefill_context_tokens = 0
        if self.changed:
            self.changed = False
            self.preempted.clear()
            shape.swap_out_blocks = 0
            shape.swap_in_blocks = 0
        if self.doors:
            self.joined.clear()
            if self._leaving:
                self._drop_leavers()
            self._let_in_and_out()

    def anything_to_do(self) -> bool:
        """Whether a step could have anything to plan."""
        return bool(
            self.waiting or self.running or self.seatless or self.claims or self.swapped or self.doors
        )

    def advance(self) -> Sequence[Job]:
        """Make the plan final; return the jobs that are complete when the step ends."""
        completing: list[Job] | None = None
        group = self.group
        fruitful = self.ticks
        if fruitful:
            self.ticks = False
            group.tick += 1
            if group.tick in group.last_ticks:
                completing = group.finished()
        if self._chunks:
            for job, chunk in self._chunks.items():
                self.records.chunks.extend((self.step, job.id, chunk, job._computed))
                job._computed += chunk
                known = job.prompt_tokens + job._generated
                if job._computed == known:
                    fruitful = True
                    self.records.prompt_ends.extend((job.id, self.step))
                    del self.partial[job]
                    self._outside_tokens -= known
                    job._generated += 1
                    if not job.completing:
                        group.join(job)
                    elif completing is None:
                        completing = [job]
                    else:
                        completing.append(job)
        self.step += 1
        self.fruitless_steps = 0 if fruitful else self.fruitless_steps + 1
        return NOBODY if completing is None else completing

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """End a step at ``end_s``: the jobs it completed leave."""
        for job in completing:
            if job in self.running:
                del self.running[job]
                if job._generated < job._asked_tokens:
                    self._hand_over(job, end_s)
                    continue
                self._release(job)
            elif job in self.waiting:  # preempted while its last token was under way
                if job._generated < job._asked_tokens:  # what was to be handed over is lost
                    job._output_tokens += 1
                    self._outside_tokens += job.known_tokens
                    continue
                self.waiting.remove(job)
            else:  # the client left meanwhile
                continue
            self.records.ended.extend((job.id, RequestState.COMPLETED, end_s))
            if self.on_end is not None:
                self.on_end(job, RequestState.COMPLETED, end_s)

    def steady(self, completing: Sequence[Job]) -> bool:
        """Whether all running jobs but those that a step under way completes decode, and nobody comes or goes."""
        size = self.group.size
        return len(self.running) == size + len(completing) > 0 < size and not (self.swapped or self.doors)

    def coast(
        self,
        start_s: float,
        until_s: float,
        spare_blocks: int,
        pipelined: bool,
        most_steps: int,
    ) -> tuple[float, float, Sequence[Job]]:
        """Run steps in which everyone decodes, as far as they need no plan; ``most_steps`` at most.

        The first of them is planned now and starts at ``start_s``; the others are planned when the step before
        them ends (pipelined: when that starts) and before ``until_s``. Ends with the first step that completes
        anybody, and before ``spare_blocks`` blocks would no longer be left. Does what planning each of these
        steps would do, to the last bit. Returns the start and the end of the last step, or ``start_s`` twice if
        there was none, and whom it completes.
        """
        group, records, piece = self.group, self.records, self.decode_piece or self._priced
        size, first_tick, last_ticks = group.size, group.tick, group.last_ticks
        openers, block_size, left = group.openers, group.block_size, self.free_blocks - spare_blocks
        most_used = self.total_blocks - spare_blocks
        write_end, write_blocks = records.run_ends.append, records.run_blocks.append
        self.open(start_s)
        if size > self.token_budget:
            return start_s, start_s, NOBODY
        context_tokens = first_context = group.context_base + size * first_tick
        if most_steps > 1:
            steps = min(LONGEST_RUN, group.next_end() - first_tick)
            if steps >= LONG_RUN:
                far = self._coast_far(start_s, until_s, spare_blocks, pipelined, steps)
                if far is not None:
                    return far
        begun_s = end_s = start_s
        high = offset = slope = 0.0
        for tick in range(first_tick, first_tick + most_steps):
            blocks = openers[tick % block_size]
            if blocks > left or (tick > first_tick and (begun_s if pipelined else end_s) >= until_s):
                break
            if context_tokens >= high:
                _, high, offset, slope = piece(size, context_tokens)
            begun_s = end_s
            end_s += offset + slope * context_tokens
            context_tokens += size
            left -= blocks
            write_end(end_s)
            write_blocks(most_used - left)
            if tick + 1 in last_ticks:
                tick += 1
                break
        else:
            tick += 1
        steps = tick - first_tick
        if not steps:
            return start_s, start_s, NOBODY
        self.free_blocks = left + spare_blocks
        return begun_s, end_s, self._coasted(steps, start_s, first_context)

    def _coasted(self, steps: int, start_s: float, context_tokens: int) -> Sequence[Job]:
        """Note steps that were run without a plan; return whom the last one completes."""
        group = self.group
        self.records.runs.extend((self.step, steps, start_s, group.size, context_tokens, len(self.running)))
        self.fruitless_steps = 0
        self.step += steps
        if self.numbered:
            self._hand_out(group.tick, steps)
        group.tick += steps
        return group.finished() if group.tick in group.last_ticks else NOBODY

    def _coast_far(
        self, start_s: float, until_s: float, spare_blocks: int, pipelined: bool, steps: int
    ) -> tuple[float, float, Sequence[Job]] | None:
        """As ``coast``, for many steps at once: they end at a running sum, whose terms lie on a line.

        ``steps`` are at most to run. None where they turn out to be few, which is faster one by one.
        """
        piece = self.decode_piece
        if piece is None or until_s <= start_s:
            return None
        group = self.group
        size, tick = group.size, group.tick
        context_tokens = group.context_base + size * tick
        _, _, offset, slope = piece(size, context_tokens)
        first_s = offset + slope * context_tokens  # steps only become longer
        if until_s - start_s < first_s * steps:
            steps = min(steps, int((until_s - start_s) / first_s) + 2)
        if steps < LONG_RUN:
            return None
        nth = np.arange(steps)
        contexts = context_tokens + size * nth
        lasts_s = np.empty(steps)
        done = 0
        while done < steps:
            _, high, offset, slope = piece(size, context_tokens + size * done)
            stop = steps if high == inf else min(steps, max(done + 1, ceil((high - context_tokens) / size)))
            lasts_s[done:stop] = offset + slope * contexts[done:stop]
            done = stop
        lasts_s[0] += start_s
        ends = np.add.accumulate(lasts_s)
        # Planned before ``until_s`` are the first, and those before which a step ends (pipelined: starts) by then.
        planned = 1 + int(np.searchsorted(ends, until_s))
        if pipelined and start_s < until_s:
            planned += 1
        opened = np.array(group.openers)[(tick + nth) % group.block_size]
        used = self.total_blocks - self.free_blocks + np.add.accumulate(opened)
        fitting = int(np.searchsorted(used, self.total_blocks - spare_blocks, side="right"))
        steps = min(steps, planned, fitting)
        if not steps:
            return None
        self.records.run_ends += ends[:steps].tolist()
        self.records.run_blocks += used[:steps].tolist()
        self.free_blocks = self.total_blocks - int(used[steps - 1])
        begun_s = float(ends[steps - 2]) if steps > 1 else start_s
        return begun_s, float(ends[steps - 1]), self._coasted(steps, start_s, context_tokens)

    def _hand_out(self, first_tick: int, steps: int) -> None:
        """Where blocks have numbers: do for each of these steps what planning and ending it does to them."""

    def _priced(self, seqs: int, context_tokens: int) -> DecodePiece:
        """Return the price of a step of so many decodes as a piece that holds for this sum of contexts only."""
        self.shape.decode_seqs, self.shape.decode_context_tokens = seqs, context_tokens
        return context_tokens, context_tokens + 1, self.price(self.shape), 0.0

    def close(self, steps_under_way: int) -> None:
        """Settle the record when the simulation ends; steps that have not ended are not in it."""
        for job in self.running:
            if job._decoding is not None:
                self.group.leave(job)
        self.records.under_way = steps_under_way

    def _drop_leavers(self) -> None:
        for job, state in self._leaving:
            if job in self.running:
                self._stop_running(job)
                self._release(job)
            elif job in self.swapped:
                del self.swapped[job]
                self.free_cpu_blocks += job.blocks
            elif job in self.waiting:
                self.waiting.remove(job)
            elif job in self.seatless:
                self.seatless.remove(job)
                self._release(job)
            else:  # it was served in time
                continue
            self.changed = False  # a departure is no decision of the policy
            if job.completing:
                self._outside_tokens += job.known_tokens
            self._end(job, state, self.now_s)
        self._leaving.clear()
