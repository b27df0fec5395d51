"""MuxWise: decodes get the fewest SMs with which tokens come in time, prompts get the others, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Literal

from policies.scheduling._split_prompts import SplitScheduler, begin, decode, lanes_of
from simulator.policy import Job, Lanes, Launch, Ledger, check_share


@dataclass(frozen=True)
class Muxwise(SplitScheduler):
    """Prefill and decode at once on two parts of one GPU, split anew after each decode step.

    Decodes get the smallest part on which the step meets its bound even at the worst contention; beside it as many
    layers of prompts are launched as fill it. A short prompt goes ahead of a long one that still meets its bound.
    Source: Zhu et al., "MuxWise" (arXiv 2504.14489), its dispatcher.
    """

    tbt_target_s: float = 0.05  # longest time between tokens, s; the paper's for an 8B model
    ttft_target_s: float = 1.0  # bound on the first token of requests that were promised none, s,
    ttft_target_s_per_token: float = 0.001  # and for each token of the prompt, where that is more
    contention_guard: float = 0.0  # worst slow-down of decodes beside prompts; 0: as the GPU's profile says
    max_prefill_tokens: int = 16384  # of prompts that are computed together
    watermark: float = 0.01  # share of KV blocks kept free when admitting beside running requests
    enable_prefix_caching: bool = True  # equal beginnings share KV in a radix tree

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free, and a bound that no step meets."""
        check_share("watermark", self.watermark)
        if self.tbt_target_s <= 0:
            raise ValueError(f"tbt_target_s: expected more than 0 s, got {self.tbt_target_s}")
        if self.contention_guard and self.contention_guard < 1:
            raise ValueError(f"contention_guard: expected 0 or at least 1, got {self.contention_guard}")

    def native_engine(self) -> str:
        """A branch of SGLang was released, but no timings of it: a prototype."""
        return "prototype"

    def prefix_cache(self) -> Literal["radix"] | None:
        """A radix tree, if so told."""
        return "radix" if self.enable_prefix_caching else None

    def plan(self, step: Ledger) -> None:
        """Decodes, the part that they need, and the layers that fill the time that they take."""
        decode(step)
        lanes = lanes_of(step)
        under_way = lanes.under_way()
        if len(under_way) == 1 and step.waiting:
            under_way = self._let_ahead(step, lanes, under_way[0])
        elif not under_way:
            under_way = self._more(step)
        else:  # the one that was let ahead goes on first
            under_way.sort(key=lambda jobs: self._rest_s(lanes, jobs))
        if not under_way:
            return
        if step.shape.decode_seqs:
            sms, decodes_s = self._part(lanes)
            lanes.run(sms, self._filling(step, lanes, under_way, lanes.split.sms - sms, decodes_s))
        else:
            jobs = under_way[0]
            layer_s = lanes.prompts(jobs).on(lanes.split.sms) / lanes.split.layers
            layers = lanes.split.layers
            if layer_s * layers > self.tbt_target_s:  # a decode or a shorter prompt can start between
                layers = int(lanes.layers(jobs[0])) + max(1, int(self.tbt_target_s / layer_s))
            lanes.run(0, [(jobs, layers)])

    def _part(self, lanes: Lanes) -> tuple[int, float]:
        """Return the fewest SMs with which decodes meet their bound, or the most; and the seconds they take then."""
        guard = self.contention_guard or lanes.split.contention
        decodes, sms = lanes.decodes(), 0
        for sms in lanes.split.parts():
            if guard * decodes.on(sms) <= self.tbt_target_s:
                break
        return sms, guard * decodes.on(sms)

    def _filling(
        self, step: Ledger, lanes: Lanes, under_way: Sequence[Sequence[Job]], sms: int, left_s: float
    ) -> list[Launch]:
        """Return the layers to launch on so many SMs until they take as long as decodes: N = ceil(T_d N_T / T_P)."""
        launches: list[Launch] = []
        layers = lanes.split.layers
        while under_way:
            for jobs in under_way:
                layer_s, begun = lanes.prompts(jobs).on(sms) / layers, lanes.layers(jobs[0])
                launched = layers if not layer_s else min(layers, begun + ceil(left_s / layer_s))
                launches.append((jobs, launched))
                left_s -= (layers - begun) * layer_s
                if left_s <= 0 or begun == layers:  # or it lacks token budget only
                    return launches
            under_way = self._more(step)
        return launches

    def _more(self, step: Ledger) -> list[list[Job]]:
        """Begin the next prompts of the queue, if there are any."""
        keep_free = int(self.watermark * step.total_blocks)
        most = [*islice(step.waiting, step.seats)]
        jobs = begin(step, most, self.max_prefill_tokens, keep_free)
        return [jobs] if jobs else []

    def _let_ahead(self, step: Ledger, lanes: Lanes, long: list[Job]) -> list[list[Job]]:
        """Begin the shortest prompt that waits if it is through before the long one, which is still in time then."""
        short = min(step.waiting, key=lambda job: job.known_tokens)
        left_s, short_s = self._rest_s(lanes, long), lanes.prompts([short]).full_s
        in_time = all(step.now_s + short_s + left_s <= self._due_s(job) for job in long)
        if not lanes.layers(long[0]) or short_s >= left_s or not in_time:
            return [long]
        return [*([jobs] if (jobs := begin(step, [short], self.max_prefill_tokens, 0)) else []), long]

    @staticmethod
    def _rest_s(lanes: Lanes, jobs: Sequence[Job]) -> float:
        """Return what is left of prompts that are under way, in seconds of the whole GPU."""
        return lanes.prompts(jobs).full_s * (1 - lanes.layers(jobs[0]) / lanes.split.layers)

    def _due_s(self, job: Job) -> float:
        """When a request's first token is due."""
        bound_s = job.request.ttft_slo_s
        if bound_s != bound_s:  # NaN: it was promised none
            bound_s = max(self.ttft_target_s, self.ttft_target_s_per_token * job.prompt_tokens)
        return job.arrival_s + bound_s
