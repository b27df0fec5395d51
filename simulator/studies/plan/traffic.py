"""The traffic that a plan is made for: its sums for the bounds, its parts and variations for the simulations."""

import numpy as np

from simulator.scenario.scenario import Scenario
from simulator.workload import Workload


class Requests:
    """The traffic as the bounds see it: arrays of one entry a request."""

    def __init__(self, workload: Workload, cached: bool) -> None:
        self.arrival_s = workload.arrival_s
        self.prompt = workload.prompt_tokens.astype(np.float64)
        self.output = workload.output_tokens.astype(np.float64)
        self.decoded = self.output - 1  # the first token comes with the prompt
        self.context = self.decoded * (self.prompt + 0.5 * (self.decoded + 1))
        self.longest = int((workload.prompt_tokens + workload.output_tokens).max())
        self.span_s = float(self.arrival_s[-1] - self.arrival_s[0])
        # Whether all readers are those of the scenario's user model.
        self.alike = workload.v_s_per_token is None and workload.thinking_tokens is None
        self.cached = cached  # what prompts share may be there already
        self.prices: dict[str, object] = {}  # of work on a pool, by what decides them: many lines share them
        self.timed = workload.concurrency is None and workload.think_s is None


def may_be_cached(scenario: Scenario, workload: Workload) -> bool:
    """Return whether what prompts share may be in the KV cache already: how much of them is computed is not known."""
    scheduling = scenario.policy.scheduling
    caches = scheduling.name != "vllm_v1" or bool(scheduling.params["enable_prefix_caching"])
    return caches and workload.segments is not None
