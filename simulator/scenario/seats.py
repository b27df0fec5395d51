"""How many requests run at once beside the tokens of a step: what an engine checks of the two when it starts."""

from hardware_profiles import EngineProfile
from simulator.errors import InputError
from simulator.scenario.engine import EngineSpec


def seats_within(seqs: int, tokens: int, engine: EngineSpec, profile: EngineProfile) -> int:
    """Return no more seats than a step has tokens: a default is cut, what the user set is refused.

    Source: vLLM, ``SchedulerConfig`` (config/scheduler.py) for the refusal, of V0 and V1 alike;
    ``EngineArgs._set_default_max_num_seqs_and_batched_tokens_args`` (engine/arg_utils.py) for the cut.
    """
    if seqs <= tokens or not profile.defaults.seats_within_budget:
        return seqs
    if engine.max_num_seqs is None:
        return tokens
    given = "" if engine.max_num_batched_tokens else ", the engine's default"
    raise InputError(
        f"engine.max_num_batched_tokens: {tokens}{given}, is below engine.max_num_seqs = {engine.max_num_seqs},"
        f" so a step cannot hold a token of each; {profile.name} does not start with it; expected at least as many"
        " tokens as seats"
    )
