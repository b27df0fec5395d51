"""Two sub-steps on one GPU at once: prompts, layer by layer, beside the decodes of a step.

A step is as long as its decodes, and ends with them. Beside them prompts go on from layer to layer; a layer that is
not done goes on beside the next decodes, on the SMs that there are then. A prompt counts as computed in the step in
which its last layer is, and its next token is there when that step ends, as SGLang looks for it (python/sglang/srt/
multiplex/multiplexing_mixin.py). Until then its job runs, holds the KV blocks of all its known tokens, and its chunks
have no tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.replica.cost import StepShape
from simulator.replica.job import Job
from simulator.replica.sm_split import SmSplit, SoloTime

if TYPE_CHECKING:
    from simulator.replica.ledger import StepLedger

ROUNDING = 1e-9  # layers that a sum of many shares of layers may lack

# Jobs whose prompts are computed together, and up to which layer they are launched
Launch = tuple[Sequence[Job], float]


class Lanes:
    """The prompts of an engine that are under way, and how long the sub-steps of the present step take."""

    __slots__ = ("_batch_of", "_batches", "_engine", "_layers", "busy_s", "split")

    def __init__(self, engine: "StepLedger", split: SmSplit) -> None:
        """Have no prompts under way."""
        self.split = split
        self.busy_s = -1.0  # of the present step; below 0: it has no sub-steps, and is priced as a whole
        self._layers: dict[Job, float] = {}  # computed, of prompts that are under way
        self._batch_of: dict[Job, int] = {}  # prompts that were launched together go on together
        self._batches = 0  # so far
        self._engine = engine

    # What a policy may ask

    def under_way(self) -> list[list[Job]]:
        """Return the jobs whose prompts are begun, batch by batch as they were launched, then those that were not."""
        found: dict[int, list[Job]] = {}
        for job in self._engine.partial:
            if job not in self._engine.chunks:
                found.setdefault(self._batch_of.get(job, self._batches), []).append(job)
        return [found[batch] for batch in sorted(found)]

    def layers(self, job: Job) -> float:
        """Return how many layers of a job's prompt are computed, the part of one that is begun included."""
        return self._layers.get(job, 0.0)

    def decodes(self) -> SoloTime:
        """Return what the decodes take that are scheduled in this step."""
        return self.split.decodes(self._engine.price, self._engine.shape)

    def prompts(self, jobs: Sequence[Job]) -> SoloTime:
        """Return what the known tokens of these jobs take that are not computed, all layers together."""
        shape = StepShape()
        for job in jobs:
            tokens, computed = job.remaining_tokens, job.computed
            if job not in self._engine.running and self._engine.cache is not None:
                computed = self._engine.cache.cached_tokens(job)
                tokens = job.known_tokens - computed
            shape.count(tokens, computed, False, 1)
        return self.split.prompts(self._engine.price, shape)

    # What a policy may do

    def run(self, decode_sms: int, launches: Sequence[Launch]) -> None:
        """Run the decodes of this step on so many SMs and, one after another, these prompts on the others.

        Without decodes the prompts have all SMs, and the step ends with the last layer that is launched. Whatever
        takes longer than the decodes goes on in the next step. Jobs that are launched together the first time are a
        batch. Raises ValueError for a part that the GPU has not, for jobs that are not under way in one batch, and
        where it is called twice in a step.
        """
        engine, split = self._engine, self.split
        decoding = engine.shape.decode_seqs > 0
        if self.busy_s >= 0:
            raise ValueError("run() was called twice in one step")
        if decoding and launches and not 0 < decode_sms < split.sms:
            raise ValueError(f"{decode_sms} of {split.sms} SMs for decodes: expected some, and some left")
        decode_s = 0.0
        if decoding:
            time = self.decodes()
            decode_s = split.contention * time.on(decode_sms) if launches else time.full_s
        sms = split.sms - decode_sms if decoding else split.sms
        used_s, moved, layers = 0.0, False, float(split.layers)
        for jobs, launched in launches:
            batch, begun = self._batch_of.get(jobs[0], -1), self.layers(jobs[0])
            for job in jobs:
                if job not in engine.partial or job in engine.chunks or self._batch_of.get(job, -1) != batch:
                    raise ValueError(f"{job} is not under way, or not in the batch of {jobs[0]}")
            if batch < 0:
                self._batch_of.update(dict.fromkeys(jobs, self._batches))
                self._batches += 1
            layer_s = self.prompts(jobs).on(sms) / layers
            done = float(launched)
            done = max(begun, layers if done > layers else done)
            if decoding and (done - begun) * layer_s > decode_s - used_s:
                done = begun + max(0.0, decode_s - used_s) / layer_s
            if done > layers - ROUNDING:
                done = layers
            used_s += (done - begun) * layer_s
            moved = self._advance(jobs, done, done > begun) or moved
        if decoding:
            self.busy_s = decode_s
        elif moved:
            self.busy_s = used_s

    def _advance(self, jobs: Sequence[Job], layers: float, further: bool) -> bool:
        """Let jobs have so many layers computed; return whether anything comes of it.

        Those that are through have their chunk in this step, as far as the token budget goes.
        """
        engine = self._engine
        for job in jobs:
            if layers == self.split.layers and engine.prefill(job, job.remaining_tokens):
                self.forget(job)
                further = True
            else:
                self._layers[job] = layers
                if further:
                    engine.records.chunks.extend((engine.step, job.id, 0, job.computed))
        return further

    # What the engine does

    def open(self) -> None:
        """Begin the plan of the next step."""
        self.busy_s = -1.0

    def forget(self, job: Job) -> None:
        """A job's prompt is not under way any more."""
        self._layers.pop(job, None)
        self._batch_of.pop(job, None)
