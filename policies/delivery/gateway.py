"""Gateway: a front end with so many workers, which takes time for each request and each streamed token."""

from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import ClassVar, Literal

import numpy as np

from policies.delivery._rows import rows, running_max
from simulator.policy import Floats, Ints

# Seconds of a worker for a request and for a streamed token; sources and what is inferred in docs/delivery.md
PRESETS = {"python": (4.9e-3, 7.8e-5), "compiled": (2.85e-4, 4.5e-6)}


@dataclass(frozen=True)
class Gateway:
    """Tokens of all requests queue for ``workers``, first come first served; the first of a request takes longer.

    It sends at most workers / (time of a request + tokens x time of a token) requests a second, and beyond that its
    queue grows. Source: Yao et al., "ScaleLLM", arXiv 2408.00008, where the gateway is what limits at concurrency.
    """

    across_requests: ClassVar[bool] = True

    preset: Literal["python", "compiled", "own"] = "python"  # own: what the two times below say
    workers: int = 4  # cores or processes that serve at the same time
    request_s: float = 0.0  # own: of a worker for a request, with its first token, s
    token_s: float = 0.0  # own: of a worker for each token, s

    def __post_init__(self) -> None:
        """Refuse times beside a preset, and what is no time."""
        if self.workers < 1 or not (self.request_s >= 0 and self.token_s >= 0):
            raise ValueError(
                "expected workers of 1 or more, request_s and token_s of 0 or more; got"
                f" {self.workers}, {self.request_s:g} and {self.token_s:g}"
            )
        if self.preset != "own" and (self.request_s or self.token_s):
            raise ValueError(
                f"request_s and token_s are given beside preset = {self.preset!r}; expected 'own' with them"
            )

    def deliver(self, generated_s: Floats, starts: Ints, rng: np.random.Generator) -> Floats:
        """Return when each token has been sent, none before the one before it in its request."""
        request_s, token_s = PRESETS.get(self.preset, (self.request_s, self.token_s))
        n = len(generated_s)
        service_s = np.full(n, token_s)
        service_s[starts] += request_s
        order = np.argsort(generated_s, kind="stable")
        sent_s = np.empty(n)
        sent_s[order] = self._ends_s(generated_s[order].tolist(), service_s[order].tolist())
        return running_max(sent_s, rows(starts, n))

    def _ends_s(self, come_s: list[float], service_s: list[float]) -> list[float]:
        """Return when each job's service ends; they are served in this order, by the worker that is free first."""
        free_s = [0.0] * self.workers
        heapify(free_s)
        ends_s = []
        for at_s, takes_s in zip(come_s, service_s, strict=True):
            soonest_s = free_s[0]
            end_s = (at_s if at_s > soonest_s else soonest_s) + takes_s
            heapreplace(free_s, end_s)
            ends_s.append(end_s)
        return ends_s
