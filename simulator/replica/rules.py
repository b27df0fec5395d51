"""What an engine does whatever policy plans for it: how far ahead it plans, and how it counts KV blocks."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from simulator.replica.policy import Scheduler


class EngineRules(NamedTuple):
    """The rules of one engine, the same for every policy that it serves; the defaults are those of vLLM 0.24.

    A profile of ``hardware_profiles/engines`` says them for each engine, with sources.
    """

    name: str = "vllm-0.24"
    pipeline_depth: int = 2  # steps planned before the first of them has ended; 2 is asynchronous scheduling
    null_blocks: int = 1  # KV blocks that the engine keeps for itself
    overrun_tokens: int = 0  # tokens beyond max_model_len that a sequence gets before it stops
    partial_blocks_first: bool = (
        True  # with shared blocks: one that can never be hit is the next to be reused
    )

    stages: int = 1  # that the layers are spread over; with several, as many batches are in flight

    def serving(self, policy: "Scheduler") -> "EngineRules":
        """Return how a policy is served: step by step if it has to know how the step before has ended."""
        if self.stages > 1:
            return self._replace(pipeline_depth=self.stages)
        if self.pipeline_depth > 1 and policy.decides_each_step():
            return self._replace(pipeline_depth=1)
        return self

    recomputes_as_prefill: bool = False  # what a preemption lost: also a last token that is left alone
    drops_with_next_token: bool = (
        False  # a running request whose client has left goes on until its next token is there
    )


DEFAULT_RULES = EngineRules()
