"""Steps of SGLang that decode."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from policies.scheduling._sglang_running import RunningBatch
from simulator.policy import Job, Ledger


@dataclass
class Decoding:
    """The part of ``sglang`` that decodes."""

    _batch: RunningBatch = field(init=False)
    _extended: list[Job] = field(default_factory=list, init=False)  # the extend batch, until it is merged
    _full: bool = field(default=False, init=False)  # no extend batch is tried
    _in_flight: Literal["", "extend", "decode"] = field(default="", init=False)  # what was planned last
    _unheard: int = field(default=0, init=False)  # steps that decoded since it looked at what has come
    _heard_s: float = field(default=inf, init=False)  # when it looked last
    _mixed: bool = field(default=False, init=False)  # the running batch decodes in this step's extend batch

    def fast_forward_spare_blocks(self) -> int:
        """Memory is looked at when it runs out."""
        return 0

    def goes_on_decoding(self, step: Ledger) -> bool:
        """Unless it looks at what has come, or memory may be short, where prompts were extended before."""
        size = step.group.size
        if self._in_flight == "" or step.joined:
            return False
        if self._extended:
            if (
                len(step.running) > size
                or self._heard_s < inf
                or size > step.token_budget
                or size > step.free_blocks
            ):
                return False
            self._merge(step)
        self._full = not self._batch.filter(step) and self._full
        return True

    def decoded(self, begun_s: float, ends_s: Sequence[float], first_tick: int) -> None:
        """Expect a little less with each step."""
        self._in_flight = "decode"
        self._batch.decay_ratio(len(ends_s))
        self._unheard += len(ends_s)

    def _merge(self, step: Ledger) -> None:
        """Let the requests whose prompts the step before computed, or that came from other replicas, decode."""
        batch = self._batch
        ready: list[Job] = []
        if self._extended:
            ready = [job for job in self._extended if job in step.running and job not in step.partial]
            if len(ready) < len(self._extended):
                self._full = False
        if step.joined:
            batch.bring(step, step.joined)
        if ready and not batch.jobs:
            self._full = False  # the extend batch becomes the running one, and was never full
        batch.merge(ready, self._in_flight if step.in_flight else "")
        if self._mixed:
            step.rank_decodes(batch.jobs)  # prompts come first in a mixed batch, and stay so
        self._extended, self._mixed = [], False

    def _hear(self, step: Ledger, interval: int) -> None:
        """Look at what has come, unless fewer steps than ``interval`` decoded since, and nothing else was done.

        Source: SGLang 0.5.9, managers/scheduler_recv_skipper.py. While it idles it looks at once.
        """
        if self._in_flight == "extend" or not self._batch.jobs or self._unheard % interval == 0:
            self._heard_s, self._unheard = step.now_s, 0
        self._unheard += 1

    def _decode(self, step: Ledger) -> bool:
        """Decode all jobs, after retracting those without memory; False if no job runs."""
        batch = self._batch
        if batch.filter(step) or not batch.jobs:
            self._full = False
        if not batch.jobs:
            return False
        if self._mixed or batch.decode(step, batch.jobs):
            batch.decay_ratio()
            return True
        retracted = batch.retract(step)
        self._full = self._full and not retracted
        return retracted
